//! Our kafka-dump-log beside Apache Kafka's, file by file: the same words, the same output, the same exit code.

use std::fs;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, ensure};

use crate::apache_tools::{Answer, ApacheTools};

/// States of a transaction: the tools 4.3.1 show their numbers, 4.4 and ours their names (KAFKA-20712).
const STATES: [&str; 8] = [
    "Empty",
    "Ongoing",
    "PrepareCommit",
    "PrepareAbort",
    "CompleteCommit",
    "CompleteAbort",
    "Dead",
    "PrepareEpochFence",
];

/// Dumps one file with both tools in every way that fits it. How many calls were compared is the answer.
pub fn compare(ottla: &Path, tools: &mut ApacheTools, file: &Path) -> anyhow::Result<usize> {
    let ways = ways(file);
    for way in &ways {
        let mut words = vec!["kafka-dump-log".to_owned(), "--files".to_owned(), file.display().to_string()];
        words.extend(way.iter().map(|word| (*word).to_owned()));
        compare_call(ottla, tools, &words)?;
    }
    Ok(ways.len())
}

fn compare_call(ottla: &Path, tools: &mut ApacheTools, words: &[String]) -> anyhow::Result<()> {
    let theirs = tools.call(words, "")?;
    let ours = Command::new(ottla).args(words).output().context("our kafka-dump-log")?;
    let ours = Answer {
        exit: ours.status.code().unwrap_or(-1),
        out: String::from_utf8_lossy(&ours.stdout).into_owned(),
        err: String::from_utf8_lossy(&ours.stderr).into_owned(),
    };
    same(&ours, &theirs).with_context(|| words.join(" "))
}

/// A file with one thing wrong: its ending, where from its beginning a byte is changed (or from where it is cut), and
/// how.
const DAMAGES: [(&str, usize, Damage); 10] = [
    ("log", 90, Damage::Flip(0x01)),
    ("log", 13, Damage::Flip(0x01)),
    ("log", 5000, Damage::Cut),
    ("log", 10, Damage::Cut),
    ("index", 3, Damage::Flip(0x01)),
    ("index", 20, Damage::Cut),
    ("timeindex", 7, Damage::Flip(0x01)),
    ("timeindex", 4, Damage::Flip(0x01)),
    ("timeindex", 11, Damage::Flip(0x01)),
    ("snapshot", 30, Damage::Flip(0x10)),
];

#[derive(Clone, Copy, Debug)]
enum Damage {
    Flip(u8),
    Cut,
}

/// Dumps copies of a partition's first segment, each with something wrong. How many calls were compared is the answer.
pub fn compare_damaged(
    ottla: &Path,
    tools: &mut ApacheTools,
    partition: &Path,
    copies: &Path,
) -> anyhow::Result<usize> {
    let mut calls = 0;
    for (number, (ending, at, damage)) in DAMAGES.into_iter().enumerate() {
        let folder = copies.join(format!("damaged-{number}"));
        fs::create_dir_all(&folder)?;
        let mut damaged = None;
        for entry in fs::read_dir(partition)?.flatten() {
            let (from, to) = (entry.path(), folder.join(entry.file_name()));
            let name = entry.file_name().to_string_lossy().into_owned();
            let is_wanted = name.starts_with("00000000000000000000.") || ending == "snapshot";
            if !is_wanted {
                continue;
            }
            let mut bytes = fs::read(&from)?;
            if name.ends_with(&format!(".{ending}")) && damaged.is_none() && bytes.len() > at {
                match damage {
                    Damage::Flip(bits) => bytes[at] ^= bits,
                    Damage::Cut => bytes.truncate(at),
                }
                damaged = Some(to.clone());
            }
            fs::write(&to, bytes)?;
        }
        let Some(damaged) = damaged else { continue };
        calls += compare(ottla, tools, &damaged).with_context(|| format!("{damage:?} at {at}"))?;
    }
    Ok(calls)
}

/// Messages of the formats 0 and 1, alone and two at a time in gzip, as Kafka wrote them up to 0.11; the last ones with
/// the broker's time.
const LEGACY: &str = "\
    000000000000000000000011165764b10000000000016b000000027630000000000000000200000044041fc7f10001ff\
    ffffff000000361f8b08000000000002036360000346201658b2564110c24b0411491029062620e6df7f315a8e81e13f\
    1080a492015081000f3700000000000000000000030000001995240aad01000000015d3ef79800000000016b00000002\
    76310000000000000005000000512cd8892e01010000015d3ef79802ffffffff0000003b1f8b08000000000002036360\
    800389a327548e3302198cb176df678019892022092a0f12118f927d7a18ae86e93f108038c900b260e2674700000000\
    00000000000007000000516395bef601090000015d3ef79809ffffffff0000003b1f8b08000000000002036360800389\
    a327548e3302198cb176df678019892022092a0f1211d738c7220957c3046254fd07020059d94ccc47000000\
";

/// Dumps a segment of the formats before 2. How many calls were compared is the answer.
pub fn compare_legacy(ottla: &Path, tools: &mut ApacheTools, copies: &Path) -> anyhow::Result<usize> {
    fs::create_dir_all(copies)?;
    let file = copies.join("00000000000000000000.log");
    let bytes: anyhow::Result<Vec<u8>> = LEGACY
        .as_bytes()
        .chunks(2)
        .map(|pair| Ok(u8::from_str_radix(std::str::from_utf8(pair)?, 16)?))
        .collect();
    fs::write(&file, bytes?)?;
    compare(ottla, tools, &file)
}

/// Calls that ask for what is not there, or is nothing. How many were compared is the answer.
pub fn compare_blunders(ottla: &Path, tools: &mut ApacheTools, copies: &Path) -> anyhow::Result<usize> {
    fs::create_dir_all(copies.join("folder.log"))?;
    for name in ["notes.txt", "abc.log", "x.checkpoint"] {
        fs::write(copies.join(name), "x")?;
    }
    for ending in ["log", "index", "timeindex", "txnindex", "snapshot"] {
        fs::write(copies.join(format!("00000000000000000009.{ending}")), "")?;
    }
    let calls: [&[&str]; 14] = [
        &["--files", "{}/notes.txt,{}//none,,"],
        &["--files", "{}/00000000000000000009.log"],
        &["--files", "{}/abc.log"],
        &["--files", "{}/folder.log"],
        &["--files", "{}/x.checkpoint"],
        &["--files", "{}/00000000000000000009.index,{}/00000000000000000009.timeindex"],
        &["--files", "{}/00000000000000000009.index", "--index-sanity-check"],
        &["--files", "{}/00000000000000000009.txnindex,{}/00000000000000000009.snapshot"],
        &["--files", "{}/00000000000000000008.log"],
        &["--files", "{}/00000000000000000008.index"],
        &["--files", "{}/00000000000000000008.txnindex,{}/00000000000000000008.snapshot"],
        &["--files", "{}/00000000000000000009.log", "--max-bytes", "many"],
        &["--files", "{}/00000000000000000009.log", "--value-decoder-class", "none"],
        &["--no-such-option"],
    ];
    for call in calls {
        let folder = copies.display().to_string();
        let words = call.iter().map(|word| word.replace("{}", &folder));
        let words: Vec<String> = std::iter::once("kafka-dump-log".to_owned()).chain(words).collect();
        compare_call(ottla, tools, &words)?;
    }
    Ok(calls.len())
}

/// The options that a file can be dumped with.
fn ways(file: &Path) -> Vec<Vec<&'static str>> {
    let folder = file.parent().and_then(Path::file_name).unwrap_or_default().to_string_lossy().into_owned();
    match file.extension().unwrap_or_default().to_string_lossy().as_ref() {
        "log" | "checkpoint" => {
            let mut ways = vec![
                vec![],
                vec!["--deep-iteration"],
                vec!["--print-data-log"],
                vec!["--print-data-log", "--skip-record-metadata"],
                vec!["--max-bytes", "1000"],
            ];
            let decoder = match folder.as_str() {
                "__cluster_metadata-0" => Some("--cluster-metadata-decoder"),
                folder if folder.starts_with("__consumer_offsets-") => Some("--offsets-decoder"),
                folder if folder.starts_with("__transaction_state-") => Some("--transaction-log-decoder"),
                folder if folder.starts_with("__share_group_state-") => Some("--share-group-state-decoder"),
                _ => None,
            };
            if folder.starts_with("rolled-") {
                const NUMBERS: &str = "org.apache.kafka.tools.api.LongDecoder";
                ways.push(vec!["--value-decoder-class", NUMBERS, "--skip-record-metadata"]);
            }
            if let Some(decoder) = decoder {
                ways.push(vec![decoder]);
                ways.push(vec![decoder, "--skip-record-metadata"]);
            }
            ways
        }
        "index" | "timeindex" => vec![vec![], vec!["--verify-index-only"], vec!["--index-sanity-check"]],
        "snapshot" | "txnindex" => vec![vec![]],
        _ => Vec::new(),
    }
}

fn same(ours: &Answer, theirs: &Answer) -> anyhow::Result<()> {
    ensure!(ours.exit == theirs.exit, "exit {} instead of {}: {}", ours.exit, theirs.exit, ours.err);
    let (our_lines, their_lines): (Vec<&str>, Vec<&str>) =
        (ours.out.lines().collect(), theirs.out.lines().collect());
    for (number, (our, their)) in our_lines.iter().zip(&their_lines).enumerate() {
        let newer = newer(their);
        ensure!(*our == newer || is_too_new(their), "line {} is\n  {our}\ninstead of\n  {newer}", number + 1);
    }
    ensure!(
        our_lines.len() == their_lines.len(),
        "{} lines instead of {}",
        our_lines.len(),
        their_lines.len()
    );
    if ours.exit != 0 {
        // The last word is Java's own there.
        return Ok(());
    }
    let (our_errors, their_errors) = (complaints(&ours.err), complaints(&theirs.err));
    ensure!(our_errors == their_errors, "it says\n{our_errors}\ninstead of\n{their_errors}");
    Ok(())
}

/// Records of versions that came with 4.4 are unknown to the tools 4.3.1.
fn is_too_new(line: &str) -> bool {
    line.contains("unknown record version") || line.contains("Can't read version")
}

/// What 4.4 prints where 4.3.1 printed this.
fn newer(line: &str) -> String {
    const FIELD: &str = "\"transactionStatus\":";
    let Some((before, after)) = line.split_once(FIELD) else { return line.to_owned() };
    let digits = after.len() - after.trim_start_matches(|c: char| c.is_ascii_digit()).len();
    let (number, after) = after.split_at(digits);
    match number.parse::<usize>().ok().and_then(|number| STATES.get(number)) {
        Some(name) => format!("{before}{FIELD}\"{name}\"{after}"),
        None => line.to_owned(),
    }
}

/// Without the traces of exceptions, which are Java's own.
fn complaints(err: &str) -> String {
    let is_trace = |line: &&str| {
        line.starts_with("\tat ") || line.contains("Exception") || line.starts_with("Caused by")
    };
    err.lines().filter(|line| !is_trace(line)).map(|line| format!("{line}\n")).collect()
}

#[cfg(test)]
mod tests {
    use super::newer;

    #[test]
    fn numbers_of_states_become_names() {
        assert_eq!(newer(r#"x "transactionStatus":4,"y""#), r#"x "transactionStatus":"CompleteCommit","y""#);
        assert_eq!(newer("nothing"), "nothing");
    }
}
