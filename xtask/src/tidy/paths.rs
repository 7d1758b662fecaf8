//! Every path of the project that a page names exists.
//!
//! Read are README.md, CHANGELOG.md and docs/; a path is a word in backticks or the target of a link that has a slash
//! or one of the project's endings. What the reader makes himself (`./data`, `target/…`, `.tools/…`) is left out.

use super::Finding;
use super::tree::{File, Tree};

const RULE: &str = "paths";

const ENDINGS: [&str; 6] = [".rs", ".md", ".toml", ".py", ".java", ".go"];
const TOP: [&str; 8] = ["crates", "docs", "tests", "xtask", "bench", "fuzz", ".ci", ".cargo"];

/// Reports each path that leads nowhere.
pub fn check(tree: &Tree, findings: &mut Vec<Finding>) {
    let pages = tree.files.iter().filter(|file| {
        file.path.ends_with(".md") && (file.path.starts_with("docs/") || !file.path.contains('/'))
    });
    for page in pages {
        for (at, line) in page.text.lines().enumerate() {
            for path in named(line).filter(|path| !exists(tree, page, path)) {
                let message = format!("{path} does not exist");
                findings.push(Finding { path: page.path.clone(), line: at + 1, rule: RULE, message });
            }
        }
    }
}

/// What a line of Markdown names as a path of the project.
fn named(line: &str) -> impl Iterator<Item = &str> {
    let quoted = line.split('`').skip(1).step_by(2).filter(|text| looks_like_path(text));
    let linked = line.split("](").skip(1).filter_map(|rest| rest.split([')', '#']).next());
    quoted.chain(linked.filter(|text| !text.is_empty() && !text.contains("://")))
}

fn looks_like_path(text: &str) -> bool {
    let plain = text.chars().all(|c| c.is_ascii_alphanumeric() || "._-/".contains(c));
    let top = text.split('/').next().unwrap_or_default();
    let in_tree = text.contains('/') && TOP.contains(&top);
    plain && (in_tree || (ENDINGS.iter().any(|ending| text.ends_with(ending)) && !text.starts_with('.')))
}

/// A path may be named from the top, from where the page lies, or by its end.
fn exists(tree: &Tree, page: &File, path: &str) -> bool {
    let path = path.trim_end_matches('/');
    let beside = page.path.rsplit_once('/').map_or("", |(folder, _)| folder);
    let by_its_end = || tree.files.iter().any(|file| file.path.ends_with(&format!("/{path}")));
    tree.root.join(path).exists() || tree.root.join(beside).join(path).exists() || by_its_end()
}

#[cfg(test)]
mod tests {
    use crate::tidy::planted::assert_found;

    #[test]
    fn a_path_that_leads_nowhere_is_found() {
        assert_found("paths", "README.md", &[("README.md", "Read `crates/log/src/gone.rs`.\n")]);
        assert_found("paths", "docs/TESTING.md", &[("docs/TESTING.md", "See [style](STYLE.md).\n")]);
    }
}
