//! What answers mean for the partitions that were asked about.

use std::collections::BTreeMap;

use bytes::Bytes;
use ottla_protocol::codec::Records;
use ottla_protocol::messages::fetch::PartitionData;
use ottla_protocol::messages::list_offsets::ListOffsetsPartitionResponse;
use ottla_protocol::messages::{FetchRequest, ListOffsetsRequest};
use ottla_protocol::{Now, Refusal};

use crate::call::Ticket;
use crate::cluster::Cluster;
use crate::consumer::assigned::{Marks, Position};
use crate::consumer::fetched::{Cut, Fetched};
use crate::consumer::fetcher::{Asked, Kind, Question};
use crate::consumer::{ConsumeError, Consumer, LATEST, Reset, TopicPartition};
use crate::error::{ApiError, ClientError};
use crate::operation::Outcome;

impl Consumer {
    /// Takes the end of a call; false if the call is not one of this consumer's.
    pub fn done(&mut self, now: Now, cluster: &mut Cluster, ticket: Ticket, outcome: Outcome) -> bool {
        let Some(question) = self.questions.remove(&ticket) else {
            return self.group_done(now, cluster, ticket, outcome);
        };
        if question.kind == Kind::Fetch {
            self.fetching.remove(&question.node);
        }
        for asked in &question.partitions {
            if let Some(assigned) = self.partitions.get_mut(&asked.partition) {
                assigned.asked &= assigned.generation != asked.generation;
            }
        }
        let answered = match question.kind {
            Kind::Fetch => self.fetched(now, cluster, &question, outcome),
            Kind::ListOffsets => self.offsets(now, cluster, &question, outcome),
        };
        if let Err(error) = answered {
            for asked in &question.partitions {
                self.failed(now, cluster, asked, error.clone());
            }
        }
        self.step(now, cluster);
        true
    }

    fn fetched(
        &mut self,
        now: Now,
        cluster: &mut Cluster,
        question: &Question,
        outcome: Outcome,
    ) -> Result<(), ClientError> {
        let response = outcome?.decode::<FetchRequest>()?;
        if response.throttle_time_ms > 0 {
            self.pauses.insert(question.node, now.after_ms(response.throttle_time_ms.into()));
        }
        ApiError::check(response.error_code, None)?;
        let mut rows = BTreeMap::new();
        for topic in response.responses {
            let name = match topic.topic_id.is_zero() {
                true => topic.topic.as_str().into(),
                false => match question.topic_ids.get(&topic.topic_id) {
                    Some(name) => name.clone(),
                    None => continue,
                },
            };
            for row in topic.partitions {
                let (leader, epoch) = (row.current_leader.leader_id, row.current_leader.leader_epoch);
                cluster.metadata_mut().learn_leader(&name, row.partition_index, leader, epoch);
                rows.insert(TopicPartition { topic: name.clone(), partition: row.partition_index }, row);
            }
        }
        for asked in &question.partitions {
            if let (Some(row), true) = (rows.remove(&asked.partition), self.is_current(asked)) {
                self.fetched_partition(now, cluster, asked, row, question.node);
            }
        }
        Ok(())
    }

    /// Whether nobody has sought elsewhere since.
    fn is_current(&self, asked: &Asked) -> bool {
        self.partitions.get(&asked.partition).is_some_and(|assigned| assigned.generation == asked.generation)
    }

    fn fetched_partition(
        &mut self,
        now: Now,
        cluster: &mut Cluster,
        asked: &Asked,
        row: PartitionData,
        node: i32,
    ) {
        if let Some(error) = ApiError::from_code(row.error_code, None) {
            return self.refused(now, cluster, asked, error, node);
        }
        let until = self.replica_until(now);
        let check_crcs = self.settings.check_crcs;
        let Some(assigned) = self.partitions.get_mut(&asked.partition) else { return };
        assigned.failures = 0;
        assigned.marks = Marks {
            log_start: row.log_start_offset,
            high_watermark: row.high_watermark,
            last_stable: row.last_stable_offset,
        };
        if row.preferred_read_replica >= 0 {
            assigned.replica = Some((row.preferred_read_replica, until));
            return;
        }
        let bytes = match row.records {
            Some(Records::Bytes(bytes)) => bytes,
            _ => Bytes::new(),
        };
        if bytes.is_empty() {
            return;
        }
        self.counters.fetched_bytes += bytes.len() as u64;
        let aborted = row.aborted_transactions.unwrap_or_default();
        match Fetched::new(asked.wanted, bytes, aborted, check_crcs) {
            Ok(fetched) => {
                assigned.fetch_from = fetched.next;
                if assigned.buffered.is_empty() {
                    self.ready.push_back(asked.partition.clone());
                }
                assigned.buffered.push_back(fetched);
            }
            Err(Cut) => {
                let why = "there is a batch larger than max.partition.fetch.bytes, and the broker cuts it"
                    .to_owned();
                self.tell(ConsumeError::Corrupt { partition: asked.partition.clone(), why });
                self.back_off(now, &asked.partition);
            }
        }
    }

    fn refused(&mut self, now: Now, cluster: &mut Cluster, asked: &Asked, error: ApiError, node: i32) {
        let partition = &asked.partition;
        if error.refusal == Refusal::OffsetOutOfRange {
            return self.out_of_range(now, cluster, asked, node);
        }
        if let Some(assigned) = self.partitions.get_mut(partition) {
            // Whatever is wrong with the replica, the leader can be asked.
            assigned.replica = None;
        }
        self.failed(now, cluster, asked, ClientError::Refused(error));
    }

    /// The offset is not there: at the leader that means a new start, at another replica only that it lags behind.
    fn out_of_range(&mut self, now: Now, cluster: &mut Cluster, asked: &Asked, node: i32) {
        let partition = &asked.partition;
        let leader = cluster.metadata().leader(&partition.topic, partition.partition);
        let Some(assigned) = self.partitions.get_mut(partition) else { return };
        assigned.replica = None;
        let waits = assigned.position != Position::At(asked.wanted);
        if waits || leader.is_none_or(|(leader, _)| leader != node) {
            // What has been fetched already is read first.
            return self.back_off(now, partition);
        }
        if self.settings.reset == Reset::None {
            assigned.position = Position::Lost;
            let (partition, offset) = (partition.clone(), asked.wanted);
            return self.tell(ConsumeError::OutOfRange { partition, offset });
        }
        tracing::info!("position {} of {partition} is out of range, resetting", asked.wanted);
        let position = self.reset(now, partition);
        let generation = self.next_generation();
        if let Some(assigned) = self.partitions.get_mut(partition) {
            assigned.seek(position, generation);
        }
    }

    fn failed(&mut self, now: Now, cluster: &mut Cluster, asked: &Asked, error: ClientError) {
        if !self.is_current(asked) {
            return;
        }
        self.back_off(now, &asked.partition);
        if error.is_retriable() {
            tracing::debug!("{} is asked for again: {error}", asked.partition);
            cluster.refresh(now);
        } else {
            self.tell(ConsumeError::Refused { partition: asked.partition.clone(), error });
        }
    }

    /// Tells the reader, unless that has been said and not been heard yet.
    pub(super) fn tell(&mut self, error: ConsumeError) {
        if !self.errors.contains(&error) {
            self.errors.push_back(error);
        }
    }

    fn offsets(
        &mut self,
        now: Now,
        cluster: &mut Cluster,
        question: &Question,
        outcome: Outcome,
    ) -> Result<(), ClientError> {
        let response = outcome?.decode::<ListOffsetsRequest>()?;
        let mut rows: BTreeMap<TopicPartition, ListOffsetsPartitionResponse> = BTreeMap::new();
        for topic in response.topics {
            for row in topic.partitions {
                rows.insert(TopicPartition::new(&topic.name, row.partition_index), row);
            }
        }
        for asked in
            question.partitions.iter().filter(|asked| self.is_current(asked)).cloned().collect::<Vec<_>>()
        {
            let Some(row) = rows.remove(&asked.partition) else { continue };
            if let Some(error) = ApiError::from_code(row.error_code, None) {
                self.failed(now, cluster, &asked, ClientError::Refused(error));
                continue;
            }
            let Some(assigned) = self.partitions.get_mut(&asked.partition) else { continue };
            assigned.failures = 0;
            // No record is as late as that: what is to come is.
            let position = if row.offset < 0 { Position::Sought(LATEST) } else { Position::At(row.offset) };
            let generation = assigned.generation;
            assigned.seek(position, generation);
        }
        Ok(())
    }
}
