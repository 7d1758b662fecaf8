//! Indexes and producer snapshots: entry by entry, and whether they fit their log.

use std::collections::BTreeMap;
use std::fs::{self, File};
use std::path::{Path, PathBuf};

use ottla_protocol::Message;
use ottla_protocol::batch::crc32c;
use ottla_protocol::codec::Reader;
use ottla_protocol::compression::Codecs;
use ottla_protocol::records::control::AbortedTxn;
use ottla_protocol::records::storage::ProducerSnapshot;

use super::batches::{BatchesInFile, RawBatch};
use super::{at, base_offset, beside};
use crate::tools::Out;
use crate::tools::failure::Failure;

const OFFSET_ENTRY: usize = 8;
const TIME_ENTRY: usize = 12;
const ABORTED_ENTRY: usize = 34;
/// A timestamp and an offset.
type TimeEntry = (i64, i64);
/// Where what a snapshot's checksum covers begins.
const SNAPSHOT_COVERED_FROM: usize = 6;

/// What is done with an index.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum IndexCheck {
    /// Its entries are shown and compared with the log.
    Show,
    /// They are compared only.
    Verify,
    /// Only what a broker looks at when it starts.
    Sanity,
}

/// What is wrong with time indexes, by file.
#[derive(Default)]
pub struct TimeIndexErrors {
    mismatches: BTreeMap<PathBuf, Vec<(i64, i64)>>,
    out_of_order: BTreeMap<PathBuf, Vec<(i64, i64)>>,
    not_found: BTreeMap<PathBuf, Vec<(i64, i64)>>,
}

impl TimeIndexErrors {
    /// Says all of it on stderr.
    pub fn tell(&self) {
        for (file, pairs) in &self.mismatches {
            eprintln!("Found timestamp mismatch in :{}", file.display());
            for (index, log) in pairs {
                eprintln!("  Index timestamp: {index}, log timestamp: {log}");
            }
        }
        for (file, pairs) in &self.out_of_order {
            eprintln!("Found out of order timestamp in :{}", file.display());
            for (index, before) in pairs {
                eprintln!("  Index timestamp: {index}, Previously indexed timestamp: {before}");
            }
        }
        for (file, pairs) in &self.not_found {
            eprintln!("The following indexed offsets are not found in :{}", file.display());
            for (index, log) in pairs {
                eprintln!("Indexed offset: {index}, found log offset: {log}");
            }
        }
    }
}

/// An offset index and its log.
pub fn offsets(
    file: &Path,
    check: IndexCheck,
    max_message_size: i32,
    out: Out<'_>,
    mismatches: &mut BTreeMap<PathBuf, BTreeMap<i64, i64>>,
) -> Result<(), Failure> {
    let base = base_offset(file)?;
    let log_path = beside(file, ".log");
    let log = File::open(&log_path).map_err(|error| at(&log_path, &error))?;
    let index = OffsetIndex::read(file, base)?;
    if index.entries().len() == 0 {
        return Ok(writeln!(out, "{} is empty.", file.display())?);
    }
    if check == IndexCheck::Sanity {
        index.sanity(file)?;
        return Ok(writeln!(out, "{} passed sanity check.", file.display())?);
    }
    let max = u64::try_from(max_message_size).unwrap_or(0);
    for (i, (offset, position)) in index.entries().enumerate() {
        // Room that was reserved, and left behind by a crash.
        if offset == base && i > 0 {
            return Ok(());
        }
        let mut batches = BatchesInFile::new(&log, &log_path, position, max)?;
        let Some(batch) = batches.next()? else {
            return Err(Failure::Error("java.util.NoSuchElementException".to_owned()));
        };
        if batch.last_offset() != offset {
            let of_file = mismatches.entry(absolute(file)).or_default();
            of_file.insert(offset, batch.last_offset());
        }
        if check == IndexCheck::Show {
            writeln!(out, "offset: {offset} position: {position}")?;
        }
    }
    Ok(())
}

/// A time index, its offset index and its log.
pub fn times(
    file: &Path,
    check: IndexCheck,
    out: Out<'_>,
    errors: &mut TimeIndexErrors,
) -> Result<(), Failure> {
    let base = base_offset(file)?;
    let log_path = beside(file, ".log");
    let log = File::open(&log_path).map_err(|error| at(&log_path, &error))?;
    let index_path = beside(file, ".index");
    let index = match OffsetIndex::read(&index_path, base) {
        Err(_) if !index_path.exists() => OffsetIndex { base, bytes: Vec::new() },
        result => result?,
    };
    let bytes = fs::read(file).map_err(|error| at(file, &error))?;
    let entries = bytes.as_chunks::<TIME_ENTRY>().0.iter().map(|&[a, b, c, d, e, f, g, h, i, j, k, l]| {
        let relative = i32::from_be_bytes([i, j, k, l]);
        (i64::from_be_bytes([a, b, c, d, e, f, g, h]), base + i64::from(relative))
    });
    if check == IndexCheck::Sanity {
        time_sanity(file, base, bytes.len(), (entries.clone().next(), entries.clone().next_back()))?;
        return Ok(writeln!(out, "{} passed sanity check.", file.display())?);
    }
    let mut before = -1;
    for (i, (timestamp, offset)) in entries.enumerate() {
        if offset == base && i > 0 {
            return Ok(());
        }
        let mut batches = BatchesInFile::new(&log, &log_path, index.floor(offset), i32::MAX as u64)?;
        let found = loop {
            match batches.next()? {
                Some(batch) if batch.last_offset() < offset => {}
                found => break found,
            }
        };
        match found {
            None => note(&mut errors.not_found, file, (offset, -1)),
            Some(batch) if batch.last_offset() != offset => {
                note(&mut errors.not_found, file, (offset, batch.last_offset()));
            }
            Some(batch) => {
                let latest = latest(&batch)?;
                if latest != timestamp {
                    note(&mut errors.mismatches, file, (timestamp, latest));
                }
                if before >= timestamp {
                    note(&mut errors.out_of_order, file, (timestamp, before));
                }
            }
        }
        if check == IndexCheck::Show {
            writeln!(out, "timestamp: {timestamp} offset: {offset}")?;
        }
        before = timestamp;
    }
    Ok(())
}

fn note(errors: &mut BTreeMap<PathBuf, Vec<(i64, i64)>>, file: &Path, pair: (i64, i64)) {
    errors.entry(absolute(file)).or_default().push(pair);
}

fn absolute(file: &Path) -> PathBuf {
    std::path::absolute(file).unwrap_or_else(|_| file.to_owned())
}

/// The latest timestamp among the records of a batch.
fn latest(batch: &RawBatch) -> Result<i64, Failure> {
    if batch.is_legacy() {
        return Ok(batch.max_timestamp());
    }
    let mut latest = -1;
    for record in super::segment::records(batch, &mut Codecs::new())? {
        latest = latest.max(record.map_err(|error| Failure::Error(error.to_string()))?.timestamp);
    }
    Ok(latest)
}

/// Looks at the first and the last entry.
fn time_sanity(
    file: &Path,
    base: i64,
    length: usize,
    ends: (Option<TimeEntry>, Option<TimeEntry>),
) -> Result<(), Failure> {
    let corrupt = |what: String| {
        let why = format!("org.apache.kafka.storage.internals.log.CorruptIndexException: {what}");
        Err(Failure::Error(why))
    };
    let name = absolute(file);
    let name = name.display();
    if let (Some(first), Some(last)) = ends {
        if last.0 < first.0 {
            return corrupt(format!(
                "Corrupt time index found, time index file ({name}) has non-zero size but the last timestamp is {} \
                 which is less than the first timestamp {}",
                last.0, first.0
            ));
        }
        if last.1 < base {
            return corrupt(format!(
                "Corrupt time index found, time index file ({name}) has non-zero size but the last offset is {} \
                 which is less than the first offset {base}",
                last.1
            ));
        }
    }
    if !length.is_multiple_of(TIME_ENTRY) {
        return corrupt(format!(
            "Time index file {name} is corrupt, found {length} bytes which is neither positive nor a multiple of \
             {TIME_ENTRY}."
        ));
    }
    Ok(())
}

/// An offset index. A node that is killed leaves one with much reserved room behind its entries, so it is not unpacked.
struct OffsetIndex {
    base: i64,
    bytes: Vec<u8>,
}

impl OffsetIndex {
    fn read(file: &Path, base: i64) -> Result<Self, Failure> {
        Ok(Self { base, bytes: fs::read(file).map_err(|error| at(file, &error))? })
    }

    /// Offsets and positions.
    fn entries(&self) -> impl ExactSizeIterator<Item = (i64, u64)> + DoubleEndedIterator + '_ {
        self.bytes.as_chunks::<OFFSET_ENTRY>().0.iter().map(|entry| self.entry(*entry))
    }

    fn entry(&self, [a, b, c, d, e, f, g, h]: [u8; OFFSET_ENTRY]) -> (i64, u64) {
        let position = u32::from_be_bytes([e, f, g, h]);
        (self.base + i64::from(i32::from_be_bytes([a, b, c, d])), u64::from(position))
    }

    /// Where a search for an offset begins.
    fn floor(&self, offset: i64) -> u64 {
        let entries = self.bytes.as_chunks::<OFFSET_ENTRY>().0;
        let after = entries.partition_point(|entry| self.entry(*entry).0 <= offset);
        after.checked_sub(1).and_then(|at| entries.get(at)).map_or(0, |entry| self.entry(*entry).1)
    }

    fn sanity(&self, file: &Path) -> Result<(), Failure> {
        let corrupt = |what: String| {
            let why = format!("org.apache.kafka.storage.internals.log.CorruptIndexException: {what}");
            Err(Failure::Error(why))
        };
        let name = absolute(file);
        let name = name.display();
        if let Some(last) = self.entries().next_back()
            && last.0 < self.base
        {
            return corrupt(format!(
                "Corrupt index found, index file {name} has non-zero size but the last offset is {} which is less \
                 than the base offset {}.",
                last.0, self.base
            ));
        }
        if !self.bytes.len().is_multiple_of(OFFSET_ENTRY) {
            return corrupt(format!(
                "Index file {name} is corrupt, found {} bytes which is neither positive nor a multiple of \
                 {OFFSET_ENTRY}.",
                self.bytes.len()
            ));
        }
        Ok(())
    }
}

/// The producers of a snapshot.
pub fn producers(file: &Path, out: Out<'_>) -> Result<(), Failure> {
    let bytes = fs::read(file).map_err(|error| at(file, &error))?;
    let snapshot = match snapshot(&bytes) {
        Ok(snapshot) => snapshot,
        Err(why) => {
            out.flush()?;
            eprintln!("{why}");
            return Ok(());
        }
    };
    for entry in snapshot.producer_entries {
        let start = match entry.current_txn_first_offset {
            first if first >= 0 => format!("OptionalLong[{first}]"),
            _ => "OptionalLong.empty".to_owned(),
        };
        write!(
            out,
            "producerId: {} producerEpoch: {} coordinatorEpoch: {} currentTxnFirstOffset: {start} lastTimestamp: {}",
            entry.producer_id, entry.epoch, entry.coordinator_epoch, entry.timestamp
        )?;
        if entry.last_offset >= 0 {
            write!(
                out,
                " firstSequence: {} lastSequence: {} lastOffset: {} offsetDelta: {} timestamp: {}",
                first_sequence(entry.last_sequence, entry.offset_delta),
                entry.last_sequence,
                entry.last_offset,
                entry.offset_delta,
                entry.timestamp
            )?;
        }
        writeln!(out)?;
    }
    Ok(())
}

fn snapshot(bytes: &[u8]) -> Result<ProducerSnapshot, String> {
    let schema = |why: &str| format!("Snapshot failed schema validation: {why}");
    let Some(version) = bytes.first_chunk().map(|version| i16::from_be_bytes(*version)) else {
        return Err(schema("null"));
    };
    if !(ProducerSnapshot::MIN..=ProducerSnapshot::MAX).contains(&version) {
        return Err(schema(&format!("Snapshot contained an unknown file version {version}")));
    }
    let mut reader = Reader::new(bytes::Bytes::copy_from_slice(&bytes[2..]));
    let snapshot =
        ProducerSnapshot::decode(&mut reader, version).map_err(|error| schema(&error.to_string()))?;
    let computed = crc32c(bytes.get(SNAPSHOT_COVERED_FROM..).unwrap_or_default());
    if snapshot.crc != computed {
        return Err(format!(
            "Snapshot is corrupt (CRC is no longer valid). Stored crc: {}. Computed crc: {computed}",
            snapshot.crc
        ));
    }
    Ok(snapshot)
}

/// The sequence number of a batch's first record, from that of its last: they begin again at 0 after the largest.
fn first_sequence(last: i32, delta: i32) -> i32 {
    if last < delta { i32::MAX - (delta - last) + 1 } else { last - delta }
}

/// The aborted transactions of a segment.
pub fn aborted(file: &Path, out: Out<'_>) -> Result<(), Failure> {
    let bytes = match fs::read(file) {
        // A segment without aborted transactions has no such file.
        Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
        result => result.map_err(|error| at(file, &error))?,
    };
    let (entries, rest) = bytes.as_chunks::<ABORTED_ENTRY>();
    for entry in entries {
        let version = i16::from_be_bytes([entry[0], entry[1]]);
        if version > AbortedTxn::MAX {
            let name = absolute(file);
            return Err(Failure::Error(format!(
                "org.apache.kafka.common.KafkaException: Unexpected aborted transaction version {version} in \
                 transaction index {}, current version is {}",
                name.display(),
                AbortedTxn::MAX
            )));
        }
        let mut reader = Reader::new(bytes::Bytes::copy_from_slice(&entry[2..]));
        let aborted =
            AbortedTxn::decode(&mut reader, 0).map_err(|error| Failure::Error(error.to_string()))?;
        writeln!(
            out,
            "version: {} producerId: {} firstOffset: {} lastOffset: {} lastStableOffset: {}",
            AbortedTxn::MAX,
            aborted.producer_id,
            aborted.first_offset,
            aborted.last_offset,
            aborted.last_stable_offset
        )?;
    }
    if !rest.is_empty() {
        return Err(Failure::Error(format!("{}: {} bytes are no entry", file.display(), rest.len())));
    }
    Ok(())
}
