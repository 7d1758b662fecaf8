//! Records and replies, each in a line that a person can check.

use std::fmt::Write as _;

use ottla_controller::Reply;
use ottla_metadata::{Image, Partition};
use ottla_protocol::records::metadata::{MetadataRecord, PartitionChangeRecord};
use ottla_protocol::{PartitionId, Refusal, TopicId, Uuid};

/// Directories of scripts have ids of one repeated byte; they are written as that number.
pub fn directory(id: Uuid) -> String {
    match id.0 {
        [0, .., 0] if id.is_zero() => "migrating".to_owned(),
        [0, .., 1] if id.is_reserved() => "unassigned".to_owned(),
        [0, .., 2] if id.is_reserved() => "lost".to_owned(),
        bytes if bytes.iter().all(|b| *b == bytes[0]) => format!("d{}", bytes[0]),
        _ => id.to_string(),
    }
}

fn directories(ids: &[Uuid]) -> String {
    format!("[{}]", ids.iter().map(|id| directory(*id)).collect::<Vec<_>>().join(", "))
}

fn topic(image: &Image, id: TopicId) -> String {
    image.topics.get(id).map_or_else(|| "?".to_owned(), |topic| topic.name.to_string())
}

pub fn partition(partition: &Partition) -> String {
    let ids = |nodes: &[ottla_protocol::NodeId]| {
        nodes.iter().map(ToString::to_string).collect::<Vec<_>>().join(", ")
    };
    let leader = partition.leader.map_or("none".to_owned(), |leader| leader.to_string());
    let mut line = format!(
        "replicas=[{}] isr=[{}] leader={leader} epochs={}/{} dirs={}",
        ids(&partition.replicas),
        ids(&partition.isr),
        partition.leader_epoch,
        partition.partition_epoch,
        directories(&partition.directories)
    );
    for (name, nodes) in [
        ("elr", &partition.elr),
        ("last", &partition.last_known_elr),
        ("adding", &partition.adding),
        ("removing", &partition.removing),
    ] {
        if !nodes.is_empty() {
            let _ = write!(line, " {name}=[{}]", ids(nodes));
        }
    }
    if partition.recovery != ottla_metadata::Recovery::Recovered {
        line.push_str(" recovering");
    }
    line
}

fn change(record: &PartitionChangeRecord) -> String {
    let mut line = String::new();
    match record.leader {
        -2 => {}
        -1 => line.push_str(" leader=none"),
        leader => {
            let _ = write!(line, " leader={leader}");
        }
    }
    for (name, list) in [
        ("isr", &record.isr),
        ("replicas", &record.replicas),
        ("adding", &record.adding_replicas),
        ("removing", &record.removing_replicas),
        ("elr", &record.eligible_leader_replicas),
        ("last", &record.last_known_elr),
    ] {
        if let Some(list) = list {
            let _ = write!(line, " {name}={list:?}");
        }
    }
    if let Some(ids) = &record.directories {
        let _ = write!(line, " dirs={}", directories(ids));
    }
    match record.leader_recovery_state {
        0 => line.push_str(" recovered"),
        1 => line.push_str(" recovering"),
        _ => {}
    }
    line
}

/// One record; `image` knows the topic's name.
pub fn record(image: &Image, record: &MetadataRecord) -> String {
    match record {
        MetadataRecord::Topic(r) => format!("Topic {}", r.name),
        MetadataRecord::RemoveTopic(r) => format!("RemoveTopic {}", topic(image, r.topic_id)),
        MetadataRecord::Partition(r) => {
            let id = PartitionId { topic: r.topic_id, index: r.partition_id };
            let made = Partition::from_record(r).map_or_else(str::to_owned, |made| partition(&made));
            format!("Partition {}-{} {made}", topic(image, id.topic), id.index)
        }
        MetadataRecord::PartitionChange(r) => {
            format!("PartitionChange {}-{}{}", topic(image, r.topic_id), r.partition_id, change(r))
        }
        MetadataRecord::Config(r) => {
            let value = r.value.as_ref().map_or("unset".to_owned(), |value| format!("{value:?}"));
            format!("Config {}:{:?} {}={value}", r.resource_type, r.resource_name, r.name)
        }
        MetadataRecord::RegisterBroker(r) => {
            let rack = r.rack.as_deref().unwrap_or("none");
            let dirs = directories(&r.log_dirs);
            let (fenced, leaving) = (r.fenced, r.in_controlled_shutdown);
            format!(
                "RegisterBroker {} epoch={} rack={rack} dirs={dirs} fenced={fenced} leaving={leaving}",
                r.broker_id, r.broker_epoch
            )
        }
        MetadataRecord::UnregisterBroker(r) => format!("UnregisterBroker {}", r.broker_id),
        MetadataRecord::BrokerRegistrationChange(r) => {
            let mut line = format!("BrokerRegistrationChange {}", r.broker_id);
            match r.fenced {
                1 => line.push_str(" fenced"),
                -1 => line.push_str(" unfenced"),
                _ => {}
            }
            if r.in_controlled_shutdown == 1 {
                line.push_str(" leaving");
            }
            if !r.log_dirs.is_empty() {
                let _ = write!(line, " dirs={}", directories(&r.log_dirs));
            }
            if let Some(cordoned) = &r.cordoned_log_dirs {
                let _ = write!(line, " cordoned={}", directories(cordoned));
            }
            line
        }
        MetadataRecord::FeatureLevel(r) => format!("FeatureLevel {}={}", r.name, r.feature_level),
        MetadataRecord::ProducerIds(r) => {
            format!("ProducerIds broker={} next={}", r.broker_id, r.next_producer_id)
        }
        MetadataRecord::ClearElr(r) => format!("ClearElr {:?}", r.topic_name),
        other => other.name().trim_end_matches("Record").to_owned(),
    }
}

fn error(code: i16, message: Option<&str>) -> String {
    match (Refusal::from_code(code), message) {
        (None, _) => "ok".to_owned(),
        (Some(refusal), Some(message)) => format!("{refusal}: {message}"),
        (Some(refusal), None) => refusal.to_string(),
    }
}

/// The lines of a reply.
pub fn reply(image: &Image, reply: &Reply) -> Vec<String> {
    let e = |code: i16, message: &Option<String>| error(code, message.as_deref());
    match reply {
        Reply::None => Vec::new(),
        Reply::NotController => vec!["= NOT_CONTROLLER".to_owned()],
        Reply::RegisterBroker(r) => vec![format!("= {} epoch={}", error(r.error_code, None), r.broker_epoch)],
        Reply::Heartbeat(r) => vec![format!(
            "= {} caught-up={} fenced={} stop={}",
            error(r.error_code, None),
            r.is_caught_up,
            r.is_fenced,
            r.should_shut_down
        )],
        Reply::UnregisterBroker(r) => vec![format!("= {}", e(r.error_code, &r.error_message))],
        Reply::RegisterController(r) => vec![format!("= {}", e(r.error_code, &r.error_message))],
        Reply::CreateTopics(r) => {
            let line = |t: &ottla_protocol::messages::create_topics::CreatableTopicResult| {
                let outcome = e(t.error_code, &t.error_message);
                format!(
                    "= {} {outcome} partitions={} factor={}",
                    t.name, t.num_partitions, t.replication_factor
                )
            };
            r.topics.iter().map(line).collect()
        }
        Reply::DeleteTopics(r) => r
            .responses
            .iter()
            .map(|t| format!("= {:?} {}", t.name, e(t.error_code, &t.error_message)))
            .collect(),
        Reply::CreatePartitions(r) => {
            r.results.iter().map(|t| format!("= {} {}", t.name, e(t.error_code, &t.error_message))).collect()
        }
        Reply::AlterConfigs(r) => r
            .responses
            .iter()
            .map(|t| format!("= {} {}", t.resource_name, e(t.error_code, &t.error_message)))
            .collect(),
        Reply::IncrementalAlterConfigs(r) => r
            .responses
            .iter()
            .map(|t| format!("= {} {}", t.resource_name, e(t.error_code, &t.error_message)))
            .collect(),
        Reply::AllocateProducerIds(r) => {
            vec![format!(
                "= {} start={} count={}",
                error(r.error_code, None),
                r.producer_id_start,
                r.producer_id_len
            )]
        }
        Reply::UpdateFeatures(r) => vec![format!("= {}", e(r.error_code, &r.error_message))],
        other => partition_reply(image, other),
    }
}

fn partition_reply(image: &Image, reply: &Reply) -> Vec<String> {
    let mut lines = Vec::new();
    match reply {
        Reply::AlterPartition(r) if r.error_code != 0 => {
            lines.push(format!("= {}", error(r.error_code, None)))
        }
        Reply::AlterPartition(r) => {
            for t in &r.topics {
                for p in &t.partitions {
                    let outcome = error(p.error_code, None);
                    let name = topic(image, t.topic_id);
                    lines.push(format!(
                        "= {name}-{} {outcome} leader={} isr={:?} epochs={}/{}",
                        p.partition_index, p.leader_id, p.isr, p.leader_epoch, p.partition_epoch
                    ));
                }
            }
        }
        Reply::ElectLeaders(r) => {
            for t in &r.replica_election_results {
                for p in &t.partition_result {
                    let outcome = error(p.error_code, p.error_message.as_deref());
                    lines.push(format!("= {}-{} {outcome}", t.topic, p.partition_id));
                }
            }
        }
        Reply::AlterPartitionReassignments(r) => {
            for t in &r.responses {
                for p in &t.partitions {
                    let outcome = error(p.error_code, p.error_message.as_deref());
                    lines.push(format!("= {}-{} {outcome}", t.name, p.partition_index));
                }
            }
        }
        Reply::ListPartitionReassignments(r) => {
            for t in &r.topics {
                for p in &t.partitions {
                    lines.push(format!(
                        "= {}-{} replicas={:?} adding={:?} removing={:?}",
                        t.name, p.partition_index, p.replicas, p.adding_replicas, p.removing_replicas
                    ));
                }
            }
        }
        Reply::AssignReplicasToDirs(r) if r.error_code != 0 => {
            lines.push(format!("= {}", error(r.error_code, None)))
        }
        Reply::AssignReplicasToDirs(r) => {
            for d in &r.directories {
                for t in &d.topics {
                    for p in &t.partitions {
                        let outcome = error(p.error_code, None);
                        let name = topic(image, t.topic_id);
                        lines.push(format!("= {} {name}-{} {outcome}", directory(d.id), p.partition_index));
                    }
                }
            }
        }
        other => lines.push(format!("= {other:?}")),
    }
    lines
}
