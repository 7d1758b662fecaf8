//! Everything that is built into the product has a licence from the list in deny.toml.

use std::collections::BTreeSet;

use super::Finding;
use super::arrows::metadata;
use super::tree::Tree;

const RULE: &str = "licences";
const LIST: &str = "deny.toml";

/// Reports dependencies without a licence from the list; a project without dependencies needs no list.
pub fn check(tree: &Tree, findings: &mut Vec<Finding>) -> anyhow::Result<()> {
    let allowed = allowed(tree.file(LIST).map(|file| file.text.as_str()).unwrap_or_default());
    let metadata = metadata(tree, &[])?;
    for package in metadata["packages"].as_array().into_iter().flatten() {
        let text = |key: &str| package[key].as_str().unwrap_or_default();
        let ours = text("name").starts_with("ottla") || text("name") == "xtask";
        if !ours && !is_allowed(text("license"), &allowed) {
            let message = format!("{} has the licence {:?}", text("name"), text("license"));
            findings.push(Finding { path: LIST.to_owned(), line: 0, rule: RULE, message });
        }
    }
    Ok(())
}

/// The quoted words of the list `allow`.
fn allowed(text: &str) -> BTreeSet<&str> {
    let list =
        text.split_once("allow = [").map_or("", |(_, rest)| rest.split(']').next().unwrap_or_default());
    list.split('"').skip(1).step_by(2).collect()
}

/// Whether each part that must be kept offers one licence from the list.
fn is_allowed(expression: &str, allowed: &BTreeSet<&str>) -> bool {
    let expression = expression.replace('/', " OR ").replace(['(', ')'], "");
    expression.split(" AND ").all(|part| part.split(" OR ").any(|one| allowed.contains(one.trim())))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tidy::planted::assert_found;

    #[test]
    fn a_licence_that_is_not_on_the_list_is_found() {
        let log = "[package]\nname = \"ottla-log\"\nedition = \"2024\"\n\n[dependencies]\ngreedy = { path = \"../../vendor/greedy\" }\n";
        let greedy = "[package]\nname = \"greedy\"\nedition = \"2024\"\nlicense = \"AGPL-3.0\"\n";
        let files = [
            ("deny.toml", "allow = [\"MIT\"]\n"),
            ("crates/log/Cargo.toml", log),
            ("vendor/greedy/Cargo.toml", greedy),
            ("vendor/greedy/src/lib.rs", "//! Greedy.\n"),
        ];
        assert_found("licences", "deny.toml", &files);
    }

    #[test]
    fn one_of_two_is_enough_and_both_of_both_are_needed() {
        let allowed = BTreeSet::from(["MIT", "Unicode-3.0"]);
        assert!(is_allowed("GPL-3.0 OR MIT", &allowed) && is_allowed("Apache-2.0/MIT", &allowed));
        assert!(is_allowed("(MIT OR Apache-2.0) AND Unicode-3.0", &allowed));
        assert!(!is_allowed("MIT AND GPL-3.0", &allowed) && !is_allowed("", &allowed));
    }
}
