//! Nothing unfinished is left behind in the sources: no such marks, no stubs, no tests that are switched off.

use super::Finding;
use super::tree::Tree;

const RULE: &str = "unfinished";

/// Written in pieces, so that this file does not find itself.
const MARKS: [&str; 4] =
    [concat!("TO", "DO"), concat!("FIX", "ME"), concat!("XX", "X:"), concat!("HA", "CK:")];
const CODE: [&str; 3] = [concat!("todo", "!("), concat!("unimplemented", "!("), concat!("#[ig", "nore")];

/// Reports marks anywhere in the sources and the pages, and stubs in Rust.
pub fn check(tree: &Tree, findings: &mut Vec<Finding>) {
    for file in &tree.files {
        let code = file.code.lines().chain(std::iter::repeat(""));
        for (at, (line, code)) in file.text.lines().zip(code).enumerate() {
            let mark = MARKS.iter().find(|mark| line.contains(**mark));
            let stub = CODE.iter().find(|stub| code.contains(**stub));
            if let Some(found) = mark.or(stub) {
                let message = format!("{found} is left");
                findings.push(Finding { path: file.path.clone(), line: at + 1, rule: RULE, message });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::tidy::planted::assert_found;

    #[test]
    fn what_is_unfinished_is_found() {
        let path = "crates/log/src/lib.rs";
        assert_found("unfinished", path, &[(path, concat!("//! A log.\n\n// TO", "DO: the rest\n"))]);
        assert_found("unfinished", path, &[(path, concat!("//! A log.\n\nfn f() { todo", "!() }\n"))]);
        assert_found("unfinished", path, &[(path, concat!("//! A log.\n\n#[ig", "nore]\nfn f() {}\n"))]);
    }
}
