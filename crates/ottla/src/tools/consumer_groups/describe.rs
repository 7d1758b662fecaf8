//! Groups are listed, or shown: what they have read, who is in them, how they are.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet};

use super::ask::{Asker, Committed, undescribed};
use super::group::{self, Group, Member, State};
use super::plan::{Offsets, Place};
use super::table::{self, Detail, OffsetRow};
use super::{Trouble, groups};
use crate::tools::Out;
use crate::tools::options::Options;

/// Lists the groups, with their types and states where they are asked for.
pub async fn list(asker: &Asker, options: &Options, out: Out<'_>) -> Result<(), Trouble> {
    let given = |name: &str| -> Result<Option<String>, Trouble> {
        let value = options.value(name).map_err(|error| Trouble::said(error.to_string()))?;
        Ok(value.filter(|value| !value.is_empty()))
    };
    let types = given("type")?.map(|text| group::types(&text)).transpose().map_err(Trouble::Usage)?;
    let states = given("state")?.map(|text| group::states(&text)).transpose().map_err(Trouble::Usage)?;
    let mut listed = asker.list().await?;
    listed.retain(|group| {
        let has_type =
            |types: &BTreeSet<&str>| types.iter().any(|t| t.eq_ignore_ascii_case(&group.group_type));
        let has_state = |states: &BTreeSet<State>| states.contains(&State::parse(&group.group_state));
        types.as_ref().is_none_or(has_type) && states.as_ref().is_none_or(has_state)
    });
    if !options.has("type") && !options.has("state") {
        for group in listed {
            writeln!(out, "{}", group.group_id)?;
        }
        return Ok(());
    }
    let mut head = vec!["GROUP"];
    head.extend(options.has("type").then_some("TYPE"));
    head.extend(options.has("state").then_some("STATE"));
    let rows = listed.into_iter().map(|group| {
        let mut row = vec![group.group_id];
        row.extend(options.has("type").then(|| kind(&group.group_type)));
        row.extend(options.has("state").then(|| State::parse(&group.group_state).name().to_owned()));
        row
    });
    Ok(out.write_all(table::list(&head, &rows.collect::<Vec<_>>()).as_bytes())?)
}

/// Brokers write types in small letters, Kafka's tool does not.
fn kind(name: &str) -> String {
    let known = ["Classic", "Consumer", "Share", "Streams"];
    known.into_iter().find(|known| known.eq_ignore_ascii_case(name)).unwrap_or("Unknown").to_owned()
}

/// Shows groups.
pub async fn describe(asker: &Asker, options: &Options, out: Out<'_>) -> Result<(), Trouble> {
    let ids = groups(asker, options).await?;
    let detail = if options.has("verbose") { Detail::Verbose } else { Detail::Usual };
    let mut described = BTreeMap::new();
    for (id, result) in asker.describe(ids).await {
        described.insert(id, result.map_err(|error| undescribed(&error))?);
    }
    if options.has("members") {
        for group in described.values() {
            notice(out, group, group.members.len())?;
            out.write_all(table::members(group, detail).as_bytes())?;
        }
    } else if options.has("state") {
        for group in described.values() {
            if notice(out, group, 1)? {
                out.write_all(table::state(group, detail).as_bytes())?;
            }
        }
    } else {
        let mut shown = Vec::new();
        for group in described.values() {
            let committed = asker.committed(&group.id).await.map_err(|error| Trouble::executed(&error))?;
            let ends = ends(asker, group, &committed).await?;
            shown.push((group, offset_rows(group, &committed, &ends)));
        }
        for (group, rows) in shown {
            if notice(out, group, rows.len())? {
                out.write_all(table::offsets(&group.id, &rows, detail).as_bytes())?;
            }
        }
    }
    Ok(())
}

/// Says what is unusual about a group; whether there is something to show.
fn notice(out: Out<'_>, group: &Group, rows: usize) -> Result<bool, Trouble> {
    let id = &group.id;
    out.flush()?;
    match group.state {
        State::Dead => writeln!(out, "\nError: Consumer group '{id}' does not exist.")?,
        State::Empty => eprintln!("\nConsumer group '{id}' has no active members."),
        State::PreparingRebalance | State::CompletingRebalance | State::Assigning | State::Reconciling => {
            eprintln!("\nWarning: Consumer group '{id}' is rebalancing.");
        }
        State::Stable => {}
        State::Unknown => {
            return Err(Trouble::said("Expected a valid consumer group state, but found 'Unknown'."));
        }
    }
    Ok(group.state != State::Dead && rows > 0)
}

/// The ends of every partition that will be shown and has a leader.
async fn ends(asker: &Asker, group: &Group, committed: &Committed) -> Result<Offsets, Trouble> {
    let assigned = group.members.iter().flat_map(|member| &member.assigned);
    let places: BTreeSet<Place> = assigned.chain(committed.keys()).cloned().collect();
    let leaderless = asker.without_leader(&places).await?;
    asker.ends(places.into_iter().filter(|place| !leaderless.contains(place)).collect()).await
}

/// The partitions of the members, those with the most first; then what was committed and nobody reads.
fn offset_rows(group: &Group, committed: &Committed, ends: &Offsets) -> Vec<OffsetRow> {
    let row = |place: &Place, member: Option<&Member>| OffsetRow {
        topic: place.0.clone(),
        partition: place.1,
        leader_epoch: committed.get(place).and_then(|committed| committed.leader_epoch),
        offset: committed.get(place).map(|committed| committed.offset),
        end: ends.get(place).copied(),
        member: member.map(|member| (member.id.clone(), member.host.clone(), member.client.clone())),
    };
    let mut members: Vec<&Member> = group.members.iter().collect();
    members.sort_by_key(|member| Reverse(member.assigned.len()));
    let mut read = BTreeSet::new();
    let mut rows = Vec::new();
    for member in members {
        for place in &member.assigned {
            read.insert(place);
            rows.push(row(place, Some(member)));
        }
    }
    rows.extend(committed.keys().filter(|place| !read.contains(place)).map(|place| row(place, None)));
    rows
}

#[cfg(test)]
mod tests {
    use super::super::ask::Offset;
    use super::*;

    #[test]
    fn who_reads_most_comes_first_and_what_nobody_reads_last() {
        let member = |id: &str, partitions: &[i32]| Member {
            id: id.to_owned(),
            assigned: partitions.iter().map(|partition| ("t".to_owned(), *partition)).collect(),
            ..Member::default()
        };
        let group = Group {
            members: vec![member("a", &[3]), member("b", &[]), member("c", &[1, 0])],
            ..Group::default()
        };
        let offset = Offset { offset: 4, leader_epoch: Some(2) };
        let committed: Committed =
            [("t", 0), ("a", 0), ("t", 7)].map(|(topic, p)| ((topic.to_owned(), p), offset)).into();
        let ends: Offsets = [(("t".to_owned(), 0), 9), (("t".to_owned(), 1), 9)].into();
        let rows = offset_rows(&group, &committed, &ends);
        let shown: Vec<_> = rows
            .iter()
            .map(|row| {
                let member = row.member.as_ref().map(|member| member.0.as_str());
                (row.topic.as_str(), row.partition, row.offset, row.end, member)
            })
            .collect();
        assert_eq!(
            shown,
            [
                ("t", 0, Some(4), Some(9), Some("c")),
                ("t", 1, None, Some(9), Some("c")),
                ("t", 3, None, None, Some("a")),
                ("a", 0, Some(4), None, None),
                ("t", 7, Some(4), None, None),
            ]
        );
    }
}
