//! Just enough of Rust's syntax to see which names a file uses: its code without comments and literals, cut into
//! paths, with the trees of `use` items spelled out.

use crate::project::File;

/// A path as the file names it, for example `std::sync::atomic::AtomicU64`.
///
/// A glob import ends with the segment `*`; the import of a whole crate under its own or another name ends with
/// `self`, so that neither can hide what it brings in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct NamedPath {
    pub(crate) line: usize,
    pub(crate) segments: Vec<String>,
}

impl NamedPath {
    /// Whether the path starts with `pattern` (segments separated by `::`) or, for a pattern of one segment, holds it
    /// anywhere. A pattern that ends with `..` matches every name with that beginning.
    pub(crate) fn matches(&self, pattern: &str) -> bool {
        let wanted: Vec<&str> = pattern.split("::").collect();
        match wanted.as_slice() {
            [name] => self.segments.iter().any(|segment| same(name, segment)),
            names => {
                names.len() <= self.segments.len()
                    && names.iter().zip(&self.segments).all(|(name, found)| same(name, found))
            }
        }
    }
}

fn same(pattern: &str, segment: &str) -> bool {
    pattern.strip_suffix("..").map_or(pattern == segment, |beginning| segment.starts_with(beginning))
}

/// All paths of a source text, single names included, in order.
pub(crate) fn paths(source: &str) -> Vec<NamedPath> {
    let tokens = tokens(&code(source));
    let mut found = Vec::new();
    let mut at = 0;
    while at < tokens.len() {
        let starts_use = tokens[at].text == "use"
            && tokens.get(at + 1).is_some_and(|next| next.is_name() || next.text == "::" || next.text == "{");
        if starts_use {
            at = use_tree(&tokens, at + 1, &[], &mut found);
        } else if tokens[at].is_name() {
            let line = tokens[at].line;
            let mut segments = vec![tokens[at].text.clone()];
            while tokens.get(at + 1).is_some_and(|sep| sep.text == "::")
                && tokens.get(at + 2).is_some_and(Token::is_name)
            {
                segments.push(tokens[at + 2].text.clone());
                at += 2;
            }
            found.push(NamedPath { line, segments });
            at += 1;
        } else {
            at += 1;
        }
    }
    found
}

/// Reads one tree of a `use` item from `at`; returns where it ends (at `,`, `}` or `;`).
fn use_tree(tokens: &[Token], mut at: usize, prefix: &[String], found: &mut Vec<NamedPath>) -> usize {
    let mut segments = prefix.to_vec();
    while let Some(token) = tokens.get(at) {
        match token.text.as_str() {
            "," | "}" | ";" => break,
            "{" => {
                at += 1;
                while tokens.get(at).is_some_and(|token| token.text != "}" && token.text != ";") {
                    at = use_tree(tokens, at, &segments, found);
                    at += usize::from(tokens.get(at).is_some_and(|token| token.text == ","));
                }
                return at + 1;
            }
            "as" => at += 1,
            "self" if !segments.is_empty() => {}
            text if token.is_name() || text == "*" => segments.push(text.to_owned()),
            _ => {}
        }
        at += 1;
    }
    if segments.len() == 1 {
        segments.push("self".to_owned());
    }
    let line = tokens.get(at.saturating_sub(1)).map_or(0, |token| token.line);
    found.push(NamedPath { line, segments });
    at
}

#[derive(Debug)]
struct Token {
    line: usize,
    text: String,
}

impl Token {
    fn is_name(&self) -> bool {
        self.text.starts_with(|first: char| first.is_alphabetic() || first == '_')
    }
}

fn tokens(code: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    for (at, line) in code.lines().enumerate() {
        let mut rest = line.trim_start();
        while let Some(first) = rest.chars().next() {
            let is_word = |c: char| c.is_alphanumeric() || c == '_';
            let length = if is_word(first) {
                rest.find(|c| !is_word(c)).unwrap_or(rest.len())
            } else if rest.starts_with("::") {
                2
            } else {
                first.len_utf8()
            };
            tokens.push(Token { line: at + 1, text: rest[..length].to_owned() });
            rest = rest[length..].trim_start();
        }
    }
    tokens
}

/// The source up to its test module, which by custom (and by clippy's `items_after_test_module`) ends a file.
pub(crate) fn without_tests(source: &str) -> &str {
    let mut for_tests = false;
    let mut at = 0;
    for line in source.split_inclusive('\n') {
        if for_tests && line.starts_with("mod ") && line.trim_end().ends_with('{') {
            return &source[..at];
        }
        for_tests = line.starts_with("#[cfg(test)]") || line.starts_with("#[cfg(all(test,");
        at += line.len();
    }
    source
}

/// The source with comments and literals blanked out; lines stay where they are.
pub(crate) fn code(source: &str) -> String {
    let chars: Vec<char> = source.chars().collect();
    let mut code = String::with_capacity(source.len());
    let mut at = 0;
    while at < chars.len() {
        match literal_or_comment(&chars, at).map(|end| end.min(chars.len())) {
            Some(end) => {
                code.extend(chars[at..end].iter().map(|&c| if c == '\n' { '\n' } else { ' ' }));
                at = end;
            }
            None => {
                code.push(chars[at]);
                at += 1;
            }
        }
    }
    code
}

/// Where the comment or literal that starts at `at` ends, if one starts there.
fn literal_or_comment(chars: &[char], at: usize) -> Option<usize> {
    let next = chars.get(at + 1).copied();
    match chars[at] {
        '/' if next == Some('/') => Some(find(chars, at, |c| c == '\n')),
        '/' if next == Some('*') => Some(end_of_block_comment(chars, at)),
        '"' => Some(end_of_string(chars, at + 1)),
        'r' if !follows_name(chars, at) => end_of_raw_string(chars, at + 1),
        '\'' if next == Some('\\') => Some(find(chars, at + 3, |c| c == '\'') + 1),
        '\'' if chars.get(at + 2) == Some(&'\'') => Some(at + 3),
        _ => None,
    }
}

fn find(chars: &[char], from: usize, wanted: impl Fn(char) -> bool) -> usize {
    (from..chars.len()).find(|&at| wanted(chars[at])).unwrap_or(chars.len())
}

fn end_of_block_comment(chars: &[char], start: usize) -> usize {
    let (mut at, mut depth) = (start, 0_usize);
    while at + 1 < chars.len() {
        match (chars[at], chars[at + 1]) {
            ('/', '*') => depth += 1,
            ('*', '/') => depth -= 1,
            _ => {
                at += 1;
                continue;
            }
        }
        at += 2;
        if depth == 0 {
            return at;
        }
    }
    chars.len()
}

fn end_of_string(chars: &[char], mut at: usize) -> usize {
    while at < chars.len() && chars[at] != '"' {
        at += if chars[at] == '\\' { 2 } else { 1 };
    }
    (at + 1).min(chars.len())
}

fn end_of_raw_string(chars: &[char], from: usize) -> Option<usize> {
    let quote = find(chars, from, |c| c != '#');
    if chars.get(quote) != Some(&'"') {
        return None;
    }
    let hashes = quote - from;
    let closes = |&at: &usize| chars[at] == '"' && chars[at + 1..].iter().take_while(|&&c| c == '#').count() >= hashes;
    Some((quote + 1..chars.len()).find(closes).map_or(chars.len(), |at| at + 1 + hashes))
}

/// Whether the `r` at `at` belongs to a longer name: `br"..."` and `cr"..."` are raw strings, `other"` is not.
fn follows_name(chars: &[char], at: usize) -> bool {
    let part_of_name = |at: usize| chars[at].is_alphanumeric() || chars[at] == '_';
    match at.checked_sub(1) {
        None => false,
        Some(before) if matches!(chars[before], 'b' | 'c') => before.checked_sub(1).is_some_and(part_of_name),
        Some(before) => part_of_name(before),
    }
}

/// A module that is compiled for tests only.
#[derive(Debug, PartialEq, Eq)]
pub(crate) struct TestOnly {
    /// Path without `.rs`.
    path: String,
}

impl TestOnly {
    /// Whether the file at `path` is the module or below it.
    pub(crate) fn holds(&self, path: &str) -> bool {
        path.strip_prefix(&self.path).is_some_and(|rest| rest == ".rs" || rest.starts_with('/'))
    }
}

/// The modules that crates declare for tests only, in their `lib.rs`.
pub(crate) fn test_only_modules(files: &[File]) -> Vec<TestOnly> {
    let roots = files.iter().filter_map(|file| Some((file.path.strip_suffix("lib.rs")?, &file.text)));
    roots
        .flat_map(|(folder, text)| declared_for_tests(text).map(move |name| format!("{folder}{name}")))
        .map(|path| TestOnly { path })
        .collect()
}

/// Names of the modules whose declaration stands below a `cfg(test)`.
fn declared_for_tests(text: &str) -> impl Iterator<Item = &str> {
    let mut for_tests = false;
    text.lines().filter_map(move |line| {
        let line = line.trim();
        if line.starts_with("#[") {
            for_tests |= line.starts_with("#[cfg(test)]") || line.starts_with("#[cfg(all(test,");
            return None;
        }
        let declared = line.strip_prefix("mod ").and_then(|rest| rest.strip_suffix(';'));
        declared.filter(|_| std::mem::take(&mut for_tests)).or_else(|| {
            for_tests = false;
            None
        })
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(source: &str) -> Vec<String> {
        paths(source).into_iter().map(|path| path.segments.join("::")).collect()
    }

    #[test]
    fn comments_and_literals_are_not_code() {
        let source = "a /* b /* c */ d */ e // f\ng \"h \\\" i\" j r#\"k \" l\"# m 'n' o '\\'' p br\"q\" r";
        assert_eq!(code(source).split_whitespace().collect::<Vec<_>>(), ["a", "e", "g", "j", "m", "o", "p", "b", "r"]);
    }

    #[test]
    fn lines_stay_where_they_are_when_literals_span_several() {
        let found = paths("/* a\nb */ \"c\nd\" e");
        assert_eq!(found.iter().map(|path| path.line).collect::<Vec<_>>(), [3]);
    }

    #[test]
    fn lifetimes_and_raw_names_are_code() {
        assert_eq!(named("fn f<'a>(r#type: &'a str)"), ["fn", "f", "a", "r", "type", "a", "str"]);
    }

    #[test]
    fn unfinished_literals_end_with_the_file() {
        for source in ["\"a", "r#\"a\"", "/* a", "'\\", "\"a\\", "/*", "'"] {
            let _ = code(source);
        }
    }

    #[test]
    fn grouped_imports_are_spelled_out() {
        let source = "use std::{collections::{BTreeMap, HashMap as Map}, sync::{self, atomic::*}, time::Instant};";
        let wanted = [
            "std::collections::BTreeMap",
            "std::collections::HashMap",
            "std::sync",
            "std::sync::atomic::*",
            "std::time::Instant",
        ];
        assert_eq!(named(source), wanted);
    }

    #[test]
    fn importing_a_whole_crate_is_seen() {
        assert_eq!(named("use std as other;"), ["std::self"]);
        assert_eq!(named("use std::{self as other};"), ["std::self"]);
        assert_eq!(named("use rayon;"), ["rayon::self"]);
        assert_eq!(named("use ::rayon::*;"), ["rayon::*"]);
    }

    #[test]
    fn paths_in_expressions_are_joined() {
        assert_eq!(named("std::thread::spawn(|| x.len())"), ["std::thread::spawn", "x", "len"]);
        assert_eq!(named("fn f() -> impl Sized + use<'a> {}"), ["fn", "f", "impl", "Sized", "use", "a"]);
    }

    #[test]
    fn a_test_module_is_cut_off_and_single_test_items_are_not() {
        let source = "#[cfg(test)]\nmod tests;\n#[cfg(test)]\nfn a() {}\nmod b {}\n";
        assert_eq!(without_tests(source), source);
        for attribute in ["#[cfg(test)]", "#[cfg(all(test, not(feature = \"c\")))]"] {
            let cut = format!("{source}{attribute}\nmod tests {{\n}}");
            assert_eq!(without_tests(&cut).lines().count(), 6, "{attribute}");
        }
    }

    #[test]
    fn patterns_match_by_beginning_or_by_name() {
        let path = &paths("std::sync::atomic::AtomicU64")[0];
        assert!(path.matches("std::sync"));
        assert!(path.matches("Atomic.."));
        assert!(path.matches("std::sync::at.."));
        assert!(!path.matches("sync::atomic"));
        assert!(!path.matches("Atomic"));
    }

    #[test]
    fn modules_for_tests_only_are_those_below_a_cfg_test() {
        let text = "mod a;\n#[cfg(test)]\nmod b;\nmod c;\n#[cfg(test)]\n#[cfg(feature = \"x\")]\nmod d;\n#[expect(y)]\nmod e;\n";
        let modules = test_only_modules(&[File::made_up("crates/engine/src/lib.rs", text)]);
        let held = |path: &str| modules.iter().any(|module| module.holds(path));
        assert!(held("crates/engine/src/b.rs") && held("crates/engine/src/d/deep.rs"));
        for path in
            ["crates/engine/src/a.rs", "crates/engine/src/c.rs", "crates/engine/src/e.rs", "crates/engine/src/bb.rs"]
        {
            assert!(!held(path), "{path}");
        }
    }
}
