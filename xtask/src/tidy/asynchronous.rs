//! No `async` below `server`: a machine is stepped, it does not wait. The client's shell, its module `net`, is excepted,
//! and so are the client's examples, which show how that is used.

use super::tree::{File, Tree};
use super::{BELOW_SERVER, Finding, PURE_BESIDE};

const RULE: &str = "async";

/// Reports each `async` and `.await` in the pure crates.
pub fn check(tree: &Tree, findings: &mut Vec<Finding>) {
    for file in tree.rust().filter(|file| is_pure(file)) {
        for (at, line) in file.code.lines().enumerate() {
            let words = line.split(|c: char| !c.is_alphanumeric() && c != '_');
            if let Some(word) = words.into_iter().find(|word| *word == "async" || *word == "await") {
                let message = format!("{word} below server");
                findings.push(Finding { path: file.path.clone(), line: at + 1, rule: RULE, message });
            }
        }
    }
}

fn is_pure(file: &File) -> bool {
    let shell =
        file.path.strip_prefix("crates/client/src/net").is_some_and(|rest| rest.starts_with(['.', '/']));
    let shell = shell || file.path.starts_with("crates/client/examples/");
    let name = file.crate_name().unwrap_or_default();
    !shell && (BELOW_SERVER.contains(&name) || PURE_BESIDE.contains(&name))
}

#[cfg(test)]
mod tests {
    use crate::tidy::planted::assert_found;

    #[test]
    fn async_below_server_is_found() {
        let text = "//! A log.\n\npub async fn append() {}\n";
        assert_found("async", "crates/log/src/lib.rs", &[("crates/log/src/lib.rs", text)]);
    }

    #[test]
    fn await_below_server_is_found() {
        let text = "//! A log.\n\nmacro_rules! wait { ($x:expr) => { $x.await } }\n";
        assert_found("async", "crates/log/src/lib.rs", &[("crates/log/src/lib.rs", text)]);
    }
}
