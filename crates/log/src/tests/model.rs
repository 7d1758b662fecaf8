//! Random operations on a disk without faults, compared with the model after each.

use ottla_protocol::Offset;
use ottla_protocol::batch::StampedBatch;
use proptest::prelude::*;

use super::session::*;
use super::support::*;
use crate::{FirstBatch, Log, LogConfig, ReadError, ReadLimit};

fn op() -> impl Strategy<Value = Op> {
    prop_oneof![
        12 => any::<u64>().prop_map(Op::Append),
        8 => any::<u64>().prop_map(Op::Transact),
        2 => Just(Op::NewEpoch),
        2 => Just(Op::Flush),
        1 => Just(Op::Roll),
        3 => any::<u64>().prop_map(Op::Truncate),
        1 => any::<u64>().prop_map(Op::TruncateFully),
        2 => Just(Op::Reopen),
    ]
}

fn config() -> impl Strategy<Value = LogConfig> {
    (150..1500u32, 0..600u32, 60..2000u32, prop_oneof![Just(0), 1..900u32]).prop_map(
        |(segment_bytes, index_interval_bytes, index_bytes, preallocate_bytes)| LogConfig {
            segment_bytes,
            index_interval_bytes,
            index_bytes,
            preallocate_bytes,
            ..LogConfig::default()
        },
    )
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(150))]

    #[test]
    fn a_log_is_a_vector_of_batches(
        config in config(),
        ops in prop::collection::vec(op(), 1..60),
        seed in any::<u64>(),
    ) {
        let mut session = Session::new(disk(), config, seed).unwrap();
        let mut dice = Dice(seed);
        for op in ops {
            session.step(op).unwrap();
            prop_assert_eq!((session.log().start_offset(), session.log().end_offset()), (session.start, session.end));
            let (batches, end) = (session.batches.clone(), session.end);
            compare(session.log(), &batches, Depth::Whole);
            for _ in 0..8 {
                read_somewhere(session.log(), &batches, end, &mut dice);
            }
        }
    }

    #[test]
    fn old_records_go_and_the_others_stay(
        ops in prop::collection::vec(
            prop_oneof![
                6 => any::<u64>().prop_map(Op::Append),
                1 => any::<u64>().prop_map(Op::DeleteRecords),
                2 => Just(Op::Retain),
                1 => Just(Op::Reopen),
            ],
            1..60,
        ),
        retention_bytes in prop_oneof![Just(None), (0..3000u64).prop_map(Some)],
        seed in any::<u64>(),
    ) {
        let config = LogConfig { retention_bytes, ..small() };
        let mut session = Session::new(disk(), config, seed).unwrap();
        for op in ops {
            session.step(op).unwrap();
            prop_assert_eq!((session.log().start_offset(), session.log().end_offset()), (session.start, session.end));
            let batches = session.batches.clone();
            compare(session.log(), &batches, Depth::AfterRetention);
            if let (Op::Retain, Some(limit)) = (op, retention_bytes) {
                prop_assert!(session.log().size() < limit + u64::from(config.segment_bytes));
            }
        }
    }

    #[test]
    fn a_timestamp_finds_the_first_record_as_late(
        ops in prop::collection::vec(
            prop_oneof![
                9 => any::<u64>().prop_map(Op::Append),
                1 => any::<u64>().prop_map(Op::Truncate),
                1 => any::<u64>().prop_map(Op::DeleteRecords),
                1 => Just(Op::Reopen),
            ],
            1..40,
        ),
        config in config(),
        seed in any::<u64>(),
    ) {
        let mut session = Session::new(disk(), config, seed).unwrap();
        for op in ops {
            session.step(op).unwrap();
        }
        let records = records(&session.batches, session.start);
        let mut dice = Dice(seed);
        for _ in 0..30 {
            let target = 970 + dice.roll(100 + session.end.0 as u64) as i64;
            let found = session.log().offset_for_timestamp(target).unwrap();
            let expected = records.iter().find(|(timestamp, _)| *timestamp >= target);
            prop_assert_eq!(found.map(|found| (found.timestamp, found.offset)), expected.copied());
        }
        let all = super::model::records(&session.batches, Offset(0));
        let latest = all.iter().map(|(timestamp, _)| *timestamp).max();
        let expected = all.iter().find(|(timestamp, _)| Some(*timestamp) == latest);
        let found = session.log().max_timestamp_offset().unwrap();
        prop_assert_eq!(found.map(|found| (found.timestamp, found.offset)), expected.copied());
    }
}

fn read_somewhere(log: &mut Log, batches: &[StampedBatch], end: Offset, dice: &mut Dice) {
    let from = Offset(dice.roll(end.0 as u64 + 2) as i64);
    let limit = ReadLimit {
        up_to: if dice.roll(2) == 0 { end } else { Offset(dice.roll(end.0 as u64 + 2) as i64) },
        max_bytes: dice.roll(2000) as u32,
        first_batch: if dice.roll(2) == 0 { FirstBatch::AnySize } else { FirstBatch::WithinLimit },
    };
    let start = log.start_offset();
    match log.read(from, limit) {
        Err(ReadError::OutOfRange { .. }) => assert!(from < start || from > end),
        Err(error) => panic!("{error}"),
        Ok(found) => {
            let up_to = limit.up_to.min(end);
            let expected = naive_read(batches, from, ReadLimit { up_to, ..limit });
            assert_eq!(bases(&found.read().unwrap()), bases(&expected), "{from} {limit:?}");
            let next = batches.iter().find(|batch| {
                batch.header().last_offset() >= from
                    && !bases(&expected).contains(&batch.header().base_offset.0)
            });
            assert!(found.next >= from && next.is_none_or(|next| found.next <= next.header().last_offset()));
            assert!(bases(&expected).iter().all(|base| Offset(*base) < found.next));
        }
    }
}

/// Timestamp and offset of every record from `start` on.
fn records(batches: &[StampedBatch], start: Offset) -> Vec<(i64, Offset)> {
    let mut records = Vec::new();
    for batch in batches {
        let all = ottla_protocol::batch::RecordsIter::new(
            &batch.to_bytes(),
            ottla_protocol::compression::Limit::default(),
            &mut ottla_protocol::compression::Codecs::new(),
        );
        for record in all.unwrap() {
            let record = record.unwrap();
            if record.offset >= start {
                records.push((record.timestamp, record.offset));
            }
        }
    }
    records
}
