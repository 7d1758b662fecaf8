//! Consumer groups with clients that come, go, fall silent and miss replies, on a log that sometimes refuses and is
//! sometimes read anew.
//!
//! At each moment every partition is with at most one client, as the clients see it. When everything is quiet, each
//! client has what it shall have, everything that is wanted is with somebody who wants it, and nothing moves without
//! need. And whoever reads the log, compacted or not, sees the same group.

mod consumer;

use std::collections::{BTreeMap, BTreeSet};

use consumer::client::{Client, Owned, SESSION_US, Wish, describe};
use consumer::cluster::Cluster;
use consumer::host::Host;
use ottla_coordinator::group::{Caller, Command, Reply};
use ottla_protocol::messages::ConsumerGroupHeartbeatRequest;
use ottla_protocol::{Refusal, TopicId};
use proptest::prelude::*;

#[derive(Clone, Debug)]
enum Event {
    Start(usize),
    Beat(usize),
    BeatLost(usize),
    BeatRefused(usize),
    /// What is to be given back is given back.
    Settle(usize),
    Leave(usize),
    LeaveForAWhile(usize),
    Wish(usize, u8),
    Wait(u64),
    Grow(usize),
    Create,
    Delete(usize),
    Restart,
}

struct World {
    cluster: Cluster,
    host: Host,
    clients: Vec<Client>,
    topics: Vec<String>,
    sizes: Vec<i32>,
}

fn event() -> impl Strategy<Value = Event> {
    let one = 0..6_usize;
    prop_oneof![
        5 => one.clone().prop_map(Event::Start),
        12 => one.clone().prop_map(Event::Beat),
        3 => one.clone().prop_map(Event::BeatLost),
        1 => one.clone().prop_map(Event::BeatRefused),
        6 => one.clone().prop_map(Event::Settle),
        2 => one.clone().prop_map(Event::Leave),
        1 => one.clone().prop_map(Event::LeaveForAWhile),
        2 => (one.clone(), any::<u8>()).prop_map(|(client, wish)| Event::Wish(client, wish)),
        6 => (1..12_000_u64).prop_map(Event::Wait),
        1 => Just(Event::Wait(46_000)),
        1 => one.clone().prop_map(Event::Grow),
        1 => Just(Event::Create),
        1 => one.prop_map(Event::Delete),
        1 => Just(Event::Restart),
    ]
}

impl World {
    fn new(interval_ms: u64, clients: usize) -> Self {
        let mut cluster = Cluster::default();
        cluster.brokers(&["a", "b"]);
        let interval = ("group.consumer.assignment.interval.ms".to_owned(), interval_ms.to_string());
        let host = Host::new(BTreeMap::from([interval]), &cluster.image);
        let client = |number: usize| Client {
            id: format!("c{number}"),
            instance: (number % 3 == 2).then(|| format!("static{number}")),
            epoch: None,
            wish: Wish::Names(vec!["t1".into(), "t2".into()]),
            owned: Owned::new(),
            told: None,
            full: true,
            heard_us: 0,
        };
        let mut world = Self {
            cluster,
            host,
            clients: (0..clients).map(client).collect(),
            topics: Vec::new(),
            sizes: Vec::new(),
        };
        world.create(5);
        world.create(3);
        world
    }

    fn create(&mut self, partitions: i32) {
        let name = format!("t{}", self.topics.len() + 1);
        self.cluster.create(&name, partitions);
        self.topics.push(name);
        self.sizes.push(partitions);
    }

    fn happen(&mut self, event: &Event, alike: bool) {
        match event {
            Event::Start(at) => {
                let now_us = self.host.now.monotonic_us;
                let client = self.client(*at);
                if client.epoch.is_none() {
                    client.epoch = Some(0);
                    client.heard_us = now_us;
                    self.beat(*at, Loss::None);
                }
            }
            Event::Beat(at) => self.beat(*at, Loss::None),
            Event::BeatLost(at) => self.beat(*at, Loss::Reply),
            Event::BeatRefused(at) => self.beat(*at, Loss::Write),
            Event::Settle(at) => self.client(*at).settle(),
            Event::Leave(at) => self.leave(*at, -1),
            Event::LeaveForAWhile(at) if self.client(*at).instance.is_some() => self.leave(*at, -2),
            Event::LeaveForAWhile(_) => {}
            Event::Wish(at, bits) => {
                let wish = self.wish(*bits, alike);
                let all = if alike { 0..self.clients.len() } else { *at..*at + 1 };
                for at in all {
                    self.client(at).wish = wish.clone();
                    self.client(at).full = true;
                }
            }
            Event::Wait(ms) => {
                // A client hears the clock too: it does not sleep past the end of its session.
                for _ in 0..ms.div_ceil(1000) {
                    self.host.wait(&self.cluster.image, 1000.min(*ms));
                    self.expire();
                }
            }
            Event::Grow(at) => {
                let at = at % self.topics.len();
                if self.sizes[at] > 0 {
                    self.sizes[at] += 2;
                    self.cluster.grow(&self.topics[at], self.sizes[at]);
                }
            }
            Event::Create if self.topics.len() < 5 => self.create(2),
            Event::Create => {}
            Event::Delete(at) => {
                let at = at % self.topics.len();
                if self.sizes[at] > 0 && at > 0 {
                    self.cluster.delete(&self.topics[at]);
                    self.sizes[at] = 0;
                }
            }
            Event::Restart => {
                self.host.restart(&self.cluster.image);
            }
        }
        self.expire();
        self.check_owners();
    }

    fn client(&mut self, at: usize) -> &mut Client {
        let count = self.clients.len();
        &mut self.clients[at % count]
    }

    fn wish(&self, bits: u8, alike: bool) -> Wish {
        if alike {
            return Wish::Names(vec!["t1".into(), "t2".into()]);
        }
        match bits % 8 {
            0 => Wish::Pattern("t.*".into()),
            1 => Wish::Pattern("t[12]".into()),
            _ => {
                let wanted = (0..5).filter(|number| bits >> number & 1 == 1);
                Wish::Names(wanted.map(|number| format!("t{}", number + 1)).collect())
            }
        }
    }

    /// Who has not been answered for a whole session knows that it is out.
    fn expire(&mut self) {
        let now_us = self.host.now.monotonic_us;
        for client in &mut self.clients {
            if client.epoch.is_some() && now_us >= client.heard_us + SESSION_US {
                client.start_anew();
                client.heard_us = now_us;
            }
        }
    }

    fn beat(&mut self, at: usize, loss: Loss) {
        let sent_us = self.host.now.monotonic_us;
        let client = self.client(at);
        let Some(epoch) = client.epoch else { return };
        let request = client.request(epoch);
        client.full |= loss != Loss::None;
        self.host.refuses = loss == Loss::Write;
        let reply = self.send(request);
        self.host.refuses = false;
        match reply {
            Reply::ConsumerHeartbeat(response) if loss == Loss::None => {
                self.client(at).hear(&response, sent_us);
            }
            Reply::ConsumerHeartbeat(_) | Reply::Refused(Refusal::NotCoordinator) => {}
            other => panic!("{other:?}"),
        }
    }

    fn leave(&mut self, at: usize, epoch: i32) {
        let client = self.client(at);
        if client.epoch.is_none_or(|epoch| epoch == 0) {
            return;
        }
        let request = ConsumerGroupHeartbeatRequest {
            group_id: "g".into(),
            member_id: client.id.clone(),
            member_epoch: epoch,
            instance_id: client.instance.clone(),
            ..Default::default()
        };
        client.start_anew();
        client.epoch = None;
        self.send(request);
    }

    fn send(&mut self, request: ConsumerGroupHeartbeatRequest) -> Reply {
        let caller = Caller { client_id: "c".into(), client_host: "/127.0.0.1".into(), version: 1 };
        let (number, outcome) =
            self.host.ask(&self.cluster.image, Command::ConsumerHeartbeat(caller, request));
        let reply = outcome.replies.into_iter().find(|(ticket, _)| *ticket == number);
        reply.expect("every heartbeat is answered at once").1
    }

    fn check_owners(&self) {
        let mut owners: BTreeMap<(TopicId, i32), &str> = BTreeMap::new();
        for client in &self.clients {
            for partition in &client.owned {
                let other = owners.insert(*partition, &client.id);
                assert_eq!(other, None, "{}-{} has two owners", self.cluster.name(partition.0), partition.1);
            }
        }
    }

    /// Whoever reads the log sees the same group, and so does who reads what compaction leaves of it.
    fn check_log(&mut self) {
        let mut reread = self.host.reload(&self.cluster.image, self.host.log.iter());
        let mut compacted = self.host.reload(&self.cluster.image, self.host.compacted().iter());
        let Self { cluster, host, .. } = self;
        let is = describe(cluster, host.now, &mut host.groups);
        assert_eq!(is, describe(cluster, host.now, &mut reread));
        assert_eq!(is, describe(cluster, host.now, &mut compacted));
    }

    /// Everybody sends heartbeats and gives back what it shall, until nothing moves. Patterns are looked at every ten
    /// seconds only, so it has to be quiet for longer.
    fn settle(&mut self) {
        let mut quiet_rounds = 0;
        for _ in 0..100 {
            let before: Vec<(Option<i32>, Owned)> =
                self.clients.iter().map(|client| (client.epoch, client.owned.clone())).collect();
            for at in 0..self.clients.len() {
                self.client(at).settle();
                self.beat(at, Loss::None);
                self.client(at).settle();
                self.check_owners();
            }
            self.host.wait(&self.cluster.image, 4000);
            let after = self.clients.iter().map(|client| (client.epoch, client.owned.clone()));
            let is_quiet = after.eq(before);
            if is_quiet && self.clients.iter().all(|client| client.epoch != Some(0)) && self.is_stable() {
                quiet_rounds += 1;
            } else {
                quiet_rounds = 0;
            }
            if quiet_rounds == 4 {
                return;
            }
        }
        panic!("no quiet: {:?}", self.clients);
    }

    fn is_stable(&mut self) -> bool {
        let Self { cluster, host, .. } = self;
        matches!(&*describe(cluster, host.now, &mut host.groups).group_state, "Stable" | "Empty" | "")
    }

    fn wanted(&self, client: &Client) -> BTreeSet<TopicId> {
        let exists = |name: &String| self.cluster.image.topics.named(name).map(|topic| topic.id);
        match &client.wish {
            Wish::Names(names) => names.iter().filter_map(exists).collect(),
            Wish::Pattern(pattern) => {
                let matches = |name: &&String| pattern == "t.*" || ["t1", "t2"].contains(&&***name);
                self.topics.iter().filter(matches).filter_map(exists).collect()
            }
        }
    }

    fn check_quiet(&self, alike: bool) {
        let there: Vec<&Client> = self.clients.iter().filter(|client| client.epoch.is_some()).collect();
        let mut all = BTreeSet::new();
        for client in &there {
            let wanted = self.wanted(client);
            for topic in wanted.iter().filter_map(|id| self.cluster.image.topics.get(*id)) {
                all.extend((0..topic.partition_count).map(|number| (topic.id, number)));
            }
            assert!(client.owned.iter().all(|(topic, _)| wanted.contains(topic)), "{client:?}");
        }
        let owned: Owned = there.iter().flat_map(|client| client.owned.iter().copied()).collect();
        assert_eq!(owned, all, "everything that is wanted is with somebody");
        if alike && !there.is_empty() {
            let sizes = there.iter().map(|client| client.owned.len());
            let (least, most) = (sizes.clone().min().unwrap(), sizes.max().unwrap());
            assert!(most - least <= 1, "{least} to {most}");
        }
    }
}

#[derive(Clone, Copy, PartialEq)]
enum Loss {
    None,
    Reply,
    Write,
}

fn cases() -> ProptestConfig {
    ProptestConfig { cases: 60, failure_persistence: None, max_shrink_iters: 3000, ..Default::default() }
}

proptest! {
    #![proptest_config(cases())]

    #[test]
    fn no_partition_is_ever_with_two(
        events in prop::collection::vec(event(), 1..120),
        interval_ms in prop_oneof![Just(0), Just(1000)],
    ) {
        let mut world = World::new(interval_ms, 6);
        for (number, event) in events.iter().enumerate() {
            world.happen(event, false);
            if number % 16 == 0 {
                world.check_log();
            }
        }
        world.settle();
        world.check_quiet(false);
        world.check_log();
    }

    #[test]
    fn what_is_alike_is_balanced(events in prop::collection::vec(event(), 1..80)) {
        let mut world = World::new(1000, 6);
        for event in &events {
            world.happen(event, true);
        }
        world.settle();
        world.check_quiet(true);
    }

    #[test]
    fn who_stays_keeps_what_it_has(
        count in 1..6_usize,
        sizes in (0..12_i32, 0..12_i32),
        changes in prop::collection::vec((any::<bool>(), 0..6_usize), 1..8),
    ) {
        let mut world = World::new(0, 6);
        world.cluster.grow("t1", 5 + sizes.0);
        world.cluster.grow("t2", 3 + sizes.1);
        let total = usize::try_from(8 + sizes.0 + sizes.1).unwrap();
        for at in 0..count {
            world.happen(&Event::Start(at), true);
        }
        world.settle();
        for (joins, at) in changes {
            let before = world.clients.clone();
            let there = |world: &World| world.clients.iter().filter(|client| client.epoch.is_some()).count();
            world.happen(&if joins { Event::Start(at) } else { Event::Leave(at) }, true);
            world.settle();
            world.check_quiet(true);
            for (before, after) in before.iter().zip(&world.clients) {
                match (before.epoch, after.epoch) {
                    (Some(_), Some(_)) if joins => {
                        prop_assert!(after.owned.is_subset(&before.owned), "nothing moves between the others");
                    }
                    (Some(_), Some(_)) => prop_assert!(before.owned.is_subset(&after.owned)),
                    (None, Some(_)) => prop_assert_eq!(after.owned.len(), total / there(&world)),
                    (_, None) => prop_assert!(after.owned.is_empty()),
                }
            }
        }
    }
}
