//! What offsets shall be reset to, as far as it can be said without asking anybody: options, files, limits.

use std::collections::BTreeMap;
use std::fmt::Write as _;

use super::Trouble;
use crate::tools::options::Options;

/// A partition.
pub type Place = (String, i32);

/// New offsets by partition.
pub type Offsets = BTreeMap<Place, i64>;

/// New offsets by group.
pub type Plan = BTreeMap<String, Offsets>;

/// The options that say where to go, in the order in which they are looked at.
pub const SCENARIOS: &[&str] = &[
    "to-offset",
    "to-earliest",
    "to-latest",
    "shift-by",
    "to-datetime",
    "by-duration",
    "from-file",
    "to-current",
];

/// Which partitions are meant.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Scope {
    /// Those with a committed offset (`--all-topics`).
    Committed,
    /// All of the topics, and some partitions of others (`--topic`).
    Topics(Vec<String>, Vec<Place>),
    /// Those in the file (`--from-file`).
    File,
}

impl Scope {
    /// As the options say.
    pub fn new(options: &Options) -> Result<Self, Trouble> {
        if options.has("all-topics") {
            return Ok(Self::Committed);
        }
        if options.has("topic") {
            let (topics, places) = topics(&options.values("topic"))?;
            return Ok(Self::Topics(topics, places));
        }
        if options.has("from-file") {
            return Ok(Self::File);
        }
        Err(Trouble::usage("One of the reset scopes should be defined: --all-topics, --topic."))
    }
}

/// `topic` and `topic:0,1` apart.
pub fn topics(arguments: &[String]) -> Result<(Vec<String>, Vec<Place>), Trouble> {
    let mut topics = Vec::new();
    let mut places = Vec::new();
    for argument in arguments {
        let parts: Vec<&str> = argument.split(':').collect();
        match parts[..] {
            [topic] => topics.push(topic.to_owned()),
            [topic, partitions] if !partitions.is_empty() => {
                for text in partitions.split(',') {
                    let partition = text.parse().map_err(|_| {
                        Trouble::usage(format!(
                            "Invalid partition '{text}' specified in topic arg '{argument}''"
                        ))
                    })?;
                    places.push((topic.to_owned(), partition));
                }
            }
            _ => {
                return Err(Trouble::usage(format!(
                    "Invalid topic arg '{argument}', expected topic name and partitions"
                )));
            }
        }
    }
    Ok((topics, places))
}

/// Offsets within what is there: those outside go to the nearer end, with a warning.
pub fn within(requested: &Offsets, starts: &Offsets, ends: &Offsets) -> (Offsets, Vec<String>) {
    let mut warnings = Vec::new();
    let mut offsets = Offsets::new();
    for (place, offset) in requested {
        let name = format!("{}-{}", place.0, place.1);
        let mut limited = |limit: i64, side: &str| {
            warnings.push(format!(
                "New offset ({offset}) is {side} offset for topic partition {name}. Value will be set to {limit}."
            ));
            limit
        };
        let new = match (starts.get(place), ends.get(place)) {
            (_, Some(end)) if offset > end => limited(*end, "higher than latest"),
            (Some(start), _) if offset < start => limited(*start, "lower than earliest"),
            _ => *offset,
        };
        offsets.insert(place.clone(), new);
    }
    (offsets, warnings)
}

/// Reads a plan: `topic,partition,offset` for a single group, else `group,topic,partition,offset`.
pub fn read(text: &str, groups: &[String]) -> Result<Plan, Trouble> {
    let mut lines: Vec<&str> = text.split('\n').map(|line| line.trim_end_matches('\r')).collect();
    while lines.last().is_some_and(|line| line.is_empty()) {
        lines.pop();
    }
    let without_group = lines.first().is_some_and(|line| row(&fields(line)).is_ok());
    let mut plan = Plan::new();
    for line in lines {
        let fields = fields(line);
        let (group, fields) = match (groups, &fields[..]) {
            ([group], fields) if without_group => (group.clone(), fields),
            (_, [group, fields @ ..]) => (group.clone(), fields),
            (_, []) => continue,
        };
        let (place, offset) = row(fields).map_err(|why| Trouble::said(format!("{why}: {line}")))?;
        plan.entry(group).or_default().insert(place, offset);
    }
    Ok(plan)
}

fn row(fields: &[String]) -> Result<(Place, i64), &'static str> {
    let [topic, partition, offset] = fields else { return Err("A row of the file has other columns") };
    let partition = partition.trim().parse().map_err(|_| "A partition in the file is no number")?;
    let offset = offset.trim().parse().map_err(|_| "An offset in the file is no number")?;
    Ok(((topic.clone(), partition), offset))
}

/// The fields of a line; quotes hold commas, and two of them in quotes are one.
fn fields(line: &str) -> Vec<String> {
    let mut fields = vec![String::new()];
    let mut quoted = false;
    let mut chars = line.chars().peekable();
    while let Some(c) = chars.next() {
        let last = fields.len() - 1;
        match c {
            '"' if quoted && chars.peek() == Some(&'"') => {
                chars.next();
                fields[last].push('"');
            }
            '"' if quoted || fields[last].is_empty() => quoted = !quoted,
            ',' if !quoted => fields.push(String::new()),
            c => fields[last].push(c),
        }
    }
    fields
}

/// The plan as `--export` prints it, in the form that `--from-file` reads; the group is left out where there is one
/// only.
pub fn export(plan: &Plan, groups: &[String]) -> String {
    let mut text = String::new();
    for (group, offsets) in plan {
        for ((topic, partition), offset) in offsets {
            if groups.len() != 1 {
                let _ = write!(text, "{},", quoted(group));
            }
            let _ = writeln!(text, "{},{partition},{offset}", quoted(topic));
        }
    }
    text
}

fn quoted(field: &str) -> String {
    if field.contains([',', '"', '\n', '\r']) {
        return format!("\"{}\"", field.replace('"', "\"\""));
    }
    field.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::tools::consumer_groups::USAGE;

    fn place(topic: &str, partition: i32) -> Place {
        (topic.to_owned(), partition)
    }

    #[test]
    fn scopes_are_topics_partitions_everything_or_a_file() {
        let scope = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            Scope::new(&Options::parse(&USAGE, &words).unwrap())
        };
        assert_eq!(scope(&["--all-topics"]).unwrap(), Scope::Committed);
        assert_eq!(scope(&["--from-file", "f"]).unwrap(), Scope::File);
        assert_eq!(
            scope(&["--topic", "a:0,2", "--topic", "b"]).unwrap(),
            Scope::Topics(vec!["b".to_owned()], vec![place("a", 0), place("a", 2)])
        );
        let usage = |words: &[&str]| match scope(words).unwrap_err() {
            Trouble::Usage(text) => text,
            other => panic!("{other:?}"),
        };
        assert_eq!(usage(&[]), "One of the reset scopes should be defined: --all-topics, --topic.");
        assert_eq!(usage(&["--topic", "a:x"]), "Invalid partition 'x' specified in topic arg 'a:x''");
        assert_eq!(
            usage(&["--topic", "a:1:2"]),
            "Invalid topic arg 'a:1:2', expected topic name and partitions"
        );
    }

    #[test]
    fn offsets_outside_go_to_the_nearer_end() {
        let offsets = |pairs: &[(i32, i64)]| pairs.iter().map(|(p, o)| (place("t", *p), *o)).collect();
        let requested = offsets(&[(0, -5), (1, 50), (2, 7)]);
        let (starts, ends) = (offsets(&[(0, 2), (1, 2), (2, 2)]), offsets(&[(0, 9), (1, 9), (2, 9)]));
        let (new, warnings) = within(&requested, &starts, &ends);
        assert_eq!(new, offsets(&[(0, 2), (1, 9), (2, 7)]));
        assert_eq!(
            warnings,
            [
                "New offset (-5) is lower than earliest offset for topic partition t-0. Value will be set to 2.",
                "New offset (50) is higher than latest offset for topic partition t-1. Value will be set to 9."
            ]
        );
    }

    #[test]
    fn plans_are_written_as_they_are_read() {
        let one = ["g".to_owned()];
        let two = ["g".to_owned(), "h,i".to_owned()];
        let offsets = Offsets::from([(place("t", 0), 5), (place("u", 12), 0)]);
        let plan = Plan::from([("g".to_owned(), offsets.clone())]);
        assert_eq!(export(&plan, &one), "t,0,5\nu,12,0\n");
        assert_eq!(read("t,0,5\r\nu,12,0\n\n", &one).unwrap(), plan);
        let both = Plan::from([("g".to_owned(), offsets.clone()), ("h,i".to_owned(), offsets)]);
        assert_eq!(export(&both, &two), "g,t,0,5\ng,u,12,0\n\"h,i\",t,0,5\n\"h,i\",u,12,0\n");
        assert_eq!(read(&export(&both, &two), &two).unwrap(), both);
        assert_eq!(read("g,t,0,5\ng,u,12,0\n", &one).unwrap(), plan);
        assert!(read("t,zero,5\n", &one).is_err());
    }
}
