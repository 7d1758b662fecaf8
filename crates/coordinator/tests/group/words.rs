//! Commands in words, and replies and records in words.

use bytes::Bytes;
use ottla_coordinator::group::{Record, Reply};
use ottla_protocol::Refusal;
use ottla_protocol::messages::{JoinGroupResponse, SyncGroupResponse};
use ottla_protocol::records::coordinator::GroupMetadataValue;

/// The words of a command: what stands by itself, and what is named, as `name=value`.
pub struct Words<'a> {
    pub plain: Vec<&'a str>,
    pub named: Vec<(&'a str, &'a str)>,
}

impl<'a> Words<'a> {
    pub fn new(text: &'a str) -> Self {
        let (named, plain): (Vec<_>, Vec<_>) = text.split_whitespace().partition(|word| word.contains('='));
        Self { plain, named: named.into_iter().filter_map(|word| word.split_once('=')).collect() }
    }

    pub fn at(&self, at: usize) -> &'a str {
        self.plain.get(at).copied().unwrap_or_default()
    }

    pub fn named(&self, name: &str) -> Option<&'a str> {
        self.named.iter().find(|(known, _)| *known == name).map(|(_, value)| *value)
    }

    pub fn number<N: std::str::FromStr>(&self, name: &str, otherwise: N) -> N {
        self.named(name).and_then(|text| text.parse().ok()).unwrap_or(otherwise)
    }

    pub fn list(&self, name: &str) -> Vec<String> {
        let list = self.named(name).unwrap_or_default();
        list.split(',').filter(|part| !part.is_empty()).map(str::to_owned).collect()
    }
}

/// An error code by name.
pub fn error(code: i16) -> String {
    Refusal::from_code(code).map_or_else(|| "ok".to_owned(), |refusal| refusal.name().to_owned())
}

pub fn text(bytes: &Bytes) -> String {
    match std::str::from_utf8(bytes) {
        Ok("") => "-".to_owned(),
        Ok(text) if text.chars().all(|c| !c.is_control()) => text.to_owned(),
        _ => format!("[{} bytes]", bytes.len()),
    }
}

fn or_dash(text: Option<&str>) -> &str {
    text.filter(|text| !text.is_empty()).unwrap_or("-")
}

pub fn record(record: &Record) -> String {
    match record {
        Record::GroupMetadata(key, None) => format!("GroupMetadata {} gone", key.group),
        Record::GroupMetadata(key, Some(value)) => format!("GroupMetadata {} {}", key.group, group(value)),
        Record::OffsetCommit(key, value) => {
            let place = format!("OffsetCommit {} {}-{}", key.group, key.topic, key.partition);
            match value {
                Some(value) => format!("{place} offset={}", value.offset),
                None => format!("{place} gone"),
            }
        }
        other => {
            let text = format!("{other:?}");
            let name = text.split('(').next().unwrap_or_default();
            format!("{name} {}{}", other.group(), if other.is_tombstone() { " gone" } else { "" })
        }
    }
}

fn group(value: &GroupMetadataValue) -> String {
    let members = value.members.iter().map(|member| {
        let name = match &member.group_instance_id {
            Some(instance_id) => format!("{}({instance_id})", member.member_id),
            None => member.member_id.clone(),
        };
        format!(" {name}={}/{}", text(&member.subscription), text(&member.assignment))
    });
    format!(
        "generation={} type={} protocol={} leader={}{}",
        value.generation,
        or_dash(Some(&value.protocol_type)),
        or_dash(value.protocol.as_deref()),
        or_dash(value.leader.as_deref()),
        members.collect::<String>()
    )
}

pub fn reply(reply: &Reply) -> String {
    match reply {
        Reply::Join(response) => format!("join {}", join(response)),
        Reply::Sync(response) => format!("sync {}", sync(response)),
        Reply::Heartbeat(response) => format!("heartbeat {}", error(response.error_code)),
        Reply::Leave(response) => {
            let member = |member: &ottla_protocol::messages::leave_group::MemberResponse| {
                let instance = member.group_instance_id.as_deref().map(|id| format!("({id})"));
                let name = or_dash(Some(&member.member_id));
                format!(" {name}{}={}", instance.unwrap_or_default(), error(member.error_code))
            };
            let members: String = response.members.iter().map(member).collect();
            format!("leave {}{members}", error(response.error_code))
        }
        Reply::CommitOffsets(response) => {
            let partitions = response.topics.iter().flat_map(|topic| {
                let of = move |code: i16, index: i32| format!(" {}-{index}={}", topic.name, error(code));
                topic.partitions.iter().map(move |row| of(row.error_code, row.partition_index))
            });
            format!("commit{}", partitions.collect::<String>())
        }
        Reply::FetchOffsets(group) => {
            let partitions = group.topics.iter().flat_map(|topic| {
                let name = &topic.name;
                let of = move |index: i32, offset: i64| format!(" {name}-{index}={offset}");
                topic.partitions.iter().map(move |row| of(row.partition_index, row.committed_offset))
            });
            format!("fetch {}{}", error(group.error_code), partitions.collect::<String>())
        }
        Reply::Describe(group) => describe(group),
        Reply::List(groups) => {
            let of = |group: &ottla_protocol::messages::list_groups::ListedGroup| {
                let protocol_type = or_dash(Some(&group.protocol_type));
                format!(" {}:{}:{}:{protocol_type}", group.group_id, group.group_type, group.group_state)
            };
            format!("list{}", groups.iter().map(of).collect::<String>())
        }
        Reply::Done => "done".to_owned(),
        Reply::Refused(refusal) => format!("refused {}", refusal.name()),
        other => format!("{other:?}"),
    }
}

fn join(response: &JoinGroupResponse) -> String {
    if response.error_code != 0 {
        return format!("{} id={}", error(response.error_code), or_dash(Some(&response.member_id)));
    }
    let members = response.members.iter().map(|member| {
        let instance = member.group_instance_id.as_deref().map(|id| format!("({id})"));
        format!(" {}{}={}", member.member_id, instance.unwrap_or_default(), text(&member.metadata))
    });
    format!(
        "ok id={} generation={} type={} protocol={} leader={}{}{}",
        response.member_id,
        response.generation_id,
        or_dash(response.protocol_type.as_deref()),
        or_dash(response.protocol_name.as_deref()),
        or_dash(Some(&response.leader)),
        if response.skip_assignment { " skip" } else { "" },
        members.collect::<String>()
    )
}

fn sync(response: &SyncGroupResponse) -> String {
    if response.error_code != 0 {
        return error(response.error_code);
    }
    let (kind, name) = (response.protocol_type.as_deref(), response.protocol_name.as_deref());
    format!("ok type={} protocol={} {}", or_dash(kind), or_dash(name), text(&response.assignment))
}

fn describe(group: &ottla_protocol::messages::describe_groups::DescribedGroup) -> String {
    let members = group.members.iter().map(|member| {
        let instance = member.group_instance_id.as_deref().map(|id| format!("({id})"));
        let (metadata, assignment) = (text(&member.member_metadata), text(&member.member_assignment));
        let name = format!("{}{}", member.member_id, instance.unwrap_or_default());
        format!(" {name}@{}{}={metadata}/{assignment}", member.client_id, member.client_host)
    });
    let message = group.error_message.as_ref().map(|message| format!(" \"{message}\""));
    format!(
        "describe {}{} {} type={} protocol={}{}",
        error(group.error_code),
        message.unwrap_or_default(),
        group.group_state,
        or_dash(Some(&group.protocol_type)),
        or_dash(Some(&group.protocol_data)),
        members.collect::<String>()
    )
}
