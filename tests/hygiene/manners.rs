//! How files are written: their length, their names, their words.

use std::path::Path;

use crate::{
    finding::{Finding, assert_none},
    project::{self, File, on_disk},
    rust,
};

/// Lines that a source file of a crate may have. A longer one holds more than one idea.
const LONGEST_FILE: usize = 500;

/// Module names that say that the idea is missing.
const EMPTY_NAMES: [&str; 6] = ["utils", "util", "common", "helpers", "types", "misc"];

/// Marks of unfinished work; an issue or a decision record carries the thought better, an ignored test says nothing.
/// In two parts each, so that this file does not hold them.
const UNFINISHED: [(&str, &str); 6] =
    [("TO", "DO"), ("FIX", "ME"), ("XX", "X"), ("to", "do!"), ("unimpl", "emented!"), ("#[ig", "nore")];

/// Words that are not used here, in two parts each, and what is written instead.
const UNUSED_WORDS: [(&str, &str, &str); 17] = [
    ("tx", "n", "`transaction`, or `tx` in names"),
    ("roll", "back", "a chain unwinds, a frame reverts, an incarnation aborts"),
    ("roll ", "back", "a chain unwinds, a frame reverts, an incarnation aborts"),
    ("white", "list", "what it is a list of"),
    ("black", "list", "what it is a list of"),
    ("blaz", "ingly", "a figure, and the benchmark that shows it"),
    ("blaz", "ing", "a figure, and the benchmark that shows it"),
    ("cutting", "-edge", "what it does"),
    ("state-of", "-the-art", "what it does"),
    ("seam", "less", "what it does"),
    ("seam", "lessly", "what it does"),
    ("lever", "age", "`use`"),
    ("refact", "ored", "comments describe the code as it stands, not its history"),
    ("work in ", "progress", "an issue"),
    ("design", ".md", "docs/architecture.md: a page that is here"),
    ("style", ".md", "a page that is here"),
    ("field", ".md", "a page that is here"),
];

/// Folders of single machines: nothing in the repository may depend on where it was written.
const MACHINE_FOLDERS: [&str; 8] = ["home", "root", "tmp", "work", "farm", "mnt", "Users", "private"];

fn too_long(file: &File) -> Vec<Finding> {
    let lines = file.text.lines().count();
    let of_a_crate = file.path.starts_with("crates/") && file.path.contains("/src/");
    match of_a_crate && lines > LONGEST_FILE {
        true => {
            vec![Finding::in_file(&file.path, format!("{lines} lines, at most {LONGEST_FILE}: it holds two ideas"))]
        }
        false => Vec::new(),
    }
}

fn named_without_idea(file: &File) -> Vec<Finding> {
    let path = Path::new(&file.path);
    let stem = path.file_stem().map(|stem| stem.to_string_lossy().into_owned()).unwrap_or_default();
    let folder = path.parent().and_then(Path::file_name).map(|name| name.to_string_lossy().into_owned());
    let mut names = vec![(0, if stem == "mod" { folder.unwrap_or_default() } else { stem })];
    for (at, line) in rust::code(&file.text).lines().enumerate() {
        let words: Vec<&str> =
            line.split(|c: char| !c.is_alphanumeric() && c != '_').filter(|w| !w.is_empty()).collect();
        let modules = words.windows(2).filter(|pair| pair[0] == "mod");
        names.extend(modules.map(|pair| (at + 1, pair[1].to_owned())));
    }
    let empty = names.into_iter().filter(|(_, name)| EMPTY_NAMES.contains(&name.as_str()));
    empty.map(|(line, name)| Finding::at(&file.path, line, format!("`{name}` names no idea"))).collect()
}

fn unfinished(file: &File) -> Vec<Finding> {
    let marks: Vec<String> = UNFINISHED.iter().map(|(a, b)| format!("{a}{b}")).collect();
    let found = file.lines().filter_map(|(number, line)| {
        let mark = marks.iter().find(|mark| holds_word(line, mark))?;
        Some(Finding::at(&file.path, number, format!("`{mark}`: an issue or a decision record says it better")))
    });
    found.collect()
}

fn unused_words(file: &File) -> Vec<Finding> {
    let words: Vec<(String, &str)> = UNUSED_WORDS.iter().map(|(a, b, instead)| (format!("{a}{b}"), *instead)).collect();
    let found = file.lines().filter_map(|(number, line)| {
        let line = line.to_lowercase();
        let (word, instead) = words.iter().find(|(word, _)| holds_word(&line, word))?;
        Some(Finding::at(&file.path, number, format!("`{word}` is not used here; instead: {instead}")))
    });
    found.collect()
}

/// Whether `text` holds `word` and no letter, digit or underscore touches it where it begins or ends with one.
fn holds_word(text: &str, word: &str) -> bool {
    let part_of_word = |c: char| c.is_alphanumeric() || c == '_';
    text.match_indices(word).any(|(at, _)| {
        let free_before = !text[..at].ends_with(part_of_word) || !word.starts_with(part_of_word);
        let free_after = !text[at + word.len()..].starts_with(part_of_word) || !word.ends_with(part_of_word);
        free_before && free_after
    })
}

fn machine_paths(file: &File) -> Vec<Finding> {
    let folders: Vec<String> = MACHINE_FOLDERS.iter().map(|folder| format!("/{folder}/")).collect();
    let starts_a_path = |before: &str| !before.ends_with(|c: char| c.is_alphanumeric() || "_.-~*})/".contains(c));
    let found = file.lines().filter_map(|(number, line)| {
        let names = |folder: &&String| line.match_indices(folder.as_str()).any(|(at, _)| starts_a_path(&line[..at]));
        let folder = folders.iter().find(names)?;
        Some(Finding::at(&file.path, number, format!("a path below {folder} exists on one machine only")))
    });
    found.collect()
}

/// Links of a page to files that are not there. Links with a scheme and links within the page are not looked at.
fn dead_links(page: &File, exists: impl Fn(&str) -> bool) -> Vec<Finding> {
    let folder = page.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let mut findings = Vec::new();
    for (number, line) in page.lines() {
        for (at, _) in line.match_indices("](") {
            let target = line[at + 2..].split([')', '#', ' ']).next().unwrap_or_default();
            if target.is_empty() || target.contains(':') {
                continue;
            }
            let path = joined(folder, target);
            if !path.as_deref().is_some_and(&exists) {
                findings.push(Finding::at(&page.path, number, format!("links to {target}, which is not there")));
            }
        }
    }
    findings
}

/// `target` as seen from `folder`, from the root of the repository; none when it leads out of it.
fn joined(folder: &str, target: &str) -> Option<String> {
    let mut parts: Vec<&str> = folder.split('/').filter(|part| !part.is_empty()).collect();
    for part in target.split('/') {
        match part {
            "" | "." => {}
            ".." => {
                parts.pop()?;
            }
            name => parts.push(name),
        }
    }
    Some(parts.join("/"))
}

fn apply(files: &[File], rule: impl Fn(&File) -> Vec<Finding>) {
    assert!(!files.is_empty(), "a rule without files holds of nothing");
    assert_none(&files.iter().flat_map(rule).collect::<Vec<_>>());
}

#[test]
fn no_source_file_of_a_crate_is_longer_than_one_idea() {
    apply(&project::rust_files(), too_long);
}

#[test]
fn no_module_is_named_without_an_idea() {
    apply(&project::rust_files(), named_without_idea);
}

#[test]
fn nothing_is_left_unfinished_in_the_code() {
    apply(&project::rust_files(), unfinished);
}

#[test]
fn one_word_is_used_for_one_idea() {
    apply(&project::written_files(), unused_words);
}

#[test]
fn no_file_names_a_folder_of_one_machine() {
    apply(&project::written_files(), machine_paths);
}

#[test]
fn links_between_pages_lead_somewhere() {
    apply(&project::files(|path| path.ends_with(".md")), |page| dead_links(page, |path| on_disk(path).exists()));
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::finding::lines;

    #[test]
    fn a_file_of_501_lines_is_found() {
        assert_eq!(too_long(&File::made_up("crates/a/src/b.rs", &"\n".repeat(501))).len(), 1);
        assert_eq!(too_long(&File::made_up("crates/a/src/b.rs", &"\n".repeat(500))), []);
        assert_eq!(too_long(&File::made_up("crates/a/tests/b.rs", &"\n".repeat(501))), []);
    }

    #[test]
    fn modules_without_an_idea_are_found_by_file_and_by_name() {
        for path in ["crates/a/src/utils.rs", "crates/a/src/types/mod.rs"] {
            assert_eq!(lines(&named_without_idea(&File::made_up(path, ""))), [0], "{path}");
        }
        let source = "// mod utils;\nmod memory;\npub(crate) mod helpers {}";
        assert_eq!(lines(&named_without_idea(&File::made_up("crates/a/src/b.rs", source))), [3]);
    }

    #[test]
    fn marks_of_unfinished_work_are_found() {
        for (a, b) in UNFINISHED {
            let text = format!("fine\n    // {a}{b} later");
            assert_eq!(lines(&unfinished(&File::made_up("a.rs", &text))), [2], "{a}{b}");
        }
        assert_eq!(unfinished(&File::made_up("a.rs", "let to_do = 0xXXXX; // METHODOLOGY")), []);
    }

    #[test]
    fn unused_words_are_found_whole_and_in_any_case() {
        for (a, b, _) in UNUSED_WORDS {
            let text = format!("{}{b}", a.to_uppercase());
            assert_eq!(lines(&unused_words(&File::made_up("a.md", &text))), [1], "{a}{b}");
        }
        let innocent = format!("{}{}s_of_the_field", "xx", "tx");
        assert_eq!(unused_words(&File::made_up("a.md", &innocent)), []);
    }

    #[test]
    fn paths_of_one_machine_are_found() {
        for folder in MACHINE_FOLDERS {
            let path = format!("/{folder}/someone/ropewalk");
            for text in [format!("see {path}"), format!("\"{path}\""), format!("file:{path}")] {
                assert_eq!(lines(&machine_paths(&File::made_up("a.md", &text))), [1], "{text}");
            }
            let innocent = format!("$HOME{path}, ../a{path}, https://example.org{path}, state{path}");
            assert_eq!(machine_paths(&File::made_up("a.md", &innocent)), []);
        }
    }

    #[test]
    fn dead_links_are_found_from_where_the_page_is() {
        let exists = |path: &str| path == "docs/architecture.md" || path == "README.md";
        let text = "[a](architecture.md#walls), [b](../README.md), [c](https://example.org), [d](#e)\n[f](gone.md)\n\
                    [g](../../outside.md)";
        assert_eq!(lines(&dead_links(&File::made_up("docs/a.md", text), exists)), [2, 3]);
    }
}
