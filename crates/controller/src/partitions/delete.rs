//! Topics go, by name or by id.

use std::collections::BTreeMap;

use ottla_metadata::config::validate::Rejected;
use ottla_protocol::messages::delete_topics::{DeletableTopicResult, DeleteTopicState};
use ottla_protocol::messages::{DeleteTopicsRequest, DeleteTopicsResponse};
use ottla_protocol::records::metadata::{MetadataRecord, RemoveTopicRecord};
use ottla_protocol::{Refusal, TopicId, Uuid};

use crate::refused::{plain, refused, too_much};
use crate::view::{RECORDS_PER_COMMAND_MAX, View};

pub(crate) fn topics(
    view: &View,
    (request, version): (&DeleteTopicsRequest, i16),
    records: &mut Vec<MetadataRecord>,
) -> DeleteTopicsResponse {
    let start = records.len();
    let named = request
        .topic_names
        .iter()
        .map(|name| DeleteTopicState { name: Some(name.clone()), ..Default::default() });
    let wanted: Vec<DeleteTopicState> = named.chain(request.topics.iter().cloned()).collect();
    let mut counts: BTreeMap<(Option<&str>, Uuid), usize> = BTreeMap::new();
    for topic in &wanted {
        *counts.entry((topic.name.as_deref(), topic.topic_id)).or_default() += 1;
    }
    let mut chosen: Vec<TopicId> = Vec::new();
    let mut responses = Vec::new();
    for ((name, id), count) in &counts {
        let found = find(view, (*name, *id), *count, version).and_then(|topic| {
            if chosen.contains(&topic) {
                let text = "The provided topic name maps to an ID that was already supplied.";
                return Err(refused(Refusal::InvalidRequest, text));
            }
            Ok(topic)
        });
        if let Ok(topic) = found {
            chosen.push(topic);
            records.push(RemoveTopicRecord { topic_id: topic }.into());
        }
        responses.push(response(view, (*name, *id), found));
    }
    if records.len() - start > RECORDS_PER_COMMAND_MAX {
        records.truncate(start);
        responses = counts.keys().map(|wanted| response(view, *wanted, Err(too_much()))).collect();
    }
    DeleteTopicsResponse { responses, ..Default::default() }
}

fn find(
    view: &View,
    (name, id): (Option<&str>, Uuid),
    count: usize,
    version: i16,
) -> Result<TopicId, Rejected> {
    if !view.settings.node().boolean("delete.topic.enable") {
        return Err(if version < 3 {
            refused(Refusal::InvalidRequest, "This version does not support topic deletion.")
        } else {
            plain(Refusal::TopicDeletionDisabled)
        });
    }
    let invalid = |text: &str| Err(refused(Refusal::InvalidRequest, text));
    match name {
        None if id.is_zero() => invalid("Neither topic name nor id were specified."),
        None if count > 1 => invalid("Duplicate topic id."),
        None => view.image.topics.get(id).map(|topic| topic.id).ok_or_else(|| plain(Refusal::UnknownTopicId)),
        Some(_) if !id.is_zero() => invalid("You may not specify both topic name and topic id."),
        Some(_) if count > 1 => invalid("Duplicate topic name."),
        Some(name) => {
            let topic = view.image.topics.named(name).map(|topic| topic.id);
            topic.ok_or_else(|| plain(Refusal::UnknownTopicOrPartition))
        }
    }
}

fn response(
    view: &View,
    (name, id): (Option<&str>, Uuid),
    found: Result<TopicId, Rejected>,
) -> DeletableTopicResult {
    match found {
        Ok(id) => DeletableTopicResult {
            name: view.image.topics.get(id).map(|topic| topic.name.to_string()),
            topic_id: id,
            ..Default::default()
        },
        Err(rejected) => DeletableTopicResult {
            name: name.map(str::to_owned),
            topic_id: id,
            error_code: rejected.refusal.code(),
            error_message: Some(rejected.message),
        },
    }
}
