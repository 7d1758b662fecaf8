//! What the suites found: passed, failed, or could not run and why.

use std::time::{Duration, Instant};

use crate::tools::Missing;

/// How a case ended.
#[derive(Clone, Debug)]
pub enum Outcome {
    Passed,
    Failed(String),
    CouldNotRun(Missing),
}

/// One line of the closing table.
#[derive(Clone, Debug)]
pub struct Case {
    pub suite: String,
    pub name: String,
    pub outcome: Outcome,
    pub took: Duration,
}

/// All cases of a run, printed as they end.
#[derive(Default)]
pub struct Report {
    cases: Vec<Case>,
}

impl Report {
    /// Runs one case and records how it ended; the answer is its value if it passed.
    pub fn case<T>(&mut self, suite: &str, name: &str, run: impl FnOnce() -> anyhow::Result<T>) -> Option<T> {
        let begin = Instant::now();
        let (outcome, value) = match run() {
            Ok(value) => (Outcome::Passed, Some(value)),
            Err(error) => match error.downcast::<Missing>() {
                Ok(missing) => (Outcome::CouldNotRun(missing), None),
                Err(error) => (Outcome::Failed(format!("{error:#}")), None),
            },
        };
        self.record(suite, name, outcome, begin.elapsed());
        value
    }

    /// Records a case that has been run elsewhere.
    pub fn done(&mut self, suite: &str, name: &str, took: Duration, outcome: anyhow::Result<()>) {
        let outcome =
            outcome.map_or_else(|error| Outcome::Failed(format!("{error:#}")), |()| Outcome::Passed);
        self.record(suite, name, outcome, took);
    }

    /// Records cases that another runner counted.
    pub fn counted(&mut self, suite: &str, passed: usize, failed: &[String]) {
        for name in failed {
            self.record(suite, name, Outcome::Failed("see above".to_owned()), Duration::ZERO);
        }
        let case = |at| Case {
            suite: suite.to_owned(),
            name: format!("test {at}"),
            outcome: Outcome::Passed,
            took: Duration::ZERO,
        };
        self.cases.extend((0..passed).map(case));
    }

    /// Prints the table and the closing line; whether the run may be called a success.
    pub fn close(&self, all_must_run: bool) -> bool {
        let mut suites: Vec<&str> = Vec::new();
        for case in &self.cases {
            if !suites.contains(&case.suite.as_str()) {
                suites.push(&case.suite);
            }
        }
        println!(
            "\n{:<12} {:>7} {:>7} {:>14} {:>9}",
            "suite", "passed", "failed", "could not run", "seconds"
        );
        for suite in suites {
            let cases: Vec<&Case> = self.cases.iter().filter(|case| case.suite == suite).collect();
            let took: Duration = cases.iter().map(|case| case.took).sum();
            let [passed, failed, missing] = count(&cases);
            println!("{suite:<12} {passed:>7} {failed:>7} {missing:>14} {:>9.1}", took.as_secs_f64());
        }
        self.close_missing();
        let [passed, failed, missing] = count(&self.cases.iter().collect::<Vec<_>>());
        for case in &self.cases {
            if let Outcome::Failed(why) = &case.outcome {
                println!("\nFAILED {} · {}\n{why}", case.suite, case.name);
            }
        }
        let failed = if all_must_run { failed + missing } else { failed };
        println!("\n{passed} passed, {failed} failed");
        failed == 0 && passed > 0
    }

    /// What could not run: each reason once, with what installs it.
    fn close_missing(&self) {
        let mut said: Vec<String> = Vec::new();
        for case in &self.cases {
            let Outcome::CouldNotRun(missing) = &case.outcome else { continue };
            let line =
                format!("could not run {}: {}\n    to install: {}", case.suite, missing.why, missing.install);
            if !said.contains(&line) {
                println!("\n{line}");
                said.push(line);
            }
        }
    }

    fn record(&mut self, suite: &str, name: &str, outcome: Outcome, took: Duration) {
        let word = match &outcome {
            Outcome::Passed => "ok".to_owned(),
            Outcome::Failed(why) => format!("FAILED: {}", why.lines().next().unwrap_or_default()),
            Outcome::CouldNotRun(missing) => format!("could not run: {}", missing.why),
        };
        println!("{suite} · {name} … {word} ({:.1} s)", took.as_secs_f64());
        self.cases.push(Case { suite: suite.to_owned(), name: name.to_owned(), outcome, took });
    }
}

/// Passed, failed, could not run.
fn count(cases: &[&Case]) -> [usize; 3] {
    let mut counts = [0; 3];
    for case in cases {
        match case.outcome {
            Outcome::Passed => counts[0] += 1,
            Outcome::Failed(_) => counts[1] += 1,
            Outcome::CouldNotRun(_) => counts[2] += 1,
        }
    }
    counts
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_could_not_run_fails_only_where_all_must_run() {
        let mut report = Report::default();
        report.case("a", "one", || Ok(()));
        let missing = Missing { why: "no kcat".to_owned(), install: "apt-get install kcat".to_owned() };
        report.case("a", "two", || -> anyhow::Result<()> { Err(missing.into()) });
        assert!(report.close(false));
        assert!(!report.close(true));
        report.case("a", "three", || -> anyhow::Result<()> { anyhow::bail!("broken") });
        assert!(!report.close(false));
    }

    #[test]
    fn a_run_of_nothing_is_no_success() {
        assert!(!Report::default().close(false));
    }
}
