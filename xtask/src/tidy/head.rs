//! Every Rust file says first, in `//!`, what it is and what it is not.

use super::Finding;
use super::tree::Tree;

const RULE: &str = "head";

/// The most lines that a head may have; a crate's root has room for a walk.
const MOST_LINES: usize = 10;
const MOST_LINES_OF_A_ROOT: usize = 60;

/// Reports files without a head, and heads that go on.
pub fn check(tree: &Tree, findings: &mut Vec<Finding>) {
    for file in tree.rust() {
        let head = file.text.lines().take_while(|line| line.starts_with("//!")).count();
        let is_root = file.path.ends_with("/lib.rs") || file.path.ends_with("/main.rs");
        let most = if is_root { MOST_LINES_OF_A_ROOT } else { MOST_LINES };
        let message = match head {
            0 => "the file does not begin with //!".to_owned(),
            n if n > most => format!("a head of {n} lines; at most {most}"),
            _ => continue,
        };
        findings.push(Finding { path: file.path.clone(), line: 1, rule: RULE, message });
    }
}

#[cfg(test)]
mod tests {
    use crate::tidy::planted::assert_found;

    #[test]
    fn a_file_without_a_head_is_found() {
        assert_found(
            "head",
            "crates/protocol/src/ids.rs",
            &[("crates/protocol/src/ids.rs", "pub struct Id;\n")],
        );
    }

    #[test]
    fn an_endless_head_is_found() {
        let text = "//! On and on.\n".repeat(11);
        assert_found("head", "crates/protocol/src/ids.rs", &[("crates/protocol/src/ids.rs", &text)]);
    }
}
