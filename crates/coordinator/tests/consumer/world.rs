//! Commands to consumer groups in words, and what comes of them in words.

use std::collections::BTreeMap;

use bytes::Bytes;
use ottla_coordinator::group::{Caller, Command, Reply};
use ottla_protocol::messages::consumer_group_heartbeat::RequestTopicPartitions;
use ottla_protocol::messages::join_group::JoinGroupRequestProtocol;
use ottla_protocol::messages::leave_group::MemberIdentity;
use ottla_protocol::messages::offset_commit::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use ottla_protocol::messages::{
    ConsumerGroupHeartbeatRequest, HeartbeatRequest, JoinGroupRequest, LeaveGroupRequest, ListGroupsRequest,
    OffsetCommitRequest, SyncGroupRequest,
};
use ottla_protocol::records::consumer_protocol::ConsumerProtocolSubscription;
use ottla_protocol::records::consumer_protocol::consumer_protocol_subscription::TopicPartition;
use ottla_protocol::records::encode_versioned;

use super::cluster::Cluster;
use super::host::{Host, Outcome};
use super::tell;

/// See the module.
pub struct World {
    pub cluster: Cluster,
    host: Host,
    names: BTreeMap<String, String>,
    trace: Vec<String>,
}

/// The words of a command: what stands by itself, and what is named, as `name=value`.
struct Words<'a> {
    plain: Vec<&'a str>,
    named: BTreeMap<&'a str, &'a str>,
}

impl<'a> Words<'a> {
    fn new(text: &'a str) -> Self {
        let (named, plain): (Vec<_>, Vec<_>) = text.split_whitespace().partition(|word| word.contains('='));
        Self { plain, named: named.into_iter().filter_map(|word| word.split_once('=')).collect() }
    }

    fn at(&self, at: usize) -> &'a str {
        self.plain.get(at).copied().unwrap_or_default()
    }

    fn text(&self, name: &str) -> Option<String> {
        self.named.get(name).map(|text| (*text).to_owned())
    }

    fn number<N: std::str::FromStr>(&self, name: &str, otherwise: N) -> N {
        self.named.get(name).and_then(|text| text.parse().ok()).unwrap_or(otherwise)
    }

    fn list(&self, name: &str) -> Option<Vec<String>> {
        let text = self.named.get(name)?;
        Some(text.split(',').filter(|part| !part.is_empty() && *part != "-").map(str::to_owned).collect())
    }

    /// `foo:0+1,bar:2`; `-` for nothing.
    fn owned(&self, name: &str) -> Option<Vec<(String, Vec<i32>)>> {
        let owned = |text: String| {
            let (topic, numbers) = text.split_once(':').unwrap();
            (topic.to_owned(), numbers.split('+').map(|number| number.parse().unwrap()).collect())
        };
        Some(self.list(name)?.into_iter().map(owned).collect())
    }
}

impl Default for World {
    fn default() -> Self {
        Self::new(BTreeMap::new())
    }
}

impl World {
    fn new(settings: BTreeMap<String, String>) -> Self {
        let mut cluster = Cluster::default();
        cluster.brokers(&["a", "b"]);
        let host = Host::new(settings, &cluster.image);
        Self { cluster, host, names: BTreeMap::new(), trace: Vec::new() }
    }

    /// Carries out a command; gives what came of it.
    pub fn run(&mut self, command: &str) -> Vec<String> {
        let (command, refuses) = match command.strip_prefix("lose ") {
            Some(rest) => (rest, true),
            None => (command, false),
        };
        self.host.refuses = refuses;
        let words = Words::new(command);
        match words.at(0) {
            "settings" => {
                let named = words.named.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned()));
                *self = Self::new(named.collect());
            }
            "topic" => self.cluster.create(words.at(1), words.at(2).parse().unwrap()),
            "grow" => self.cluster.grow(words.at(1), words.at(2).parse().unwrap()),
            "delete-topic" => self.cluster.delete(words.at(1)),
            "wait" => {
                for (ms, outcome) in self.host.wait(&self.cluster.image, words.at(1).parse().unwrap()) {
                    self.trace.push(format!("+{ms} ms"));
                    self.tell(outcome);
                }
            }
            "restart" => {
                let outcome = self.host.restart(&self.cluster.image);
                self.tell(outcome);
            }
            _ => {
                let command = self.command(&words);
                let (_, outcome) = self.host.ask(&self.cluster.image, command);
                self.tell(outcome);
            }
        }
        self.told()
    }

    fn tell(&mut self, outcome: Outcome) {
        for record in &outcome.records {
            self.trace.push(tell::record(&self.cluster, record));
        }
        for (_, reply) in &outcome.replies {
            if let Reply::Join(response) = reply {
                self.see(&response.member_id);
            }
            if let Reply::ConsumerHeartbeat(response) = reply {
                self.see(response.member_id.as_deref().unwrap_or_default());
            }
            self.trace.push(format!("= {}", tell::reply(&self.cluster, reply)));
        }
    }

    /// Ids that the coordinator makes are told as `m1`, `m2`, …
    fn see(&mut self, id: &str) {
        if id.len() >= 22 && !self.names.contains_key(id) {
            self.names.insert(id.to_owned(), format!("m{}", self.names.len() + 1));
        }
    }

    fn told(&mut self) -> Vec<String> {
        let names = &self.names;
        let replace = |line: String| names.iter().fold(line, |line, (id, name)| line.replace(id, name));
        std::mem::take(&mut self.trace).into_iter().map(replace).collect()
    }

    fn member(&self, name: &str) -> String {
        let known = self.names.iter().find(|(_, known)| *known == name);
        known.map_or_else(|| name.trim_matches('-').to_owned(), |(id, _)| id.clone())
    }

    fn command(&self, words: &Words<'_>) -> Command {
        let caller = Caller {
            client_id: "c".to_owned(),
            client_host: "/127.0.0.1".to_owned(),
            version: words.number("v", 1),
        };
        let classic = Caller { version: words.number("v", 9), ..caller.clone() };
        match words.at(0) {
            // A consumer that begins: epoch 0, and all that it has to say.
            "start" => Command::ConsumerHeartbeat(
                caller,
                ConsumerGroupHeartbeatRequest {
                    rebalance_timeout_ms: words.number("rebalance", 60_000),
                    topic_partitions: Some(self.owned(words, "owned").unwrap_or_default()),
                    ..self.heartbeat(words)
                },
            ),
            "beat" => Command::ConsumerHeartbeat(caller, self.heartbeat(words)),
            "stop" => Command::ConsumerHeartbeat(
                caller,
                ConsumerGroupHeartbeatRequest {
                    member_epoch: words.number("epoch", -1),
                    ..self.heartbeat(words)
                },
            ),
            "join" => Command::Join(classic, self.join(words)),
            "sync" => Command::Sync(
                classic,
                SyncGroupRequest {
                    group_id: words.at(1).to_owned(),
                    member_id: self.member(words.at(2)),
                    generation_id: words.number("generation", 1),
                    group_instance_id: words.text("instance"),
                    protocol_type: words.text("type"),
                    protocol_name: words.text("protocol"),
                    assignments: self.assignments(words),
                },
            ),
            "heartbeat" => Command::Heartbeat(
                classic,
                HeartbeatRequest {
                    group_id: words.at(1).to_owned(),
                    member_id: self.member(words.at(2)),
                    generation_id: words.number("generation", 1),
                    group_instance_id: words.text("instance"),
                },
            ),
            "leave" => Command::Leave(classic, self.leave(words)),
            "commit" => Command::CommitOffsets(classic, self.commit(words)),
            "describe" => Command::ConsumerDescribe(words.at(1).to_owned()),
            "describe-classic" => Command::Describe(Caller { version: 6, ..caller }, words.at(1).to_owned()),
            "list" => Command::List(ListGroupsRequest::default()),
            "delete" => Command::Delete(words.at(1).to_owned()),
            other => panic!("no command {other}"),
        }
    }

    fn heartbeat(&self, words: &Words<'_>) -> ConsumerGroupHeartbeatRequest {
        ConsumerGroupHeartbeatRequest {
            group_id: words.at(1).to_owned(),
            member_id: self.member(words.at(2)),
            member_epoch: words.number("epoch", 0),
            instance_id: words.text("instance"),
            rack_id: words.text("rack"),
            rebalance_timeout_ms: words.number("rebalance", -1),
            subscribed_topic_names: words.list("topics"),
            subscribed_topic_regex: words.text("pattern").map(|text| text.replace("empty", "")),
            server_assignor: words.text("assignor"),
            topic_partitions: self.owned(words, "owned"),
        }
    }

    fn owned(&self, words: &Words<'_>, name: &str) -> Option<Vec<RequestTopicPartitions>> {
        let owned = |(topic, partitions): (String, Vec<i32>)| RequestTopicPartitions {
            topic_id: self.cluster.id(&topic),
            partitions,
        };
        Some(words.owned(name)?.into_iter().map(owned).collect())
    }

    fn join(&self, words: &Words<'_>) -> JoinGroupRequest {
        let owned = words.owned("owned").unwrap_or_default().into_iter();
        let subscription = ConsumerProtocolSubscription {
            topics: words.list("topics").unwrap_or_default(),
            owned_partitions: owned.map(|(topic, partitions)| TopicPartition { topic, partitions }).collect(),
            user_data: None,
            generation_id: -1,
            rack_id: None,
        };
        let metadata = match words.text("metadata") {
            Some(text) => Bytes::from(text.into_bytes()),
            None => encode_versioned(&subscription, words.number("subscription", 1)).unwrap(),
        };
        let names = words.list("protocols").unwrap_or_else(|| vec!["range".to_owned()]);
        let protocol = |name: String| JoinGroupRequestProtocol { name, metadata: metadata.clone() };
        JoinGroupRequest {
            group_id: words.at(1).to_owned(),
            member_id: self.member(words.at(2)),
            session_timeout_ms: words.number("session", 10_000),
            rebalance_timeout_ms: words.number("rebalance", 60_000),
            group_instance_id: words.text("instance"),
            protocol_type: words.text("type").unwrap_or_else(|| "consumer".to_owned()),
            protocols: names.into_iter().map(protocol).collect(),
            reason: None,
        }
    }

    /// The leader's: `m1=foo:0+1`.
    fn assignments(
        &self,
        words: &Words<'_>,
    ) -> Vec<ottla_protocol::messages::sync_group::SyncGroupRequestAssignment> {
        use ottla_protocol::messages::sync_group::SyncGroupRequestAssignment;
        let members = words.named.keys().filter(|name| self.is_member(name));
        members
            .map(|name| SyncGroupRequestAssignment {
                member_id: self.member(name),
                assignment: tell::assignment(words.owned(name).unwrap_or_default(), words.text("custom")),
            })
            .collect()
    }

    fn is_member(&self, name: &str) -> bool {
        self.names.values().any(|known| known == name)
    }

    /// Members by id, `instance:name` by static name, or both: `m1:name`.
    fn leave(&self, words: &Words<'_>) -> LeaveGroupRequest {
        let member = |word: &&str| {
            let (id, instance) = word.split_once(':').map_or((*word, None), |(id, name)| (id, Some(name)));
            MemberIdentity {
                member_id: if id == "instance" { String::new() } else { self.member(id) },
                group_instance_id: instance.map(str::to_owned),
                reason: None,
            }
        };
        let members = words.plain.iter().skip(2).map(member).collect();
        LeaveGroupRequest { group_id: words.at(1).to_owned(), members, ..Default::default() }
    }

    fn commit(&self, words: &Words<'_>) -> OffsetCommitRequest {
        let topic = |(name, partitions): (String, Vec<i32>)| OffsetCommitRequestTopic {
            topic_id: self.cluster.id(&name),
            name,
            partitions: partitions
                .into_iter()
                .map(|partition_index| OffsetCommitRequestPartition {
                    partition_index,
                    committed_offset: 1,
                    ..Default::default()
                })
                .collect(),
        };
        OffsetCommitRequest {
            group_id: words.at(1).to_owned(),
            generation_id_or_member_epoch: words.number("epoch", -1),
            member_id: self.member(words.at(2)),
            group_instance_id: words.text("instance"),
            topics: words.owned("of").unwrap_or_default().into_iter().map(topic).collect(),
            ..Default::default()
        }
    }
}
