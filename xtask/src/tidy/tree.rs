//! The project's files as text, read once for all rules.
//!
//! `code` of a Rust file is its text with comments, strings and character literals blanked out, line by line of the
//! same length, so that a rule that looks for a word finds code alone. This is a lexer of comments and literals, not a parser.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::Context;

/// Folders that are not the project's sources: at the top, and anywhere.
const SKIPPED_AT_TOP: [&str; 4] = [".git", "target", ".tools", "data"];
const SKIPPED: [&str; 2] = ["node_modules", "__pycache__"];

/// What is read as text; anything else is only known by its path.
const TEXT: [&str; 16] = [
    "rs",
    "toml",
    "md",
    "sh",
    "py",
    "go",
    "java",
    "xml",
    "txt",
    "tsv",
    "json",
    "yaml",
    "yml",
    "c",
    "mod",
    "properties",
];

/// One file of the project.
pub struct File {
    /// Relative to the workspace, with slashes.
    pub path: String,
    pub text: String,
    /// The text without comments and literals; empty unless the file is Rust.
    pub code: String,
}

/// All files of the project.
pub struct Tree {
    pub root: PathBuf,
    pub files: Vec<File>,
}

impl Tree {
    /// Reads every text file under `root`.
    pub fn read(root: &Path) -> anyhow::Result<Tree> {
        let mut files = Vec::new();
        let mut folders = vec![root.to_path_buf()];
        while let Some(folder) = folders.pop() {
            for entry in fs::read_dir(&folder).with_context(|| format!("reading {}", folder.display()))? {
                let path = entry?.path();
                let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
                if path.is_dir() {
                    let at_top = folder == root && SKIPPED_AT_TOP.contains(&name.as_str());
                    if !at_top && !SKIPPED.contains(&name.as_str()) {
                        folders.push(path);
                    }
                } else if is_text(&path, &name) {
                    files.push(read_file(root, &path)?);
                }
            }
        }
        files.sort_by(|a, b| a.path.cmp(&b.path));
        Ok(Tree { root: root.to_path_buf(), files })
    }

    /// The Rust files.
    pub fn rust(&self) -> impl Iterator<Item = &File> {
        self.files.iter().filter(|file| file.path.ends_with(".rs"))
    }

    /// The file at `path`, if there is one.
    pub fn file(&self, path: &str) -> Option<&File> {
        self.files.binary_search_by(|file| file.path.as_str().cmp(path)).ok().map(|at| &self.files[at])
    }
}

impl File {
    /// The folder under `crates/` that this file belongs to.
    pub fn crate_name(&self) -> Option<&str> {
        self.path.strip_prefix("crates/")?.split('/').next()
    }

    /// Whether the file was written by `cargo xtask generate`.
    pub fn is_generated(&self) -> bool {
        ["crates/protocol/src/messages", "crates/protocol/src/records"]
            .iter()
            .any(|folder| self.path.strip_prefix(folder).is_some_and(|rest| rest.starts_with(['/', '.'])))
    }

    /// Whether the whole file is test code.
    pub fn is_test(&self) -> bool {
        let in_tests = self.path.split('/').any(|part| part == "tests" || part == "benches");
        in_tests || self.path.ends_with("/tests.rs") || self.path.ends_with("_tests.rs")
    }

    /// The lines of code before the test module at the end of the file, each with its number.
    pub fn code_without_tests(&self) -> impl Iterator<Item = (usize, &str)> {
        let end = test_module(&self.code).unwrap_or(usize::MAX);
        self.code.lines().enumerate().map(|(at, line)| (at + 1, line)).take_while(move |(at, _)| *at < end)
    }
}

/// The line at which `#[cfg(test)] mod …` begins, if the file ends with one.
fn test_module(code: &str) -> Option<usize> {
    let lines: Vec<&str> = code.lines().collect();
    (0..lines.len())
        .find(|&at| {
            let next = lines.get(at + 1).map_or("", |line| line.trim());
            lines[at].trim() == "#[cfg(test)]" && next.starts_with("mod ") && next.ends_with('{')
        })
        .map(|at| at + 1)
}

fn is_text(path: &Path, name: &str) -> bool {
    let extension = path.extension().unwrap_or_default().to_string_lossy();
    TEXT.contains(&extension.as_ref()) || path.extension().is_none() || name.starts_with('.')
}

fn read_file(root: &Path, path: &Path) -> anyhow::Result<File> {
    let bytes = fs::read(path).with_context(|| format!("reading {}", path.display()))?;
    let text = String::from_utf8_lossy(&bytes).into_owned();
    let relative = path.strip_prefix(root).unwrap_or(path).to_string_lossy().replace('\\', "/");
    let code = if relative.ends_with(".rs") { blank(&text) } else { String::new() };
    Ok(File { path: relative, text, code })
}

/// Rust's text with everything that is not code turned into blanks; ends of lines stay.
fn blank(text: &str) -> String {
    let bytes = text.as_bytes();
    let mut code = bytes.to_vec();
    let mut at = 0;
    while at < bytes.len() {
        let end = match bytes[at] {
            b'/' if bytes.get(at + 1) == Some(&b'/') => line_end(bytes, at),
            b'/' if bytes.get(at + 1) == Some(&b'*') => block_comment_end(bytes, at),
            b'"' => string_end(bytes, at),
            b'r' | b'b' | b'c' if !follows_word(bytes, at) => raw_string_end(bytes, at),
            b'\'' => character_end(bytes, at),
            _ => at,
        };
        if end == at {
            at += 1;
            continue;
        }
        code[at..end].iter_mut().filter(|byte| **byte != b'\n').for_each(|byte| *byte = b' ');
        at = end;
    }
    String::from_utf8_lossy(&code).into_owned()
}

fn follows_word(bytes: &[u8], at: usize) -> bool {
    at > 0 && (bytes[at - 1].is_ascii_alphanumeric() || bytes[at - 1] == b'_')
}

fn line_end(bytes: &[u8], at: usize) -> usize {
    bytes[at..].iter().position(|byte| *byte == b'\n').map_or(bytes.len(), |length| at + length)
}

fn block_comment_end(bytes: &[u8], start: usize) -> usize {
    let mut depth = 0;
    let mut at = start;
    while at + 1 < bytes.len() {
        match &bytes[at..at + 2] {
            b"/*" => depth += 1,
            b"*/" => depth -= 1,
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
    bytes.len()
}

fn string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start + 1;
    while at < bytes.len() {
        match bytes[at] {
            b'\\' => at += 2,
            b'"' => return at + 1,
            _ => at += 1,
        }
    }
    bytes.len()
}

/// The end of `r"…"`, `r#"…"#`, `br"…"`, `b"…"`, `c"…"`, or `start` where there is none.
fn raw_string_end(bytes: &[u8], start: usize) -> usize {
    let mut at = start;
    let mut raw = false;
    while matches!(bytes.get(at), Some(b'r' | b'b' | b'c')) && at - start < 2 {
        raw |= bytes[at] == b'r';
        at += 1;
    }
    let hashes = bytes[at..].iter().take_while(|byte| **byte == b'#').count();
    if bytes.get(at + hashes) != Some(&b'"') || (!raw && hashes > 0) {
        return start;
    }
    if !raw {
        return string_end(bytes, at);
    }
    let closing: Vec<u8> = std::iter::once(b'"').chain(std::iter::repeat_n(b'#', hashes)).collect();
    let from = at + hashes + 1;
    let found = bytes[from..].windows(closing.len()).position(|window| window == closing);
    found.map_or(bytes.len(), |length| from + length + closing.len())
}

/// The end of a character literal, or `start` where the quote begins a lifetime.
fn character_end(bytes: &[u8], start: usize) -> usize {
    if bytes.get(start + 1) == Some(&b'\\') {
        let from = start + 3;
        return bytes
            .get(from..)
            .and_then(|rest| rest.iter().position(|b| *b == b'\''))
            .map_or(start, |n| from + n + 1);
    }
    let width = match bytes.get(start + 1) {
        Some(first) if *first >= 0xF0 => 4,
        Some(first) if *first >= 0xE0 => 3,
        Some(first) if *first >= 0xC0 => 2,
        _ => 1,
    };
    if bytes.get(start + 1 + width) == Some(&b'\'') { start + width + 2 } else { start }
}

#[cfg(test)]
mod tests {
    use super::blank;

    #[test]
    fn comments_and_literals_are_no_code() {
        let text = "let a = \"async\"; // async\nlet b = 'x'; /* a /* b */ async */ fn f<'a>() {}\nr#\"async \"\"#; b\"async\"; '\\''; done";
        let code = blank(text);
        assert_eq!(code.len(), text.len());
        assert!(!code.contains("async"), "{code}");
        assert!(code.contains("fn f<'a>() {}") && code.contains("done"), "{code}");
        assert_eq!(code.lines().count(), 3);
    }
}
