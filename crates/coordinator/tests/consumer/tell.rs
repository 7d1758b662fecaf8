//! Records and replies in words.

use std::collections::BTreeMap;

use bytes::Bytes;
use ottla_coordinator::group::{Record, Reply};
use ottla_protocol::messages::ConsumerGroupHeartbeatResponse;
use ottla_protocol::messages::consumer_group_describe::{DescribedGroup, Member};
use ottla_protocol::records::consumer_protocol::consumer_protocol_assignment::TopicPartition;
use ottla_protocol::records::consumer_protocol::{ConsumerProtocolAssignment, ConsumerProtocolSubscription};
use ottla_protocol::records::coordinator::consumer_group_current_member_assignment::TopicPartitions;
use ottla_protocol::records::coordinator::{ConsumerGroupMemberMetadataValue, GroupMetadataValue};
use ottla_protocol::records::{decode_versioned, encode_versioned};
use ottla_protocol::{Refusal, TopicId};

use super::cluster::Cluster;

fn error(code: i16) -> String {
    Refusal::from_code(code).map_or_else(|| "ok".to_owned(), |refusal| refusal.name().to_owned())
}

fn dash(text: Option<&str>) -> &str {
    match text {
        None => "-",
        Some("") => "\"\"",
        Some(text) => text,
    }
}

fn numbers<T: ToString>(numbers: &[T]) -> String {
    numbers.iter().map(T::to_string).collect::<Vec<_>>().join("+")
}

fn topics<'a>(cluster: &Cluster, topics: impl Iterator<Item = (TopicId, &'a [i32])>) -> String {
    let named: BTreeMap<&str, String> = topics.map(|(id, list)| (cluster.name(id), numbers(list))).collect();
    let all: Vec<String> = named.into_iter().map(|(name, list)| format!("{name}:{list}")).collect();
    if all.is_empty() { "-".to_owned() } else { all.join(",") }
}

/// With epochs: `foo:0@3+1@4`.
fn owned(cluster: &Cluster, list: &[TopicPartitions]) -> String {
    let topic = |topic: &TopicPartitions| {
        let epochs = topic.assignment_epochs.as_ref().unwrap();
        let each = topic.partitions.iter().zip(epochs).map(|(number, epoch)| format!("{number}@{epoch}"));
        (cluster.name(topic.topic_id).to_owned(), each.collect::<Vec<_>>().join("+"))
    };
    let named: BTreeMap<String, String> = list.iter().map(topic).collect();
    let all: Vec<String> = named.into_iter().map(|(name, list)| format!("{name}:{list}")).collect();
    if all.is_empty() { "-".to_owned() } else { all.join(",") }
}

pub fn record(cluster: &Cluster, record: &Record) -> String {
    let gone = "gone".to_owned();
    match record {
        Record::ConsumerGroupMetadata(key, value) => {
            let what =
                value.as_ref().map(|value| format!("epoch={} hash={:x}", value.epoch, value.metadata_hash));
            format!("Group {} {}", key.group_id, what.unwrap_or(gone))
        }
        Record::ConsumerGroupPartitionMetadata(key, value) => {
            assert!(value.is_none());
            format!("PartitionMetadata {} gone", key.group_id)
        }
        Record::ConsumerGroupMemberMetadata(key, value) => {
            let what = value.as_ref().map(member);
            format!("Member {} {} {}", key.group_id, key.member_id, what.unwrap_or(gone))
        }
        Record::ConsumerGroupTargetAssignmentMetadata(key, value) => {
            let what = value.as_ref().map(|value| {
                let timed = if value.assignment_timestamp == 0 { " any time" } else { "" };
                format!("epoch={}{timed}", value.assignment_epoch)
            });
            format!("Target {} {}", key.group_id, what.unwrap_or(gone))
        }
        Record::ConsumerGroupTargetAssignmentMember(key, value) => {
            let what = value.as_ref().map(|value| {
                let list = value.topic_partitions.iter().map(|topic| (topic.topic_id, &*topic.partitions));
                topics(cluster, list)
            });
            format!("TargetOf {} {} {}", key.group_id, key.member_id, what.unwrap_or(gone))
        }
        Record::ConsumerGroupCurrentMemberAssignment(key, value) => {
            let what = value.as_ref().map(|value| {
                let state = ["stable", "unrevoked", "unreleased"][usize::try_from(value.state).unwrap()];
                let has = owned(cluster, &value.assigned_partitions);
                let revoking = owned(cluster, &value.partitions_pending_revocation);
                let (epoch, previous) = (value.member_epoch, value.previous_member_epoch);
                format!("epoch={epoch} previous={previous} {state} has={has} revoking={revoking}")
            });
            format!("Current {} {} {}", key.group_id, key.member_id, what.unwrap_or(gone))
        }
        Record::ConsumerGroupRegularExpression(key, value) => {
            let what =
                value.as_ref().map(|value| format!("version={} {}", value.version, value.topics.join(",")));
            format!("Pattern {} {} {}", key.group_id, key.regular_expression, what.unwrap_or(gone))
        }
        Record::GroupMetadata(key, value) => {
            format!("Classic {} {}", key.group, value.as_ref().map_or(gone, classic))
        }
        Record::OffsetCommit(key, value) => {
            let what = if value.is_some() { "committed" } else { "gone" };
            format!("Offset {} {}-{} {what}", key.group, key.topic, key.partition)
        }
    }
}

fn member(value: &ConsumerGroupMemberMetadataValue) -> String {
    let classic = value.classic_member_metadata.as_ref().map(|classic| {
        let names: Vec<&str> = classic.supported_protocols.iter().map(|protocol| &*protocol.name).collect();
        format!(" classic={}/{}", classic.session_timeout_ms, names.join(","))
    });
    format!(
        "topics={} pattern={} instance={} rack={} assignor={} rebalance={}{}",
        value.subscribed_topic_names.join(","),
        dash(value.subscribed_topic_regex.as_deref()),
        dash(value.instance_id.as_deref()),
        dash(value.rack_id.as_deref()),
        dash(value.server_assignor.as_deref()),
        value.rebalance_timeout_ms,
        classic.unwrap_or_default()
    )
}

fn classic(value: &GroupMetadataValue) -> String {
    let members = value.members.iter().map(|member| {
        let instance = member.group_instance_id.as_deref().map(|name| format!("({name})"));
        let wants = decode_versioned::<ConsumerProtocolSubscription>(&member.subscription);
        let wants = wants.map_or_else(|_| "?".to_owned(), |(subscription, _)| subscription.topics.join(","));
        let id = &member.member_id;
        format!(" {id}{}={wants}/{}", instance.unwrap_or_default(), given(&member.assignment))
    });
    format!(
        "generation={} protocol={} leader={}{}",
        value.generation,
        dash(value.protocol.as_deref()),
        dash(value.leader.as_deref()),
        members.collect::<String>()
    )
}

fn given(bytes: &Bytes) -> String {
    if bytes.is_empty() {
        return "nothing".to_owned();
    }
    let Ok((given, version)) = decode_versioned::<ConsumerProtocolAssignment>(bytes) else {
        return "?".to_owned();
    };
    let all: Vec<String> = given
        .assigned_partitions
        .iter()
        .map(|topic| format!("{}:{}", topic.topic, numbers(&topic.partitions)))
        .collect();
    format!("v{version}[{}]", all.join(","))
}

/// What a classic leader gives a member.
pub fn assignment(owned: Vec<(String, Vec<i32>)>, custom: Option<String>) -> Bytes {
    let topic = |(topic, partitions)| TopicPartition { topic, partitions };
    let assignment = ConsumerProtocolAssignment {
        assigned_partitions: owned.into_iter().map(topic).collect(),
        user_data: custom.map(|text| Bytes::from(text.into_bytes())),
    };
    encode_versioned(&assignment, 1).unwrap()
}

pub fn reply(cluster: &Cluster, reply: &Reply) -> String {
    match reply {
        Reply::ConsumerHeartbeat(response) => heartbeat(cluster, response),
        Reply::ConsumerDescribe(group) => describe(cluster, group),
        Reply::Join(response) if response.error_code != 0 => {
            format!("join {} id={}", error(response.error_code), dash(Some(&response.member_id)))
        }
        Reply::Join(response) => format!(
            "join id={} generation={} type={} protocol={} leader={} members={}",
            response.member_id,
            response.generation_id,
            dash(response.protocol_type.as_deref()),
            dash(response.protocol_name.as_deref()),
            dash(Some(&response.leader)),
            response.members.len()
        ),
        Reply::Sync(response) if response.error_code != 0 => format!("sync {}", error(response.error_code)),
        Reply::Sync(response) => format!(
            "sync type={} protocol={} {}",
            dash(response.protocol_type.as_deref()),
            dash(response.protocol_name.as_deref()),
            given(&response.assignment)
        ),
        Reply::Heartbeat(response) => format!("heartbeat {}", error(response.error_code)),
        Reply::Leave(response) => {
            let each = response.members.iter().map(|member| {
                let instance = member.group_instance_id.as_deref().map(|name| format!("({name})"));
                let id = dash(Some(&member.member_id));
                format!(" {id}{}={}", instance.unwrap_or_default(), error(member.error_code))
            });
            format!("leave {}{}", error(response.error_code), each.collect::<String>())
        }
        Reply::CommitOffsets(response) => {
            let each = response.topics.iter().flat_map(|topic| {
                let name = &topic.name;
                topic
                    .partitions
                    .iter()
                    .map(move |row| format!(" {name}-{}={}", row.partition_index, error(row.error_code)))
            });
            format!("commit{}", each.collect::<String>())
        }
        Reply::List(groups) => {
            let each = groups.iter().map(|group| {
                format!(
                    " {}:{}:{}:{}",
                    group.group_id, group.group_type, group.group_state, group.protocol_type
                )
            });
            format!("list{}", each.collect::<String>())
        }
        Reply::Describe(group) => {
            let ids: Vec<&str> = group.members.iter().map(|member| &*member.member_id).collect();
            format!("describe {} {} members={}", error(group.error_code), group.group_state, ids.join(","))
        }
        Reply::Done => "done".to_owned(),
        Reply::Refused(refusal) => format!("refused {}", refusal.name()),
        other => format!("{other:?}"),
    }
}

fn heartbeat(cluster: &Cluster, response: &ConsumerGroupHeartbeatResponse) -> String {
    if response.error_code != 0 {
        return format!("{} \"{}\"", error(response.error_code), dash(response.error_message.as_deref()));
    }
    let assignment = response.assignment.as_ref().map(|assignment| {
        let list = assignment.topic_partitions.iter().map(|topic| (topic.topic_id, &*topic.partitions));
        format!(" gets={}", topics(cluster, list))
    });
    format!(
        "ok {} epoch={} every={}{}",
        dash(response.member_id.as_deref()),
        response.member_epoch,
        response.heartbeat_interval_ms,
        assignment.unwrap_or_default()
    )
}

fn describe(cluster: &Cluster, group: &DescribedGroup) -> String {
    if group.error_code != 0 {
        return format!("describe {} \"{}\"", error(group.error_code), dash(group.error_message.as_deref()));
    }
    let list = |assignment: &ottla_protocol::messages::consumer_group_describe::Assignment| {
        topics(cluster, assignment.topic_partitions.iter().map(|topic| (topic.topic_id, &*topic.partitions)))
    };
    let member = |member: &Member| {
        let instance = member.instance_id.as_deref().map(|name| format!("({name})"));
        let (id, epoch, kind) = (&member.member_id, member.member_epoch, member.member_type);
        let (has, target) = (list(&member.assignment), list(&member.target_assignment));
        format!(" {id}{}@{epoch}/{kind} has={has} target={target}", instance.unwrap_or_default())
    };
    format!(
        "describe {} epoch={} target={} assignor={}{}",
        group.group_state,
        group.group_epoch,
        group.assignment_epoch,
        group.assignor_name,
        group.members.iter().map(member).collect::<String>()
    )
}
