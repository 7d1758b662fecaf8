//! Where the group stands: partitions that are taken on begin at what it committed last.

use std::collections::BTreeMap;

use ottla_protocol::messages::OffsetFetchRequest;
use ottla_protocol::messages::offset_fetch::OffsetFetchRequestTopic;
use ottla_protocol::{Now, Refusal};

use crate::call::{Call, Reply};
use crate::cluster::{Cluster, Target};
use crate::consumer::assigned::Position;
use crate::consumer::fetcher::Asked;
use crate::consumer::group::Question;
use crate::consumer::{ConsumeError, Consumer, TopicPartition};
use crate::error::{ApiError, ClientError};
use crate::operation::Outcome;

/// The versions that ask for one group, that wait for open transactions (KIP-447), and all with topics by name.
const STABLE: (i16, i16) = (7, 7);
const OLD: (i16, i16) = (1, 6);

/// What was said of a partition: its offset and its leader epoch, −1 for none.
type Rows = BTreeMap<TopicPartition, Result<(i64, i32), ApiError>>;

impl Consumer {
    /// Asks where the group stands in partitions that begin there.
    pub(super) fn ask_offsets(&mut self, now: Now, cluster: &mut Cluster) {
        let Some(node) = self.group.as_ref().and_then(|group| group.search.node()) else { return };
        let mut asked = Vec::new();
        for (partition, assigned) in &mut self.partitions {
            if assigned.position != Position::Committed || assigned.asked || assigned.not_before.is_some() {
                continue;
            }
            assigned.asked = true;
            let generation = assigned.generation;
            asked.push(Asked { partition: partition.clone(), generation, wanted: -1 });
        }
        let Some(group) = self.group.as_mut().filter(|_| !asked.is_empty()) else { return };
        let mut topics: Vec<OffsetFetchRequestTopic> = Vec::new();
        for Asked { partition, .. } in &asked {
            match topics.last_mut() {
                Some(topic) if *topic.name == *partition.topic => {
                    topic.partition_indexes.push(partition.partition);
                }
                _ => topics.push(OffsetFetchRequestTopic {
                    name: partition.topic.to_string(),
                    partition_indexes: vec![partition.partition],
                }),
            }
        }
        let (least, most) = if self.old_offsets { OLD } else { STABLE };
        let request = OffsetFetchRequest {
            group_id: group.settings.id.clone(),
            topics: Some(topics),
            require_stable: !self.old_offsets,
            ..OffsetFetchRequest::default()
        };
        let give_up = now.after(group.settings.request_timeout);
        let call = Call::new(request).within(least, most);
        let ticket = cluster.submit(now, Target::Coordinator(node), call, give_up);
        group.ask(ticket, node, Question::Offsets(asked));
    }

    /// Takes where the group stands.
    pub(super) fn offsets_answered(
        &mut self,
        now: Now,
        cluster: &mut Cluster,
        node: i32,
        asked: Vec<Asked>,
        outcome: Outcome,
    ) {
        for asked in &asked {
            if let Some(assigned) = self.partitions.get_mut(&asked.partition) {
                assigned.asked &= assigned.generation != asked.generation;
            }
        }
        let mut rows = match outcome.and_then(|reply| read(&reply)) {
            Ok(rows) => rows,
            Err(ClientError::UnsupportedVersion(_)) if !self.old_offsets => {
                self.old_offsets = true;
                return;
            }
            Err(error) => return self.offsets_failed(now, node, &asked, error),
        };
        for asked in asked {
            let current = self
                .partitions
                .get(&asked.partition)
                .is_some_and(|assigned| assigned.generation == asked.generation);
            if !current {
                continue;
            }
            match rows.remove(&asked.partition) {
                Some(Ok((offset, _))) if offset < 0 => {
                    let position = self.reset(now, &asked.partition);
                    self.stand(&asked, position, None);
                }
                Some(Ok((offset, epoch))) => {
                    let epoch = Some(epoch).filter(|epoch| *epoch >= 0);
                    self.stand(&asked, Position::At(offset), epoch);
                    if let Some(group) = &mut self.group {
                        group.commits.last.insert(asked.partition, offset);
                    }
                }
                Some(Err(error)) => {
                    self.offsets_failed(now, node, std::slice::from_ref(&asked), error.into())
                }
                None => self.back_off(now, &asked.partition),
            }
        }
        self.seek_offsets(now, cluster);
    }

    fn stand(&mut self, asked: &Asked, position: Position, epoch: Option<i32>) {
        if let Some(assigned) = self.partitions.get_mut(&asked.partition) {
            assigned.seek(position, asked.generation);
            assigned.leader_epoch = epoch;
        }
    }

    fn offsets_failed(&mut self, now: Now, node: i32, asked: &[Asked], error: ClientError) {
        for asked in asked {
            self.back_off(now, &asked.partition);
        }
        let Some(group) = &mut self.group else { return };
        match error.refusal() {
            Some(Refusal::NotCoordinator | Refusal::CoordinatorNotAvailable) => group.search.forget(node),
            _ if error.is_retriable() => {}
            _ => self.tell(ConsumeError::Group(error)),
        }
    }
}

fn read(reply: &Reply) -> Result<Rows, ClientError> {
    let response = reply.decode::<OffsetFetchRequest>()?;
    ApiError::check(response.error_code, None)?;
    let mut rows = Rows::new();
    for topic in response.topics {
        for row in topic.partitions {
            let checked = ApiError::check(row.error_code, None);
            let found = checked.map(|()| (row.committed_offset, row.committed_leader_epoch));
            rows.insert(TopicPartition::new(&topic.name, row.partition_index), found);
        }
    }
    Ok(rows)
}
