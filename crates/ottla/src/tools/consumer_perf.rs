//! kafka-consumer-perf-test: reads records as fast as they come, and tells how fast that was.

use std::collections::BTreeSet;
use std::time::{Instant, SystemTime, UNIX_EPOCH};

use ottla_client::Properties;
use ottla_client::consumer::{Hooks, Matcher, Rebalance, Subscription, TopicPartition};
use regex::Regex;

use super::failure::Failure;
use super::member::{CLOSE_TIMEOUT, Member, Seen};
use super::options::{Flag, Options, Usage};
use super::producer_perf::fixed;
use super::{Out, block_on, connect, moment};

/// What the tool understands.
pub static USAGE: Usage = Usage {
    about: "This tool is used to verify the consumer performance.",
    flags: &[
        Flag::value("bootstrap-server", "String: server to connect to", "REQUIRED: where the cluster is."),
        Flag::value("topic", "String: topic", "The topic to read."),
        Flag::value("include", "String: Java regex (String)", "A regular expression for topics to read."),
        Flag::value(
            "group",
            "String: gid",
            "The group to read as a member of; without it, a new one each time.",
        ),
        Flag::value("fetch-size", "Integer: size", "Bytes that a partition may answer with.").or("1048576"),
        Flag::value("command-property", "String: prop1=val1", "A consumer's property, as key=value."),
        Flag::switch("from-latest", "Where the group has no offset yet, begin behind the last record."),
        Flag::value("socket-buffer-size", "Integer: size", "receive.buffer.bytes.").or("2097152"),
        Flag::value("consumer.config", "String: config file", "Old name of --command-config."),
        Flag::value("command-config", "String: config file", "A file with a consumer's properties."),
        Flag::switch("print-metrics", "Print the consumer's metrics at the end."),
        Flag::switch("show-detailed-stats", "Tell how it goes at each reporting interval."),
        Flag::optional(
            "timeout",
            "Long: milliseconds",
            "The longest time between two records, in ms (10000).",
        ),
        Flag::value("messages", "Long: count", "Old name of --num-records."),
        Flag::value("num-records", "Long: count", "REQUIRED: how many records are read."),
        Flag::value("reporting-interval", "Long: interval_ms", "How often it is told how it goes, in ms.")
            .or("5000"),
        Flag::value(
            "date-format",
            "String: date format",
            "How times are written: y, M, d, H, m, s and S, as often as there are digits; in UTC.",
        )
        .or("yyyy-MM-dd HH:mm:ss:SSS"),
        Flag::switch("hide-header", "Leave the first line out."),
    ],
};

/// How long a look for records lasts, in ms.
const LOOK_MS: i64 = 100;

const TIMEOUT_MS: i64 = 10_000;

const MB: f64 = 1024.0 * 1024.0;

/// Runs the tool.
pub fn run(words: &[String], out: Out<'_>) -> Result<(), Failure> {
    let options = Options::parse(&USAGE, words).map_err(|error| Failure::Usage(error.to_string()))?;
    let options = super::help_or_version(options)?;
    let test = Test::new(&options)?;
    for (old, new) in [("messages", "num-records"), ("consumer.config", "command-config")] {
        if options.has(old) {
            writeln!(out, "Warning: --{old} is deprecated. Use --{new} instead.")?;
        }
    }
    let properties = properties(&options)?;
    block_on(test.run(&properties, out))
}

fn properties(options: &Options) -> Result<Properties, Failure> {
    let mut properties = Properties::default();
    for name in ["consumer.config", "command-config"] {
        properties.0.extend(connect::load_option(options, name)?.0);
    }
    properties.0.extend(connect::pairs(&options.values("command-property")).0);
    let text = |name: &str| options.value(name).map(Option::unwrap_or_default);
    properties.set("bootstrap.servers", text("bootstrap-server")?);
    let group = options.value("group")?;
    properties.set("group.id", group.unwrap_or_else(|| format!("perf-consumer-{}", now_ms() % 100_000)));
    properties.set("receive.buffer.bytes", text("socket-buffer-size")?);
    properties.set("max.partition.fetch.bytes", text("fetch-size")?);
    properties.set("auto.offset.reset", if options.has("from-latest") { "latest" } else { "earliest" });
    properties.set("check.crcs", "false");
    properties.set_default("client.id", "perf-consumer-client");
    Ok(properties)
}

/// Which topics are read.
#[derive(Debug)]
enum Topics {
    Named(String),
    Matching(Regex),
}

/// What is to be read, and how it is told.
#[derive(Debug)]
struct Test {
    topics: Topics,
    records: u64,
    timeout_ms: i64,
    interval_ms: i64,
    date_format: String,
    header: bool,
    detailed: bool,
    metrics: bool,
}

impl Test {
    fn new(options: &Options) -> Result<Self, Failure> {
        let one_of = |names: [&str; 2]| match options.count(&names) {
            1 => Ok(()),
            _ => Err(Failure::Usage(format!(
                "Exactly one of the following arguments is required: [{}], [{}]",
                names[0], names[1]
            ))),
        };
        options.require(&["bootstrap-server"])?;
        one_of(["topic", "include"])?;
        one_of(["messages", "num-records"])?;
        options.forbid("consumer.config", &["command-config"])?;
        let topics = match options.value("topic")? {
            Some(topic) => Topics::Named(topic),
            None => {
                let pattern = options.value("include")?.unwrap_or_default();
                let whole = Regex::new(&format!("^(?:{pattern})$"));
                Topics::Matching(
                    whole.map_err(|_| Failure::Error(format!("{pattern} is an invalid regex.")))?,
                )
            }
        };
        let interval_ms = options.number("reporting-interval")?.unwrap_or_default();
        if interval_ms <= 0 {
            return Err(Failure::Error("Reporting interval must be greater than 0.".to_owned()));
        }
        let records = options.number("num-records")?.or(options.number("messages")?);
        Ok(Self {
            topics,
            records: records.unwrap_or_default(),
            timeout_ms: options.number("timeout")?.unwrap_or(TIMEOUT_MS),
            interval_ms,
            date_format: options.value("date-format")?.unwrap_or_default(),
            header: !options.has("hide-header"),
            detailed: options.has("show-detailed-stats"),
            metrics: options.has("print-metrics"),
        })
    }

    async fn run(self, properties: &Properties, out: Out<'_>) -> Result<(), Failure> {
        if self.header {
            let first = if self.detailed { "time, threadId" } else { "start.time, end.time" };
            writeln!(
                out,
                "{first}, data.consumed.in.MB, MB.sec, data.consumed.in.nMsg, nMsg.sec, rebalance.time.ms, fetch.time.ms, \
                 fetch.MB.sec, fetch.nMsg.sec"
            )?;
            out.flush()?;
        }
        let started_ms = now_ms();
        let started = Instant::now();
        let mut member = Member::open(properties, Hooks::Owner).await?;
        match &self.topics {
            Topics::Named(topic) => member.subscribe_to(topic),
            Topics::Matching(pattern) => {
                let pattern = pattern.clone();
                member.subscribe(Subscription::Matching(Matcher::new(move |topic| pattern.is_match(topic))));
            }
        }
        let mut progress = Progress::new(started);
        self.read(&mut member, &mut progress, out).await?;
        let elapsed_ms = i64::try_from(started.elapsed().as_millis()).unwrap_or(i64::MAX);
        if !self.detailed {
            let [start, end] = [started_ms, now_ms()].map(|ms| date(&self.date_format, ms));
            writeln!(out, "{start}, {end}, {}", progress.total(elapsed_ms))?;
        }
        if self.metrics {
            let id = properties.get("client.id").unwrap_or_default();
            out.write_all(metrics(id, &member).as_bytes())?;
        }
        member.leave(CLOSE_TIMEOUT, drop).await;
        Ok(())
    }

    async fn read(&self, member: &mut Member, progress: &mut Progress, out: Out<'_>) -> Result<(), Failure> {
        let mut last_seen = Instant::now();
        while progress.records < self.records {
            let until = member.driver.now().after(moment::millis(LOOK_MS));
            let seen = member.next(Some(until)).await.map_err(|error| Failure::Error(error.to_string()))?;
            let now = Instant::now();
            match seen {
                Seen::Rebalance(change) => progress.rebalanced(&change, now),
                Seen::Nothing => {}
                Seen::Records(polled) => {
                    last_seen = now;
                    for record in polled.iter().flat_map(|polled| &polled.records) {
                        let len =
                            |part: &Option<bytes::Bytes>| part.as_ref().map_or(0, |part| part.len() as u64);
                        progress.records += 1;
                        progress.bytes += len(&record.key) + len(&record.value);
                    }
                    if ms_between(progress.reported, now) >= self.interval_ms {
                        let row = progress.report(now);
                        if self.detailed {
                            writeln!(out, "{}, 0, {row}", date(&self.date_format, now_ms()))?;
                            out.flush()?;
                        }
                    }
                }
            }
            if ms_between(last_seen, now) > self.timeout_ms {
                writeln!(
                    out,
                    "WARNING: Exiting before consuming the expected number of records: timeout ({} ms) exceeded. You can \
                     use the --timeout option to increase the timeout.",
                    self.timeout_ms
                )?;
                return Ok(());
            }
        }
        Ok(())
    }
}

/// How far it is, and what part of the time went into joining.
#[derive(Debug)]
struct Progress {
    records: u64,
    bytes: u64,
    assigned: BTreeSet<TopicPartition>,
    join_started: Instant,
    joining_ms: i64,
    joining_ms_since: i64,
    reported: Instant,
    records_then: u64,
    bytes_then: u64,
}

impl Progress {
    fn new(now: Instant) -> Self {
        Self {
            records: 0,
            bytes: 0,
            assigned: BTreeSet::new(),
            join_started: now,
            joining_ms: 0,
            joining_ms_since: 0,
            reported: now,
            records_then: 0,
            bytes_then: 0,
        }
    }

    fn rebalanced(&mut self, change: &Rebalance, now: Instant) {
        match change {
            Rebalance::Assigned(partitions) => {
                if self.assigned.is_empty() {
                    let ms = ms_between(self.join_started, now);
                    self.joining_ms += ms;
                    self.joining_ms_since += ms;
                }
                self.assigned.extend(partitions.iter().cloned());
            }
            Rebalance::Revoked(partitions) | Rebalance::Lost(partitions) => {
                self.assigned.retain(|partition| !partitions.contains(partition));
                if self.assigned.is_empty() {
                    self.join_started = now;
                }
            }
        }
    }

    /// The rest of a row of `--show-detailed-stats`; the next interval begins.
    fn report(&mut self, now: Instant) -> String {
        let elapsed_ms = ms_between(self.reported, now);
        let fetch_ms = elapsed_ms - self.joining_ms_since;
        let mb = (self.bytes - self.bytes_then) as f64 / MB;
        let records = (self.records - self.records_then) as f64;
        let rate = |amount: f64, ms: i64| if ms <= 0 { 0.0 } else { 1000.0 * amount / ms as f64 };
        let row = format!(
            "{}, {}, {}, {}, {}, {fetch_ms}, {}, {}",
            fixed(self.bytes as f64 / MB, 4),
            fixed(1000.0 * mb / elapsed_ms as f64, 4),
            self.records,
            fixed(1000.0 * records / elapsed_ms as f64, 4),
            self.joining_ms_since,
            fixed(rate(mb, fetch_ms), 4),
            fixed(rate(records, fetch_ms), 4)
        );
        self.joining_ms_since = 0;
        self.reported = now;
        self.records_then = self.records;
        self.bytes_then = self.bytes;
        row
    }

    /// The rest of the last row.
    fn total(&self, elapsed_ms: i64) -> String {
        let fetch_ms = elapsed_ms - self.joining_ms;
        let mb = self.bytes as f64 / MB;
        let records = self.records as f64;
        let rate = |amount: f64, ms: i64| fixed(amount / (ms as f64 / 1000.0), 4);
        format!(
            "{}, {}, {}, {}, {}, {fetch_ms}, {}, {}",
            fixed(mb, 4),
            rate(mb, elapsed_ms),
            self.records,
            rate(records, elapsed_ms),
            self.joining_ms,
            rate(mb, fetch_ms),
            rate(records, fetch_ms)
        )
    }
}

fn ms_between(from: Instant, to: Instant) -> i64 {
    i64::try_from(to.saturating_duration_since(from).as_millis()).unwrap_or(i64::MAX)
}

fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}

/// A moment by a pattern of letters: each run of one letter is a number of at least so many digits.
fn date(pattern: &str, ms: i64) -> String {
    let (year, month, day, of_day) = moment::civil(ms);
    let mut text = String::new();
    let mut rest = pattern.chars().peekable();
    while let Some(c) = rest.next() {
        let value = match c {
            'y' => year,
            'M' => month,
            'd' => day,
            'H' => of_day / 3_600_000,
            'm' => of_day / 60_000 % 60,
            's' => of_day / 1000 % 60,
            'S' => of_day % 1000,
            '\'' => continue,
            c => {
                text.push(c);
                continue;
            }
        };
        let mut width = 1;
        while rest.next_if_eq(&c).is_some() {
            width += 1;
        }
        let value = if c == 'y' && width == 2 { value % 100 } else { value };
        text.push_str(&format!("{value:0>width$}"));
    }
    text
}

/// What the consumer counted, under the names of Java's consumer.
fn metrics(client_id: &str, member: &Member) -> String {
    let counters = member.consumer.counters();
    let named = [
        ("bytes-consumed-total", counters.bytes),
        ("fetch-total", counters.fetches),
        ("records-consumed-total", counters.records),
    ];
    super::producer_perf::metrics_table("consumer-fetch-manager-metrics", client_id, &named)
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn dates_follow_their_pattern() {
        let ms = 1_709_210_096_007;
        assert_eq!(date("yyyy-MM-dd HH:mm:ss:SSS", ms), "2024-02-29 12:34:56:007");
        assert_eq!(date("yy/M/d'T'H", ms), "24/2/29T12");
    }

    #[test]
    fn options_are_checked_in_kafkas_words() {
        let why = |words: &[&str]| {
            let words: Vec<String> = words.iter().map(|word| (*word).to_owned()).collect();
            Test::new(&Options::parse(&USAGE, &words).unwrap()).unwrap_err().message().to_owned()
        };
        assert_eq!(why(&["--topic", "t"]), "Missing required argument \"[bootstrap-server]\"");
        assert_eq!(
            why(&["--bootstrap-server", "h:1"]),
            "Exactly one of the following arguments is required: [topic], [include]"
        );
        assert_eq!(
            why(&["--bootstrap-server", "h:1", "--topic", "t", "--messages", "1", "--num-records", "1"]),
            "Exactly one of the following arguments is required: [messages], [num-records]"
        );
    }

    #[test]
    fn joining_does_not_count_as_fetching() {
        let start = Instant::now();
        let ms = Duration::from_millis;
        let mut progress = Progress::new(start);
        let partitions = vec![TopicPartition::new("t", 0)];
        progress.rebalanced(&Rebalance::Assigned(partitions.clone()), start + ms(500));
        progress.records = 1000;
        progress.bytes = 1024 * 1024;
        assert_eq!(
            progress.report(start + ms(1500)),
            "1.0000, 0.6667, 1000, 666.6667, 500, 1000, 1.0000, 1000.0000"
        );
        progress.rebalanced(&Rebalance::Revoked(partitions.clone()), start + ms(2000));
        progress.rebalanced(&Rebalance::Assigned(partitions), start + ms(2500));
        assert_eq!(progress.total(3000), "1.0000, 0.3333, 1000, 333.3333, 1000, 2000, 0.5000, 500.0000");
    }
}
