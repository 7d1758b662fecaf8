//! `docs/clients.md`: which client does what, with Ottla and with Apache Kafka. A run fills the column of its server and
//! leaves the other as it is; a run that says something else than the page has failed, unless it is to write it.

use std::collections::BTreeMap;
use std::fs;
use std::path::PathBuf;

use anyhow::ensure;

use crate::report::Report;
use crate::suites::Stage;

const HEAD: &str = "\
# Clients

What each client did in `cargo xtask test groups`: a topic is created and 1,000 keyed records are produced; a group of two reads
them, with a rebalance in the middle and a restart of the node; offsets are committed and the lag is 0. Where the client has
transactions, the records are then copied in transactions, a third of them aborted on the way, and read back with read_committed.
Written by that suite (`UPDATE=1`), beside Apache Kafka (`--against apache-kafka`).

| client | what | Ottla | Apache Kafka 4.4.0 |
|---|---|---|---|
";

/// What stands where nothing is known yet.
const UNKNOWN: &str = "–";

/// What this run found, in its order.
#[derive(Default)]
pub struct Page {
    found: Vec<(String, String, &'static str)>,
}

impl Page {
    /// Runs a case and takes down how it ended.
    ///
    /// With Apache Kafka a client that fails is a fact and no failure of the suite.
    pub fn case(
        &mut self,
        stage: &Stage,
        (report, suite): (&mut Report, &str),
        (client, what): (&str, &str),
        run: impl FnOnce() -> anyhow::Result<()>,
    ) {
        let name = format!("{client}: {what}");
        let works = if stage.server.is_ottla() {
            report.case(suite, &name, run).is_some()
        } else {
            let works =
                report.case(suite, &name, || Ok(run().map_err(|error| println!("    {error:#}")).is_ok()));
            works == Some(true)
        };
        self.found.push((client.to_owned(), what.to_owned(), if works { "works" } else { "fails" }));
    }

    /// Compares the page with this run, or writes it.
    pub fn compare(&self, stage: &Stage) -> anyhow::Result<()> {
        let path = path();
        let before = fs::read_to_string(&path).unwrap_or_default();
        let text = self.text(&before, stage.server.is_ottla());
        if std::env::var_os("UPDATE").is_some() {
            return Ok(fs::write(&path, text)?);
        }
        ensure!(before == text, "this run says otherwise; UPDATE=1 writes the page:\n{text}");
        Ok(())
    }

    fn text(&self, before: &str, is_ottla: bool) -> String {
        let known: BTreeMap<(&str, &str), (&str, &str)> = before
            .lines()
            .filter_map(|line| {
                let cells: Vec<&str> = line.split('|').map(str::trim).collect();
                (cells.len() == 6).then(|| ((cells[1], cells[2]), (cells[3], cells[4])))
            })
            .collect();
        let mut text = HEAD.to_owned();
        for (client, what, found) in &self.found {
            let (ottla, apache) = known.get(&(client.as_str(), what.as_str())).unwrap_or(&(UNKNOWN, UNKNOWN));
            let (ottla, apache) = if is_ottla { (found, apache) } else { (ottla, found) };
            text.push_str(&format!("| {client} | {what} | {ottla} | {apache} |\n"));
        }
        text
    }
}

fn path() -> PathBuf {
    crate::workspace().join("docs/clients.md")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_run_fills_its_own_column() {
        let page = |found| Page { found: vec![("a".to_owned(), "b".to_owned(), found)] };
        let first = page("works").text("", true);
        assert!(first.ends_with("| a | b | works | – |\n"));
        assert!(page("fails").text(&first, false).ends_with("| a | b | works | fails |\n"));
    }
}
