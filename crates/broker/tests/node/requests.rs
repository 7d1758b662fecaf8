//! Requests as tests want to write them, and what they look for in responses.

use bytes::Bytes;
use ottla_protocol::batch::{BatchBuilder, BatchFields, Batches, RecordParts, RecordsIter};
use ottla_protocol::codec::Records;
use ottla_protocol::compression::{Codecs, Limit};
use ottla_protocol::messages::create_topics::{CreatableTopic, CreatableTopicConfig};
use ottla_protocol::messages::delete_topics::DeleteTopicState;
use ottla_protocol::messages::fetch::{FetchPartition, FetchTopic};
use ottla_protocol::messages::produce::{PartitionProduceData, TopicProduceData};
use ottla_protocol::messages::{
    CreateTopicsRequest, DeleteTopicsRequest, FetchRequest, FetchResponse, MetadataRequest, ProduceRequest,
    ProduceResponse,
};
use ottla_protocol::{ProducerEpoch, ProducerId, Uuid};

use super::support::{START_MS, World};

/// A batch with a record for each value.
pub fn batch(values: &[&str]) -> Bytes {
    batch_with(&BatchFields::default(), values)
}

/// A batch of an idempotent producer.
pub fn idempotent(producer: i64, epoch: i16, sequence: i32, values: &[&str]) -> Bytes {
    let fields = BatchFields {
        producer_id: ProducerId(producer),
        producer_epoch: ProducerEpoch(epoch),
        base_sequence: sequence,
        ..BatchFields::default()
    };
    batch_with(&fields, values)
}

/// A batch with these fields.
pub fn batch_with(fields: &BatchFields, values: &[&str]) -> Bytes {
    let timed: Vec<(i64, &str)> = values.iter().map(|value| (START_MS, *value)).collect();
    timed_batch(fields, &timed)
}

/// A batch whose records have these timestamps.
pub fn timed_batch(fields: &BatchFields, values: &[(i64, &str)]) -> Bytes {
    let mut builder = BatchBuilder::new();
    for &(timestamp, value) in values {
        let record = RecordParts { timestamp, value: Some(value.as_bytes()), ..Default::default() };
        builder.append(&record).unwrap();
    }
    builder.finish(fields, &mut Codecs::new()).to_bytes()
}

/// A request to append values to a partition.
pub fn produce(topic: &str, partition: i32, values: &[&str]) -> ProduceRequest {
    produce_batch(topic, partition, batch(values))
}

/// A request to append a batch to a partition.
pub fn produce_batch(topic: &str, partition: i32, batch: Bytes) -> ProduceRequest {
    let data = PartitionProduceData { index: partition, records: Some(Records::Bytes(batch)) };
    ProduceRequest {
        acks: -1,
        timeout_ms: 1000,
        topic_data: vec![TopicProduceData {
            name: topic.into(),
            partition_data: vec![data],
            ..Default::default()
        }],
        ..Default::default()
    }
}

/// A request to read a partition, outside of any session.
pub fn fetch(topic: &str, partition: i32, offset: i64) -> FetchRequest {
    fetch_all(&[(topic, partition, offset)])
}

/// A request to read partitions, outside of any session.
pub fn fetch_all(partitions: &[(&str, i32, i64)]) -> FetchRequest {
    let topic = |&(topic, partition, fetch_offset): &(&str, i32, i64)| FetchTopic {
        topic: topic.into(),
        partitions: vec![FetchPartition {
            partition,
            fetch_offset,
            partition_max_bytes: 1 << 20,
            ..Default::default()
        }],
        ..Default::default()
    };
    FetchRequest {
        max_wait_ms: 500,
        min_bytes: 1,
        session_epoch: -1,
        topics: partitions.iter().map(topic).collect(),
        ..Default::default()
    }
}

/// A request to make a topic.
pub fn create(topic: &str, partitions: i32, configs: &[(&str, &str)]) -> CreateTopicsRequest {
    let config =
        |&(name, value): &(&str, &str)| CreatableTopicConfig { name: name.into(), value: Some(value.into()) };
    let topic = CreatableTopic {
        name: topic.into(),
        num_partitions: partitions,
        replication_factor: 1,
        configs: configs.iter().map(config).collect(),
        ..Default::default()
    };
    CreateTopicsRequest { topics: vec![topic], timeout_ms: 1000, ..Default::default() }
}

/// The offset that the only batch of a request has got.
pub fn base_offset(response: &ProduceResponse) -> i64 {
    let row = &response.responses[0].partition_responses[0];
    assert_eq!(row.error_code, 0, "{response:?}");
    row.base_offset
}

/// The error of the only partition of a request.
pub fn error(response: &ProduceResponse) -> i16 {
    response.responses[0].partition_responses[0].error_code
}

/// The values of the first partition.
pub fn values(response: &FetchResponse) -> Vec<String> {
    records(response).into_iter().map(|(_, value)| value).collect()
}

/// The offsets and values of the first partition.
pub fn records(response: &FetchResponse) -> Vec<(i64, String)> {
    let row = &response.responses[0].partitions[0];
    assert_eq!(row.error_code, 0, "{response:?}");
    let Some(Records::Bytes(bytes)) = &row.records else { panic!("no records: {response:?}") };
    let mut records = Vec::new();
    let mut codecs = Codecs::new();
    for batch in Batches::new(bytes) {
        let batch = Bytes::copy_from_slice(batch.unwrap().bytes);
        for record in RecordsIter::new(&batch, Limit::for_batches_of(1 << 20), &mut codecs).unwrap() {
            let record = record.unwrap();
            records.push((record.offset.0, String::from_utf8(record.value.unwrap().to_vec()).unwrap()));
        }
    }
    records
}

impl World {
    /// Makes a topic.
    pub fn create(&mut self, topic: &str, partitions: i32) {
        self.create_with(topic, partitions, &[]);
    }

    /// Makes a topic with a configuration of its own.
    pub fn create_with(&mut self, topic: &str, partitions: i32, configs: &[(&str, &str)]) {
        let response = self.call(&create(topic, partitions, configs), 7);
        assert_eq!(response.topics[0].error_code, 0, "{response:?}");
    }

    /// The id of a topic.
    pub fn topic_id(&mut self, topic: &str) -> Uuid {
        let response = self.call(&MetadataRequest { topics: None, ..Default::default() }, 12);
        let mut topics = response.topics.iter();
        topics.find(|row| row.name.as_deref() == Some(topic)).expect("the topic is there").topic_id
    }
}

/// A request to delete topics by their names.
pub fn delete(topics: &[&str], version: i16) -> DeleteTopicsRequest {
    let state = |name: &&str| DeleteTopicState { name: Some((*name).into()), ..Default::default() };
    let (states, names) = if version >= 6 { (topics, &[][..]) } else { (&[][..], topics) };
    DeleteTopicsRequest {
        topics: states.iter().map(state).collect(),
        topic_names: names.iter().map(|name| (*name).into()).collect(),
        timeout_ms: 1000,
    }
}
