//! One core's share of a node: a shard and the sessions of its connections, as a value.
//!
//! [`Core::step`] takes what has happened and fills a list of effects; what the core asks of itself never leaves it.
//! Order: questions of one session reach one shard in the order in which they were asked.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::sync::Arc;

use bytes::Bytes;
use ottla_coordinator::Around;
use ottla_log::Slice;
use ottla_metadata::{Delta, Image};
use ottla_partition::Ticket;
use ottla_protocol::compression::Codecs;
use ottla_protocol::time::Deadline;
use ottla_protocol::{Now, Offset, PartitionId};

use crate::answer::{Answered, Question};
use crate::control::{self, Place};
use crate::coordinators::{self, NOBODY};
use crate::disk_work::{DiskDone, DiskWork};
use crate::errands::{Begun, ERRANDS, Errands};
use crate::node::Node;
use crate::session::{Session, Surroundings};
use crate::shard::Shard;
use crate::topics::Topics;

/// A core of the node: an index from 0.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct CoreId(pub u16);

/// A connection on one core. Never used twice in the life of a process.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct SessionId(pub u32);

/// What can happen to a core.
#[derive(Debug)]
pub enum Input {
    /// A client has connected.
    Opened {
        /// Its name from now on.
        session: SessionId,
        /// Index of the listener in [`Node::listeners`].
        listener: usize,
        /// The client's address, as text without the port.
        host: String,
    },
    /// A whole frame has come, without its length.
    Frame {
        /// From whom.
        session: SessionId,
        /// The bytes after the length.
        frame: Bytes,
    },
    /// The client is gone.
    Closed {
        /// Who.
        session: SessionId,
    },
    /// Another core or control says something.
    Message(Message),
    /// What was put out for the disk has ended.
    DiskDone(DiskDone),
    /// The deadline has come.
    Tick,
}

/// What cores and control say to a core.
#[derive(Debug)]
pub enum Message {
    /// A session of another core asks one of this core's partitions.
    Question(Ticket, PartitionId, ottla_partition::Question),
    /// A session of another core asks the coordinator on one of this core's partitions.
    ToCoordinator(Ticket, PartitionId, coordinators::Command),
    /// The core says to itself: there is more to be loaded. So others have their turn in between.
    Load,
    /// The core says to itself: there is work for the disk. It says so again as long as that brings more, so what others
    /// have to write goes with it, for the price of one sync.
    Disk,
    /// A reply to one of this core's sessions.
    Answered(Ticket, Answered),
    /// These partitions will be gone with the next image: their folders go now, for the next image may need the names.
    LetGo(Arc<BTreeSet<PartitionId>>),
    /// The cluster has changed. The first one starts the core's partitions.
    Image(Arc<Publication>),
    /// A log directory has failed: nothing in it is served any more.
    DirectoryFailed(usize),
    /// The image is that of a broker that has caught up: what is on the disk and not in it is a stray, and a topic that
    /// is not in it has been deleted.
    CaughtUp,
    /// Close every partition in good order, then report to control.
    Stop,
}

/// A new image, and what it means for this node.
#[derive(Debug)]
pub struct Publication {
    /// The cluster.
    pub image: Arc<Image>,
    /// What has changed in it.
    pub delta: Delta,
    /// For each partition of this node that has changed: where it lies.
    pub places: BTreeMap<PartitionId, Place>,
}

/// What a core does to the world.
#[derive(Debug)]
pub enum Output {
    /// Send this to the client, in this order.
    Write {
        /// To whom.
        session: SessionId,
        /// What.
        chunks: Vec<Chunk>,
    },
    /// Close the connection once everything written so far is out.
    Close {
        /// Whose.
        session: SessionId,
        /// Why, for the log.
        why: &'static str,
    },
    /// Pass on to another core.
    ToCore(CoreId, Message),
    /// Run this where waiting for the disk harms nobody, and come back with [`Input::DiskDone`].
    DiskWork(DiskWork),
    /// Pass on to control.
    ToControl(control::Input),
}

/// A piece of a response.
#[derive(Debug)]
pub enum Chunk {
    /// Bytes in memory.
    Bytes(Bytes),
    /// Bytes in a file, which need not pass through memory.
    File(Slice),
}

/// So much work for the disk goes on its way without waiting for more.
const GATHERED_MAX: usize = 256;

/// See the module.
pub struct Core {
    id: CoreId,
    node: Arc<Node>,
    image: Arc<Image>,
    topics: Topics,
    codecs: Codecs,
    shard: Shard,
    sessions: BTreeMap<SessionId, Session>,
    /// The deadline of every session that has one: a node asks for the next after each step.
    deadlines: BTreeSet<(Deadline, SessionId)>,
    /// Questions and replies within this core that are still to be delivered. Empty between steps.
    pending: VecDeque<Pending>,
    /// [`Message::Load`] is under way.
    loads: bool,
    /// [`Message::Disk`] is under way, and there was so much work for the disk when it was sent.
    gathering: Option<usize>,
    /// Coordinators load from now on: in an older image they would take what was made later for deleted.
    has_caught_up: bool,
    /// What this core's coordinators want done by others.
    errands: Errands,
}

enum Pending {
    Question(Ticket, PartitionId, ottla_partition::Question),
    Coordinator(Ticket, PartitionId, coordinators::Command),
    Answered(Ticket, Answered),
}

/// The core that owns a partition, among `cores`: a topic's partitions are dealt out one by one, from a core that
/// depends on the topic.
#[must_use]
pub fn owner(partition: PartitionId, cores: u16) -> CoreId {
    // FNV-1a, folded: the upper half alone hardly changes with the last bytes.
    let fnv = |hash: u64, byte: u8| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
    let hash = partition.topic.0.into_iter().fold(0xcbf2_9ce4_8422_2325, fnv);
    let first = (hash ^ hash >> 32) & 0xffff_ffff;
    let index = u64::from(partition.index.unsigned_abs());
    CoreId(((first + index) % u64::from(cores.max(1))) as u16)
}

impl Core {
    /// A core without sessions or partitions; it waits for its first image.
    #[must_use]
    pub fn new(id: CoreId, node: Arc<Node>, shard: Shard) -> Self {
        let topics = Topics::new(Arc::clone(&node));
        let errands = Errands::new(id, node.id);
        Self {
            id,
            node,
            image: Arc::new(Image::default()),
            topics,
            codecs: Codecs::new(),
            shard,
            sessions: BTreeMap::new(),
            deadlines: BTreeSet::new(),
            pending: VecDeque::new(),
            loads: false,
            gathering: None,
            has_caught_up: false,
            errands,
        }
    }

    /// The next moment at which the core wants a [`Input::Tick`].
    #[must_use]
    pub fn deadline(&self) -> Option<Deadline> {
        let sessions = self.deadlines.first().map(|&(deadline, _)| deadline);
        [sessions, self.shard.deadline()].into_iter().flatten().min()
    }

    /// How many frames of a session wait for those before them: when to stop reading from its connection.
    #[must_use]
    pub fn waiting(&self, session: SessionId) -> usize {
        self.sessions.get(&session).map_or(0, Session::waiting)
    }

    /// Takes one input to its end.
    pub fn step(&mut self, now: Now, input: Input, out: &mut Vec<Output>) {
        match input {
            Input::Opened { session, listener, host } => {
                self.sessions.insert(session, Session::new(self.id, session, listener, host));
            }
            Input::Closed { session } => {
                let deadline = self.sessions.remove(&session).and_then(|gone| gone.deadline());
                self.move_deadline(session, deadline, None);
            }
            Input::Frame { session, frame } => {
                self.with_session(now, session, out, |session, around, asks| {
                    session.receive(around, frame, asks);
                });
            }
            Input::Message(message) => self.receive(now, message, out),
            Input::DiskDone(done) => self.shard.disk_done(now, done),
            Input::Tick => self.tick(now, out),
        }
        self.settle(now, out);
    }

    fn receive(&mut self, now: Now, message: Message, out: &mut Vec<Output>) {
        match message {
            Message::Question(ticket, partition, question) => {
                self.pending.push_back(Pending::Question(ticket, partition, question));
            }
            Message::ToCoordinator(ticket, partition, command) => {
                self.pending.push_back(Pending::Coordinator(ticket, partition, command));
            }
            Message::Load => {
                self.loads = false;
                self.shard.load_coordinators(Around { now, image: &self.image });
            }
            Message::Disk => {
                let waiting = self.shard.disk_work_waiting();
                match &mut self.gathering {
                    Some(seen) if *seen < waiting && waiting < GATHERED_MAX => {
                        *seen = waiting;
                        out.push(Output::ToCore(self.id, Message::Disk));
                    }
                    _ => {
                        self.gathering = None;
                        let work = std::iter::from_fn(|| self.shard.next_disk_work(now));
                        out.extend(work.map(Output::DiskWork));
                    }
                }
            }
            Message::Answered(ticket, answered) => {
                self.pending.push_back(Pending::Answered(ticket, answered));
            }
            Message::LetGo(partitions) => {
                self.shard.let_go(now, &partitions);
                // What there is to say of them goes first.
                out.extend(std::iter::from_fn(|| self.shard.next_report()).map(Output::ToControl));
                out.push(Output::ToControl(control::Input::LetGo { core: self.id }));
            }
            Message::Image(publication) => {
                let Publication { image, delta, .. } = &*publication;
                self.topics.refresh(image, delta);
                self.shard.reconcile(now, &publication, &mut self.topics);
                let offset = Offset(image.end_offset.0 - 1);
                self.image = Arc::clone(image);
                self.shard.forget_topics(Around { now, image }, delta);
                out.push(Output::ToControl(control::Input::Applied { core: self.id, offset }));
            }
            Message::DirectoryFailed(directory) => self.shard.directory_failed(now, directory),
            Message::CaughtUp => {
                self.has_caught_up = true;
                // One core looks for all.
                if self.id == CoreId(0) {
                    self.shard.set_strays_aside(&self.image);
                }
            }
            Message::Stop => self.shard.close(now),
        }
    }

    fn tick(&mut self, now: Now, out: &mut Vec<Output>) {
        self.shard.tick(now);
        self.shard.tick_coordinators(Around { now, image: &self.image });
        self.shard.open_late(now, &self.image, &mut self.topics);
        let due = self.deadlines.iter().take_while(|&&(deadline, _)| now.reached(deadline));
        let due: Vec<SessionId> = due.map(|&(_, id)| id).collect();
        for id in due {
            self.with_session(now, id, out, Session::expire);
        }
    }

    /// Delivers questions and replies within the core until there are none left.
    fn settle(&mut self, now: Now, out: &mut Vec<Output>) {
        loop {
            while let Some((ticket, reply)) = self.shard.next_reply() {
                self.deliver(ticket, Answered::Partition(reply), out);
            }
            while let Some((ticket, reply)) = self.shard.next_coordinated() {
                self.deliver(ticket, Answered::Coordinator(Box::new(reply)), out);
            }
            while let Some((coordinator, effect)) = self.shard.next_effect() {
                self.set_out(now, coordinator, effect, out);
            }
            while let Some(input) = self.shard.next_report() {
                out.push(Output::ToControl(input));
            }
            match self.pending.pop_front() {
                Some(Pending::Question(ticket, partition, question)) => {
                    self.shard.ask(now, ticket, partition, question);
                }
                Some(Pending::Coordinator(ticket, partition, command)) => {
                    let around = Around { now, image: &self.image };
                    self.shard.ask_coordinator(around, ticket, partition, command);
                }
                Some(Pending::Answered(ticket, answered)) if Session::of(ticket) == ERRANDS => {
                    let told = self.errands.answered(ticket, answered);
                    self.pending.extend(told.map(|(id, command)| Pending::Coordinator(NOBODY, id, command)));
                }
                Some(Pending::Answered(ticket, answered)) => {
                    let session = Session::of(ticket);
                    self.with_session(now, session, out, |session, around, asks| {
                        session.answered(around, ticket, answered, asks);
                    });
                }
                None => break,
            }
        }
        if self.has_caught_up && self.shard.is_loading() && !self.loads {
            self.loads = true;
            out.push(Output::ToCore(self.id, Message::Load));
        }
        let waiting = self.shard.disk_work_waiting();
        if waiting > 0 && self.gathering.is_none() {
            self.gathering = Some(waiting);
            out.push(Output::ToCore(self.id, Message::Disk));
        }
    }

    /// Has done what a coordinator wants.
    fn set_out(
        &mut self,
        now: Now,
        coordinator: PartitionId,
        effect: coordinators::Effect,
        out: &mut Vec<Output>,
    ) {
        let Begun { questions, told } = self.errands.begin(now, &self.image, coordinator, effect);
        for (ticket, question) in questions {
            self.route(ticket, question, out);
        }
        self.pending.extend(told.map(|(id, command)| Pending::Coordinator(NOBODY, id, command)));
    }

    fn deliver(&mut self, ticket: Ticket, answered: Answered, out: &mut Vec<Output>) {
        let core = Session::core_of(ticket);
        if core == self.id {
            self.pending.push_back(Pending::Answered(ticket, answered));
        } else {
            out.push(Output::ToCore(core, Message::Answered(ticket, answered)));
        }
    }

    /// Lets a session act, then sends its questions where they belong and its responses out.
    fn with_session(
        &mut self,
        now: Now,
        id: SessionId,
        out: &mut Vec<Output>,
        act: impl FnOnce(&mut Session, &mut Surroundings<'_>, &mut Vec<(Ticket, Question)>),
    ) {
        let Some(session) = self.sessions.get_mut(&id) else { return };
        let mut around = Surroundings {
            now,
            image: &self.image,
            node: &self.node,
            topics: &mut self.topics,
            codecs: &mut self.codecs,
        };
        let mut asks = Vec::new();
        let deadline_before = session.deadline();
        act(session, &mut around, &mut asks);
        let chunks = session.take_ready();
        let closing = session.closing();
        let deadline = session.deadline().filter(|_| closing.is_none());
        self.move_deadline(id, deadline_before, deadline);
        if !chunks.is_empty() {
            out.push(Output::Write { session: id, chunks });
        }
        if let Some(why) = closing {
            self.sessions.remove(&id);
            out.push(Output::Close { session: id, why });
        }
        for (ticket, question) in asks {
            self.route(ticket, question, out);
        }
    }

    fn move_deadline(&mut self, id: SessionId, from: Option<Deadline>, to: Option<Deadline>) {
        if from != to {
            if let Some(from) = from {
                self.deadlines.remove(&(from, id));
            }
            self.deadlines.extend(to.map(|to| (to, id)));
        }
    }

    fn route(&mut self, ticket: Ticket, question: Question, out: &mut Vec<Output>) {
        match question {
            Question::Partition(partition, question) => {
                let owner = owner(partition, self.node.cores);
                if owner == self.id {
                    self.pending.push_back(Pending::Question(ticket, partition, question));
                } else {
                    out.push(Output::ToCore(owner, Message::Question(ticket, partition, question)));
                }
            }
            Question::Coordinator(partition, command) => {
                let owner = owner(partition, self.node.cores);
                if owner == self.id {
                    self.pending.push_back(Pending::Coordinator(ticket, partition, command));
                } else {
                    out.push(Output::ToCore(owner, Message::ToCoordinator(ticket, partition, command)));
                }
            }
            Question::Control(command) => {
                out.push(Output::ToControl(control::Input::Command { core: self.id, ticket, command }));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use ottla_protocol::Uuid;

    use super::*;

    #[test]
    fn partitions_are_dealt_out_evenly() {
        for cores in [1, 2, 3, 8] {
            let mut firsts = vec![0; usize::from(cores)];
            for number in 0..1000u32 {
                let mut random = [0; 16];
                random[..4].copy_from_slice(&number.wrapping_mul(0x9e37_79b9).to_be_bytes());
                let topic = Uuid::from_random(random);
                let owned = |index| usize::from(owner(PartitionId { topic, index }, cores).0);
                firsts[owned(0)] += 1;
                let all: BTreeSet<usize> = (0..i32::from(cores)).map(owned).collect();
                assert_eq!(all.len(), usize::from(cores), "of each topic every core has one");
            }
            let expected = 1000 / i32::from(cores);
            assert!(firsts.iter().all(|&count: &i32| (count - expected).abs() < expected / 2), "{firsts:?}");
        }
    }
}
