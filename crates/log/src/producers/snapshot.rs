//! `.snapshot`: the producers as they were at an offset, so that a start need not read the log from its beginning.
//!
//! Of each producer only the last batch is kept. A damaged snapshot is no loss: an earlier one and the log in between
//! say the same.

use std::io::IoSlice;

use ottla_protocol::batch::crc32c;
use ottla_protocol::{Offset, ProducerEpoch, ProducerId};

use super::{ProducerEntry, Producers, RememberedBatch};
use crate::disk::DiskError;
use crate::place::{Place, SNAPSHOT};

const VERSION: i16 = 1;
const HEAD: usize = 10;
const ENTRY: usize = 46;
/// Where what the checksum covers begins.
const COVERED_FROM: usize = 6;

/// Writes a snapshot at the producers' end offset. It is not synced.
pub(crate) fn write(place: &Place, producers: &Producers) -> Result<(), DiskError> {
    let bytes = encode(producers);
    let file = place.disk.create(&place.path(producers.end_offset(), SNAPSHOT))?;
    file.write_at(&[IoSlice::new(&bytes)], 0)
}

/// Reads the snapshot at `offset`, leaving out who has expired; `None` when there is no right one.
pub(crate) fn read(
    place: &Place,
    offset: Offset,
    wall_ms: i64,
    expiration_ms: i64,
) -> Result<Option<Producers>, DiskError> {
    let Some(bytes) = place.disk.read(&place.path(offset, SNAPSHOT))? else { return Ok(None) };
    let Some(entries) = decode(&bytes) else {
        tracing::warn!(path = %place.path(offset, SNAPSHOT).display(), "damaged producer snapshot");
        return Ok(None);
    };
    let mut producers = Producers::empty_at(offset);
    for (id, entry) in entries {
        if !entry.is_expired(wall_ms, expiration_ms) {
            producers.restore(id, entry);
        }
    }
    Ok(Some(producers))
}

/// The bytes of a snapshot.
pub(crate) fn encode(producers: &Producers) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD + ENTRY * producers.len());
    bytes.extend_from_slice(&VERSION.to_be_bytes());
    bytes.extend_from_slice(&[0; 4]);
    bytes.extend_from_slice(&(producers.len() as u32).to_be_bytes());
    for (id, entry) in producers.iter() {
        let last = entry.batches().last();
        bytes.extend_from_slice(&id.0.to_be_bytes());
        bytes.extend_from_slice(&entry.epoch.0.to_be_bytes());
        bytes.extend_from_slice(&entry.last_sequence().to_be_bytes());
        bytes.extend_from_slice(&entry.last_offset().0.to_be_bytes());
        bytes.extend_from_slice(&last.map_or(0, |batch| batch.offset_delta).to_be_bytes());
        bytes.extend_from_slice(&entry.last_timestamp.to_be_bytes());
        bytes.extend_from_slice(&entry.coordinator_epoch.to_be_bytes());
        bytes.extend_from_slice(&entry.transaction_start.map_or(-1, |offset| offset.0).to_be_bytes());
    }
    let crc = crc32c(&bytes[COVERED_FROM..]);
    bytes[2..COVERED_FROM].copy_from_slice(&crc.to_be_bytes());
    bytes
}

/// The entries of a snapshot; `None` when it is damaged.
pub(crate) fn decode(bytes: &[u8]) -> Option<Vec<(ProducerId, ProducerEntry)>> {
    let head = bytes.first_chunk::<HEAD>()?;
    let [v0, v1, c0, c1, c2, c3, n0, n1, n2, n3] = *head;
    let count = usize::try_from(u32::from_be_bytes([n0, n1, n2, n3])).ok()?;
    let entries = &bytes[HEAD..];
    let is_right = i16::from_be_bytes([v0, v1]) == VERSION
        && u32::from_be_bytes([c0, c1, c2, c3]) == crc32c(&bytes[COVERED_FROM..])
        && count.checked_mul(ENTRY) == Some(entries.len());
    is_right.then(|| entries.as_chunks::<ENTRY>().0.iter().map(decode_entry).collect())
}

fn decode_entry(bytes: &[u8; ENTRY]) -> (ProducerId, ProducerEntry) {
    let epoch = ProducerEpoch(i16::from_be_bytes(field(bytes, 8)));
    let last_offset = Offset(i64::from_be_bytes(field(bytes, 14)));
    let timestamp = i64::from_be_bytes(field(bytes, 26));
    let mut entry = ProducerEntry { epoch, ..ProducerEntry::default() };
    if last_offset >= Offset::ZERO {
        let batch = RememberedBatch {
            last_sequence: i32::from_be_bytes(field(bytes, 10)),
            last_offset,
            offset_delta: i32::from_be_bytes(field(bytes, 22)),
            timestamp,
        };
        entry.remember(epoch, batch);
    }
    entry.last_timestamp = timestamp;
    entry.coordinator_epoch = i32::from_be_bytes(field(bytes, 34));
    let start = Offset(i64::from_be_bytes(field(bytes, 38)));
    entry.transaction_start = (start >= Offset::ZERO).then_some(start);
    (ProducerId(i64::from_be_bytes(field(bytes, 0))), entry)
}

fn field<const N: usize>(bytes: &[u8; ENTRY], at: usize) -> [u8; N] {
    let mut field = [0; N];
    field.copy_from_slice(&bytes[at..at + N]);
    field
}
