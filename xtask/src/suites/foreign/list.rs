//! The lists of tests that must pass, and of those that are known not to.

use std::fs;

use anyhow::{Context, ensure};

/// The tests of one suite.
pub struct List {
    pub names: Vec<String>,
}

impl List {
    /// Reads `tests/foreign/<runner>.txt`; what stands in it is not in `known.txt`.
    pub fn read(runner: &str) -> anyhow::Result<List> {
        let names = lines(&format!("{runner}.txt"))?;
        ensure!(!names.is_empty(), "the list of {runner} is empty");
        for line in lines("known.txt")? {
            let (test, reason) = line.split_once(": ").with_context(|| format!("{line:?} has no reason"))?;
            let known = test
                .split_once(' ')
                .is_some_and(|(of, test)| of == runner && names.iter().any(|name| name == test));
            ensure!(!known, "{test} is both in its list and known to fail: {reason}");
        }
        Ok(List { names })
    }
}

/// The lines of a file of `tests/foreign`, without comments.
fn lines(file: &str) -> anyhow::Result<Vec<String>> {
    let path = crate::workspace().join("tests/foreign").join(file);
    let text = fs::read_to_string(&path).with_context(|| path.display().to_string())?;
    // Go gives tests of one name numbers: `NAME#01`.
    let lines = text.lines().map(str::trim).filter(|line| !line.is_empty() && !line.starts_with('#'));
    Ok(lines.map(str::to_owned).collect())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::suites::foreign::runner;

    #[test]
    fn every_suite_has_a_list_without_repetitions() {
        for runner in runner::ORDER.iter().copied().flatten() {
            let mut names = List::read(runner.name()).unwrap().names;
            let count = names.len();
            names.sort();
            names.dedup();
            assert_eq!(names.len(), count, "{}", runner.name());
        }
    }
}
