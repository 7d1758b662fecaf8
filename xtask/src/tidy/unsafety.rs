//! `unsafe` in one module only, the one for system calls that rustix does not wrap.

use super::Finding;
use super::tree::Tree;

const RULE: &str = "unsafe";

/// Where it is allowed.
const ALLOWED: &str = "crates/server/src/system.rs";

/// Reports each `unsafe`, and each attempt to allow it, elsewhere.
pub fn check(tree: &Tree, findings: &mut Vec<Finding>) {
    for file in tree.rust().filter(|file| file.path != ALLOWED) {
        for (at, line) in file.code.lines().enumerate() {
            let words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
            let allows = line.contains("allow(unsafe_code") || line.contains("expect(unsafe_code");
            if words.into_iter().any(|word| word == "unsafe") || allows {
                let message = format!("unsafe outside {ALLOWED}");
                findings.push(Finding { path: file.path.clone(), line: at + 1, rule: RULE, message });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::tidy::planted::assert_found;

    #[test]
    fn unsafe_elsewhere_is_found() {
        let text = "//! A log.\n\nfn f(p: *const u8) -> u8 { unsafe { *p } }\n";
        assert_found("unsafe", "crates/log/src/lib.rs", &[("crates/log/src/lib.rs", text)]);
    }

    #[test]
    fn allowing_it_elsewhere_is_found() {
        let text = "//! A log.\n#![allow(unsafe_code)]\n";
        assert_found("unsafe", "crates/log/src/lib.rs", &[("crates/log/src/lib.rs", text)]);
    }
}
