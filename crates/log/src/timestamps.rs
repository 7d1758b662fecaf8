//! From a time to an offset: the time indexes narrow it down to a few batches, of which the headers are read, and of
//! one batch the records.

use bytes::{Bytes, BytesMut};
use ottla_protocol::batch::{HEADER_LEN, RecordsIter};
use ottla_protocol::compression::{Codecs, Limit};
use ottla_protocol::{LeaderEpoch, Offset};

use crate::disk::{DiskError, DiskFile};
use crate::frame::{Frame, Walk};
use crate::log::Log;

/// A record found by its timestamp.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimestampOffset {
    /// Its timestamp, in ms.
    pub timestamp: i64,
    /// Its offset.
    pub offset: Offset,
    /// The leader epoch it was written in, if that is known.
    pub leader_epoch: Option<LeaderEpoch>,
}

impl Log {
    /// The first record whose timestamp is `timestamp` (in ms) or later.
    ///
    /// # Errors
    /// [`DiskError`]; when the batch it must be in cannot be read as one, [`DiskError::is_corrupt`].
    pub fn offset_for_timestamp(&mut self, timestamp: i64) -> Result<Option<TimestampOffset>, DiskError> {
        let start = self.start;
        let is_it = |found: &TimestampOffset| found.timestamp >= timestamp && found.offset >= start;
        for segment in &mut self.segments {
            if segment.latest_or_modified_ms(&self.place)? < timestamp {
                continue;
            }
            let floor = segment.times(&self.place)?.floor(&self.place, timestamp)?;
            let from = segment.offsets(&self.place)?.floor(&self.place, floor.offset.max(start))?;
            let (base, size) = (segment.base(), segment.size());
            let file = segment.file(&self.place)?;
            let mut walk = Walk::new(&self.place, base, &*file, (from.position, size));
            while let Some((position, frame)) = walk.next()? {
                if frame.max_timestamp >= timestamp
                    && frame.last_offset >= start
                    && let Some(found) = first_record(&*file, position, &frame, is_it)?
                {
                    return Ok(Some(found));
                }
            }
        }
        Ok(None)
    }

    /// The first record with the latest timestamp of all (KIP-734); `None` when no record has one.
    ///
    /// # Errors
    /// As [`offset_for_timestamp`](Self::offset_for_timestamp).
    pub fn max_timestamp_offset(&mut self) -> Result<Option<TimestampOffset>, DiskError> {
        let mut best = None;
        for (i, segment) in self.segments.iter_mut().enumerate() {
            let latest = segment.latest(&self.place)?;
            if latest.timestamp > best.map_or(-1, |(_, timestamp)| timestamp) {
                best = Some((i, latest.timestamp));
            }
        }
        let Some((at, timestamp)) = best else { return Ok(None) };
        let segment = &mut self.segments[at];
        let latest = segment.latest(&self.place)?;
        let Some((position, frame)) = segment.search(&self.place, latest.offset)? else { return Ok(None) };
        let file = segment.file(&self.place)?;
        first_record(&*file, position, &frame, |found| found.timestamp == timestamp)
    }
}

/// The first record of a batch that `is_it` holds for.
fn first_record(
    file: &dyn DiskFile,
    position: u32,
    frame: &Frame,
    is_it: impl Fn(&TimestampOffset) -> bool,
) -> Result<Option<TimestampOffset>, DiskError> {
    let Some(header) = frame.header else {
        // Of the old formats only the outside is known.
        let found =
            TimestampOffset { timestamp: frame.max_timestamp, offset: frame.last_offset, leader_epoch: None };
        return Ok(is_it(&found).then_some(found));
    };
    let corrupt =
        |what: String| DiskError::corrupt("segment".as_ref(), format!("at position {position}: {what}"));
    let body = read_body(file, position, frame)?;
    // The leader has held the batch to its limits when it took it.
    let limit = Limit::bytes(i32::MAX as usize);
    let records = RecordsIter::of_body(header, body, limit, &mut Codecs::new());
    let records = records.map_err(|error| corrupt(error.to_string()))?;
    let leader_epoch = Some(header.leader_epoch).filter(|epoch| epoch.0 >= 0);
    for record in records.views() {
        let record = record.map_err(|error| corrupt(error.to_string()))?;
        let (timestamp, offset) = (records.timestamp_of(&record), records.offset_of(&record));
        let found = TimestampOffset { timestamp, offset, leader_epoch };
        if is_it(&found) {
            return Ok(Some(found));
        }
    }
    Ok(None)
}

fn read_body(file: &dyn DiskFile, position: u32, frame: &Frame) -> Result<Bytes, DiskError> {
    let mut body = BytesMut::zeroed(frame.size as usize - HEADER_LEN);
    let read = file.read_at(&mut body, u64::from(position) + HEADER_LEN as u64)?;
    body.truncate(read);
    Ok(body.freeze())
}
