//! Transactions as fast as they are answered: one small batch each, committed, by the newer protocol (KIP-890), where
//! Produce itself adds the partition and EndTxn raises the epoch.

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use bytes::Bytes;
use ottla_protocol::batch::{Attributes, BatchBuilder, BatchFields, RecordParts};
use ottla_protocol::compression::Codecs;
use ottla_protocol::messages::produce::{PartitionProduceData, TopicProduceData};
use ottla_protocol::messages::{EndTxnRequest, InitProducerIdRequest, ProduceRequest};
use ottla_protocol::{ProducerEpoch, ProducerId, Refusal, TopicId};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::Figures;
use super::rate::{self, Tally};
use crate::bench::wire::{CoordinatorKind, Wire};
use crate::node::Node;

/// Producer and partition meet by their numbers.
const PARTITIONS: i32 = 16;

/// Bytes in the one record of a transaction.
const SIZE: usize = 100;

/// How long a producer waits whose last transaction is not quite over.
const AGAIN: Duration = Duration::from_millis(1);

pub async fn measure(node: &Node, producers: usize, seconds: u32) -> anyhow::Result<Figures> {
    let mut wire = Wire::open(&node.address()).await?;
    let topic = wire.create_topic("written-in-transactions", PARTITIONS).await?;
    wire.find_coordinator("copier", CoordinatorKind::Transaction).await?;
    let tally = Arc::new(Tally::default());
    let mut running = JoinSet::new();
    for number in 0..producers {
        let wire = Wire::open(&node.address()).await?;
        let place = (topic, i32::try_from(number)? % PARTITIONS);
        let producer = Producer::start(wire, format!("copier-{number}"), place).await?;
        running.spawn(producer.run(tally.clone()));
    }
    let rate = rate::measure(node, &tally, running, seconds).await?;
    Ok(vec![
        ("transactions/s", rate.per_second),
        ("CPU s per 1,000", rate.cpu_each * 1_000.0),
        ("p50, ms", rate.p50),
        ("p99, ms", rate.p99),
    ])
}

struct Producer {
    wire: Wire,
    name: String,
    topic: TopicId,
    partition: i32,
    id: ProducerId,
    epoch: ProducerEpoch,
}

impl Producer {
    async fn start(
        mut wire: Wire,
        name: String,
        (topic, partition): (TopicId, i32),
    ) -> anyhow::Result<Producer> {
        let request = InitProducerIdRequest {
            transactional_id: Some(name.clone()),
            transaction_timeout_ms: 60_000,
            ..InitProducerIdRequest::default()
        };
        let given = wire.ask_until_there(&request, 5, |response| response.error_code).await?;
        ensure!(given.error_code == 0, "InitProducerId: {}", given.error_code);
        let (id, epoch) = (ProducerId(given.producer_id), ProducerEpoch(given.producer_epoch));
        Ok(Producer { wire, name, topic, partition, id, epoch })
    }

    /// One transaction after the other until it is over; how long each counted one took, in ms.
    async fn run(mut self, tally: Arc<Tally>) -> anyhow::Result<Vec<f64>> {
        let mut times = Vec::new();
        while !tally.is_over() {
            let begin = Instant::now();
            self.produce().await?;
            self.commit().await?;
            tally.note(begin, &mut times);
        }
        Ok(times)
    }

    async fn produce(&mut self) -> anyhow::Result<()> {
        let partition = PartitionProduceData { index: self.partition, records: Some(self.batch()?.into()) };
        let request = ProduceRequest {
            transactional_id: Some(self.name.clone()),
            acks: -1,
            timeout_ms: 30_000,
            topic_data: vec![TopicProduceData {
                topic_id: self.topic,
                partition_data: vec![partition],
                ..TopicProduceData::default()
            }],
        };
        loop {
            let response = self.wire.ask(&request, 13).await?;
            let answer = response.responses.first().and_then(|topic| topic.partition_responses.first());
            if !may_be_tried_again("Produce", answer.context("a partition")?.error_code)? {
                return Ok(());
            }
            sleep(AGAIN).await;
        }
    }

    async fn commit(&mut self) -> anyhow::Result<()> {
        let request = EndTxnRequest {
            transactional_id: self.name.clone(),
            producer_id: self.id.0,
            producer_epoch: self.epoch.0,
            committed: true,
        };
        loop {
            let response = self.wire.ask(&request, 5).await?;
            if !may_be_tried_again("EndTxn", response.error_code)? {
                ensure!(response.producer_epoch >= 0, "EndTxn did not say how to go on");
                self.id = ProducerId(response.producer_id);
                self.epoch = ProducerEpoch(response.producer_epoch);
                return Ok(());
            }
            sleep(AGAIN).await;
        }
    }

    /// The epoch is new in each transaction, so sequence numbers begin anew.
    fn batch(&self) -> anyhow::Result<Bytes> {
        let mut builder = BatchBuilder::with_capacity(2 * SIZE);
        let record = RecordParts { value: Some(&[b'x'; SIZE]), timestamp: 1, ..RecordParts::default() };
        builder.append(&record)?;
        let fields = BatchFields {
            producer_id: self.id,
            producer_epoch: self.epoch,
            base_sequence: 0,
            attributes: Attributes::default().transactional(),
            ..BatchFields::default()
        };
        Ok(builder.pack(&fields, &mut Codecs::default()).seal())
    }
}

/// Whether a producer asks again after this answer; an error where none would.
fn may_be_tried_again(api: &str, code: i16) -> anyhow::Result<bool> {
    match Refusal::from_code(code) {
        None if code == 0 => Ok(false),
        Some(Refusal::ConcurrentTransactions) => Ok(true),
        Some(refusal) if refusal.is_retriable() => Ok(true),
        _ => bail!("{api}: error {code}"),
    }
}
