//! From queues to requests: which batches are due, to whom they go, and what time has to do with it.

use std::collections::BTreeMap;

use ottla_protocol::codec::Records;
use ottla_protocol::compression::Compression;
use ottla_protocol::messages::produce::{PartitionProduceData, TopicProduceData};
use ottla_protocol::messages::{InitProducerIdRequest, ProduceRequest};
use ottla_protocol::time::Deadline;
use ottla_protocol::{Now, Uuid};

use crate::call::Call;
use crate::cluster::{Cluster, Target};
use crate::error::ClientError;
use crate::metadata::Metadata;
use crate::producer::queue::{Identity, Next, Waiting};
use crate::producer::{Acks, Lost, Node, Place, Producer, State, Who};

/// The first version of Produce that carries batches of format 2, the first that allows zstd, and the last in which
/// topics have names.
const VERSION_MIN: i16 = 3;
const VERSION_MIN_ZSTD: i16 = 7;
const VERSION_MAX_NAMES: i16 = 12;

/// Batches that went out together.
#[derive(Debug)]
pub(super) struct Request {
    pub node: i32,
    /// Topic and partition as places in the producer's lists.
    pub batches: Vec<(Place, Waiting)>,
    /// The ids that stand for topics in this request.
    pub topic_ids: Vec<(Uuid, usize)>,
}

impl Producer {
    /// Looks at the clock and the metadata and sends what is due.
    pub fn step(&mut self, now: Now, cluster: &mut Cluster) {
        if matches!(self.state, State::Failed(_)) {
            return;
        }
        for place in std::mem::take(&mut self.topics.unwatched) {
            cluster.watch(now, &self.topics.list[place].name);
        }
        self.expire(now);
        self.identify(now, cluster);
        self.step_transaction(now, cluster);
        let due = self.due(now, cluster.metadata());
        for (node, mut candidates) in due {
            let state = self.nodes.entry(node).or_default();
            let resume_at = candidates.partition_point(|at| *at < state.resume_at);
            candidates.rotate_left(resume_at);
            while self.may_ask(now, node) && self.send_to(now, cluster, node, &candidates) {}
        }
        self.wake = self.next_wake(now);
    }

    /// When `step` wants to be called. What waits for an answer, metadata or an identity is not counted: whoever owns the
    /// cluster calls `step` after every turn of it.
    #[must_use]
    pub fn deadline(&self) -> Option<Deadline> {
        let transaction = self.transaction.as_ref().and_then(|transaction| transaction.deadline());
        [self.wake, transaction].into_iter().flatten().min()
    }

    /// The next moment at which time alone changes something.
    fn next_wake(&self, now: Now) -> Option<Deadline> {
        let who = match &self.who {
            Who::Wanted { not_before, .. } => *not_before,
            _ => None,
        };
        let pauses = self.nodes.values().filter_map(|node| node.not_before);
        let queues = self.topics.busy.iter().flat_map(|&(place, partition)| {
            let queue = &self.topics.list[place].queues[partition];
            let first = queue.waiting.front();
            let filling = queue.filling.as_ref();
            let pause = first.and_then(|batch| batch.not_before);
            let expiry = first.map(|batch| self.expires(batch.created));
            let lingers = filling.map(|filling| self.lingers(filling.created));
            [pause, expiry, lingers, filling.map(|filling| self.expires(filling.created))]
        });
        let under_way = self.requests.values().flat_map(|request| &request.batches);
        let under_way = under_way.map(|(_, batch)| self.expires(batch.created));
        let all = who.into_iter().chain(pauses).chain(queues.flatten()).chain(under_way);
        all.filter(|deadline| !now.reached(*deadline)).min()
    }

    fn expires(&self, created: Deadline) -> Deadline {
        later(created, self.settings.delivery_timeout)
    }

    pub(super) fn lingers(&self, created: Deadline) -> Deadline {
        later(created, self.settings.linger)
    }

    /// Batches whose time is over, waiting or under way.
    fn expire(&mut self, now: Now) {
        let busy: Vec<_> = self.topics.busy.iter().copied().collect();
        for at in busy {
            let topic = &mut self.topics.list[at.0];
            let filling = topic.queues[at.1].filling.as_ref().map(|filling| filling.created);
            if filling.is_some_and(|created| now.reached(later(created, self.settings.delivery_timeout))) {
                topic.pack(at.1, &self.settings, &mut self.codecs);
            }
            while let Some(first) = self.topics.list[at.0].queues[at.1].waiting.front() {
                if !now.reached(self.expires(first.created)) {
                    break;
                }
                let queue = &mut self.topics.list[at.0].queues[at.1];
                let Some(batch) = queue.waiting.pop_front() else { break };
                if batch.sequence.is_some() {
                    queue.sequences.lose();
                }
                self.time_out(at, &batch);
            }
            self.tidy(at);
        }
        let late = self.requests.iter().filter(|(_, request)| {
            request.batches.iter().any(|(_, batch)| now.reached(self.expires(batch.created)))
        });
        let late: Vec<_> = late.map(|(ticket, _)| *ticket).collect();
        for ticket in late {
            self.expire_under_way(now, ticket);
        }
    }

    /// The answer may still come, but nobody will be told of it.
    fn expire_under_way(&mut self, now: Now, ticket: crate::call::Ticket) {
        let Some(mut request) = self.requests.remove(&ticket) else { return };
        let timeout = self.settings.delivery_timeout;
        let (late, rest) =
            request.batches.into_iter().partition(|(_, b)| now.reached(later(b.created, timeout)));
        request.batches = rest;
        self.requests.insert(ticket, request);
        for (at, batch) in late {
            let queue = &mut self.topics.list[at.0].queues[at.1];
            queue.in_flight.retain(|key| *key != batch.key);
            if batch.sequence.is_some() {
                queue.sequences.lose();
            }
            self.time_out(at, &batch);
        }
    }

    fn time_out(&mut self, at: Place, batch: &Waiting) {
        let name = &self.topics.list[at.0].name;
        let (count, ms) = (batch.count, self.settings.delivery_timeout.as_millis());
        let why =
            format!("Expiring {count} record(s) for {name}-{}:{ms} ms has passed since batch creation", at.1);
        self.end(at, batch, Err(Lost { error: ClientError::TimedOut(why), culprits: Vec::new() }));
    }

    /// Forgets a queue in which nothing waits.
    pub(super) fn tidy(&mut self, at: Place) {
        if self.topics.list[at.0].queues[at.1].is_empty() {
            self.topics.busy.remove(&at);
        } else {
            self.topics.busy.insert(at);
        }
    }

    /// Asks for an identity when one is wanted.
    fn identify(&mut self, now: Now, cluster: &mut Cluster) {
        let Who::Wanted { not_before, failures } = self.who else { return };
        if self.topics.busy.is_empty() || not_before.is_some_and(|pause| !now.reached(pause)) {
            return;
        }
        let request = InitProducerIdRequest {
            transactional_id: None,
            transaction_timeout_ms: i32::MAX,
            producer_id: -1,
            producer_epoch: -1,
            ..InitProducerIdRequest::default()
        };
        let give_up = now.after(self.settings.request_timeout);
        let ticket = cluster.submit(now, Target::Any, Call::new(request), give_up);
        self.who = Who::Asked { ticket, failures };
    }

    /// Queues that have something to send, by leader.
    fn due(&mut self, now: Now, metadata: &Metadata) -> BTreeMap<i32, Vec<Place>> {
        let mut due: BTreeMap<i32, Vec<Place>> = BTreeMap::new();
        let busy: Vec<_> = self.topics.busy.iter().copied().collect();
        for at in busy {
            let Some((leader, _)) = self.leader(metadata, at) else { continue };
            if self.next(now, metadata, at).is_some() {
                due.entry(leader).or_default().push(at);
            }
        }
        due
    }

    fn leader(&self, metadata: &Metadata, (place, partition): Place) -> Option<(i32, i32)> {
        metadata.leader(&self.topics.list[place].name, i32::try_from(partition).ok()?)
    }

    /// The batch of a queue that is due, as a place among those that wait; the one being filled is packed first.
    fn next(&mut self, now: Now, metadata: &Metadata, at: Place) -> Option<usize> {
        if self.transaction.as_ref().is_some_and(|transaction| !transaction.may_send(at)) {
            return None;
        }
        let leader = self.leader(metadata, at);
        let identity = match &self.who {
            Who::Nobody => None,
            Who::Known(identity) => Some(Some(*identity)),
            Who::Transactional(identity) => Some(*identity),
            Who::Wanted { .. } | Who::Asked { .. } => Some(None),
        };
        let queue = &mut self.topics.list[at.0].queues[at.1];
        if queue.in_flight.len() >= self.settings.in_flight_max {
            return None;
        }
        match queue.next(identity) {
            Next::Nothing => None,
            Next::Identity => {
                if matches!(self.who, Who::Known(_)) {
                    self.who = Who::Wanted { not_before: None, failures: 0 };
                }
                None
            }
            Next::Waiting(place) => {
                let batch = &queue.waiting[place];
                let pausing = batch.not_before.is_some_and(|pause| !now.reached(pause));
                (!pausing || leader.is_some() && batch.last_leader != leader).then_some(place)
            }
            Next::Filling => {
                let filling = queue.filling.as_ref()?;
                let hurried = self.hurry.is_some_and(|last| filling.id < last) || self.memory.short;
                let lingers = later(filling.created, self.settings.linger);
                if !hurried && !now.reached(lingers) {
                    return None;
                }
                self.topics.list[at.0].pack(at.1, &self.settings, &mut self.codecs);
                Some(0)
            }
        }
    }

    fn may_ask(&self, now: Now, node: i32) -> bool {
        self.nodes.get(&node).is_none_or(|node| {
            node.requests < self.settings.in_flight_max
                && node.not_before.is_none_or(|pause| now.reached(pause))
        })
    }

    /// Sends one request with at most one batch of each queue; false when there was nothing for it.
    fn send_to(&mut self, now: Now, cluster: &mut Cluster, node: i32, queues: &[Place]) -> bool {
        let mut batches = Vec::new();
        let mut size = 0;
        let mut resume_at = (0, 0);
        for &at in queues {
            let metadata = cluster.metadata();
            let Some(place) = self.next(now, metadata, at) else { continue };
            let leader = self.leader(metadata, at);
            let queue = &mut self.topics.list[at.0].queues[at.1];
            let bytes = queue.waiting.get(place).map_or(0, |batch| batch.batch.size());
            if !batches.is_empty() && size + bytes > self.settings.max_request_size {
                resume_at = at;
                break;
            }
            let Some(mut batch) = queue.waiting.remove(place) else { continue };
            if batch.sequence.is_none() && !matches!(self.who, Who::Nobody) {
                batch.sequence = Some(queue.sequences.take(batch.count));
            }
            queue.in_flight.push(batch.key);
            queue.in_flight.sort_unstable();
            batch.last_leader = leader;
            batch.not_before = None;
            size += bytes;
            batches.push((at, batch));
            self.tidy(at);
        }
        if batches.is_empty() {
            return false;
        }
        self.ask(now, cluster, node, batches);
        self.counters.bytes += size as u64;
        self.nodes.entry(node).or_default().resume_at = resume_at;
        true
    }

    fn ask(&mut self, now: Now, cluster: &mut Cluster, node: i32, mut batches: Vec<(Place, Waiting)>) {
        batches.sort_unstable_by_key(|(at, _)| *at);
        self.counters.batches += batches.len() as u64;
        self.counters.requests += 1;
        let mut request = ProduceRequest {
            transactional_id: self.transaction.as_ref().map(|transaction| transaction.id().to_owned()),
            acks: self.settings.acks.code(),
            timeout_ms: i32::try_from(self.settings.request_timeout.as_millis()).unwrap_or(i32::MAX),
            topic_data: Vec::new(),
        };
        let mut topic_ids = Vec::new();
        let mut named = false;
        let mut last = None;
        for (at, batch) in &mut batches {
            let topic = &self.topics.list[at.0];
            if last != Some(at.0) {
                last = Some(at.0);
                let id = cluster.metadata().topics.get(&*topic.name).map_or(Uuid::ZERO, |topic| topic.id);
                named |= id.is_zero();
                topic_ids.push((id, at.0));
                request.topic_data.push(TopicProduceData {
                    name: topic.name.to_string(),
                    topic_id: id,
                    partition_data: Vec::new(),
                });
            }
            let records = Some(Records::Bytes(sealed(batch)));
            if let Some(data) = request.topic_data.last_mut() {
                data.partition_data.push(PartitionProduceData { index: at.1 as i32, records });
            }
        }
        let least = match self.settings.effort.compression {
            Compression::Zstd => VERSION_MIN_ZSTD,
            _ => VERSION_MIN,
        };
        let mut call = Call::new(request).within(least, if named { VERSION_MAX_NAMES } else { i16::MAX });
        if let Some(transaction) = &mut self.transaction {
            let (least, most) = transaction.produce_versions();
            call = call.within(least, most);
            transaction.sent();
        }
        let call = if self.settings.acks == Acks::None { call.unanswered() } else { call };
        let give_up = now.after(self.settings.request_timeout);
        let ticket = cluster.submit(now, Target::Node(node), call, give_up);
        self.nodes.entry(node).or_default().requests += 1;
        self.requests.insert(ticket, Request { node, batches, topic_ids });
    }
}

/// The batch's bytes with the sequence it has now.
fn sealed(batch: &mut Waiting) -> bytes::Bytes {
    if let Some((Identity { id, epoch }, first)) = batch.sequence {
        batch.batch.sequence(id, epoch, first);
    }
    batch.batch.seal()
}

fn later(moment: Deadline, by: std::time::Duration) -> Deadline {
    Deadline(moment.0.saturating_add(u64::try_from(by.as_micros()).unwrap_or(u64::MAX)))
}

impl Node {
    pub(super) fn answered(&mut self) {
        self.requests = self.requests.saturating_sub(1);
    }
}
