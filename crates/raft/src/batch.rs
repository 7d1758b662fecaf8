//! Batches as the metadata log has them: no compression, no producer, one timestamp for all records.
//!
//! A data record is a value and nothing else (no key, no headers); a control batch holds control records only.

use bytes::Bytes;
use ottla_protocol::batch::{
    Attributes, BatchBuilder, BatchError, BatchFields, BatchHeader, RecordParts, RecordsIter, StampedBatch,
    split,
};
use ottla_protocol::compression::{Codecs, Limit};

use crate::control_record::ControlRecord;
use crate::output::{CommittedBatch, Content};

/// A batch of data records, not stamped yet.
///
/// # Errors
/// [`BatchError::TooLarge`] from 2 GiB on.
pub fn of_data(values: &[Bytes], wall_ms: i64) -> Result<StampedBatch, BatchError> {
    let mut builder = BatchBuilder::with_capacity(values.iter().map(|value| value.len() + 12).sum());
    for value in values {
        builder.append(&RecordParts { timestamp: wall_ms, value: Some(value), ..RecordParts::default() })?;
    }
    Ok(builder.finish(&BatchFields::default(), &mut Codecs::new()))
}

/// A batch of control records, not stamped yet.
///
/// # Errors
/// [`BatchError`] when a record is one that we do not write.
pub fn of_control(records: &[ControlRecord], wall_ms: i64) -> Result<StampedBatch, BatchError> {
    let mut builder = BatchBuilder::new();
    for record in records {
        let Some((key, value)) = record.encode() else {
            return Err(BatchError::Invalid(format!("{record:?} cannot be written")));
        };
        let parts = RecordParts {
            timestamp: wall_ms,
            key: Some(&key),
            value: Some(&value),
            ..RecordParts::default()
        };
        builder.append(&parts)?;
    }
    let fields = BatchFields { attributes: Attributes::default().control(), ..BatchFields::default() };
    Ok(builder.finish(&fields, &mut Codecs::new()))
}

/// Reads the records of a whole batch.
///
/// # Errors
/// [`BatchError`] when the checksum or a record is wrong.
pub fn read(header: &BatchHeader, batch: &Bytes) -> Result<CommittedBatch, BatchError> {
    if !header.checksum_holds(batch) {
        return Err(BatchError::Corrupt(format!("checksum of the batch at {}", header.base_offset)));
    }
    let records = RecordsIter::new(batch, Limit::default(), &mut Codecs::new())?;
    let content = if header.is_control() {
        Content::Control(
            records.map(|record| ControlRecord::decode(&record?)).collect::<Result<Vec<_>, BatchError>>()?,
        )
    } else {
        Content::Records(records.map(|record| value(record?)).collect::<Result<Vec<_>, BatchError>>()?)
    };
    Ok(CommittedBatch {
        base_offset: header.base_offset,
        last_offset: header.last_offset(),
        epoch: header.leader_epoch,
        append_ms: header.max_timestamp,
        size: u32::try_from(header.size()).unwrap_or(u32::MAX),
        content,
    })
}

/// Reads all batches that lie one behind the other in `bytes`.
///
/// # Errors
/// [`BatchError`] at the first that is torn or wrong.
pub fn read_all(bytes: &Bytes) -> Result<Vec<CommittedBatch>, BatchError> {
    let (batches, torn) = split(bytes);
    match torn {
        Some(error) => Err(error),
        None => batches.iter().map(|(header, batch)| read(header, batch)).collect(),
    }
}

fn value(record: ottla_protocol::batch::Record) -> Result<Bytes, BatchError> {
    record
        .value
        .ok_or_else(|| BatchError::Invalid(format!("the metadata record at {} has no value", record.offset)))
}

#[cfg(test)]
mod tests {
    use ottla_protocol::{LeaderEpoch, NodeId, Offset, Uuid};

    use super::*;
    use crate::voters::{Endpoint, Voter, Voters};

    #[test]
    fn data_comes_back_as_it_went_in() -> Result<(), BatchError> {
        let values = [Bytes::from_static(b"one"), Bytes::new(), Bytes::from_static(b"three")];
        let batch = of_data(&values, 77)?.at(Offset(40), LeaderEpoch(3)).to_bytes();
        let read = read_all(&batch)?;
        assert_eq!(read.len(), 1);
        assert_eq!(
            (read[0].base_offset, read[0].last_offset, read[0].epoch),
            (Offset(40), Offset(42), LeaderEpoch(3))
        );
        assert_eq!((read[0].append_ms, read[0].size as usize), (77, batch.len()));
        assert_eq!(read[0].content, Content::Records(values.to_vec()));
        Ok(())
    }

    #[test]
    fn every_control_record_comes_back_as_it_went_in() -> Result<(), BatchError> {
        let endpoints = vec![Endpoint { listener: "CONTROLLER".into(), host: "h".into(), port: 9093 }];
        let voter = Voter { directory: Uuid::from_random([5; 16]), endpoints, kraft_versions: (0, 1) };
        let records = vec![
            ControlRecord::LeaderChange {
                leader: NodeId(1),
                voters: vec![NodeId(1), NodeId(2)],
                granting: vec![NodeId(2)],
            },
            ControlRecord::SnapshotHeader { last_append_ms: 12 },
            ControlRecord::KraftVersion(1),
            ControlRecord::KraftVoters(Voters::new([(NodeId(1), voter)])),
            ControlRecord::SnapshotFooter,
        ];
        let batch = of_control(&records, 1)?.at(Offset(0), LeaderEpoch(1)).to_bytes();
        assert_eq!(read_all(&batch)?[0].content, Content::Control(records));
        Ok(())
    }

    #[test]
    fn a_flipped_bit_is_seen() -> Result<(), BatchError> {
        let mut bytes = of_data(&[Bytes::from_static(b"value")], 0)?.to_bytes().to_vec();
        let last = bytes.len() - 2;
        bytes[last] ^= 1;
        assert!(read_all(&bytes.into()).is_err());
        Ok(())
    }
}
