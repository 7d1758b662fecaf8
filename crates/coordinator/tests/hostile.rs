//! Whatever stands in the log of a coordinator: it is read without a panic, and the coordinator comes to life.

use bytes::Bytes;
use ottla_coordinator::group::Groups;
use ottla_coordinator::transaction::{self, Transactions};
use ottla_coordinator::{Around, Decider, Hosted};
use ottla_metadata::Image;
use ottla_metadata::config::{Overrides, Settings};
use ottla_protocol::batch::{Attributes, BatchBuilder, BatchFields, RecordParts, StampedBatch};
use ottla_protocol::compression::{Codecs, Effort};
use ottla_protocol::{LeaderEpoch, Now, Offset, ProducerEpoch, ProducerId};
use proptest::prelude::*;

/// A record: its type, the rest of its key, and its value.
#[derive(Clone, Debug)]
struct Written {
    kind: i16,
    key: Vec<u8>,
    version: i16,
    value: Option<Vec<u8>>,
}

fn written() -> impl Strategy<Value = Written> {
    // Strings are what most of the fields are, so bytes often begin like one.
    let text = "[a-c]{1,2}".prop_map(|text| {
        let mut bytes = (text.len() as i16).to_be_bytes().to_vec();
        bytes.extend_from_slice(text.as_bytes());
        bytes
    });
    let key = prop_oneof![
        2 => prop::collection::vec(text, 1..3).prop_map(|texts| {
            let mut key = texts.concat();
            key.extend_from_slice(&[0, 0, 0, 1]);
            key
        }),
        1 => prop::collection::vec(any::<u8>(), 0..12),
    ];
    let few = prop_oneof![Just(0_u8), Just(1), Just(2), any::<u8>()];
    let value = prop::option::weighted(0.9, prop::collection::vec(few, 0..60));
    (-1..25_i16, key, -1..5_i16, value).prop_map(|(kind, key, version, value)| Written {
        kind,
        key,
        version,
        value,
    })
}

fn batch(records: &[Written], producer: Option<i64>) -> StampedBatch {
    let mut builder = BatchBuilder::new();
    for record in records {
        let key = [&record.kind.to_be_bytes()[..], &record.key].concat();
        let value = record.value.as_ref().map(|value| [&record.version.to_be_bytes()[..], value].concat());
        let parts = RecordParts { key: Some(&key), value: value.as_deref(), ..RecordParts::default() };
        builder.append(&parts).unwrap();
    }
    let mut fields = BatchFields::default();
    if let Some(producer) = producer {
        fields.attributes = Attributes::default().transactional();
        fields.producer_id = ProducerId(producer);
        fields.producer_epoch = ProducerEpoch(0);
    }
    builder.finish(&fields, &mut Codecs::new()).at(Offset::ZERO, LeaderEpoch(0))
}

/// Reads a batch and lets time pass.
fn live<D: Decider>(decider: D, batch: &StampedBatch) {
    let mut hosted = Hosted::new(decider, Offset::ZERO, Effort::default());
    let next = batch.header().next_offset();
    hosted.replay(&batch.to_bytes(), next).unwrap();
    let image = Image::default();
    let mut log = Log(next);
    for seconds in [0_u64, 60, 3600, 1_000_000] {
        let now = Now { monotonic_us: 1_000_000 * seconds, wall_ms: 1000 * seconds as i64 };
        let around = Around { now, image: &image };
        if seconds == 0 {
            hosted.loaded(around);
        }
        for _ in 0..5 {
            hosted.tick(around, &mut log);
        }
        hosted.advance(log.0);
        while hosted.next_released().is_some() {}
    }
    drop(hosted.unload());
}

struct Log(Offset);

impl ottla_coordinator::Journal for Log {
    fn name(&self) -> String {
        "log-0".to_owned()
    }

    fn append(&mut self, batch: StampedBatch) -> Result<Offset, ottla_protocol::Refusal> {
        let base = self.0;
        self.0 = base.plus(i64::from(batch.header().last_offset_delta) + 1);
        Ok(base)
    }
}

proptest! {
    #[test]
    fn no_record_makes_a_coordinator_panic(
        records in prop::collection::vec(written(), 1..12),
        producer in prop::option::of(0..3_i64),
    ) {
        let batch = batch(&records, producer);
        live(Groups::new(Settings::new(Overrides::new()).unwrap(), 1), &batch);
        let settings = transaction::Settings::default();
        live(Transactions::new(LeaderEpoch(0), settings), &batch);
    }

    #[test]
    fn no_bytes_make_a_record_that_panics(key in prop::collection::vec(any::<u8>(), 0..40), value in any::<Option<Vec<u8>>>()) {
        let value = value.map(Bytes::from);
        drop(Groups::decode(&key, value.as_deref()));
        drop(Transactions::decode(&key, value.as_deref()));
    }
}
