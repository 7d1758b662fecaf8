//! The tables of `--describe`: each row begins with a line end, and missing values are dashes.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;

use super::group::{Group, Member};

/// What stands where nothing is known.
const MISSING: &str = "-";

/// A partition of `--describe`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OffsetRow {
    /// The topic.
    pub topic: String,
    /// The partition's number.
    pub partition: i32,
    /// The leader epoch that was committed with the offset.
    pub leader_epoch: Option<i32>,
    /// The committed offset.
    pub offset: Option<i64>,
    /// The partition's end.
    pub end: Option<i64>,
    /// Who reads it: id, host, client id.
    pub member: Option<(String, String, String)>,
}

/// How much is shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Detail {
    /// What is always shown.
    Usual,
    /// Epochs too (`--verbose`).
    Verbose,
}

/// Columns padded to widths, except the last one where its width is zero.
fn cells(line: &mut String, cells: &[(&str, usize)]) {
    for (at, (cell, width)) in cells.iter().enumerate() {
        let gap = if at == 0 { "" } else { " " };
        let _ = write!(line, "{gap}{cell:<width$}");
    }
}

fn widest<'a>(least: usize, values: impl Iterator<Item = &'a str>) -> usize {
    values.map(|value| value.chars().count()).fold(least, usize::max)
}

fn text<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| MISSING.to_owned(), |value| value.to_string())
}

/// The partitions of a group; nothing if there are none.
pub fn offsets(group: &str, rows: &[OffsetRow], detail: Detail) -> String {
    if rows.is_empty() {
        return String::new();
    }
    let member = |pick: fn(&(String, String, String)) -> &str, row: &OffsetRow| {
        row.member.as_ref().map_or(MISSING.to_owned(), |member| pick(member).to_owned())
    };
    let ids: Vec<String> = rows.iter().map(|row| member(|m| &m.0, row)).collect();
    let hosts: Vec<String> = rows.iter().map(|row| member(|m| &m.1, row)).collect();
    let group_width = widest(15, [group].into_iter());
    let topic_width = widest(15, rows.iter().map(|row| row.topic.as_str()));
    let id_width = widest(15, ids.iter().map(String::as_str));
    let host_width = widest(15, hosts.iter().map(String::as_str));
    let mut table = String::new();
    let mut line = |row: [&str; 10]| {
        table.push('\n');
        let widths = [group_width, topic_width, 10, 15, 15, 15, 15, id_width, host_width, 0];
        let shown = row.into_iter().zip(widths).enumerate();
        let shown: Vec<(&str, usize)> =
            shown.filter(|(at, _)| detail == Detail::Verbose || *at != 3).map(|(_, cell)| cell).collect();
        cells(&mut table, &shown);
    };
    line([
        "GROUP",
        "TOPIC",
        "PARTITION",
        "LEADER-EPOCH",
        "CURRENT-OFFSET",
        "LOG-END-OFFSET",
        "LAG",
        "CONSUMER-ID",
        "HOST",
        "CLIENT-ID",
    ]);
    for (at, row) in rows.iter().enumerate() {
        line([
            group,
            &row.topic,
            &row.partition.to_string(),
            &text(row.leader_epoch),
            &text(row.offset),
            &text(row.end),
            &text(row.lag()),
            &ids[at],
            &hosts[at],
            &member(|m| &m.2, row),
        ]);
    }
    table.push('\n');
    table
}

impl OffsetRow {
    /// How many offsets lie between what was committed and the end.
    fn lag(&self) -> Option<i64> {
        Some(self.end?.saturating_sub(self.offset?))
    }
}

/// The members of a group; the head is there even if nobody is.
pub fn members(group: &Group, detail: Detail) -> String {
    let shows_instance = group.members.iter().any(|member| member.instance.is_some());
    let upgraded = |wanted| group.members.iter().any(|member| member.upgraded == Some(wanted));
    let shows_upgrade = upgraded(true) && upgraded(false);
    let rows: Vec<MemberRow> =
        group.members.iter().map(|member| MemberRow::new(&group.id, member, group)).collect();
    let width = |least, pick: fn(&MemberRow) -> &str| widest(least, rows.iter().map(pick));
    let widths = Widths {
        group: width(15, |row| &row.group),
        id: width(15, |row| &row.id),
        instance: width(17, |row| &row.instance),
        host: width(15, |row| &row.host),
        client: width(15, |row| &row.client),
        current: width(20, |row| &row.current),
        target: width(20, |row| &row.target),
    };
    let mut table = "\n".to_owned();
    for row in [&MemberRow::head()].into_iter().chain(&rows) {
        let mut shown = vec![(row.group.as_str(), widths.group), (&row.id, widths.id)];
        if shows_instance {
            shown.push((&row.instance, widths.instance));
        }
        shown.extend([(row.host.as_str(), widths.host), (&row.client, widths.client), (&row.partitions, 15)]);
        cells(&mut table, &shown);
        table.push(' ');
        if detail == Detail::Verbose {
            let epochs = [
                (row.current_epoch.as_str(), 15),
                (&row.current, widths.current),
                (&row.target_epoch, 15),
                (&row.target, widths.target),
            ];
            cells(&mut table, &epochs);
            if shows_upgrade {
                table.push(' ');
                table.push_str(&row.upgraded);
            }
        }
        table.push('\n');
    }
    table
}

struct Widths {
    group: usize,
    id: usize,
    instance: usize,
    host: usize,
    client: usize,
    current: usize,
    target: usize,
}

struct MemberRow {
    group: String,
    id: String,
    instance: String,
    host: String,
    client: String,
    partitions: String,
    current_epoch: String,
    current: String,
    target_epoch: String,
    target: String,
    upgraded: String,
}

impl MemberRow {
    fn head() -> Self {
        let [group, id, instance, host, client, partitions] =
            ["GROUP", "CONSUMER-ID", "GROUP-INSTANCE-ID", "HOST", "CLIENT-ID", "#PARTITIONS"]
                .map(str::to_owned);
        let [current_epoch, current, target_epoch, target, upgraded] =
            ["CURRENT-EPOCH", "CURRENT-ASSIGNMENT", "TARGET-EPOCH", "TARGET-ASSIGNMENT", "UPGRADED"]
                .map(str::to_owned);
        Self {
            group,
            id,
            instance,
            host,
            client,
            partitions,
            current_epoch,
            current,
            target_epoch,
            target,
            upgraded,
        }
    }

    fn new(group_id: &str, member: &Member, group: &Group) -> Self {
        Self {
            group: group_id.to_owned(),
            id: member.id.clone(),
            instance: member.instance.clone().unwrap_or_default(),
            host: member.host.clone(),
            client: member.client.clone(),
            partitions: member.assigned.len().to_string(),
            current_epoch: text(member.epoch),
            current: assignment(&member.assigned),
            target_epoch: text(group.assignment_epoch),
            target: member.target.as_ref().map_or_else(|| MISSING.to_owned(), assignment),
            upgraded: text(member.upgraded),
        }
    }
}

/// `topicA:0,1;topicB:2`
fn assignment(partitions: &BTreeSet<(String, i32)>) -> String {
    if partitions.is_empty() {
        return MISSING.to_owned();
    }
    let mut topics: BTreeMap<&str, Vec<String>> = BTreeMap::new();
    for (topic, partition) in partitions {
        topics.entry(topic).or_default().push(partition.to_string());
    }
    let mut texts: Vec<String> =
        topics.into_iter().map(|(topic, partitions)| format!("{topic}:{}", partitions.join(","))).collect();
    texts.sort();
    texts.join(";")
}

/// The state of a group: where it is kept, how it shares, how it is.
pub fn state(group: &Group, detail: Detail) -> String {
    let (host, port, id) = &group.coordinator;
    let coordinator = format!("{host}:{port}  ({id})");
    let group_width = widest(15, [group.id.as_str()].into_iter());
    let coordinator_width = widest(25, [coordinator.as_str()].into_iter());
    let strategy = if group.assignor.is_empty() { MISSING } else { &group.assignor };
    let mut table = String::new();
    let mut line = |row: [&str; 7]| {
        table.push('\n');
        let widths = [group_width, coordinator_width, 20, 20, 15, 25, 0];
        let shown = row.into_iter().zip(widths).enumerate();
        let shown: Vec<(&str, usize)> = shown
            .filter(|(at, _)| detail == Detail::Verbose || !(4..=5).contains(at))
            .map(|(_, cell)| cell)
            .collect();
        cells(&mut table, &shown);
    };
    line([
        "GROUP",
        "COORDINATOR (ID)",
        "ASSIGNMENT-STRATEGY",
        "STATE",
        "GROUP-EPOCH",
        "TARGET-ASSIGNMENT-EPOCH",
        "#MEMBERS",
    ]);
    line([
        &group.id,
        &coordinator,
        strategy,
        group.state.name(),
        &text(group.epoch),
        &text(group.assignment_epoch),
        &group.members.len().to_string(),
    ]);
    table.push('\n');
    table
}

/// What `--list` shows with `--state` or `--type`.
pub fn list(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = widest(15, rows.iter().filter_map(|row| row.first()).map(String::as_str)) + 10;
    let mut table = String::new();
    let head: Vec<String> = head.iter().map(|name| (*name).to_owned()).collect();
    for row in [&head].into_iter().chain(rows) {
        let padded = row.iter().enumerate();
        let padded: Vec<(&str, usize)> =
            padded.map(|(at, cell)| (cell.as_str(), if at == 0 { width } else { 20 })).collect();
        cells(&mut table, &padded);
        table.push('\n');
    }
    table
}

/// What offsets were, or would be, reset to.
pub fn reset(groups: &BTreeMap<String, BTreeMap<(String, i32), i64>>) -> String {
    let mut table = String::new();
    if !groups.is_empty() {
        let group_width = widest(15, groups.keys().map(String::as_str));
        let topics = groups.values().flat_map(BTreeMap::keys).map(|(topic, _)| topic.as_str());
        let topic_width = widest(15, topics);
        let mut line = |row: [&str; 4]| {
            table.push('\n');
            let widths = [group_width, topic_width, 10, 0];
            cells(&mut table, &row.into_iter().zip(widths).collect::<Vec<_>>());
        };
        line(["GROUP", "TOPIC", "PARTITION", "NEW-OFFSET"]);
        for (group, offsets) in groups {
            for ((topic, partition), offset) in offsets {
                line([group, topic, &partition.to_string(), &offset.to_string()]);
            }
        }
    }
    table.push('\n');
    table
}

/// What came of deleting offsets; a number below zero is a topic of which no partition is known.
pub fn deleted(rows: &BTreeMap<(String, i32), String>) -> String {
    let width = widest(15, rows.keys().map(|(topic, _)| topic.as_str()));
    let mut ordered: Vec<_> = rows.iter().collect();
    ordered.sort_by_key(|((topic, partition), _)| format!("{topic}{partition}"));
    let mut table = String::new();
    let mut line = |row: [&str; 3]| {
        table.push('\n');
        cells(&mut table, &row.into_iter().zip([width, 10, 15]).collect::<Vec<_>>());
    };
    line(["TOPIC", "PARTITION", "STATUS"]);
    for ((topic, partition), status) in ordered {
        line([topic, &text(Some(*partition).filter(|partition| *partition >= 0)), status]);
    }
    table.push('\n');
    table
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::consumer_groups::group::State;

    fn group(members: Vec<Member>) -> Group {
        Group {
            id: "g".to_owned(),
            state: State::Stable,
            coordinator: ("localhost".to_owned(), 9092, 1),
            assignor: "range".to_owned(),
            epoch: None,
            assignment_epoch: None,
            members,
        }
    }

    fn member(id: &str, partitions: &[(&str, i32)]) -> Member {
        Member {
            id: id.to_owned(),
            client: "c".to_owned(),
            host: "/127.0.0.1".to_owned(),
            assigned: partitions.iter().map(|(topic, index)| ((*topic).to_owned(), *index)).collect(),
            ..Member::default()
        }
    }

    #[test]
    fn offsets_are_shown_as_kafka_shows_them() {
        let reader =
            ("console-consumer-1".to_owned(), "/127.0.0.1".to_owned(), "console-consumer".to_owned());
        let rows = [
            OffsetRow {
                topic: "t".to_owned(),
                partition: 0,
                offset: Some(3),
                end: Some(5),
                member: Some(reader),
                leader_epoch: Some(0),
            },
            OffsetRow { topic: "t".to_owned(), partition: 1, end: Some(7), ..OffsetRow::default() },
        ];
        assert_eq!(
            offsets("g", &rows, Detail::Usual),
            "\nGROUP           TOPIC           PARTITION  CURRENT-OFFSET  LOG-END-OFFSET  LAG             CONSUMER-ID        HOST            CLIENT-ID\
             \ng               t               0          3               5               2               console-consumer-1 /127.0.0.1      console-consumer\
             \ng               t               1          -               7               -               -                  -               -\n"
        );
        let verbose = offsets("g", &rows, Detail::Verbose);
        assert!(verbose.contains("PARTITION  LEADER-EPOCH    CURRENT-OFFSET"), "{verbose}");
        assert_eq!(offsets("g", &[], Detail::Usual), "");
    }

    #[test]
    fn members_are_shown_with_what_they_have() {
        let plain = members(&group(vec![member("m-1", &[("b", 1), ("a", 0), ("b", 0)])]), Detail::Usual);
        assert_eq!(
            plain,
            "\nGROUP           CONSUMER-ID     HOST            CLIENT-ID       #PARTITIONS     \
             \ng               m-1             /127.0.0.1      c               3               \n"
        );
        let two = vec![
            Member {
                instance: Some("i".to_owned()),
                epoch: Some(4),
                target: Some(BTreeSet::new()),
                upgraded: Some(true),
                ..member("m-1", &[("b", 1), ("a", 0), ("b", 0)])
            },
            Member { upgraded: Some(false), ..member("m-2", &[]) },
        ];
        let verbose = members(&Group { assignment_epoch: Some(5), ..group(two) }, Detail::Verbose);
        assert_eq!(
            verbose,
            "\nGROUP           CONSUMER-ID     GROUP-INSTANCE-ID HOST            CLIENT-ID       #PARTITIONS     CURRENT-EPOCH   CURRENT-ASSIGNMENT   TARGET-EPOCH    TARGET-ASSIGNMENT    UPGRADED\
             \ng               m-1             i                 /127.0.0.1      c               3               4               a:0;b:0,1            5               -                    true\
             \ng               m-2                               /127.0.0.1      c               0               -               -                    5               -                    false\n"
        );
        assert_eq!(members(&group(Vec::new()), Detail::Usual).lines().count(), 2);
    }

    #[test]
    fn the_state_of_a_group_is_one_row() {
        assert_eq!(
            state(&group(vec![member("m", &[])]), Detail::Usual),
            "\nGROUP           COORDINATOR (ID)          ASSIGNMENT-STRATEGY  STATE                #MEMBERS\
             \ng               localhost:9092  (1)       range                Stable               1\n"
        );
        let verbose = Group { epoch: Some(3), assignment_epoch: Some(2), ..group(Vec::new()) };
        assert!(
            state(&verbose, Detail::Verbose)
                .contains("Stable               3               2                         0\n")
        );
    }

    #[test]
    fn lists_resets_and_deletions_are_tables_too() {
        let rows = vec![vec!["g".to_owned(), "Classic".to_owned(), "Empty".to_owned()]];
        assert_eq!(
            list(&["GROUP", "TYPE", "STATE"], &rows),
            format!(
                "{:<25} {:<20} {:<20}\n{:<25} {:<20} {:<20}\n",
                "GROUP", "TYPE", "STATE", "g", "Classic", "Empty"
            )
        );
        let offsets = BTreeMap::from([(("t".to_owned(), 0), 5)]);
        let groups = BTreeMap::from([("g".to_owned(), offsets)]);
        assert_eq!(
            reset(&groups),
            "\nGROUP           TOPIC           PARTITION  NEW-OFFSET\ng               t               0          5\n"
        );
        assert_eq!(reset(&BTreeMap::new()), "\n");
        let rows = BTreeMap::from([
            (("t".to_owned(), 0), "Successful".to_owned()),
            (("u".to_owned(), -1), "Error: x".to_owned()),
        ]);
        assert_eq!(
            deleted(&rows),
            "\nTOPIC           PARTITION  STATUS         \nt               0          Successful     \nu               -          Error: x       \n"
        );
    }
}
