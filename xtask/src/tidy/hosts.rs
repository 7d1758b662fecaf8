//! No package registry's host is named: each tool finds its registry by its own settings.

use super::Finding;
use super::tree::Tree;

const RULE: &str = "hosts";

/// Written in pieces, so that this file does not find itself.
const HOSTS: [&str; 10] = [
    concat!("crates", ".io"),
    concat!("docs", ".rs"),
    concat!("pypi", ".org"),
    concat!("pythonhosted", ".org"),
    concat!("npmjs", ".org"),
    concat!("npmjs", ".com"),
    concat!("repo1.maven", ".org"),
    concat!("repo.maven", ".apache.org"),
    concat!("proxy.golang", ".org"),
    concat!("deb.debian", ".org"),
];

/// Lock files are written by cargo and Go, which name their registries.
const WRITTEN_BY_TOOLS: [&str; 2] = ["Cargo.lock", "go.sum"];

/// Reports each line that names one.
pub fn check(tree: &Tree, findings: &mut Vec<Finding>) {
    for file in &tree.files {
        let name = file.path.rsplit('/').next().unwrap_or_default();
        if WRITTEN_BY_TOOLS.contains(&name) {
            continue;
        }
        for (at, line) in file.text.lines().enumerate() {
            if let Some(host) = HOSTS.iter().find(|host| line.contains(**host)) {
                let message = format!("{host} is named");
                findings.push(Finding { path: file.path.clone(), line: at + 1, rule: RULE, message });
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use crate::tidy::planted::assert_found;

    #[test]
    fn a_named_registry_is_found() {
        let text = concat!("pip install -i https://pypi", ".org/simple x\n");
        assert_found("hosts", "tests/install.sh", &[("tests/install.sh", text)]);
    }
}
