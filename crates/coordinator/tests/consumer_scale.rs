//! A group of a thousand members that read ten thousand partitions: what one more member costs.

mod consumer;

use std::collections::BTreeMap;

use consumer::cluster::Cluster;
use consumer::host::{Host, Outcome};
use ottla_coordinator::group::{Caller, Command, Record, Reply};
use ottla_protocol::messages::ConsumerGroupHeartbeatRequest;

const MEMBERS: usize = 1000;
const TOPICS: usize = 10;
const PARTITIONS: i32 = 1000;

struct World {
    cluster: Cluster,
    host: Host,
}

impl World {
    fn new() -> Self {
        let mut cluster = Cluster::default();
        cluster.brokers(&["a", "b"]);
        for number in 0..TOPICS {
            cluster.create(&format!("t{number}"), PARTITIONS);
        }
        let host = Host::new(BTreeMap::new(), &cluster.image);
        Self { cluster, host }
    }

    fn beat(&mut self, member: &str, epoch: i32, topics: Option<Vec<String>>) -> Outcome {
        let caller = Caller { client_id: "c".into(), client_host: "/127.0.0.1".into(), version: 1 };
        let request = ConsumerGroupHeartbeatRequest {
            group_id: "g".into(),
            member_id: member.into(),
            member_epoch: epoch,
            rebalance_timeout_ms: if epoch == 0 { 300_000 } else { -1 },
            topic_partitions: (epoch == 0).then(Vec::new),
            subscribed_topic_names: topics,
            ..Default::default()
        };
        let command = Command::ConsumerHeartbeat(caller, request);
        let (_, outcome) = self.host.ask(&self.cluster.image, command);
        match &outcome.replies[..] {
            [(_, Reply::ConsumerHeartbeat(response))] if response.error_code == 0 => outcome,
            other => panic!("{other:?}"),
        }
    }

    fn fill(&mut self, topics: impl Fn(usize) -> Vec<String>) -> Outcome {
        for number in 0..MEMBERS {
            self.beat(&format!("member{number:04}"), 0, Some(topics(number)));
        }
        self.host.wait(&self.cluster.image, 1000);
        // The first heartbeat after the interval brings the target for all.
        self.beat("member0500", 2, None)
    }

    fn join_one_more(&mut self) -> Outcome {
        self.host.wait(&self.cluster.image, 1000);
        let topics = (0..TOPICS).map(|number| format!("t{number}")).collect();
        self.beat("one more", 0, Some(topics))
    }
}

fn targets(outcome: &Outcome) -> usize {
    let is_target = |record: &&Record| matches!(record, Record::ConsumerGroupTargetAssignmentMember(..));
    outcome.records.iter().filter(is_target).count()
}

#[test]
fn one_more_member_costs_as_many_records_as_it_gets_partitions() {
    let mut world = World::new();
    let all = world.fill(|_| (0..TOPICS).map(|number| format!("t{number}")).collect());
    assert_eq!(targets(&all), MEMBERS);
    let one_more = world.join_one_more();
    // It gets nine, from nine others.
    assert_eq!(targets(&one_more), 10);
    assert!(one_more.records.len() <= 14, "{}", one_more.records.len());
}

#[test]
fn one_more_member_costs_little_also_where_each_wants_something_else() {
    let mut world = World::new();
    world.fill(|member| {
        (0..TOPICS).filter(|topic| topic % 5 != member % 5).map(|t| format!("t{t}")).collect()
    });
    let one_more = world.join_one_more();
    assert!(targets(&one_more) <= 20, "{}", targets(&one_more));
}
