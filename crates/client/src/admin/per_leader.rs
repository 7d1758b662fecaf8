//! Questions about partitions, sent to their leaders, and again to the new one where it moved.

use std::collections::BTreeMap;

use ottla_protocol::Refusal;
use ottla_protocol::messages::MetadataRequest;
use ottla_protocol::messages::metadata::MetadataRequestTopic;

use super::ItemResult;
use crate::call::{Call, Reply};
use crate::cluster::Target;
use crate::error::{ApiError, ClientError};
use crate::operation::{Operation, Outcome, Turn};

/// A partition: its topic and its number.
pub(super) type Key = (String, i32);

/// What one leader said of its partitions.
pub(super) type PartitionRows<A> = Vec<(Key, ItemResult<A>)>;

/// An operation that sends each partition's part to its leader, and again to the new one where it moved.
pub(super) struct PerLeader<W, A> {
    name: &'static str,
    left: BTreeMap<Key, W>,
    found: BTreeMap<Key, ItemResult<A>>,
    /// Where each partition goes in this round; `None` while metadata is asked for.
    leaders: Option<BTreeMap<i32, BTreeMap<Key, W>>>,
    /// A broker that is asked instead of the leaders.
    replica: Option<i32>,
    call: fn(&BTreeMap<Key, W>) -> Call,
    reply: fn(&Reply) -> Result<PartitionRows<A>, ClientError>,
}

impl<W, A> PerLeader<W, A> {
    pub(super) fn new(
        name: &'static str,
        left: BTreeMap<Key, W>,
        call: fn(&BTreeMap<Key, W>) -> Call,
        reply: fn(&Reply) -> Result<PartitionRows<A>, ClientError>,
    ) -> Self {
        Self { name, left, found: BTreeMap::new(), leaders: None, replica: None, call, reply }
    }

    /// The same, asked of one broker that has replicas.
    pub(super) fn at(self, broker: i32) -> Self {
        Self { replica: Some(broker), ..self }
    }

    /// Sorts what is left by leader. Topics that do not exist are answered at once, others may be tried again.
    fn assign(&mut self, outcome: Outcome) -> Turn<BTreeMap<Key, ItemResult<A>>>
    where
        W: Copy,
    {
        let response = match outcome.and_then(|reply| reply.decode::<MetadataRequest>()) {
            Ok(response) => response,
            Err(error) => return Turn::from_result(Err(error)),
        };
        let mut leaders: BTreeMap<i32, BTreeMap<Key, W>> = BTreeMap::new();
        let mut unclear = ApiError { refusal: Refusal::UnknownTopicOrPartition, message: None };
        let mut settled = Vec::new();
        for (key, wanted) in &self.left {
            let topic = response.topics.iter().find(|topic| topic.name.as_deref() == Some(key.0.as_str()));
            let partition = topic.and_then(|t| t.partitions.iter().find(|p| p.partition_index == key.1));
            match (topic.and_then(|topic| Refusal::from_code(topic.error_code)), partition) {
                (None, Some(partition)) if partition.leader_id >= 0 => {
                    let node = self.replica.unwrap_or(partition.leader_id);
                    leaders.entry(node).or_default().insert(key.clone(), *wanted);
                }
                (None, Some(_)) => unclear.refusal = Refusal::LeaderNotAvailable,
                (Some(refusal), _) if !refusal.is_retriable() => {
                    settled.push((key.clone(), ApiError { refusal, message: None }));
                }
                _ => {}
            }
        }
        for (key, error) in settled {
            self.left.remove(&key);
            self.found.insert(key, Err(error));
        }
        match (self.left.is_empty(), leaders.is_empty()) {
            (true, _) => Turn::Done(Ok(std::mem::take(&mut self.found))),
            (false, true) => Turn::Retry(unclear.into()),
            (false, false) => {
                self.leaders = Some(leaders);
                Turn::Next
            }
        }
    }

    fn gather(&mut self, outcomes: Vec<Outcome>) -> Turn<BTreeMap<Key, ItemResult<A>>> {
        let asked = self.leaders.take().unwrap_or_default();
        let mut passing = None;
        for (outcome, asked) in outcomes.into_iter().zip(asked.into_values()) {
            match outcome.and_then(|reply| (self.reply)(&reply)) {
                Ok(rows) => {
                    for (key, result) in rows {
                        match result {
                            Err(error) if error.refusal.is_retriable() => passing = Some(error.into()),
                            result => {
                                self.left.remove(&key);
                                self.found.insert(key, result);
                            }
                        }
                    }
                }
                Err(ClientError::UnsupportedVersion(why)) => {
                    for key in asked.into_keys() {
                        self.left.remove(&key);
                        let message = Some(why.clone());
                        self.found
                            .insert(key, Err(ApiError { refusal: Refusal::UnsupportedVersion, message }));
                    }
                }
                Err(error) if error.is_retriable() => passing = Some(error),
                Err(error) => return Turn::Done(Err(error)),
            }
        }
        if self.left.is_empty() {
            return Turn::Done(Ok(std::mem::take(&mut self.found)));
        }
        Turn::Retry(
            passing.unwrap_or_else(|| ClientError::TimedOut("a partition was not answered".to_owned())),
        )
    }
}

impl<W: Copy + Send, A: Send> Operation for PerLeader<W, A> {
    type Answer = BTreeMap<Key, ItemResult<A>>;

    fn name(&self) -> &'static str {
        self.name
    }

    fn calls(&mut self) -> Vec<(Target, Call)> {
        if let Some(leaders) = &self.leaders {
            return leaders.iter().map(|(id, part)| (Target::Node(*id), (self.call)(part))).collect();
        }
        let mut names: Vec<&String> = self.left.keys().map(|(topic, _)| topic).collect();
        names.dedup();
        let topic = |name: &String| MetadataRequestTopic { name: Some(name.clone()), ..Default::default() };
        let request = MetadataRequest {
            topics: Some(names.into_iter().map(topic).collect()),
            allow_auto_topic_creation: false,
            ..MetadataRequest::default()
        };
        vec![(Target::Any, Call::new(request))]
    }

    fn round(&mut self, mut outcomes: Vec<Outcome>) -> Turn<Self::Answer> {
        match self.leaders {
            Some(_) => self.gather(outcomes),
            None => self.assign(outcomes.pop().unwrap_or(Err(ClientError::Closed))),
        }
    }
}
