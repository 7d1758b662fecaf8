//! kafka-verifiable-consumer: reads as a member of a group, and tells everything that happens as lines of JSON.

use std::collections::BTreeMap;
use std::time::Duration;

use ottla_client::admin::CommittedOffset;
use ottla_client::consumer::{Hooks, Polled, Rebalance, TopicPartition};
use ottla_client::{ClientError, Properties};
use serde_json::Value;

use super::failure::Failure;
use super::java;
use super::member::{Member, Seen};
use super::options::Usage;
use super::signals::Signals;
use super::subcommands::{Chosen, Command, Kind, Opt};
use super::verifiable_producer::{line, number, told_as_error};
use super::{Out, block_on, connect};

/// The tool has no options of the other kind.
pub static USAGE: Usage = Usage { about: COMMAND.about, flags: &[] };

static COMMAND: Command = Command {
    name: "verifiable-consumer",
    about: "Reads a topic as a member of a group, and tells what happens as lines of JSON.",
    options: &[
        Opt::long("bootstrap-server", Kind::Required, "Where the cluster is."),
        Opt::long("topic", Kind::Required, "The topic to read."),
        Opt::long("group-protocol", Kind::Value, "classic (the default) or consumer."),
        Opt::long("group-remote-assignor", Kind::Value, "The broker's assignor, with the consumer protocol."),
        Opt::long("group-id", Kind::Required, "The group."),
        Opt::long("group-instance-id", Kind::Value, "The id of a static member."),
        Opt::long(
            "max-messages",
            Kind::Value,
            "How many records are read; -1 (the default) until it is stopped.",
        ),
        Opt::long("session-timeout", Kind::Value, "session.timeout.ms, with the classic protocol."),
        Opt::long("verbose", Kind::Switch, "Tell of each record."),
        Opt::long("enable-autocommit", Kind::Switch, "Commit now and then, not after each poll."),
        Opt::long("close-timeout", Kind::Value, "How long leaving may take, in ms (30000)."),
        Opt::long("reset-policy", Kind::Value, "earliest (the default), latest or none."),
        Opt::long("assignment-strategy", Kind::Value, "The assignor's class, with the classic protocol."),
        Opt::long("consumer.config", Kind::Value, "Old name of --command-config."),
        Opt::long("command-config", Kind::Value, "A file with a consumer's properties."),
    ],
};

/// The assignor where none is named.
const RANGE: &str = "org.apache.kafka.clients.consumer.RangeAssignor";

/// Runs the tool.
pub fn run(words: &[String], out: Out<'_>) -> Result<(), Failure> {
    if words.is_empty() {
        return COMMAND.parse_alone(&["--help".to_owned()]).map(drop);
    }
    let chosen = COMMAND.parse_alone(words).map_err(told_as_error)?;
    let wanted = Wanted::new(&chosen)?;
    let properties = properties(&chosen, out)?;
    block_on(wanted.run(&properties, out))
}

fn properties(chosen: &Chosen, out: Out<'_>) -> Result<Properties, Failure> {
    let old = chosen.value("consumer.config");
    if old.is_some() && chosen.has("command-config") {
        let why = "Options --consumer.config and --command-config are mutually exclusive.";
        return Err(Failure::Error(format!("{}: error: {why}", COMMAND.name)));
    }
    if old.is_some() {
        writeln!(
            out,
            "Option --consumer.config has been deprecated and will be removed in a future version. Use --command-config \
             instead."
        )?;
    }
    let mut properties = match old.or(chosen.value("command-config")) {
        Some(path) => connect::load(path)?,
        None => Properties::default(),
    };
    let protocol = chosen.value("group-protocol").unwrap_or("classic").to_ascii_lowercase();
    properties.set("group.protocol", protocol.as_str());
    if protocol == "consumer" {
        if let Some(assignor) = chosen.value("group-remote-assignor") {
            properties.set("group.remote.assignor", assignor);
        }
    } else {
        let strategy = chosen.value("assignment-strategy").unwrap_or(RANGE);
        properties.set("partition.assignment.strategy", strategy);
    }
    if let Some(ms) = number::<i32>(&COMMAND, chosen, "session-timeout")? {
        properties.set("session.timeout.ms", ms.to_string());
    }
    if let Some(id) = chosen.value("group-instance-id") {
        properties.set("group.instance.id", id);
    }
    properties.set("group.id", chosen.value("group-id").unwrap_or_default());
    properties.set("bootstrap.servers", chosen.value("bootstrap-server").unwrap_or_default());
    properties.set("enable.auto.commit", chosen.has("enable-autocommit").to_string());
    properties.set("auto.offset.reset", chosen.value("reset-policy").unwrap_or("earliest"));
    Ok(properties)
}

/// What is to be read, and what is told of it.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Wanted {
    topic: String,
    most: u64,
    verbose: bool,
    commits: Commits,
    close_timeout: Duration,
}

/// Who commits.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Commits {
    /// The tool, after each poll.
    EachPoll,
    /// The consumer, now and then.
    Automatic,
}

/// Offsets behind what was read.
type Offsets = BTreeMap<TopicPartition, CommittedOffset>;

impl Wanted {
    fn new(chosen: &Chosen) -> Result<Self, Failure> {
        let most: i64 = number::<i32>(&COMMAND, chosen, "max-messages")?.unwrap_or(-1).into();
        let close = number::<i32>(&COMMAND, chosen, "close-timeout")?.unwrap_or(30_000);
        let automatic = chosen.has("enable-autocommit");
        Ok(Self {
            topic: chosen.value("topic").unwrap_or_default().to_owned(),
            most: u64::try_from(most).unwrap_or(u64::MAX),
            verbose: chosen.has("verbose"),
            commits: if automatic { Commits::Automatic } else { Commits::EachPoll },
            close_timeout: Duration::from_millis(u64::try_from(close).unwrap_or(0)),
        })
    }

    async fn run(self, properties: &Properties, out: Out<'_>) -> Result<(), Failure> {
        let mut signals = Signals::catch()?;
        let mut member = Member::open(properties, Hooks::Owner).await?;
        line(out, "startup_complete", &[])?;
        member.subscribe_to(&self.topic);
        let mut ended = tokio::select! {
            ended = self.read(&mut member, out) => ended,
            signal = signals.caught() => Err(signal),
        };
        if let Err(Failure::Signal(_)) = &ended {
            line(out, "shutdown_requested", &[])?;
        }
        let mut told = Ok(());
        member
            .leave(self.close_timeout, |change| {
                let said = rebalanced(out, &change);
                if told.is_ok() {
                    told = said;
                }
            })
            .await;
        told?;
        if let Err(Failure::Error(why)) = &ended {
            tracing::error!("Error during processing, terminating consumer process: {why}");
            ended = Ok(());
        }
        line(out, "shutdown_complete", &[])?;
        // Java's hook asks for the end even where it has come by itself.
        if !matches!(ended, Err(Failure::Signal(_))) {
            line(out, "shutdown_requested", &[])?;
        }
        ended
    }

    async fn read(&self, member: &mut Member, out: Out<'_>) -> Result<(), Failure> {
        let mut left = self.most;
        while left > 0 {
            let seen = member.next(None).await.map_err(|error| Failure::Error(error.to_string()))?;
            match seen {
                Seen::Rebalance(change) => rebalanced(out, &change)?,
                Seen::Records(polled) => {
                    let offsets = self.received(&polled, &mut left, out)?;
                    if self.commits == Commits::EachPoll {
                        let result = member.commit(offsets.clone()).await;
                        committed(out, &offsets, &result)?;
                    }
                }
                Seen::Nothing => {}
            }
        }
        Ok(())
    }

    /// Tells of records, up to as many as are wanted; the offsets behind them.
    fn received(&self, polled: &[Polled], left: &mut u64, out: Out<'_>) -> Result<Offsets, Failure> {
        let mut offsets = Offsets::new();
        let mut summaries = Vec::new();
        let total: usize = polled.iter().map(|polled| polled.records.len()).sum();
        for Polled { partition, records, .. } in polled {
            let most = usize::try_from(*left).unwrap_or(usize::MAX).min(records.len());
            let (Some(first), Some(last)) = (records[..most].first(), records[..most].last()) else {
                continue;
            };
            let place = place(partition);
            if self.verbose {
                for record in &records[..most] {
                    let text = |bytes: Option<&[u8]>| match bytes {
                        Some(bytes) => Value::from(java::text(bytes)).to_string(),
                        None => "null".to_owned(),
                    };
                    let fields = [
                        ("key", text(record.key.as_deref())),
                        ("value", text(record.value.as_deref())),
                        ("topic", Value::from(&*partition.topic).to_string()),
                        ("partition", partition.partition.to_string()),
                        ("offset", record.offset.0.to_string()),
                    ];
                    line(out, "record_data", &fields)?;
                }
            }
            summaries.push(format!(
                "{{{place},\"count\":{most},\"minOffset\":{},\"maxOffset\":{}}}",
                first.offset.0, last.offset.0
            ));
            let next = CommittedOffset { offset: last.offset.0 + 1, ..CommittedOffset::default() };
            offsets.insert(partition.clone(), next);
            *left -= most as u64;
        }
        let fields = [("count", total.to_string()), ("partitions", format!("[{}]", summaries.join(",")))];
        line(out, "records_consumed", &fields)?;
        Ok(offsets)
    }
}

fn place(partition: &TopicPartition) -> String {
    format!("\"topic\":{},\"partition\":{}", Value::from(&*partition.topic), partition.partition)
}

fn rebalanced(out: Out<'_>, change: &Rebalance) -> Result<(), Failure> {
    let (name, partitions) = match change {
        Rebalance::Assigned(partitions) => ("partitions_assigned", partitions),
        Rebalance::Revoked(partitions) | Rebalance::Lost(partitions) => ("partitions_revoked", partitions),
    };
    let places: Vec<String> =
        partitions.iter().map(|partition| format!("{{{}}}", place(partition))).collect();
    line(out, name, &[("partitions", format!("[{}]", places.join(",")))])
}

fn committed(out: Out<'_>, offsets: &Offsets, result: &Result<(), ClientError>) -> Result<(), Failure> {
    let places: Vec<String> = offsets
        .iter()
        .map(|(partition, committed)| format!("{{{},\"offset\":{}}}", place(partition), committed.offset))
        .collect();
    let mut fields = vec![("offsets", format!("[{}]", places.join(",")))];
    if let Err(error) = result {
        fields.push(("error", Value::from(error.to_string()).to_string()));
    }
    fields.push(("success", result.is_ok().to_string()));
    line(out, "offsets_committed", &fields)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use ottla_protocol::Offset;
    use ottla_protocol::batch::{Record, TimestampType};

    use super::*;

    fn parsed(words: &[&str]) -> Chosen {
        let given = ["--topic", "t", "--bootstrap-server", "h:1", "--group-id", "g"];
        let words: Vec<String> = given.iter().chain(words).map(|word| (*word).to_owned()).collect();
        COMMAND.parse_alone(&words).unwrap()
    }

    fn events(out: Vec<u8>) -> Vec<String> {
        let text = String::from_utf8(out).unwrap();
        assert!(text.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{text}");
        text.lines().map(|line| line.split_once(",\"name\":").unwrap().1.to_owned()).collect()
    }

    #[test]
    fn what_was_read_is_summed_up_and_no_more_than_was_wanted() {
        let wanted = Wanted::new(&parsed(&["--max-messages", "3", "--verbose"])).unwrap();
        let record = |offset| Record {
            offset: Offset(offset),
            timestamp: 0,
            key: None,
            value: Some(Bytes::from_static(b"v")),
            headers: Vec::new(),
        };
        let polled = |partition, offsets: &[i64]| Polled {
            partition: TopicPartition::new("t", partition),
            records: offsets.iter().copied().map(record).collect(),
            stamped_by: TimestampType::CreateTime,
        };
        let mut out = Vec::new();
        let mut left = wanted.most;
        let offsets =
            wanted.received(&[polled(0, &[4, 5]), polled(1, &[7, 8])], &mut left, &mut out).unwrap();
        assert_eq!(left, 0);
        let next: Vec<i64> = offsets.values().map(|committed| committed.offset).collect();
        assert_eq!(next, [6, 8]);
        assert_eq!(
            events(out),
            [
                r#""record_data","key":null,"value":"v","topic":"t","partition":0,"offset":4}"#,
                r#""record_data","key":null,"value":"v","topic":"t","partition":0,"offset":5}"#,
                r#""record_data","key":null,"value":"v","topic":"t","partition":1,"offset":7}"#,
                r#""records_consumed","count":4,"partitions":[{"topic":"t","partition":0,"count":2,"minOffset":4,"maxOffset":5},{"topic":"t","partition":1,"count":1,"minOffset":7,"maxOffset":7}]}"#,
            ]
        );
    }

    #[test]
    fn rebalances_and_commits_are_told() {
        let mut out = Vec::new();
        let partition = TopicPartition::new("t", 0);
        rebalanced(&mut out, &Rebalance::Assigned(vec![partition.clone()])).unwrap();
        rebalanced(&mut out, &Rebalance::Lost(Vec::new())).unwrap();
        let offsets =
            Offsets::from([(partition, CommittedOffset { offset: 3, ..CommittedOffset::default() })]);
        committed(&mut out, &offsets, &Ok(())).unwrap();
        committed(&mut out, &offsets, &Err(ClientError::Closed)).unwrap();
        assert_eq!(
            events(out),
            [
                r#""partitions_assigned","partitions":[{"topic":"t","partition":0}]}"#,
                r#""partitions_revoked","partitions":[]}"#,
                r#""offsets_committed","offsets":[{"topic":"t","partition":0,"offset":3}],"success":true}"#,
                r#""offsets_committed","offsets":[{"topic":"t","partition":0,"offset":3}],"error":"The client is closed","success":false}"#,
            ]
        );
    }

    #[test]
    fn options_become_properties() {
        let made = |words: &[&str]| properties(&parsed(words), &mut Vec::new()).unwrap();
        let classic = made(&["--session-timeout", "6000"]);
        assert_eq!(classic.get("partition.assignment.strategy"), Some(RANGE));
        assert_eq!(classic.get("session.timeout.ms"), Some("6000"));
        assert_eq!(classic.get("enable.auto.commit"), Some("false"));
        let consumer = made(&["--group-protocol", "CONSUMER", "--group-remote-assignor", "range"]);
        assert_eq!(consumer.get("group.protocol"), Some("consumer"));
        assert_eq!(consumer.get("group.remote.assignor"), Some("range"));
        assert_eq!(consumer.get("partition.assignment.strategy"), None);
    }
}
