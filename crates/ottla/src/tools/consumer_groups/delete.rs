//! Groups, or what they have committed, are deleted.

use std::collections::{BTreeMap, BTreeSet};

use ottla_client::ApiError;
use ottla_protocol::Refusal;

use super::ask::Asker;
use super::plan::{self, Place};
use super::{Trouble, groups as chosen, table};
use crate::tools::java::{UNKNOWN_SIZE, hash_map_order};
use crate::tools::options::Options;
use crate::tools::{Out, thrown};

/// Deletes whole groups.
pub async fn groups(asker: &Asker, options: &Options, out: Out<'_>) -> Result<(), Trouble> {
    let ids = chosen(asker, options).await?;
    let mut deleted = Vec::new();
    let mut failed = Vec::new();
    // A script that knows the line knows the order.
    let results = hash_map_order(asker.delete_groups(ids).await, UNKNOWN_SIZE, |(id, _)| id);
    for (id, result) in results {
        match result {
            Ok(()) => deleted.push(format!("'{id}'")),
            Err(error) => {
                failed.push(format!("* Group '{id}' could not be deleted due to: {}", thrown::thrown(&error)))
            }
        }
    }
    let deleted = deleted.join(", ");
    if failed.is_empty() {
        writeln!(out, "Deletion of requested consumer groups ({deleted}) was successful.")?;
        return Ok(());
    }
    writeln!(out, "\nError: Deletion of some consumer groups failed:")?;
    for line in failed {
        writeln!(out, "{line}")?;
    }
    if !deleted.is_empty() {
        writeln!(out, "\nThese consumer groups were deleted successfully: {deleted}")?;
    }
    Ok(())
}

/// Deletes a group's offsets of topics.
pub async fn offsets(asker: &Asker, options: &Options, out: Out<'_>) -> Result<(), Trouble> {
    let group = options.value("group").map_err(|error| Trouble::said(error.to_string()))?.unwrap_or_default();
    let (topics, places) = plan::topics(&options.values("topic"))?;
    let mut rows: BTreeMap<Place, String> = BTreeMap::new();
    let mut places: BTreeSet<Place> = places.into_iter().collect();
    for (topic, described) in asker.describe_topics(topics).await? {
        match described {
            Ok(partitions) => {
                places.extend(partitions.into_iter().map(|partition| (topic.clone(), partition.index)));
            }
            Err(error) => {
                rows.insert((topic, -1), format!("Error: {}", thrown::refused(&error)));
            }
        }
    }
    let mut first = None;
    for (place, result) in asker.delete_offsets(&group, places).await {
        let status = match result {
            Ok(()) => "Successful".to_owned(),
            Err(error) => {
                let status = format!("Error: {}", thrown::thrown(&error));
                first.get_or_insert(error.refusal().unwrap_or(Refusal::UnknownServerError));
                status
            }
        };
        rows.insert(place, status);
    }
    match first {
        None => writeln!(out, "Request succeeded for deleting offsets from group {group}.")?,
        Some(refusal) => writeln!(out, "\nError: {}", top_level(refusal))?,
    }
    Ok(out.write_all(table::deleted(&rows).as_bytes())?)
}

/// What is said above the table.
fn top_level(refusal: Refusal) -> String {
    match refusal {
        Refusal::InvalidGroupId
        | Refusal::GroupIdNotFound
        | Refusal::GroupAuthorizationFailed
        | Refusal::NonEmptyGroup => ApiError { refusal, message: None }.to_string(),
        Refusal::GroupSubscribedToTopic
        | Refusal::TopicAuthorizationFailed
        | Refusal::UnknownTopicOrPartition => {
            "Encountered some partition-level error, see the follow-up details.".to_owned()
        }
        other => format!("Encountered some unknown error: {}", other.name()),
    }
}
