//! A controller and its clock, told what to do in words.

use std::collections::BTreeMap;

use ottla_controller::{
    Command, Controller, ControllerConfig, Decision, Describable, Origin, Registrant, Reply,
};
use ottla_metadata::config::Settings;
use ottla_metadata::features::SUPPORTED;
use ottla_metadata::{Image, ResourceKind};
use ottla_protocol::messages as m;
use ottla_protocol::records::metadata::{FeatureLevelRecord, MetadataRecord};
use ottla_protocol::time::Now;
use ottla_protocol::{NodeId, Offset, PartitionId, Uuid};

use super::trace;

/// A controller whose decisions are committed at once.
pub struct World {
    pub controller: Controller,
    now_ms: u64,
    end: Offset,
    registrations: u8,
}

impl Default for World {
    fn default() -> Self {
        Self::with(&[])
    }
}

/// Words of a command: those with `=` by name, the others in order.
struct Words<'a> {
    plain: Vec<&'a str>,
    named: BTreeMap<&'a str, &'a str>,
}

impl<'a> Words<'a> {
    fn new(text: &'a str) -> Self {
        let (mut plain, mut named) = (Vec::new(), BTreeMap::new());
        for word in text.split_whitespace() {
            match word.split_once('=') {
                Some((name, value)) => {
                    named.insert(name, value);
                }
                None => plain.push(word),
            }
        }
        Self { plain, named }
    }

    fn number(&self, at: usize) -> i32 {
        self.plain[at].parse().unwrap()
    }

    fn named<T: std::str::FromStr>(&self, name: &str, or: T) -> T
    where
        T::Err: std::fmt::Debug,
    {
        self.named.get(name).map_or(or, |text| text.parse().unwrap())
    }

    fn has(&self, word: &str) -> bool {
        self.plain.contains(&word)
    }
}

fn numbers(text: &str) -> Vec<i32> {
    text.split(',').filter(|part| !part.is_empty()).map(|part| part.parse().unwrap()).collect()
}

fn directories(text: &str) -> Vec<Uuid> {
    numbers(text).into_iter().map(|number| Uuid([u8::try_from(number).unwrap(); 16])).collect()
}

impl World {
    /// With these settings in the controller's file.
    pub fn with(settings: &[(&str, &str)]) -> Self {
        let file = settings.iter().map(|(k, v)| ((*k).to_owned(), (*v).to_owned())).collect();
        let config = ControllerConfig {
            node_id: NodeId(100),
            cluster_id: "cluster".to_owned(),
            settings: Settings::new(file).unwrap(),
        };
        Self { controller: Controller::new(config, 42), now_ms: 1, end: Offset(0), registrations: 0 }
    }

    pub fn now(&self) -> Now {
        Now { monotonic_us: self.now_ms * 1000, wall_ms: 0 }
    }

    pub fn image(&self) -> &Image {
        self.controller.image()
    }

    /// Commits a decision; the offsets must be the ones it counted on.
    pub fn commit(&mut self, decision: &Decision) {
        assert_eq!(decision.first_offset, self.end);
        for record in &decision.records {
            let version = self.image().version().record_version(record);
            let bytes = record.encode(version).expect("every record can be written at the finalized level");
            assert_eq!(&MetadataRecord::decode(&bytes).unwrap(), record, "a version lost something");
            self.controller.apply(self.end, record).unwrap();
            self.end = self.end.plus(1);
        }
    }

    pub fn decide(&mut self, command: Command) -> Decision {
        self.controller.decide(self.now(), command)
    }

    pub fn partition_id(&self, text: &str) -> PartitionId {
        let (topic, index) = text.rsplit_once('-').unwrap();
        let topic = self.image().topics.named(topic).map_or(Uuid([9; 16]), |topic| topic.id);
        PartitionId { topic, index: index.parse().unwrap() }
    }

    /// Runs a command, and says what came of it.
    pub fn run(&mut self, text: &str) -> Vec<String> {
        if let Some(rest) = text.strip_prefix("lose ") {
            let command = self.command(rest);
            let decision = self.decide(command);
            return Self::lines(&self.image().clone(), &decision, self.image());
        }
        let (verb, rest) = text.split_once(' ').unwrap_or((text, ""));
        match verb {
            "wait" => self.wait(rest),
            "show" => self.show(rest),
            "resign" => {
                self.controller.resign();
                Vec::new()
            }
            "activate" => {
                let words = Words::new(rest);
                let bootstrap = words.named.iter().map(|(name, level)| {
                    let feature_level = level.parse().unwrap();
                    FeatureLevelRecord { name: (*name).to_owned(), feature_level }.into()
                });
                let decision = self.controller.activate(self.now(), self.end, bootstrap.collect());
                self.settle(&decision)
            }
            _ => {
                let command = self.command(text);
                let decision = self.decide(command);
                self.settle(&decision)
            }
        }
    }

    fn settle(&mut self, decision: &Decision) -> Vec<String> {
        let before = self.image().clone();
        self.commit(decision);
        Self::lines(&before, decision, self.image())
    }

    fn lines(before: &Image, decision: &Decision, after: &Image) -> Vec<String> {
        let record = |record: &MetadataRecord| {
            let image = if matches!(record, MetadataRecord::RemoveTopic(_)) { before } else { after };
            trace::record(image, record)
        };
        let mut lines: Vec<String> = decision.records.iter().map(record).collect();
        lines.extend(trace::reply(after, &decision.reply));
        lines
    }

    /// Lets time pass, ticking when ticks are due; brokers in `alive` send heartbeats every two seconds.
    fn wait(&mut self, text: &str) -> Vec<String> {
        let words = Words::new(text);
        let until = self.now_ms + u64::try_from(words.number(0)).unwrap();
        let alive = numbers(words.named.get("alive").unwrap_or(&""));
        let mut lines = Vec::new();
        while self.now_ms < until {
            self.now_ms = (self.now_ms + 500).min(until);
            if self.now_ms % 2000 < 500 {
                for id in &alive {
                    let command = self.command(&format!("beat {id}"));
                    let decision = self.decide(command);
                    self.commit(&decision);
                }
            }
            while self.controller.deadline().is_some_and(|deadline| self.now().reached(deadline)) {
                let decision = self.decide(Command::Tick);
                let quiet = |line: &String| line != "NoOp";
                lines.extend(self.settle(&decision).into_iter().filter(quiet));
            }
        }
        lines
    }

    fn show(&self, topic: &str) -> Vec<String> {
        let topics = &self.image().topics;
        let Some(topic) = topics.named(topic) else { return vec!["no such topic".to_owned()] };
        let line = |(id, partition): (PartitionId, &std::sync::Arc<ottla_metadata::Partition>)| {
            format!("{}-{} {}", topic.name, id.index, trace::partition(partition))
        };
        topics.partitions(topic.id).map(line).collect()
    }

    fn epoch(&self, broker: i32) -> i64 {
        self.image().brokers.get(&NodeId(broker)).map_or(-1, |broker| broker.epoch)
    }

    pub fn command(&mut self, text: &str) -> Command {
        let (verb, rest) = text.split_once(' ').unwrap_or((text, ""));
        let words = Words::new(rest);
        match verb {
            "register" => self.register(&words),
            "beat" => self.beat(&words),
            "unregister" => {
                Command::UnregisterBroker(m::UnregisterBrokerRequest { broker_id: words.number(0) })
            }
            "create" => create(&words),
            "delete" => delete(&words),
            "grow" => grow(&words),
            "set" => set(&words),
            "alter" => alter(&words),
            "ids" => Command::AllocateProducerIds(m::AllocateProducerIdsRequest {
                broker_id: words.number(0),
                broker_epoch: self.epoch(words.number(0)),
            }),
            "feature" => feature(&words),
            "isr" => self.isr(&words),
            "elect" => elect(&words),
            "reassign" => reassign(&words),
            "list" => Command::ListPartitionReassignments(m::ListPartitionReassignmentsRequest {
                topics: None,
                ..Default::default()
            }),
            "assign" => self.assign(&words),
            other => panic!("unknown verb {other}"),
        }
    }

    fn register(&mut self, words: &Words<'_>) -> Command {
        use m::broker_registration::{Feature, Listener};
        self.registrations += 1;
        let id = words.number(0);
        let features = SUPPORTED.iter().map(|(name, range)| Feature {
            name: (*name).to_owned(),
            min_supported_version: range.min,
            max_supported_version: words.named(name, range.max),
        });
        let request = m::BrokerRegistrationRequest {
            broker_id: id,
            cluster_id: words.named("cluster", "cluster".to_owned()),
            incarnation_id: Uuid([words.named("incarnation", self.registrations); 16]),
            listeners: vec![Listener {
                name: "PLAINTEXT".to_owned(),
                host: "h".to_owned(),
                port: 9092,
                security_protocol: 0,
            }],
            features: features.collect(),
            rack: words.named.get("rack").map(|rack| (*rack).to_owned()),
            log_dirs: directories(&words.named("dirs", id.to_string())),
            previous_broker_epoch: words.named("previous", -1),
            ..Default::default()
        };
        Command::RegisterBroker { request, version: 4, registrant: Registrant::Elsewhere }
    }

    fn beat(&self, words: &Words<'_>) -> Command {
        let id = words.number(0);
        Command::Heartbeat(m::BrokerHeartbeatRequest {
            broker_id: id,
            broker_epoch: words.named("epoch", self.epoch(id)),
            current_metadata_offset: words.named("offset", self.end.0 - 1),
            want_fence: words.has("fence"),
            want_shut_down: words.has("stop"),
            offline_log_dirs: directories(words.named.get("offline").unwrap_or(&"")),
            cordoned_log_dirs: words.named.get("cordoned").map(|text| directories(text)),
        })
    }

    fn isr(&self, words: &Words<'_>) -> Command {
        use m::alter_partition::{BrokerState, RequestPartitionData, RequestTopicData};
        let sender = words.number(0);
        let id = self.partition_id(words.plain[1]);
        let partition = self.image().topics.partition(id);
        let state = |id: i32| BrokerState {
            broker_id: id,
            broker_epoch: words.named("member-epoch", self.epoch(id)),
        };
        let row = RequestPartitionData {
            partition_index: id.index,
            leader_epoch: words.named("leader-epoch", partition.map_or(0, |p| p.leader_epoch.0)),
            new_isr_with_epochs: numbers(words.named["isr"]).into_iter().map(state).collect(),
            leader_recovery_state: i8::from(words.has("recovering")),
            partition_epoch: words.named("partition-epoch", partition.map_or(0, |p| p.partition_epoch)),
            ..Default::default()
        };
        let topic = RequestTopicData { topic_id: id.topic, partitions: vec![row], ..Default::default() };
        let request = m::AlterPartitionRequest {
            broker_id: sender,
            broker_epoch: words.named("epoch", self.epoch(sender)),
            topics: vec![topic],
        };
        Command::AlterPartition { request, version: 3 }
    }

    fn assign(&self, words: &Words<'_>) -> Command {
        use m::assign_replicas_to_dirs::{RequestDirectoryData, RequestPartitionData, RequestTopicData};
        let id = self.partition_id(words.plain[2]);
        let partitions = vec![RequestPartitionData { partition_index: id.index }];
        let topics = vec![RequestTopicData { topic_id: id.topic, partitions }];
        Command::AssignReplicasToDirs(m::AssignReplicasToDirsRequest {
            broker_id: words.number(0),
            broker_epoch: self.epoch(words.number(0)),
            directories: vec![RequestDirectoryData { id: directories(words.plain[1])[0], topics }],
        })
    }
}

fn create(words: &Words<'_>) -> Command {
    use m::create_topics::{CreatableReplicaAssignment, CreatableTopic, CreatableTopicConfig};
    let own = ["partitions", "factor", "assign"];
    let configs = words.named.iter().filter(|(name, _)| !own.contains(name));
    let configs: Vec<CreatableTopicConfig> = configs
        .map(|(name, value)| CreatableTopicConfig {
            name: (*name).to_owned(),
            value: (*value != "null").then(|| (*value).to_owned()),
        })
        .collect();
    let assigned = words.named.get("assign");
    let assignments = assigned.map_or_else(Vec::new, |text| {
        let rows = (0..).zip(text.split(';'));
        rows.map(|(partition_index, ids)| CreatableReplicaAssignment {
            partition_index,
            broker_ids: numbers(ids),
        })
        .collect()
    });
    let names = words.plain.iter().filter(|name| **name != "validate");
    let topics = names.map(|name| CreatableTopic {
        name: (*name).replace('∅', ""),
        num_partitions: words.named("partitions", -1),
        replication_factor: words.named("factor", -1),
        assignments: assignments.clone(),
        configs: configs.clone(),
    });
    let request = m::CreateTopicsRequest {
        topics: topics.collect(),
        validate_only: words.has("validate"),
        ..Default::default()
    };
    Command::CreateTopics { request, describable: Describable::All }
}

fn delete(words: &Words<'_>) -> Command {
    use m::delete_topics::DeleteTopicState;
    let topics = words
        .plain
        .iter()
        .map(|name| DeleteTopicState { name: Some((*name).to_owned()), ..Default::default() });
    let request = m::DeleteTopicsRequest { topics: topics.collect(), ..Default::default() };
    Command::DeleteTopics { request, version: 6 }
}

fn grow(words: &Words<'_>) -> Command {
    use m::create_partitions::{CreatePartitionsAssignment, CreatePartitionsTopic};
    let assignments = words.named.get("assign").map(|text| {
        text.split(';').map(|ids| CreatePartitionsAssignment { broker_ids: numbers(ids) }).collect()
    });
    let topic =
        CreatePartitionsTopic { name: words.plain[0].to_owned(), count: words.number(1), assignments };
    let request = m::CreatePartitionsRequest { topics: vec![topic], ..Default::default() };
    Command::CreatePartitions(request)
}

/// The kind and name of a resource: `topic:a`, `broker:` for all brokers.
fn resource(text: &str) -> (i8, String) {
    let (kind, name) = text.split_once(':').unwrap();
    let kind = match kind {
        "topic" => ResourceKind::Topic.code(),
        "broker" => ResourceKind::Broker.code(),
        "group" => ResourceKind::Group.code(),
        "metrics" => ResourceKind::ClientMetrics.code(),
        number => number.parse().unwrap(),
    };
    (kind, name.to_owned())
}

/// `key=value` sets, `key+=value` appends, `key-=value` subtracts, a bare key is unset.
fn set(words: &Words<'_>) -> Command {
    use m::incremental_alter_configs::{AlterConfigsResource, AlterableConfig};
    let (resource_type, resource_name) = resource(words.plain[0]);
    let operation = |(key, value): (&&str, &&str)| {
        let (name, config_operation) = match (key.strip_suffix('+'), key.strip_suffix('-')) {
            (Some(name), _) => (name, 2),
            (_, Some(name)) => (name, 3),
            _ => (*key, 0),
        };
        AlterableConfig { name: name.to_owned(), config_operation, value: Some((*value).to_owned()) }
    };
    let mut configs: Vec<AlterableConfig> = words.named.iter().map(operation).collect();
    let unset = words.plain[1..].iter().filter(|word| **word != "validate");
    configs.extend(unset.map(|name| AlterableConfig {
        name: (*name).to_owned(),
        config_operation: 1,
        value: None,
    }));
    let request = m::IncrementalAlterConfigsRequest {
        resources: vec![AlterConfigsResource { resource_type, resource_name, configs }],
        validate_only: words.has("validate"),
    };
    Command::IncrementalAlterConfigs { request, origin: Origin::Forwarded }
}

fn alter(words: &Words<'_>) -> Command {
    use m::alter_configs::{AlterConfigsResource, AlterableConfig};
    let (resource_type, resource_name) = resource(words.plain[0]);
    let configs = words.named.iter();
    let configs = configs
        .map(|(name, value)| AlterableConfig { name: (*name).to_owned(), value: Some((*value).to_owned()) });
    let resources = vec![AlterConfigsResource { resource_type, resource_name, configs: configs.collect() }];
    let request = m::AlterConfigsRequest { resources, ..Default::default() };
    Command::AlterConfigs { request, origin: Origin::Forwarded }
}

fn feature(words: &Words<'_>) -> Command {
    use m::update_features::FeatureUpdateKey;
    let upgrade_type = if words.has("safe") {
        2
    } else if words.has("unsafe") {
        3
    } else {
        1
    };
    let update = |(name, level): (&&str, &&str)| FeatureUpdateKey {
        feature: (*name).to_owned(),
        max_version_level: level.parse().unwrap(),
        upgrade_type,
        ..Default::default()
    };
    let request = m::UpdateFeaturesRequest {
        feature_updates: words.named.iter().map(update).collect(),
        validate_only: words.has("validate"),
        ..Default::default()
    };
    Command::UpdateFeatures { request, version: 2 }
}

fn elect(words: &Words<'_>) -> Command {
    use m::elect_leaders::TopicPartitions;
    let election_type = i8::from(words.plain[0] == "unclean");
    let topic_partitions = (words.plain[1] != "all").then(|| {
        let (topic, index) = words.plain[1].rsplit_once('-').unwrap();
        vec![TopicPartitions { topic: topic.to_owned(), partitions: vec![index.parse().unwrap()] }]
    });
    Command::ElectLeaders(m::ElectLeadersRequest { election_type, topic_partitions, ..Default::default() })
}

fn reassign(words: &Words<'_>) -> Command {
    use m::alter_partition_reassignments::{ReassignablePartition, ReassignableTopic};
    let (topic, index) = words.plain[0].rsplit_once('-').unwrap();
    let replicas = (words.plain[1] != "cancel").then(|| numbers(words.plain[1]));
    let partitions = vec![ReassignablePartition { partition_index: index.parse().unwrap(), replicas }];
    Command::AlterPartitionReassignments(m::AlterPartitionReassignmentsRequest {
        allow_replication_factor_change: !words.has("same-factor"),
        topics: vec![ReassignableTopic { name: topic.to_owned(), partitions }],
        ..Default::default()
    })
}

/// Only scripts use replies; properties look at records.
#[allow(dead_code, reason = "each test binary uses a part of this module")]
pub fn is_ok(reply: &Reply) -> bool {
    !matches!(reply, Reply::NotController)
}
