//! kafka-get-offsets: offsets of partitions, by time.

use std::collections::BTreeMap;

use ottla_client::admin::{self, ItemResult, Limit, OffsetSpec, Offsets};
use ottla_client::net::Client;

use super::failure::Failure;
use super::filter::{TopicPattern, is_internal, with_bootstrap};
use super::options::{Flag, Options, Usage};
use super::{Out, block_on, connect, parse};

/// What the tool understands.
pub static USAGE: Usage = Usage {
    about: "An interactive shell for getting topic-partition offsets.",
    flags: &[
        Flag::value("bootstrap-server", "String: HOST1:PORT1,...,HOST3:PORT3", "REQUIRED: where the cluster is."),
        Flag::value(
            "topic-partitions",
            "String: topic1:1,topic2:0-3,topic3,topic4:5-,topic5:-3",
            "Patterns of topics and their partitions: a regular expression (or nothing, for every topic), then after a \
             colon a number, a range without its upper end, or nothing for every partition.",
        ),
        Flag::value("topic", "String: topic", "A regular expression for topics; every topic where it is absent."),
        Flag::value("partitions", "String: partition ids", "Numbers of partitions; all of them where it is absent."),
        Flag::value(
            "time",
            "String: <timestamp> / -1 or latest / -2 or earliest / -3 or max-timestamp / -4 or earliest-local / -5 or \
             latest-tiered / -6 or earliest-pending-upload",
            "Which offset: by a timestamp, or by its place.",
        )
        .or("latest"),
        Flag::value("command-config", "String: config file", "A file with client properties."),
        Flag::switch("exclude-internal-topics", "Leave out Kafka's own topics."),
    ],
};

const TIMES: &[(&str, OffsetSpec)] = &[
    ("latest", OffsetSpec::Latest),
    ("-1", OffsetSpec::Latest),
    ("earliest", OffsetSpec::Earliest),
    ("-2", OffsetSpec::Earliest),
    ("max-timestamp", OffsetSpec::MaxTimestamp),
    ("-3", OffsetSpec::MaxTimestamp),
    ("earliest-local", OffsetSpec::EarliestLocal),
    ("-4", OffsetSpec::EarliestLocal),
    ("latest-tiered", OffsetSpec::LatestTiered),
    ("-5", OffsetSpec::LatestTiered),
    ("earliest-pending-upload", OffsetSpec::EarliestPendingUpload),
    ("-6", OffsetSpec::EarliestPendingUpload),
];

/// Runs the tool.
pub fn run(words: &[String], out: Out<'_>) -> Result<(), Failure> {
    get(words, out).map_err(|failure| match failure {
        Failure::Error(message) => Failure::Error(format!("Error occurred: {message}")),
        other => other,
    })
}

fn get(words: &[String], out: Out<'_>) -> Result<(), Failure> {
    let options = parse(&USAGE, words)?;
    options.require(&["bootstrap-server"])?;
    let servers = options.value("bootstrap-server")?.unwrap_or_default();
    connect::check_bootstrap(&servers)?;
    if options.has("topic-partitions") && (options.has("topic") || options.has("partitions")) {
        let message = "--topic-partitions cannot be used with --topic or --partitions";
        return Err(Failure::Error(message.to_owned()));
    }
    let spec = spec(&options.value("time")?.unwrap_or_default())?;
    let wanted = Wanted::new(&options)?;
    let mut properties = connect::load_option(&options, "command-config")?;
    properties.set("client.id", "GetOffsetShell");
    let hide = options.has("exclude-internal-topics");
    block_on(async {
        let client = connect::admin(with_bootstrap(properties, &servers)).await?;
        let partitions = partitions(&client, &wanted, hide).await?;
        if partitions.is_empty() {
            let message = "Could not match any topic-partitions with the specified filters";
            return Err(Failure::Error(message.to_owned()));
        }
        let asked = partitions.into_iter().map(|partition| (partition, spec)).collect();
        let found = client.run(admin::list_offsets(asked)).await?;
        Ok(out.write_all(lines(found).as_bytes())?)
    })
}

fn spec(text: &str) -> Result<OffsetSpec, Failure> {
    let known = TIMES.iter().find(|(name, _)| *name == text).map(|(_, spec)| *spec);
    known.or_else(|| text.parse().ok().map(OffsetSpec::Timestamp)).ok_or_else(|| {
        Failure::Error(format!(
            "Malformed time argument {text}. Please use -1 or latest / -2 or earliest / -3 or max-timestamp / -4 or \
             earliest-local / -5 or latest-tiered / -6 or earliest-pending-upload, or a specified long format timestamp"
        ))
    })
}

async fn partitions(client: &Client, wanted: &Wanted, hide: bool) -> Result<Vec<(String, i32)>, Failure> {
    let listed = client.run(admin::list_topics()).await?.into_iter();
    let listed =
        listed.filter(|t| !(hide && (t.internal || is_internal(&t.name))) && wanted.has_topic(&t.name));
    let names: Vec<String> = listed.map(|topic| topic.name).collect();
    if names.is_empty() {
        return Ok(Vec::new());
    }
    let described = client.run(admin::describe_topics(names, Limit::default())).await?;
    let mut partitions = Vec::new();
    for (name, result) in described {
        let indexes = result?.partitions.into_iter().map(|partition| partition.index);
        partitions
            .extend(indexes.filter(|index| wanted.has(&name, *index)).map(|index| (name.clone(), index)));
    }
    Ok(partitions)
}

/// One line for each partition that has such an offset, in the order of their names as text.
fn lines(found: BTreeMap<(String, i32), ItemResult<Offsets>>) -> String {
    let mut lines = BTreeMap::new();
    for ((topic, index), result) in found {
        let name = format!("{topic}-{index}");
        match result {
            Err(error) => eprintln!("Skip getting offsets for topic-partition {name} due to error: {error}"),
            Ok(offsets) if offsets.offset >= 0 => {
                lines.insert(name, format!("{topic}:{index}:{}\n", offsets.offset));
            }
            Ok(_) => {}
        }
    }
    lines.into_values().collect()
}

/// Which partitions are asked for: those of any rule.
struct Wanted(Vec<(TopicPattern, Indexes)>);

enum Indexes {
    Any,
    These(Vec<i32>),
    /// From the first, up to but not with the second.
    Range(i32, i32),
}

impl Wanted {
    fn new(options: &Options) -> Result<Self, Failure> {
        if let Some(rules) = options.value("topic-partitions")? {
            return Ok(Self(rules.split(',').map(rule).collect::<Result<_, _>>()?));
        }
        let pattern = TopicPattern::new(&options.value("topic")?.unwrap_or_else(|| ".*".to_owned()))?;
        let numbers = options.value("partitions")?.filter(|text| !text.is_empty());
        let indexes = match numbers {
            None => Indexes::Any,
            Some(text) => Indexes::These(text.split(',').map(str::parse).collect::<Result<_, _>>().map_err(|_| {
                Failure::Error(format!(
                    "--partitions expects a comma separated list of numeric partition ids, but received: {text}"
                ))
            })?),
        };
        Ok(Self(vec![(pattern, indexes)]))
    }

    fn has_topic(&self, topic: &str) -> bool {
        self.0.iter().any(|(pattern, _)| pattern.matches(topic))
    }

    fn has(&self, topic: &str, index: i32) -> bool {
        let within = |indexes: &Indexes| match indexes {
            Indexes::Any => true,
            Indexes::These(these) => these.contains(&index),
            Indexes::Range(from, to) => (*from..*to).contains(&index),
        };
        self.0.iter().any(|(pattern, indexes)| pattern.matches(topic) && within(indexes))
    }
}

/// `topic:5`, `topic:2-4`, `topic:2-`, `:-4`, `topic`.
fn rule(text: &str) -> Result<(TopicPattern, Indexes), Failure> {
    let invalid = || Failure::Error(format!("Invalid rule specification: {text}"));
    let (topic, part) = text.split_once(':').unwrap_or((text, ""));
    let pattern = TopicPattern::new(if topic.is_empty() { ".*" } else { topic })?;
    let number = |text: &str, absent: i32| match text {
        "" => Ok(absent),
        digits if digits.bytes().all(|b| b.is_ascii_digit()) => digits.parse().map_err(|_| invalid()),
        _ => Err(invalid()),
    };
    let indexes = match part.split_once('-') {
        Some((from, to)) => Indexes::Range(number(from, 0)?, number(to, i32::MAX)?),
        None if part.is_empty() => Indexes::Any,
        None => Indexes::These(vec![number(part, 0)?]),
    };
    Ok((pattern, indexes))
}

#[cfg(test)]
mod tests {
    use ottla_client::ApiError;
    use ottla_protocol::Refusal;

    use super::*;

    fn wanted(words: &[&str]) -> Result<Wanted, Failure> {
        let words: Vec<String> = words.iter().map(|w| (*w).to_owned()).collect();
        Wanted::new(&Options::parse(&USAGE, &words).unwrap())
    }

    #[test]
    fn rules_choose_topics_and_partitions() {
        let rules = wanted(&["--topic-partitions", "a:1,b:2-4,c,d:3-,:-1"]).unwrap();
        let has = |topic: &str| -> Vec<i32> { (0..6).filter(|i| rules.has(topic, *i)).collect() };
        assert_eq!(has("a"), [0, 1]);
        assert_eq!(has("b"), [0, 2, 3]);
        assert_eq!(has("c"), [0, 1, 2, 3, 4, 5]);
        assert_eq!(has("d"), [0, 3, 4, 5]);
        assert_eq!(has("other"), [0]);
        assert!(wanted(&["--topic-partitions", "a:x"]).is_err());
        assert!(wanted(&["--partitions", "1,x"]).is_err());
        let some = wanted(&["--topic", "t.*", "--partitions", "0,2"]).unwrap();
        assert!(some.has("topic", 2) && !some.has("topic", 1) && !some.has("x", 0));
    }

    #[test]
    fn times_are_names_numbers_or_timestamps() {
        assert_eq!(spec("-3").unwrap(), OffsetSpec::MaxTimestamp);
        assert_eq!(spec("earliest-local").unwrap(), OffsetSpec::EarliestLocal);
        assert_eq!(spec("1700000000000").unwrap(), OffsetSpec::Timestamp(1_700_000_000_000));
        assert!(spec("noon").unwrap_err().message().starts_with("Malformed time argument noon."));
    }

    #[test]
    fn partitions_without_such_an_offset_are_left_out() {
        let some = |offset| Ok(Offsets { offset, timestamp: -1, leader_epoch: 0 });
        let refused = Err(ApiError { refusal: Refusal::LeaderNotAvailable, message: None });
        let found = [(0, some(5)), (2, some(0)), (10, some(7)), (3, some(-1)), (4, refused)];
        let found = found.into_iter().map(|(index, result)| (("t".to_owned(), index), result)).collect();
        assert_eq!(lines(found), "t:0:5\nt:10:7\nt:2:0\n");
    }
}
