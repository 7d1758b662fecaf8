//! Batches and records of a segment, or of a snapshot of the metadata.

use std::collections::BTreeMap;
use std::fs::File;
use std::path::{Path, PathBuf};

use ottla_protocol::Offset;
use ottla_protocol::batch::{ControlType, Record, RecordsIter, TransactionMarker};
use ottla_protocol::compression::{Codecs, Compression, Limit};
use ottla_protocol::records::shape::Shape;

use super::batches::{BatchesInFile, RawBatch};
use super::legacy::{self, LegacyRecord};
use super::parser::{Parsed, Parser};
use super::{at, base_offset};
use crate::tools::failure::Failure;
use crate::tools::{Out, record_json};

/// Bytes of a batch's records at most.
const DECOMPRESSED_MAX: usize = 1 << 31;

/// What is shown.
pub struct Shown {
    pub depth: Depth,
    /// How keys and values are read, where they are shown.
    pub parser: Option<Parser>,
    /// Whether offset, sizes and the like of each record are shown.
    pub record_metadata: bool,
    /// Bytes of the file at most; `i32::MAX` for all.
    pub max_bytes: i32,
}

/// How far down.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Depth {
    /// One line for each batch.
    Batches,
    /// And one for each record.
    Records,
}

/// Shows a file; offsets that do not follow one another are noted.
pub fn dump(
    file: &Path,
    shown: &Shown,
    out: Out<'_>,
    gaps: &mut BTreeMap<PathBuf, BTreeMap<i64, i64>>,
) -> Result<(), Failure> {
    title(file, out)?;
    let opened = File::open(file).map_err(|error| at(file, &error))?;
    let max_bytes = u64::try_from(shown.max_bytes).unwrap_or(0);
    let mut batches = BatchesInFile::new(&opened, file, 0, max_bytes)?;
    let mut position = 0;
    let mut last_offset = -1;
    let mut codecs = Codecs::new();
    while let Some(batch) = batches.next()? {
        batch_line(&batch, position, out)?;
        position += batch.bytes.len() as u64;
        if shown.depth == Depth::Batches {
            continue;
        }
        let mut follow = |offset: i64| {
            if offset != last_offset + 1 {
                gaps.entry(absolute(file)).or_default().insert(last_offset, offset);
            }
            last_offset = offset;
        };
        if batch.is_legacy() {
            for record in legacy::records(&batch, &mut codecs)? {
                follow(record.offset);
                legacy_line(&batch, record, shown, out)?;
            }
            continue;
        }
        for record in records(&batch, &mut codecs)? {
            let record = record.map_err(|error| Failure::Error(error.to_string()))?;
            follow(record.offset.0);
            record_line(&batch, &record, shown, out)?;
        }
    }
    let trailing = batches.end() - position;
    if trailing > 0 && shown.max_bytes == i32::MAX {
        let name = file.file_name().unwrap_or_default().to_string_lossy();
        writeln!(out, "Found {trailing} invalid bytes at the end of {name}")?;
    }
    Ok(())
}

fn absolute(file: &Path) -> PathBuf {
    std::path::absolute(file).unwrap_or_else(|_| file.to_owned())
}

fn title(file: &Path, out: Out<'_>) -> Result<(), Failure> {
    let name = file.file_name().unwrap_or_default().to_string_lossy().into_owned();
    let Some(stem) = name.strip_suffix(".checkpoint") else {
        return Ok(writeln!(out, "Log starting offset: {}", base_offset(file)?)?);
    };
    if stem == "bootstrap" {
        return Ok(writeln!(out, "KRaft bootstrap snapshot")?);
    }
    let id = stem
        .split_once('-')
        .and_then(|(offset, epoch)| Some((offset.parse::<i64>().ok()?, epoch.parse::<i32>().ok()?)));
    let Some((offset, epoch)) = id else {
        return Err(Failure::Error("java.util.NoSuchElementException: No value present".to_owned()));
    };
    Ok(writeln!(out, "Snapshot end offset: {offset}, epoch: {epoch}")?)
}

fn batch_line(batch: &RawBatch, position: u64, out: Out<'_>) -> Result<(), Failure> {
    if batch.is_legacy() {
        write!(out, "offset: {}", batch.last_offset())?;
    } else {
        let attributes = batch.attributes();
        let horizon = match attributes & 0x40 {
            0 => "OptionalLong.empty".to_owned(),
            _ => format!("OptionalLong[{}]", batch.base_timestamp()),
        };
        write!(
            out,
            "baseOffset: {} lastOffset: {} count: {} baseSequence: {} lastSequence: {} producerId: {} \
             producerEpoch: {} partitionLeaderEpoch: {} isTransactional: {} isControl: {} deleteHorizonMs: {horizon}",
            batch.base_offset(),
            batch.last_offset(),
            batch.count(),
            batch.base_sequence(),
            batch.sequence_at(batch.last_offset_delta()),
            batch.producer_id(),
            batch.producer_epoch(),
            batch.leader_epoch(),
            attributes & 0x10 != 0,
            batch.is_control(),
        )?;
    }
    let codec = batch.attributes() & 7;
    let codec = Compression::from_id(codec).ok_or_else(|| {
        Failure::Error(format!("java.lang.IllegalArgumentException: Unknown compression type id: {codec}"))
    })?;
    Ok(writeln!(
        out,
        " position: {position} {}: {} size: {} magic: {} compresscodec: {} crc: {} isvalid: {}",
        timestamp_type(batch),
        batch.max_timestamp(),
        batch.bytes.len(),
        batch.magic(),
        codec.name(),
        batch.crc(),
        batch.is_valid()
    )?)
}

fn timestamp_type(batch: &RawBatch) -> &'static str {
    match (batch.magic(), batch.attributes() & 8) {
        (0, _) => "NoTimestampType",
        (_, 0) => "CreateTime",
        (_, _) => "LogAppendTime",
    }
}

/// The records of a batch of format 2, one by one: those before damage are shown.
pub fn records(batch: &RawBatch, codecs: &mut Codecs) -> Result<RecordsIter, Failure> {
    let records = RecordsIter::new(&batch.bytes, Limit::bytes(DECOMPRESSED_MAX), codecs);
    records.map_err(|error| Failure::Error(error.to_string()))
}

fn record_line(batch: &RawBatch, record: &Record, shown: &Shown, out: Out<'_>) -> Result<(), Failure> {
    let mut line = Vec::new();
    if shown.record_metadata {
        let size = |bytes: Option<&bytes::Bytes>| bytes.map_or(-1, |bytes| bytes.len() as i64);
        let names: Vec<_> = record.headers.iter().map(ottla_protocol::batch::Header::name).collect();
        let delta = record.offset.0.wrapping_sub(batch.base_offset()) as i32;
        line.extend_from_slice(
            format!(
                "| offset: {} {}: {} keySize: {} valueSize: {} sequence: {} headerKeys: [{}]",
                record.offset,
                timestamp_type(batch),
                record.timestamp,
                size(record.key.as_ref()),
                size(record.value.as_ref()),
                batch.sequence_at(delta),
                names.join(",")
            )
            .as_bytes(),
        );
        if batch.is_control() {
            line.extend_from_slice(control(record)?.as_bytes());
        }
    }
    if !batch.is_control() {
        contents(record, shown, &mut line)?;
    }
    line.push(b'\n');
    Ok(out.write_all(&line)?)
}

/// A record of an old format.
fn legacy_line(batch: &RawBatch, record: LegacyRecord, shown: &Shown, out: Out<'_>) -> Result<(), Failure> {
    let mut line = Vec::new();
    if shown.record_metadata {
        let size = |bytes: &Option<Vec<u8>>| bytes.as_ref().map_or(-1, |bytes| bytes.len() as i64);
        line.extend_from_slice(
            format!(
                "| offset: {} {}: {} keySize: {} valueSize: {} isValid: {} crc: {}",
                record.offset,
                timestamp_type(batch),
                record.timestamp,
                size(&record.key),
                size(&record.value),
                record.is_valid,
                record.crc
            )
            .as_bytes(),
        );
    }
    let record = Record {
        offset: Offset(record.offset),
        timestamp: record.timestamp,
        key: record.key.map(Into::into),
        value: record.value.map(Into::into),
        headers: Vec::new(),
    };
    contents(&record, shown, &mut line)?;
    line.push(b'\n');
    Ok(out.write_all(&line)?)
}

/// Key and value, where they are shown.
fn contents(record: &Record, shown: &Shown, line: &mut Vec<u8>) -> Result<(), Failure> {
    if let Some(parser) = &shown.parser {
        let Parsed { key, value } = parser.parse(record)?;
        let mut prefix = if shown.record_metadata { " " } else { "| " };
        if let Some(key) = key {
            line.extend_from_slice(format!("{prefix}key: {key}").as_bytes());
            prefix = " ";
        }
        if let Some(value) = value {
            line.extend_from_slice(format!("{prefix}payload: {value}").as_bytes());
        }
    }
    Ok(())
}

/// What a control record says.
fn control(record: &Record) -> Result<String, Failure> {
    let key = record.key.as_deref();
    let value = record.value.as_deref();
    let invalid = |error: ottla_protocol::batch::BatchError| Failure::Error(error.to_string());
    let Some(kind) = ControlType::from_key(key).map_err(invalid)? else {
        let number = key.and_then(|key| key.get(2..4)).map_or(0, |id| i16::from_be_bytes([id[0], id[1]]));
        return Ok(format!(" controlType: UNKNOWN({number})"));
    };
    let (title, name) = match kind {
        ControlType::Abort | ControlType::Commit => {
            let epoch = TransactionMarker::coordinator_epoch_of(value).map_err(invalid)?;
            let end = if kind == ControlType::Abort { "ABORT" } else { "COMMIT" };
            return Ok(format!(" endTxnMarker: {end} coordinatorEpoch: {epoch}"));
        }
        ControlType::LeaderChange => ("LeaderChange:", "LeaderChangeMessage"),
        ControlType::SnapshotHeader => ("SnapshotHeader", "SnapshotHeaderRecord"),
        ControlType::SnapshotFooter => ("SnapshotFooter", "SnapshotFooterRecord"),
        ControlType::KraftVersion => ("KRaftVersion", "KRaftVersionRecord"),
        ControlType::KraftVoters => ("KRaftVoters", "VotersRecord"),
    };
    let bytes = value.unwrap_or_default();
    // The version stands in the message itself, as its first field.
    let version = bytes.first_chunk().map_or(0, |version| i16::from_be_bytes(*version));
    let shape = Shape::named(name).ok_or_else(|| Failure::Error(format!("no record {name}")))?;
    let (json, _) =
        record_json::read(shape, version, bytes).map_err(|error| Failure::Error(error.to_string()))?;
    Ok(format!(" {title} {json}"))
}
