//! Cargo manifests, as far as the rules ask.

use std::collections::BTreeMap;

use toml_edit::{Document, Item, TableLike};

use crate::project::{self, File};

/// What a dependency is for.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum Kind {
    /// For the library or binary itself, or for its build script.
    Build,
    /// For its tests, examples and benchmarks.
    Development,
}

/// One dependency of a package.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Dependency {
    /// The package's own name, whatever name it is imported under.
    pub(crate) package: String,
    pub(crate) kind: Kind,
    /// Whether its version is left to the workspace's manifest.
    pub(crate) from_workspace: bool,
}

/// One package of the workspace.
#[derive(Debug, Clone)]
pub(crate) struct Package {
    /// Path of the manifest.
    pub(crate) path: String,
    pub(crate) name: String,
    pub(crate) dependencies: Vec<Dependency>,
    /// Whether its lints are those of the workspace.
    pub(crate) workspace_lints: bool,
}

impl Package {
    /// Reads the manifest of one package; `renamed` maps names of the workspace's dependencies to package names.
    ///
    /// # Panics
    /// When the manifest is not TOML or names no package.
    pub(crate) fn read(file: &File, renamed: &BTreeMap<String, String>) -> Self {
        let document = parse(file);
        let root = document.as_item();
        let name = text_at(root, &["package", "name"]).unwrap_or_else(|| panic!("{}: no package name", file.path));
        let mut dependencies = dependencies_of(root, renamed);
        for platform in table_at(root, &["target"]).into_iter().flat_map(entries) {
            dependencies.extend(dependencies_of(platform.1, renamed));
        }
        let workspace_lints = item_at(root, &["lints", "workspace"]).and_then(Item::as_bool) == Some(true);
        Self { path: file.path.clone(), name, dependencies, workspace_lints }
    }
}

/// All packages of the workspace: the crates, the tests and the benchmarks.
pub(crate) fn packages() -> Vec<Package> {
    let renamed = renamed(&project::read("Cargo.toml"));
    let files = project::files(|path| path.ends_with("/Cargo.toml") && !path.starts_with("fixtures/"));
    files.iter().map(|file| Package::read(file, &renamed)).collect()
}

/// Names under which the workspace's manifest lists its dependencies, with the packages that they stand for.
pub(crate) fn renamed(root: &File) -> BTreeMap<String, String> {
    let document = parse(root);
    let table = table_at(document.as_item(), &["workspace", "dependencies"]);
    table.into_iter().flat_map(entries).map(|(name, item)| (name.to_owned(), package_of(name, item))).collect()
}

fn dependencies_of(item: &Item, renamed: &BTreeMap<String, String>) -> Vec<Dependency> {
    const TABLES: [(&str, Kind); 3] =
        [("dependencies", Kind::Build), ("build-dependencies", Kind::Build), ("dev-dependencies", Kind::Development)];
    let mut found = Vec::new();
    for (table, kind) in TABLES {
        for (name, item) in table_at(item, &[table]).into_iter().flat_map(entries) {
            let from_workspace = item_at(item, &["workspace"]).and_then(Item::as_bool) == Some(true);
            let package = match renamed.get(name) {
                Some(package) if from_workspace => package.clone(),
                _ => package_of(name, item),
            };
            found.push(Dependency { package, kind, from_workspace });
        }
    }
    found
}

fn package_of(name: &str, item: &Item) -> String {
    text_at(item, &["package"]).unwrap_or_else(|| name.to_owned())
}

fn parse(file: &File) -> Document<String> {
    Document::parse(file.text.clone()).unwrap_or_else(|error| panic!("{}: {error}", file.path))
}

fn item_at<'a>(item: &'a Item, path: &[&str]) -> Option<&'a Item> {
    path.iter().try_fold(item, |item, name| item.as_table_like()?.get(name))
}

fn table_at<'a>(item: &'a Item, path: &[&str]) -> Option<&'a dyn TableLike> {
    item_at(item, path)?.as_table_like()
}

fn text_at(item: &Item, path: &[&str]) -> Option<String> {
    item_at(item, path)?.as_str().map(str::to_owned)
}

fn entries(table: &dyn TableLike) -> Vec<(&str, &Item)> {
    table.iter().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    const MANIFEST: &str = r#"
        [package]
        name = "a"

        [dependencies]
        b.workspace = true
        c = { package = "d", version = "1" }

        [target.'cfg(unix)'.build-dependencies]
        e = "1"

        [dev-dependencies]
        f = { workspace = true, features = ["g"] }

        [lints]
        workspace = true
    "#;

    #[test]
    fn every_table_of_dependencies_is_read_and_renames_are_seen_through() {
        let root = File::made_up("Cargo.toml", "[workspace.dependencies]\nb = { package = \"real\", version = \"1\" }");
        let package = Package::read(&File::made_up("a/Cargo.toml", MANIFEST), &renamed(&root));
        let found: Vec<_> =
            package.dependencies.iter().map(|d| (d.package.as_str(), d.kind, d.from_workspace)).collect();
        let wanted = [
            ("real", Kind::Build, true),
            ("d", Kind::Build, false),
            ("f", Kind::Development, true),
            ("e", Kind::Build, false),
        ];
        assert_eq!(found, wanted);
        assert!(package.workspace_lints);
    }

    #[test]
    fn lints_of_a_package_are_its_own_unless_it_says_otherwise() {
        for lints in ["", "[lints]\nworkspace = false", "[lints.rust]\nmissing_docs = \"allow\""] {
            let text = format!("[package]\nname = \"a\"\n{lints}");
            assert!(!Package::read(&File::made_up("a/Cargo.toml", &text), &BTreeMap::new()).workspace_lints);
        }
    }
}
