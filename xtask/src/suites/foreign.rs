//! The tests that other clients ship, against one node: each test of the lists in `tests/foreign` must run and pass.
//!
//! A list only grows. How a suite of others is built and run is in `runner`; what its output says is read in `verdict`.

mod list;
mod runner;
mod verdict;

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{anyhow, ensure};

use super::Stage;
use crate::report::Report;
use list::List;
use runner::Runner;
use verdict::Verdict;

const SUITE: &str = "foreign";

/// How often a test that failed is run again, alone: these suites measure time on whatever machine they are on.
const MORE_ATTEMPTS: usize = 2;

/// What one of them found.
struct Findings {
    list: List,
    real_from: Duration,
    verdicts: anyhow::Result<Vec<Verdict>>,
    stopped: anyhow::Result<()>,
    took: Duration,
}

/// Runs them; those with waits of their own beside each other.
pub fn run(stage: &Stage, report: &mut Report) {
    // One of them, for whoever works at it.
    let only = std::env::var("OTTLA_FOREIGN").unwrap_or_default();
    let wanted = |runner: &&Runner| only.is_empty() || runner.name() == only;
    for together in runner::ORDER {
        let found: Vec<(&Runner, anyhow::Result<Findings>)> = thread::scope(|scope| {
            let threads: Vec<_> = together
                .iter()
                .filter(wanted)
                .map(|runner| (runner, scope.spawn(move || find(stage, *runner))))
                .collect();
            let join = |thread: thread::ScopedJoinHandle<'_, anyhow::Result<Findings>>| {
                thread.join().unwrap_or_else(|_| Err(anyhow!("the thread that ran it panicked")))
            };
            threads.into_iter().map(|(runner, thread)| (runner, join(thread))).collect()
        });
        for (runner, found) in found {
            tell(report, runner.name(), found);
        }
    }
}

/// Builds one, starts its node, runs the listed tests, and those that failed once more, one by one.
fn find(stage: &Stage, runner: Runner) -> anyhow::Result<Findings> {
    let list = List::read(runner.name())?;
    let built = runner.build()?;
    let real_from = runner.real_from();
    let begin = Instant::now();
    let mut node = runner.node(stage)?;
    let verdicts = (|| {
        let mut verdicts = runner.run(stage, &node, &built, &list.names)?;
        for _ in 0..MORE_ATTEMPTS {
            let failed = list.names.iter().filter(|name| judge(&verdicts, name, real_from).is_err());
            for name in failed.cloned().collect::<Vec<String>>() {
                println!("{SUITE} · {} {name} is run once more", runner.name());
                let again = runner.run(stage, &node, &built, std::slice::from_ref(&name))?;
                verdicts.retain(|verdict| verdict.name != name);
                verdicts.extend(again.into_iter().filter(|verdict| verdict.name == name));
            }
        }
        Ok(verdicts)
    })();
    let stopped = node.stop().and_then(|()| super::no_panic(&node));
    Ok(Findings { list, real_from, verdicts, stopped, took: begin.elapsed() })
}

/// One case for the node, and one for each test.
fn tell(report: &mut Report, runner: &str, found: anyhow::Result<Findings>) {
    let found = report.case(SUITE, &format!("{runner} is there"), || found);
    let Some(Findings { list, real_from, verdicts, stopped, took }) = found else { return };
    let what = format!("{runner}: {} tests within {:.0} s", list.names.len(), took.as_secs_f64());
    let Some(verdicts) = report.case(SUITE, &what, || verdicts) else { return };
    for name in &list.names {
        let took = verdicts.iter().find(|verdict| verdict.name == *name).map(|verdict| verdict.took);
        report.done(
            SUITE,
            &format!("{runner} {name}"),
            took.unwrap_or_default(),
            judge(&verdicts, name, real_from),
        );
    }
    report.case(SUITE, &format!("{runner}: its node stops"), || stopped);
}

/// Whether a test has run and passed, and was not too quick to have asked the node anything.
fn judge(verdicts: &[Verdict], name: &str, real_from: Duration) -> anyhow::Result<()> {
    let verdict = verdicts.iter().find(|verdict| verdict.name == name);
    let Some(verdict) = verdict else { return Err(anyhow!("it did not run to its end")) };
    ensure!(verdict.passed, "{}", verdict.why);
    ensure!(verdict.took >= real_from, "passed in {:?}: it has tested nothing", verdict.took);
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_did_not_run_or_was_too_quick_has_not_passed() {
        let verdict = |name: &str, passed, ms| Verdict {
            name: name.to_owned(),
            passed,
            took: Duration::from_millis(ms),
            why: "it says so".to_owned(),
        };
        let verdicts = [verdict("good", true, 10), verdict("quick", true, 9), verdict("bad", false, 10)];
        let ms = Duration::from_millis(10);
        assert!(judge(&verdicts, "good", ms).is_ok());
        for name in ["quick", "bad", "absent"] {
            assert!(judge(&verdicts, name, ms).is_err(), "{name}");
        }
    }
}
