//! A cluster as one thing to call: which node a call goes to, connections on demand, metadata kept fresh.
//!
//! A value like everything here: inputs are calls, connections made and lost, frames and the time; outputs are in
//! `poll`. A call for a certain node fails with that node's connection, for its caller knows what to do next; a call
//! for any node or the controller moves on to another, until its own deadline.

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::time::Duration;

use bytes::Bytes;
use ottla_protocol::Now;
use ottla_protocol::messages::metadata::MetadataRequestTopic;
use ottla_protocol::messages::{DescribeClusterRequest, MetadataRequest};
use ottla_protocol::time::Deadline;

use crate::call::{Call, Reply, Ticket};
use crate::connection::{BrokerVersions, Connection, Finished};
use crate::error::{ApiError, ClientError};
use crate::metadata::Metadata;
use crate::random::Random;
use crate::settings::{Address, Endpoint, Settings, TopicCreation};

/// Where a call goes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Target {
    /// To this node and no other.
    Node(i32),
    /// To this node on a connection of its own: brokers answer in order, and some of a coordinator's answers take as long
    /// as a rebalance.
    Coordinator(i32),
    /// To the least busy node.
    Any,
    /// To the node that metadata names as the controller.
    Controller,
}

/// One attempt at a connection; never used again.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Link(pub u64);

/// What the world outside is asked to do.
#[derive(Debug)]
pub enum Output {
    /// Connect, then call `connected` or `disconnected`.
    Connect {
        /// The name of the attempt.
        link: Link,
        /// Where to.
        address: Address,
    },
    /// Write these bytes.
    Send {
        /// To this connection.
        link: Link,
        /// A whole frame with its length.
        frame: Bytes,
    },
    /// Close the connection, or give up the attempt; nothing more will be heard of it.
    Close {
        /// Which.
        link: Link,
    },
    /// A call has come to its end.
    Done(Finished),
}

/// Which topics metadata is kept of.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Interest {
    /// None but those named by `watch`.
    #[default]
    Named,
    /// Every topic there is.
    All,
}

/// A client's side of a cluster.
#[derive(Debug)]
pub struct Cluster {
    settings: Settings,
    random: Random,
    metadata: Metadata,
    refresh: Refresh,
    peers: BTreeMap<i32, Peer>,
    calls: Calls,
    outputs: VecDeque<Output>,
    next_link: u64,
}

/// Calls from submission to their end.
#[derive(Debug, Default)]
struct Calls {
    next: u64,
    /// Not given to a connection yet.
    waiting: VecDeque<(Ticket, Call)>,
    /// All that are open, with where they want to go and until when they may wait to be sent.
    open: BTreeMap<Ticket, (Target, Deadline)>,
}

#[derive(Debug, Default)]
struct Refresh {
    interest: Interest,
    watched: BTreeSet<String>,
    wanted: bool,
    /// Whether every topic is known well enough; otherwise metadata is asked for again after a pause.
    unsettled: bool,
    under_way: Option<Ticket>,
    failures: u32,
    not_before: Option<Deadline>,
    expires: Option<Deadline>,
}

/// A node we know of, or a bootstrap address (negative id, as in Java).
#[derive(Debug)]
struct Peer {
    address: Address,
    open: Option<Open>,
    failures: u32,
    not_before: Option<Deadline>,
    /// Until when nothing more is said of failures to connect.
    silent_until: Option<Deadline>,
}

#[derive(Debug)]
struct Open {
    link: Link,
    connection: Connection,
    /// Until when the socket must be connected; `None` once it is.
    opening: Option<Deadline>,
    idle_since: Deadline,
}

/// The peer of a node's second connection, and back; as in Java, counted from the top.
fn second(id: i32) -> i32 {
    i32::MAX - id
}

/// Whether a peer is a second connection. No node has so great an id.
fn is_second(id: i32) -> bool {
    id > i32::MAX / 2
}

/// A connection without traffic is closed after this (Java: `connections.max.idle.ms`).
const IDLE_MAX: Duration = Duration::from_secs(540);

/// At least this long between two lines about one node that cannot be reached.
const COMPLAINT_INTERVAL: Duration = Duration::from_secs(1);

impl Cluster {
    /// A cluster nothing is known of but the bootstrap addresses. `seed` makes backoff and choice of node differ between clients.
    #[must_use]
    pub fn new(settings: Settings, seed: u64) -> Self {
        let bootstrap = settings.bootstrap.iter().cloned().zip((1..).map(|n: i32| -n));
        let peers = bootstrap.map(|(address, id)| (id, Peer::new(address))).collect();
        Self {
            settings,
            random: Random::new(seed),
            metadata: Metadata::default(),
            refresh: Refresh::default(),
            peers,
            calls: Calls::default(),
            outputs: VecDeque::new(),
            next_link: 0,
        }
    }

    /// What is known of the cluster.
    #[must_use]
    pub fn metadata(&self) -> &Metadata {
        &self.metadata
    }

    /// The same, to tell it of a leader that an answer named.
    pub fn metadata_mut(&mut self) -> &mut Metadata {
        &mut self.metadata
    }

    /// The settings it was made with.
    #[must_use]
    pub fn settings(&self) -> &Settings {
        &self.settings
    }

    /// A random number, for whoever stands on the cluster and needs one.
    pub fn random(&mut self) -> u64 {
        self.random.next()
    }

    /// Sends a call, which fails if it has not been sent by `give_up`; how long it may then be under way is the
    /// request timeout's business.
    pub fn submit(&mut self, now: Now, target: Target, call: Call, give_up: Deadline) -> Ticket {
        let ticket = Ticket(self.calls.next);
        self.calls.next += 1;
        self.calls.open.insert(ticket, (target, give_up));
        self.calls.waiting.push_back((ticket, call));
        self.step(now);
        ticket
    }

    /// Keeps metadata of a topic from now on, and asks for it at once if it is not known.
    pub fn watch(&mut self, now: Now, topic: &str) {
        if self.refresh.watched.insert(topic.to_owned()) {
            self.refresh(now);
        }
    }

    /// Ends that.
    pub fn unwatch(&mut self, topic: &str) {
        self.refresh.watched.remove(topic);
    }

    /// Keeps metadata of every topic, or of those watched.
    pub fn interest(&mut self, now: Now, interest: Interest) {
        if self.refresh.interest != interest {
            self.refresh.interest = interest;
            self.refresh(now);
        }
    }

    /// Asks for metadata as soon as backoff allows: something showed that ours is old.
    pub fn refresh(&mut self, now: Now) {
        self.refresh.wanted = true;
        self.step(now);
    }

    /// What a node answered to ApiVersions, while it is connected.
    #[must_use]
    pub fn broker_versions(&self, node: i32) -> Option<&BrokerVersions> {
        self.peers.get(&node)?.open.as_ref()?.connection.broker_versions()
    }

    /// A connection was made.
    pub fn connected(&mut self, now: Now, link: Link) {
        if let Some(peer) = self.peer_of(link) {
            if let Some(open) = &mut peer.open {
                open.opening = None;
                open.connection.opened(now);
            }
            self.step(now);
        }
    }

    /// A connection could not be made, or was lost.
    pub fn disconnected(&mut self, now: Now, link: Link, why: &str) {
        if let Some(id) = self.id_of(link) {
            self.close(now, id, why);
            self.step(now);
        }
    }

    /// A response came, without the length that stood before it.
    pub fn frame(&mut self, now: Now, link: Link, frame: Bytes) {
        let Some(id) = self.id_of(link) else { return };
        let Some(open) = self.peers.get_mut(&id).and_then(|peer| peer.open.as_mut()) else { return };
        open.idle_since = Deadline(now.monotonic_us);
        if let Err(broken) = open.connection.frame(now, frame) {
            self.shut(now, id, &broken.to_string());
        }
        self.step(now);
    }

    /// The next thing to do.
    pub fn poll(&mut self) -> Option<Output> {
        self.outputs.pop_front()
    }

    /// When `step` wants to be called next.
    #[must_use]
    pub fn deadline(&self) -> Option<Deadline> {
        let peers = self.peers.values().filter_map(|peer| match &peer.open {
            Some(open) => {
                let idle = Some(open.idle_until()).filter(|_| open.connection.load() == 0);
                [open.opening, open.connection.deadline(), idle].into_iter().flatten().min()
            }
            // A closed peer matters only if somebody waits for it.
            None => peer.not_before.filter(|_| !self.calls.waiting.is_empty()),
        });
        let calls =
            self.calls.waiting.iter().filter_map(|(ticket, _)| self.calls.open.get(ticket)).map(|c| c.1);
        let refresh = match self.refresh.under_way {
            Some(_) => None,
            None if self.refresh.wanted || self.refresh.unsettled => self.refresh.not_before,
            None => self.refresh.expires,
        };
        peers.chain(calls).chain(refresh).min()
    }

    /// Looks at the clock and does whatever can be done.
    pub fn step(&mut self, now: Now) {
        self.expire(now);
        let ids: Vec<i32> = self.peers.keys().copied().collect();
        for id in ids {
            self.collect(now, id);
        }
        // Placing may show that metadata is needed, and asking for it is one more call to place.
        self.place(now);
        if self.ask_metadata(now) {
            self.place(now);
        }
    }

    /// Connections that took too long, or that nobody needs.
    fn expire(&mut self, now: Now) {
        let ids: Vec<i32> = self.peers.keys().copied().collect();
        for id in ids {
            let Some(peer) = self.peers.get_mut(&id) else { continue };
            peer.not_before = peer.not_before.filter(|&deadline| !now.reached(deadline));
            let Some(open) = &peer.open else { continue };
            if open.opening.is_some_and(|due| now.reached(due)) {
                self.shut(now, id, "the connection could not be made in time");
            } else if let Err(broken) = open.connection.step(now) {
                self.shut(now, id, &broken.to_string());
            } else if now.reached(open.idle_until()) && open.connection.load() == 0 {
                self.outputs.push_back(Output::Close { link: open.link });
                peer.open = None;
            }
        }
    }

    /// Calls for metadata if it is wanted and backoff allows.
    fn ask_metadata(&mut self, now: Now) -> bool {
        let reached = |deadline: Option<Deadline>| deadline.is_none_or(|deadline| now.reached(deadline));
        let expired = self.refresh.expires.is_some() && reached(self.refresh.expires);
        let wanted = self.refresh.wanted || self.refresh.unsettled || expired;
        if !wanted || self.refresh.under_way.is_some() || !reached(self.refresh.not_before) {
            return false;
        }
        let call = match self.settings.endpoint {
            Endpoint::Brokers => Call::new(self.metadata_request()),
            Endpoint::Controllers => {
                Call::new(DescribeClusterRequest { endpoint_type: 2, ..DescribeClusterRequest::default() })
            }
        };
        let ticket = Ticket(self.calls.next);
        self.calls.next += 1;
        self.refresh.wanted = false;
        self.refresh.under_way = Some(ticket);
        self.calls.open.insert(ticket, (Target::Any, now.after(self.settings.request_timeout)));
        self.calls.waiting.push_front((ticket, call));
        true
    }

    fn metadata_request(&self) -> MetadataRequest {
        let named = |name: &String| MetadataRequestTopic {
            name: Some(name.clone()),
            ..MetadataRequestTopic::default()
        };
        MetadataRequest {
            topics: match self.refresh.interest {
                Interest::Named => Some(self.refresh.watched.iter().map(named).collect()),
                Interest::All => None,
            },
            allow_auto_topic_creation: self.settings.topic_creation == TopicCreation::Allowed,
            ..MetadataRequest::default()
        }
    }

    /// Gives waiting calls to connections, opening those that are needed.
    fn place(&mut self, now: Now) {
        let waiting = std::mem::take(&mut self.calls.waiting);
        for (ticket, call) in waiting {
            let Some(&(target, give_up)) = self.calls.open.get(&ticket) else { continue };
            match self.choose(now, target) {
                Choice::Peer(id) => self.give(now, id, ticket, call),
                Choice::Nobody(why) => self.finish(now, ticket, Err(ClientError::Disconnected(why))),
                Choice::Wait if now.reached(give_up) => {
                    let name = call.key().name();
                    let why = format!("Timed out waiting for a node assignment. Call: {name}");
                    self.finish(now, ticket, Err(ClientError::TimedOut(why)));
                }
                Choice::Wait => self.calls.waiting.push_back((ticket, call)),
            }
        }
    }

    fn choose(&mut self, now: Now, target: Target) -> Choice {
        match target {
            Target::Any => self.least_busy(now),
            Target::Controller => match self.metadata.controller {
                Some(id) if self.peers.contains_key(&id) => self.available(now, id),
                _ => {
                    self.refresh.wanted = true;
                    Choice::Wait
                }
            },
            Target::Node(id) if self.peers.contains_key(&id) => self.available(now, id),
            Target::Coordinator(id) if id >= 0 && self.peers.contains_key(&id) => {
                let own = self.own_peer(id);
                self.available(now, own)
            }
            Target::Node(id) | Target::Coordinator(id) if self.metadata.updates > 0 => {
                self.refresh.wanted = true;
                Choice::Nobody(format!("node {id}, which is not a live node of the cluster"))
            }
            Target::Node(_) | Target::Coordinator(_) => {
                self.refresh.wanted = true;
                Choice::Wait
            }
        }
    }

    /// The peer that stands for a node's second connection, at the address of the first.
    fn own_peer(&mut self, id: i32) -> i32 {
        let own = second(id);
        if let Some(address) = self.peers.get(&id).map(|peer| peer.address.clone()) {
            if self.peers.get(&own).is_some_and(|peer| peer.address != address) {
                self.retire(own);
            }
            self.peers.entry(own).or_insert_with(|| Peer::new(address));
        }
        own
    }

    fn available(&self, now: Now, id: i32) -> Choice {
        match self.peers.get(&id) {
            Some(peer) if peer.open.is_some() || peer.may_open(now) => Choice::Peer(id),
            _ => Choice::Wait,
        }
    }

    /// A ready connection with least to do, else one being opened, else a node that may be tried.
    fn least_busy(&mut self, now: Now) -> Choice {
        let first = self.peers.iter().filter(|(id, _)| !is_second(**id));
        let open = first.clone().filter_map(|(id, peer)| Some((id, peer.open.as_ref()?)));
        let best = open.min_by_key(|(_, open)| (!open.connection.is_ready(), open.connection.load()));
        if let Some((&id, _)) = best {
            return Choice::Peer(id);
        }
        // Bootstrap addresses come back into play when no node of the last metadata can be reached (KIP-899).
        let known = first.clone().filter(|(id, _)| **id >= 0);
        let hopeless = known.clone().all(|(_, peer)| peer.failures > 0);
        let usable = first.filter(|(id, peer)| peer.may_open(now) && (**id >= 0 || hopeless));
        let usable: Vec<i32> = usable.map(|(id, _)| *id).collect();
        let random = self.random.next();
        match usable.len() {
            0 => Choice::Wait,
            count => Choice::Peer(usable[usize::try_from(random % count as u64).unwrap_or(0)]),
        }
    }

    fn give(&mut self, now: Now, id: i32, ticket: Ticket, call: Call) {
        let link = Link(self.next_link);
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let settings = &self.settings;
        let open = peer.open.get_or_insert_with(|| {
            self.next_link += 1;
            self.outputs.push_back(Output::Connect { link, address: peer.address.clone() });
            Open {
                link,
                connection: Connection::new(
                    settings.client_id.clone(),
                    settings.request_timeout,
                    settings.in_flight_max,
                ),
                opening: Some(now.after(settings.connect_timeout)),
                idle_since: Deadline(now.monotonic_us),
            }
        });
        open.connection.submit(now, ticket, call);
        self.collect(now, id);
    }

    /// Takes out of a connection what it has to say.
    fn collect(&mut self, now: Now, id: i32) {
        let mut finished = Vec::new();
        if let Some(peer) = self.peers.get_mut(&id) {
            let Some(open) = &mut peer.open else { return };
            while let Some(frame) = open.connection.outgoing() {
                open.idle_since = Deadline(now.monotonic_us);
                self.outputs.push_back(Output::Send { link: open.link, frame });
            }
            finished.extend(std::iter::from_fn(|| open.connection.finished()));
            if open.connection.is_ready() {
                peer.failures = 0;
                peer.not_before = None;
            }
        }
        for Finished { ticket, outcome } in finished {
            self.finish(now, ticket, outcome);
        }
    }

    /// Closes a connection of our own accord.
    fn shut(&mut self, now: Now, id: i32, why: &str) {
        if let Some(open) = self.peers.get(&id).and_then(|peer| peer.open.as_ref()) {
            self.outputs.push_back(Output::Close { link: open.link });
        }
        self.close(now, id, why);
    }

    fn close(&mut self, now: Now, id: i32, why: &str) {
        let random = self.random.next();
        let Some(peer) = self.peers.get_mut(&id) else { return };
        let Some(open) = peer.open.take() else { return };
        peer.failures = peer.failures.saturating_add(1);
        peer.not_before = Some(now.after(self.settings.reconnect_backoff.wait(peer.failures, random)));
        let name = format!("node {id} ({}): {why}", peer.address);
        if open.opening.is_some() && peer.may_complain(now) {
            tracing::warn!("Connection to node {id} ({}) could not be established: {why}", peer.address);
        }
        self.refresh.wanted |= id >= 0;
        let (finished, unsent) = open.connection.close(&ClientError::Disconnected(name.clone()));
        for Finished { ticket, outcome } in finished {
            self.finish(now, ticket, outcome);
        }
        for (ticket, call) in unsent {
            match self.calls.open.get(&ticket) {
                Some((Target::Node(_), _)) => {
                    self.finish(now, ticket, Err(ClientError::Disconnected(name.clone())));
                }
                _ => self.calls.waiting.push_back((ticket, call)),
            }
        }
    }

    fn finish(&mut self, now: Now, ticket: Ticket, outcome: Result<Reply, ClientError>) {
        self.calls.open.remove(&ticket);
        if self.refresh.under_way == Some(ticket) {
            self.refresh.under_way = None;
            self.refreshed(now, outcome);
        } else {
            self.outputs.push_back(Output::Done(Finished { ticket, outcome }));
        }
    }

    /// Metadata came, or did not.
    fn refreshed(&mut self, now: Now, outcome: Result<Reply, ClientError>) {
        let random = self.random.next();
        let learned = outcome.and_then(|reply| match self.settings.endpoint {
            Endpoint::Brokers => {
                reply.decode::<MetadataRequest>().map(|response| self.metadata.learn(response))
            }
            Endpoint::Controllers => reply.decode::<DescribeClusterRequest>().and_then(|response| {
                ApiError::check(response.error_code, response.error_message.clone())?;
                self.metadata.learn_nodes(response);
                Ok(())
            }),
        });
        if let Err(error) = &learned {
            tracing::debug!("metadata could not be fetched: {error}");
            self.refresh.wanted = true;
        }
        let refresh = &mut self.refresh;
        let unsettled = refresh.watched.iter().any(|topic| !self.metadata.is_settled(topic));
        refresh.unsettled = learned.is_ok() && unsettled;
        refresh.failures = if learned.is_ok() && !unsettled { 0 } else { refresh.failures.saturating_add(1) };
        refresh.not_before =
            Some(now.after(self.settings.retry_backoff.wait(refresh.failures.max(1), random)));
        refresh.expires = Some(now.after(self.settings.metadata_max_age));
        if learned.is_ok() {
            if refresh.interest == Interest::Named {
                let watched = &refresh.watched;
                self.metadata.keep(|topic| watched.contains(topic));
            }
            self.adopt_brokers();
        }
    }

    /// The brokers of the metadata become peers; those that moved or vanished are let go when they are not in use.
    fn adopt_brokers(&mut self) {
        let moved =
            |id: &i32, address: &Address| self.peers.get(id).is_none_or(|peer| peer.address != *address);
        let brokers = self.metadata.brokers.values().map(|broker| (broker.id, broker.address.clone()));
        let moved: Vec<(i32, Address)> = brokers.filter(|(id, address)| moved(id, address)).collect();
        for (id, address) in moved {
            self.retire(id);
            self.peers.insert(id, Peer::new(address));
        }
        let known = |id: i32| {
            self.metadata.brokers.contains_key(&id) || self.metadata.brokers.contains_key(&second(id))
        };
        let gone = |id: &i32, peer: &Peer| *id >= 0 && !known(*id) && peer.is_idle();
        let gone: Vec<i32> =
            self.peers.iter().filter(|(id, peer)| gone(id, peer)).map(|(id, _)| *id).collect();
        for id in gone {
            self.retire(id);
        }
    }

    fn retire(&mut self, id: i32) {
        let Some(peer) = self.peers.remove(&id) else { return };
        let Some(open) = peer.open else { return };
        self.outputs.push_back(Output::Close { link: open.link });
        let (finished, unsent) =
            open.connection.close(&ClientError::Disconnected(format!("node {id}, which moved")));
        for done in finished {
            self.calls.open.remove(&done.ticket);
            self.outputs.push_back(Output::Done(done));
        }
        self.calls.waiting.extend(unsent);
    }

    fn id_of(&self, link: Link) -> Option<i32> {
        let found =
            self.peers.iter().find(|(_, peer)| peer.open.as_ref().is_some_and(|open| open.link == link));
        found.map(|(id, _)| *id)
    }

    fn peer_of(&mut self, link: Link) -> Option<&mut Peer> {
        self.peers.values_mut().find(|peer| peer.open.as_ref().is_some_and(|open| open.link == link))
    }
}

/// Where a call may go just now.
enum Choice {
    Peer(i32),
    /// Nowhere yet.
    Wait,
    /// Nowhere at all.
    Nobody(String),
}

impl Peer {
    fn new(address: Address) -> Self {
        Self { address, open: None, failures: 0, not_before: None, silent_until: None }
    }

    fn may_open(&self, now: Now) -> bool {
        self.not_before.is_none_or(|deadline| now.reached(deadline))
    }

    /// Whether a failure to connect is worth a line: a client that has just begun to try does so many times a second.
    fn may_complain(&mut self, now: Now) -> bool {
        let may = self.silent_until.is_none_or(|deadline| now.reached(deadline));
        if may {
            self.silent_until = Some(now.after(COMPLAINT_INTERVAL));
        }
        may
    }

    fn is_idle(&self) -> bool {
        self.open.as_ref().is_none_or(|open| open.connection.load() == 0)
    }
}

impl Open {
    fn idle_until(&self) -> Deadline {
        let idle_max = u64::try_from(IDLE_MAX.as_micros()).unwrap_or(u64::MAX);
        Deadline(self.idle_since.0.saturating_add(idle_max))
    }
}

#[cfg(test)]
mod tests;
