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

/// A column of a table of `R`s.
struct Column<'a, R> {
    head: &'static str,
    width: Width,
    cell: Box<dyn Fn(&R) -> String + 'a>,
}

/// How wide a column is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Width {
    /// As wide as this, also where something is wider.
    Fixed(usize),
    /// As wide as what stands in it, and at least this.
    AtLeast(usize),
}

impl<'a, R> Column<'a, R> {
    fn fixed(width: usize, head: &'static str, cell: impl Fn(&R) -> String + 'a) -> Self {
        Self { head, width: Width::Fixed(width), cell: Box::new(cell) }
    }

    fn at_least(width: usize, head: &'static str, cell: impl Fn(&R) -> String + 'a) -> Self {
        Self { head, width: Width::AtLeast(width), cell: Box::new(cell) }
    }

    /// The last one, which is not padded.
    fn last(head: &'static str, cell: impl Fn(&R) -> String + 'a) -> Self {
        Self::fixed(0, head, cell)
    }
}

/// The head and the rows, each a line without its end.
fn lines<R>(columns: &[Column<'_, R>], rows: &[R]) -> Vec<String> {
    let mut lines = vec![String::new(); rows.len() + 1];
    for (at, column) in columns.iter().enumerate() {
        let cells: Vec<String> = rows.iter().map(|row| (column.cell)(row)).collect();
        let width = match column.width {
            Width::Fixed(width) => width,
            Width::AtLeast(least) => widest(least, cells.iter().map(String::as_str)),
        };
        let gap = if at == 0 { "" } else { " " };
        let all = [column.head].into_iter().chain(cells.iter().map(String::as_str));
        for (line, cell) in lines.iter_mut().zip(all) {
            let _ = write!(line, "{gap}{cell:<width$}");
        }
    }
    lines
}

/// A table of which each line begins with a line end.
fn begun<R>(columns: &[Column<'_, R>], rows: &[R]) -> String {
    lines(columns, rows).into_iter().map(|line| format!("\n{line}")).collect::<String>() + "\n"
}

fn widest<'a>(least: usize, values: impl Iterator<Item = &'a str>) -> usize {
    values.map(|value| value.chars().count()).fold(least, usize::max)
}

fn text<T: ToString>(value: Option<T>) -> String {
    value.map_or_else(|| MISSING.to_owned(), |value| value.to_string())
}

/// The partitions of a group; nothing if there are none.
pub fn offsets(group: &str, rows: &[OffsetRow], detail: Detail) -> String {
    type Of<'a> = Column<'a, OffsetRow>;
    if rows.is_empty() {
        return String::new();
    }
    let member = |pick: fn(&(String, String, String)) -> &String| {
        move |row: &OffsetRow| text(row.member.as_ref().map(pick))
    };
    let mut columns = vec![
        Of::at_least(15, "GROUP", |_| group.to_owned()),
        Of::at_least(15, "TOPIC", |row| row.topic.clone()),
        Of::fixed(10, "PARTITION", |row| row.partition.to_string()),
    ];
    if detail == Detail::Verbose {
        columns.push(Of::fixed(15, "LEADER-EPOCH", |row| text(row.leader_epoch)));
    }
    columns.extend([
        Of::fixed(15, "CURRENT-OFFSET", |row| text(row.offset)),
        Of::fixed(15, "LOG-END-OFFSET", |row| text(row.end)),
        Of::fixed(15, "LAG", |row| text(row.lag())),
        Of::at_least(15, "CONSUMER-ID", member(|member| &member.0)),
        Of::at_least(15, "HOST", member(|member| &member.1)),
        Of::last("CLIENT-ID", member(|member| &member.2)),
    ]);
    begun(&columns, rows)
}

impl OffsetRow {
    /// How many offsets lie between what was committed and the end.
    fn lag(&self) -> Option<i64> {
        Some(self.end?.saturating_sub(self.offset?))
    }
}

/// The members of a group; the head is there even if nobody is.
pub fn members(group: &Group, detail: Detail) -> String {
    type Of<'a> = Column<'a, Member>;
    let shows_instance = group.members.iter().any(|member| member.instance.is_some());
    let upgraded = |wanted| group.members.iter().any(|member| member.upgraded == Some(wanted));
    let shows_upgrade = upgraded(true) && upgraded(false);
    let mut columns = vec![
        Of::at_least(15, "GROUP", |_| group.id.clone()),
        Of::at_least(15, "CONSUMER-ID", |member| member.id.clone()),
    ];
    if shows_instance {
        let instance = |member: &Member| member.instance.clone().unwrap_or_default();
        columns.push(Of::at_least(17, "GROUP-INSTANCE-ID", instance));
    }
    columns.extend([
        Of::at_least(15, "HOST", |member| member.host.clone()),
        Of::at_least(15, "CLIENT-ID", |member| member.client.clone()),
        Of::fixed(15, "#PARTITIONS", |member| member.assigned.len().to_string()),
    ]);
    if detail == Detail::Verbose {
        columns.extend([
            Of::fixed(15, "CURRENT-EPOCH", |member| text(member.epoch)),
            Of::at_least(20, "CURRENT-ASSIGNMENT", |member| assignment(&member.assigned)),
            Of::fixed(15, "TARGET-EPOCH", |_| text(group.assignment_epoch)),
            Of::at_least(20, "TARGET-ASSIGNMENT", |member| text(member.target.as_ref().map(assignment))),
        ]);
        if shows_upgrade {
            columns.push(Of::last("UPGRADED", |member| text(member.upgraded)));
        }
    }
    let end = if detail == Detail::Verbose { "\n" } else { " \n" };
    let lines = lines(&columns, &group.members).into_iter().map(|line| line + end);
    "\n".to_owned() + &lines.collect::<String>()
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
    type Of<'a> = Column<'a, &'a Group>;
    let (host, port, id) = &group.coordinator;
    let coordinator = format!("{host}:{port}  ({id})");
    let strategy = if group.assignor.is_empty() { MISSING } else { &group.assignor };
    let mut columns = vec![
        Of::at_least(15, "GROUP", |group| group.id.clone()),
        Of::at_least(25, "COORDINATOR (ID)", |_| coordinator.clone()),
        Of::fixed(20, "ASSIGNMENT-STRATEGY", |_| strategy.to_owned()),
        Of::fixed(20, "STATE", |group| group.state.name().to_owned()),
    ];
    if detail == Detail::Verbose {
        columns.extend([
            Of::fixed(15, "GROUP-EPOCH", |group| text(group.epoch)),
            Of::fixed(25, "TARGET-ASSIGNMENT-EPOCH", |group| text(group.assignment_epoch)),
        ]);
    }
    columns.push(Of::last("#MEMBERS", |group| group.members.len().to_string()));
    begun(&columns, &[group])
}

/// What `--list` shows with `--state` or `--type`.
pub fn list(head: &[&str], rows: &[Vec<String>]) -> String {
    let width = widest(15, rows.iter().filter_map(|row| row.first()).map(String::as_str)) + 10;
    let mut table = String::new();
    let head: Vec<String> = head.iter().map(|name| (*name).to_owned()).collect();
    for row in [&head].into_iter().chain(rows) {
        for (at, cell) in row.iter().enumerate() {
            let (gap, width) = if at == 0 { ("", width) } else { (" ", 20) };
            let _ = write!(table, "{gap}{cell:<width$}");
        }
        table.push('\n');
    }
    table
}

/// What offsets were, or would be, reset to.
pub fn reset(groups: &BTreeMap<String, BTreeMap<(String, i32), i64>>) -> String {
    type Of<'a> = Column<'a, (&'a str, &'a str, i32, i64)>;
    if groups.is_empty() {
        return "\n".to_owned();
    }
    let rows = groups.iter().flat_map(|(group, offsets)| {
        offsets.iter().map(|((topic, partition), offset)| (&**group, &**topic, *partition, *offset))
    });
    let columns = [
        Of::at_least(15, "GROUP", |row| row.0.to_owned()),
        Of::at_least(15, "TOPIC", |row| row.1.to_owned()),
        Of::fixed(10, "PARTITION", |row| row.2.to_string()),
        Of::last("NEW-OFFSET", |row| row.3.to_string()),
    ];
    begun(&columns, &rows.collect::<Vec<_>>())
}

/// What came of deleting offsets; a number below zero is a topic of which no partition is known.
pub fn deleted(rows: &BTreeMap<(String, i32), String>) -> String {
    type Of<'a> = Column<'a, (&'a (String, i32), &'a String)>;
    let mut ordered: Vec<_> = rows.iter().collect();
    ordered.sort_by_key(|((topic, partition), _)| format!("{topic}{partition}"));
    let columns = [
        Of::at_least(15, "TOPIC", |row| row.0.0.clone()),
        Of::fixed(10, "PARTITION", |row| text(Some(row.0.1).filter(|partition| *partition >= 0))),
        Of::fixed(15, "STATUS", |row| row.1.clone()),
    ];
    begun(&columns, &ordered)
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
