//! A core's partitions: it opens, leads, checkpoints, retires and closes them, and passes questions on.
//!
//! Level-triggered: [`Shard::reconcile`] compares what the image says with what is hosted, so a lost or repeated delta
//! does no harm.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use ottla_log::DiskError;
use ottla_metadata::Image;
use ottla_partition::{Input, Lead, Output, Partition, Question, Reply, Ticket};
use ottla_protocol::time::Deadline;
use ottla_protocol::{Now, PartitionId, Refusal, TopicId};

use crate::control::{self, CheckpointRow, Directories, Place};
use crate::core::{CoreId, Publication, owner};
use crate::disk_work::DiskWork;
use crate::node::Node;
use crate::topics::Topics;

mod closing;
mod coordinating;
mod redo;

/// How long between two attempts at what found no room or no descriptor. Below `offsets.commit.timeout.ms`, so that a
/// commit may still be answered.
const ATTEMPT_INTERVAL_MS: i64 = 1_000;

/// See the module.
pub struct Shard {
    core: CoreId,
    node: Arc<Node>,
    directories: Arc<Directories>,
    hosted: BTreeMap<PartitionId, Hosted>,
    coordinators: coordinating::Coordinators,
    /// Partitions of this core that cannot be opened: their directory has failed or is missing.
    offline: BTreeSet<PartitionId>,
    /// Partitions for which there was no room on their directory's disk, or no descriptor.
    unopened: BTreeMap<PartitionId, usize>,
    /// The last of these that failed again, by directory: the next attempt begins behind it.
    last_failures: BTreeMap<usize, PartitionId>,
    /// Filled by a partition's step and emptied at once; kept to spare allocations.
    outputs: Vec<Output>,
    replies: VecDeque<(Ticket, Reply)>,
    reports: VecDeque<control::Input>,
    disk_work: VecDeque<DiskWork>,
    redo: redo::Redo,
    closing: Option<closing::Closing>,
    next_checkpoint: Deadline,
    next_retention: Deadline,
    next_attempt: Deadline,
    /// When to look after partitions that something was missing for; `None` where there are none.
    next_look: Option<Deadline>,
}

struct Hosted {
    partition: Partition,
    topic: Arc<str>,
    /// Index into the directories.
    directory: usize,
    /// What was last reported for the checkpoint files.
    reported: Option<CheckpointRow>,
}

impl Shard {
    /// A shard without partitions; the first image brings them.
    #[must_use]
    pub fn new(core: CoreId, node: Arc<Node>, directories: Arc<Directories>, now: Now) -> Self {
        let next_checkpoint = now.after_ms(node.limits.checkpoint_interval_ms);
        let next_retention = now.after_ms(node.limits.retention_initial_delay_ms);
        Self {
            core,
            node,
            directories,
            hosted: BTreeMap::new(),
            coordinators: coordinating::Coordinators::default(),
            offline: BTreeSet::new(),
            unopened: BTreeMap::new(),
            last_failures: BTreeMap::new(),
            outputs: Vec::new(),
            replies: VecDeque::new(),
            reports: VecDeque::new(),
            disk_work: VecDeque::new(),
            redo: redo::Redo::default(),
            closing: None,
            next_checkpoint,
            next_retention,
            next_attempt: now.after_ms(0),
            next_look: None,
        }
    }

    /// Asks a partition; the reply comes through [`Shard::next_reply`].
    pub fn ask(&mut self, now: Now, ticket: Ticket, partition: PartitionId, question: Question) {
        if self.hosted.contains_key(&partition) {
            self.step(now, partition, Input::Question(ticket, question));
        } else {
            let offline = self.offline.contains(&partition);
            let refusal = if offline { Refusal::KafkaStorageError } else { Refusal::NotLeaderOrFollower };
            self.replies.push_back((ticket, Reply::Refused(refusal)));
        }
    }

    /// Takes a reply that is due.
    pub fn next_reply(&mut self) -> Option<(Ticket, Reply)> {
        self.replies.pop_front()
    }

    /// Takes something that control has to know.
    pub fn next_report(&mut self) -> Option<control::Input> {
        self.reports.pop_front()
    }

    /// When the shard next has something of its own to do.
    #[must_use]
    pub fn deadline(&self) -> Option<Deadline> {
        if self.closing.is_some() {
            return None;
        }
        let late = (!self.unopened.is_empty()).then_some(self.next_attempt);
        let late = [late, self.next_look].into_iter().flatten();
        let own = late.fold(self.next_checkpoint.min(self.next_retention), Deadline::min);
        Some(self.coordinators.deadline().map_or(own, |deadline| deadline.min(own)))
    }

    /// Does what the deadline called for.
    pub fn tick(&mut self, now: Now) {
        if self.closing.is_some() {
            return;
        }
        if now.reached(self.next_checkpoint) {
            self.next_checkpoint = now.after_ms(self.node.limits.checkpoint_interval_ms);
            self.report_checkpoints();
            self.redo.look_again();
            self.next_look = Some(now.after_ms(0));
        }
        if self.next_look.is_some_and(|next_look| now.reached(next_look)) {
            self.next_look = None;
            self.each(now, || Input::Look);
            self.take_over_late();
        }
        if now.reached(self.next_retention) {
            self.next_retention = now.after_ms(self.node.limits.retention_interval_ms);
            self.each(now, || Input::Retain);
        }
    }

    /// Tries the partitions again for which there was no room.
    pub fn open_late(&mut self, now: Now, image: &Arc<Image>, topics: &mut Topics) {
        if self.unopened.is_empty() || !now.reached(self.next_attempt) {
            return;
        }
        self.next_attempt = now.after_ms(ATTEMPT_INTERVAL_MS);
        let mut late: Vec<(PartitionId, usize)> = self.unopened.clone().into_iter().collect();
        let had_its_turn =
            |id, directory| self.last_failures.get(&directory).is_some_and(|&failed| id <= failed);
        late.sort_by_key(|&(id, directory)| (had_its_turn(id, directory), id));
        let mut without_room = BTreeSet::new();
        for (id, directory) in late {
            // One that fails speaks for all, but not for ever: it may be the only one that never fits.
            if without_room.contains(&directory) {
                continue;
            }
            let partition = image.topics.partition(id).filter(|_| !self.hosted.contains_key(&id));
            if let Some(partition) = partition {
                if !self.open(now, id, (image, directory), topics) {
                    without_room.insert(directory);
                    self.last_failures.insert(directory, id);
                    continue;
                }
                self.offline.remove(&id);
                self.follow(now, id, partition);
            }
            self.unopened.remove(&id);
            if !self.lacks_something(directory) {
                tracing::info!(directory, "the logs can be opened again");
            }
        }
    }

    /// Whether there are partitions in a directory that could not be opened just now.
    fn lacks_something(&self, directory: usize) -> bool {
        self.unopened.values().any(|&of| of == directory)
    }

    /// Removes partitions that are no longer to be here.
    pub fn let_go(&mut self, now: Now, partitions: &BTreeSet<PartitionId>) {
        for &id in partitions {
            self.offline.remove(&id);
            self.unopened.remove(&id);
            self.remove(id);
        }
        self.close_more(now);
    }

    /// Takes everything in a directory offline.
    pub fn directory_failed(&mut self, now: Now, directory: usize) {
        self.unopened.retain(|_, of| *of != directory);
        let mut lost = Vec::new();
        for (&id, hosted) in &mut self.hosted {
            if hosted.directory == directory {
                hosted.partition.go_offline(&mut self.outputs);
                self.offline.insert(id);
                lost.push(id);
            }
        }
        self.replies.extend(self.outputs.drain(..).filter_map(|output| match output {
            Output::Reply(ticket, reply) => Some((ticket, reply)),
            Output::Flush(_) | Output::Closed | Output::Failed(_) => None,
        }));
        self.redo.directory_failed(directory);
        for id in lost {
            self.give_up(id);
            self.ended(id);
        }
        self.close_more(now);
    }

    /// Makes the hosted partitions what the image says they should be.
    pub fn reconcile(&mut self, now: Now, publication: &Publication, topics: &mut Topics) {
        let Publication { image, delta, .. } = publication;
        for &id in &delta.partitions {
            if owner(id, self.node.cores) == self.core {
                self.reconcile_partition(now, id, publication, topics);
            }
        }
        for topic in Topics::reconfigured(image, delta) {
            let Some(settings) = topics.settings(image, topic) else { continue };
            for id in self.partitions_of(topic) {
                self.step(now, id, Input::Configure(Arc::clone(&settings)));
            }
        }
    }

    /// Sets aside what lies in the directories and is not wanted here. One core looks for all.
    pub fn set_strays_aside(&mut self, image: &Image) {
        let wanted = |topic: &str, index: i32, id: TopicId| {
            let partition = image.topics.partition(PartitionId { topic: id, index });
            image.topics.get(id).is_some_and(|known| &*known.name == topic)
                && partition.is_some_and(|partition| partition.replicas.contains(&self.node.id))
        };
        if let Err(error) = self.directories.set_strays_aside(wanted) {
            tracing::error!(%error, "strays cannot be set aside");
        }
    }

    fn reconcile_partition(
        &mut self,
        now: Now,
        id: PartitionId,
        publication: &Publication,
        topics: &mut Topics,
    ) {
        let image = &publication.image;
        let Some(partition) = image.topics.partition(id) else { return };
        let Some(&place) = publication.places.get(&id) else { return };
        if !self.hosted.contains_key(&id) {
            let opened = match place {
                Place::In(directory) => self.open(now, id, (image, directory), topics),
                Place::Offline => false,
            };
            if !opened {
                self.offline.insert(id);
                return;
            }
            self.offline.remove(&id);
        }
        self.follow(now, id, partition);
    }

    /// Tells a hosted partition what the metadata says of it.
    fn follow(&mut self, now: Now, id: PartitionId, partition: &ottla_metadata::Partition) {
        if partition.leader == Some(self.node.id) {
            let lead = Lead {
                epoch: partition.leader_epoch,
                partition_epoch: partition.partition_epoch,
                replicas: partition.replicas.to_vec(),
                isr: partition.isr.to_vec(),
            };
            self.step(now, id, Input::Lead(lead));
            self.take_over(id, partition.leader_epoch);
        } else {
            self.give_up(id);
            self.step(now, id, Input::StepDown);
        }
    }

    fn partitions_of(&self, topic: TopicId) -> Vec<PartitionId> {
        let first = PartitionId { topic, index: 0 };
        let last = PartitionId { topic, index: i32::MAX };
        self.hosted.range(first..=last).map(|(id, _)| *id).collect()
    }

    fn open(
        &mut self,
        now: Now,
        id: PartitionId,
        (image, directory): (&Image, usize),
        topics: &mut Topics,
    ) -> bool {
        let Some(settings) = topics.settings(image, id.topic) else { return false };
        let Some(topic) = image.topics.get(id.topic).map(|topic| &topic.name) else { return false };
        match self.directories.open_log(directory, topic, id, &settings.log, now) {
            Ok((log, high_watermark)) => {
                let partition = Partition::new(id, log, settings, high_watermark);
                let topic = Arc::clone(topic);
                self.hosted.insert(id, Hosted { partition, topic, directory, reported: None });
                true
            }
            Err(error) => {
                if !error.is_passing() {
                    tracing::error!(topic = %topic, partition = id.index, %error, "the log cannot be opened");
                } else if self.lacks_something(directory) {
                    // It is the same want as before, and has been told.
                    tracing::debug!(topic = %topic, partition = id.index, %error, "the log cannot be opened yet");
                } else {
                    tracing::warn!(topic = %topic, partition = id.index, %error, "the log cannot be opened yet");
                }
                if error.is_passing() {
                    // What is there keeps working; this one is tried again when there may be room.
                    self.unopened.insert(id, directory);
                } else {
                    self.unopened.remove(&id);
                    self.reports.push_back(failed(directory, &error));
                }
                false
            }
        }
    }

    fn remove(&mut self, id: PartitionId) {
        self.give_up(id);
        let Some(hosted) = self.hosted.remove(&id) else { return };
        self.redo.removed(id);
        let log = hosted.partition.abandon(&mut self.outputs);
        self.drain(id, hosted.directory);
        if let Err(error) = self.directories.delete_log(hosted.directory, log, &hosted.topic, id) {
            self.reports.push_back(failed(hosted.directory, &error));
        }
        self.reports.push_back(control::Input::Forget {
            directory: hosted.directory,
            topic: hosted.topic,
            partition: id.index,
        });
        self.ended(id);
    }

    fn each(&mut self, now: Now, input: fn() -> Input) {
        let ids: Vec<PartitionId> = self.hosted.keys().copied().collect();
        for id in ids {
            self.step(now, id, input());
        }
    }

    fn step(&mut self, now: Now, id: PartitionId, input: Input) {
        let Some(hosted) = self.hosted.get_mut(&id) else { return };
        hosted.partition.step(now, input, &mut self.outputs);
        let directory = hosted.directory;
        let ended = self.drain(id, directory);
        self.keep_abreast(now, id);
        if ended {
            self.ended(id);
        }
    }

    /// Something was missing that may be there before long.
    fn look_later(&mut self, now: Now) {
        self.next_look.get_or_insert(now.after_ms(ATTEMPT_INTERVAL_MS));
    }

    /// Hands on what a partition has put out; whether that was its end.
    fn drain(&mut self, id: PartitionId, directory: usize) -> bool {
        let mut ended = false;
        for output in self.outputs.drain(..) {
            match output {
                Output::Reply(ticket, reply) => self.replies.push_back((ticket, reply)),
                Output::Flush(pending) => self.disk_work.extend(self.redo.route(directory, id, pending)),
                Output::Closed => ended = true,
                Output::Failed(error) => {
                    tracing::error!(partition = %id, %error, "the disk has failed under a partition");
                    self.reports.push_back(failed(directory, &error));
                    ended = true;
                }
            }
        }
        ended
    }

    fn report_checkpoints(&mut self) {
        let mut rows = Vec::new();
        for hosted in self.hosted.values_mut() {
            let row = hosted.row();
            if hosted.reported.as_ref() != Some(&row) {
                rows.push(row.clone());
                hosted.reported = Some(row);
            }
        }
        if !rows.is_empty() {
            self.reports.push_back(control::Input::Checkpoint { core: self.core, rows });
        }
    }
}

impl Hosted {
    fn row(&self) -> CheckpointRow {
        let log = self.partition.log();
        CheckpointRow {
            directory: self.directory,
            topic: Arc::clone(&self.topic),
            id: self.partition.id(),
            recovery_point: log.recovery_point(),
            log_start: log.start_offset(),
            high_watermark: self.partition.high_watermark(),
        }
    }
}

fn failed(directory: usize, error: &DiskError) -> control::Input {
    control::Input::DirectoryFailed { directory, error: error.to_string() }
}
