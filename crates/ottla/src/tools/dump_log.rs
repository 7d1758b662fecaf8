//! kafka-dump-log: what is in the files of a partition's folder.
//!
//! It reads files as they lie there, of a running node too, and changes nothing: it does not open a log.

mod batches;
mod indexes;
mod legacy;
mod parser;
mod segment;

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use super::failure::Failure;
use super::options::{Flag, Options, Usage};
use super::{Out, parse};
use indexes::{IndexCheck, TimeIndexErrors};
use parser::Parser;
use segment::{Depth, Shown};

/// What the tool understands.
pub static USAGE: Usage = Usage {
    about: "This tool helps to parse a log file and dump its contents to the console, useful for debugging a \
            seemingly corrupt log segment.",
    flags: &[
        Flag::switch(
            "print-data-log",
            "Show the records' keys and values too. A decoder, where one is given, means the same.",
        ),
        Flag::switch("verify-index-only", "Compare the index with its log, and show none of its entries."),
        Flag::switch(
            "index-sanity-check",
            "Only look whether an index can be right: what a broker does at its start to find out whether the index \
             has to be made anew.",
        ),
        Flag::value("files", "String: file1, file2, ...", "REQUIRED: the files, with commas in between."),
        Flag::value("max-message-size", "Integer: size", "How large a batch can be.").or("5242880"),
        Flag::value("max-bytes", "Integer: size", "How many bytes of each log are read at most.")
            .or("2147483647"),
        Flag::switch(
            "deep-iteration",
            "Show every record, not batches only. --print-data-log means the same.",
        ),
        Flag::optional(
            "value-decoder-class",
            "String",
            "How values are shown: a class of org.apache.kafka.tools.api, StringDecoder where none is given.",
        ),
        Flag::optional(
            "key-decoder-class",
            "String",
            "How keys are shown: a class of org.apache.kafka.tools.api, StringDecoder where none is given.",
        ),
        Flag::switch("offsets-decoder", "The records are those of __consumer_offsets."),
        Flag::switch("transaction-log-decoder", "The records are those of __transaction_state."),
        Flag::switch("cluster-metadata-decoder", "The records are those of the metadata log."),
        Flag::switch("remote-log-metadata-decoder", "The records are those of __remote_log_metadata."),
        Flag::switch("share-group-state-decoder", "The records are those of __share_group_state."),
        Flag::switch("skip-record-metadata", "Show of records only keys and values, and no control records."),
    ],
};

/// Any of these means that records are shown.
const PRINTING: &[&str] = &[
    "print-data-log",
    "offsets-decoder",
    "transaction-log-decoder",
    "cluster-metadata-decoder",
    "remote-log-metadata-decoder",
    "value-decoder-class",
    "key-decoder-class",
    "share-group-state-decoder",
];

/// Complaints that are made when all files have been looked at.
#[derive(Default)]
struct Complaints {
    /// By index file: the offset in the index, and the one in the log. The last come first.
    index: BTreeMap<PathBuf, BTreeMap<i64, i64>>,
    time_index: TimeIndexErrors,
    /// By log file: an offset, and the one that follows though it should not.
    gaps: BTreeMap<PathBuf, BTreeMap<i64, i64>>,
}

/// Runs the tool.
pub fn run(words: &[String], out: Out<'_>) -> Result<(), Failure> {
    let options = parse(&USAGE, words)?;
    options.require(&["files"])?;
    let files = options.value("files")?.unwrap_or_default();
    let mut complaints = Complaints::default();
    // Java drops empty names at the end of a list.
    for name in files.trim_end_matches(',').split(',') {
        dump(&options, &tidied(name), out, &mut complaints)?;
    }
    complaints.tell();
    Ok(())
}

/// The path as Java's `File` shows it.
fn tidied(name: &str) -> PathBuf {
    let mut tidy = String::with_capacity(name.len());
    for letter in name.chars() {
        if letter != '/' || !tidy.ends_with('/') {
            tidy.push(letter);
        }
    }
    if tidy.len() > 1 && tidy.ends_with('/') {
        tidy.pop();
    }
    PathBuf::from(tidy)
}

fn dump(options: &Options, file: &Path, out: Out<'_>, complaints: &mut Complaints) -> Result<(), Failure> {
    writeln!(out, "Dumping {}", file.display())?;
    let check = if options.has("index-sanity-check") {
        IndexCheck::Sanity
    } else if options.has("verify-index-only") {
        IndexCheck::Verify
    } else {
        IndexCheck::Show
    };
    match file.file_name().and_then(|name| name.to_str()).and_then(|name| name.rsplit_once('.')) {
        Some((_, "log" | "checkpoint")) => {
            let prints = PRINTING.iter().any(|name| options.has(name));
            let shown = Shown {
                depth: if prints || options.has("deep-iteration") { Depth::Records } else { Depth::Batches },
                parser: if prints { Some(Parser::of(options)?) } else { None },
                record_metadata: !options.has("skip-record-metadata"),
                max_bytes: options.number("max-bytes")?.unwrap_or(i32::MAX),
            };
            segment::dump(file, &shown, out, &mut complaints.gaps)
        }
        Some((_, "index")) => {
            let max_message_size: i32 = options.number("max-message-size")?.unwrap_or(i32::MAX);
            indexes::offsets(file, check, max_message_size, out, &mut complaints.index)
        }
        Some((_, "timeindex")) => indexes::times(file, check, out, &mut complaints.time_index),
        Some((_, "snapshot")) => indexes::producers(file, out),
        Some((_, "txnindex")) => indexes::aborted(file, out),
        _ => {
            out.flush()?;
            eprintln!("Ignoring unknown file {}", file.display());
            Ok(())
        }
    }
}

impl Complaints {
    fn tell(&self) {
        for (file, mismatches) in &self.index {
            eprintln!("Mismatches in :{}", file.display());
            for (index, log) in mismatches.iter().rev() {
                eprintln!("  Index offset: {index}, log offset: {log}");
            }
        }
        self.time_index.tell();
        for (file, gaps) in &self.gaps {
            eprintln!("Non-consecutive offsets in {}", file.display());
            for (before, after) in gaps {
                eprintln!("  {before} is followed by {after}");
            }
        }
    }
}

/// The offset that a file's name begins with.
fn base_offset(file: &Path) -> Result<i64, Failure> {
    let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    let digits = name.split('.').next().unwrap_or_default();
    digits.parse().map_err(|_| {
        Failure::Error(format!("java.lang.NumberFormatException: For input string: \"{digits}\""))
    })
}

/// The file beside this one with the same offset and another suffix.
fn beside(file: &Path, suffix: &str) -> PathBuf {
    let name = file.file_name().map(|name| name.to_string_lossy().into_owned()).unwrap_or_default();
    file.with_file_name(format!("{}{suffix}", name.split('.').next().unwrap_or_default()))
}

/// An error with the file that it concerns.
fn at(file: &Path, error: &std::io::Error) -> Failure {
    Failure::Error(format!("{}: {error}", file.display()))
}

#[cfg(test)]
mod tests;
