//! kafka-producer-perf-test: sends records as fast as it may, and tells how fast that was.

mod payload;
mod statistics;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use ottla_client::Properties;
use ottla_client::net::Producer;
use ottla_client::producer::{BatchId, Delivered, NewRecord, TransactionError};

use super::failure::Failure;
use super::options::Usage;
use super::subcommands::{Chosen, Command, Kind, Opt};
use super::throttle::Throttle;
use super::verifiable_producer::{number, told_as_error};
use super::{Out, block_on, connect};
use payload::{Keys, Payloads, Random};
use statistics::{Statistics, metrics};
pub use statistics::{fixed, metrics_table};

/// The tool has no options of the other kind.
pub static USAGE: Usage = Usage { about: COMMAND.about, flags: &[] };

static COMMAND: Command = Command {
    name: "kafka-producer-perf-test",
    about: "Measures how fast records are sent; in transactions, where there is an id or a duration for them.",
    options: &[
        Opt::long("bootstrap-server", Kind::Value, "Where the cluster is."),
        Opt::long("topic", Kind::Required, "The topic that records go to."),
        Opt::long("num-records", Kind::Required, "How many records are sent."),
        Opt::long("record-size", Kind::ExclusiveValue, "Bytes of a record's value."),
        Opt::long(
            "payload-file",
            Kind::ExclusiveValue,
            "A file with values, of which one is taken at random.",
        ),
        Opt::long("payload-monotonic", Kind::ExclusiveSwitch, "Values are growing numbers."),
        Opt::long("payload-delimiter", Kind::Value, "What stands between the values of the file (newline)."),
        Opt::long(
            "throughput",
            Kind::Required,
            "About how many records a second; -1 for as many as possible.",
        ),
        Opt::long("producer-props", Kind::Words, "Old name of --command-property."),
        Opt::long("command-property", Kind::Words, "A producer's properties, as key=value."),
        Opt::long("producer.config", Kind::Value, "Old name of --command-config."),
        Opt::long("command-config", Kind::Value, "A file with a producer's properties."),
        Opt::long("print-metrics", Kind::Switch, "Print the producer's metrics at the end."),
        Opt::long("transactional-id", Kind::Value, "The transactional id; without one, a new one each time."),
        Opt::long("transaction-duration-ms", Kind::Value, "A transaction is committed after so long (3000)."),
        Opt::long("warmup-records", Kind::Value, "How many records do not count for the second summary (0)."),
        Opt::long("reporting-interval", Kind::Value, "How often progress is told, in ms (5000)."),
        Opt::long("record-key-range", Kind::Value, "Keys are numbers below this one."),
        Opt::long("key-distribution", Kind::Value, "none, range (one after the other) or random."),
        Opt::long("random-seed", Kind::Value, "Where the random numbers begin (0)."),
    ],
};

/// How long a transaction is open, where only its id is given.
const TRANSACTION_DURATION_MS: i64 = 3000;

/// What is sent has an end of its own (`delivery.timeout.ms`), so closing need not have an earlier one.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(u32::MAX as u64);

/// Runs the tool.
pub fn run(words: &[String], out: Out<'_>) -> Result<(), Failure> {
    if words.is_empty() {
        return COMMAND.parse_alone(&["--help".to_owned()]).map(drop);
    }
    let chosen = COMMAND.parse_alone(words).map_err(told_as_error)?;
    let test = Test::new(&chosen, out)?;
    block_on(test.run(out))
}

/// What is to be sent, and how it is told.
struct Test {
    topic: String,
    records: u64,
    warmup: u64,
    throughput: f64,
    payloads: Payloads,
    keys: Keys,
    seed: u64,
    interval: Duration,
    metrics: bool,
    /// How long transactions are open, where there are any.
    transactions: Option<Duration>,
    properties: Properties,
}

impl Test {
    fn new(chosen: &Chosen, out: Out<'_>) -> Result<Self, Failure> {
        let text = |name: &str| chosen.value(name);
        let integer = |name: &str| number::<i64>(&COMMAND, chosen, name);
        let positive = |name: &str| match integer(name)? {
            Some(value) if value <= 0 => Err(refused(format!("--{name} should be greater than zero."))),
            value => Ok(value.and_then(|value| u64::try_from(value).ok())),
        };
        let records = positive("num-records")?.unwrap_or_default();
        let warmup = u64::try_from(integer("warmup-records")?.unwrap_or(0)).unwrap_or(0);
        if warmup >= records {
            return Err(refused(
                "The value for --warmup-records must be strictly fewer than the number of records in the test, \
                 --num-records."
                    .to_owned(),
            ));
        }
        let size = positive("record-size")?;
        if !["record-size", "payload-file", "payload-monotonic"].iter().any(|name| chosen.has(name)) {
            return Err(refused(
                "one of the arguments --record-size --payload-file --payload-monotonic is required"
                    .to_owned(),
            ));
        }
        check_properties(chosen)?;
        let duration = positive("transaction-duration-ms")?;
        let interval = positive("reporting-interval")?.unwrap_or(5000);
        let keys = Keys::new(text("key-distribution"), positive("record-key-range")?).map_err(refused)?;
        let throughput = number::<f64>(&COMMAND, chosen, "throughput")?.unwrap_or(-1.0);
        let seed = integer("random-seed")?.unwrap_or(0).cast_unsigned();
        let payloads = match (size, text("payload-file")) {
            (Some(size), _) => Payloads::Random(usize::try_from(size).unwrap_or(usize::MAX)),
            (None, Some(path)) => Payloads::read(path, text("payload-delimiter").unwrap_or("\\n"), out)?,
            (None, None) => Payloads::Growing,
        };
        let mut properties = given_properties(chosen, out)?;
        let transactional = duration.is_some() || text("transactional-id").is_some();
        let transactional = transactional || properties.get("transactional.id").is_some();
        if transactional {
            let own = text("transactional-id").map(str::to_owned);
            let id = own.or_else(|| properties.get("transactional.id").map(str::to_owned));
            properties.set("transactional.id", id.unwrap_or_else(new_id));
        }
        let duration_ms = duration.unwrap_or(TRANSACTION_DURATION_MS.unsigned_abs());
        Ok(Self {
            topic: text("topic").unwrap_or_default().to_owned(),
            records,
            warmup,
            throughput,
            payloads,
            keys,
            seed,
            interval: Duration::from_millis(interval),
            metrics: chosen.has("print-metrics"),
            transactions: transactional.then(|| Duration::from_millis(duration_ms)),
            properties,
        })
    }

    async fn run(mut self, out: Out<'_>) -> Result<(), Failure> {
        let ended: Arc<Mutex<Vec<Ended>>> = Arc::default();
        let sink = ended.clone();
        let observer = Box::new(move |delivered: &Delivered| {
            sink.lock().expect("nobody fails with the lock").push(Ended::new(delivered));
        });
        let producer = Producer::start_observed(&self.properties, Some(observer)).await?;
        if self.transactions.is_some() {
            producer.init_transactions().await.map_err(transaction)?;
        }
        if self.warmup > 0 {
            writeln!(
                out,
                "Warmup first {} records. Steady state results will print after the complete test summary.",
                self.warmup
            )?;
        }
        let mut tally = Tally::new(self.records, self.interval);
        self.send_all(&producer, &ended, &mut tally, out).await?;
        producer.flush().await;
        producer.close(CLOSE_TIMEOUT).await;
        tally.take(&ended, out)?;
        write!(out, "{}", tally.all.total())?;
        if let Some(steady) = &mut tally.steady {
            write!(out, "{}", steady.total())?;
        }
        if self.metrics {
            let id = self.properties.get("client.id").unwrap_or_default();
            write!(out, "{}", metrics(id, producer.counters()))?;
        }
        Ok(())
    }

    async fn send_all(
        &mut self,
        producer: &Producer,
        ended: &Mutex<Vec<Ended>>,
        tally: &mut Tally,
        out: Out<'_>,
    ) -> Result<(), Failure> {
        let mut throttle = Throttle::start(self.throughput);
        let mut random = Random::new(self.seed);
        let mut value = Vec::new();
        let mut opened: Option<Instant> = None;
        for at in 0..self.records {
            self.payloads.next(at, &mut random, &mut value);
            if self.transactions.is_some() && opened.is_none() {
                producer.begin_transaction().map_err(transaction)?;
                opened = Some(Instant::now());
            }
            let key = self.keys.next(at, &mut random);
            let record = NewRecord {
                topic: &self.topic,
                key: key.as_deref().map(str::as_bytes),
                value: Some(&value),
                ..NewRecord::default()
            };
            let started = Instant::now();
            if self.warmup > 0 && at == self.warmup {
                tally.begin_steady_state(self.records - self.warmup, self.interval);
            }
            let sent = producer.post(&record).await?;
            let steady = tally.steady.is_some();
            tally.under_way.entry(sent.batch).or_default().push(Sent { started, bytes: value.len(), steady });
            if let (Some(length), Some(since)) = (self.transactions, opened)
                && since.elapsed() >= length
            {
                producer.commit_transaction().await.map_err(transaction)?;
                opened = None;
            }
            tally.take(ended, out)?;
            throttle.wait(at).await;
        }
        if opened.is_some() {
            producer.commit_transaction().await.map_err(transaction)?;
        }
        Ok(())
    }
}

/// A record that is under way.
#[derive(Clone, Copy)]
struct Sent {
    started: Instant,
    bytes: usize,
    steady: bool,
}

/// A batch, or part of one, that has come to its end.
struct Ended {
    batch: BatchId,
    first: usize,
    count: usize,
    error: Option<String>,
    at: Instant,
}

impl Ended {
    fn new(delivered: &Delivered) -> Self {
        Self {
            batch: delivered.batch,
            first: usize::try_from(delivered.first_index).unwrap_or(0),
            count: usize::try_from(delivered.count).unwrap_or(0),
            error: delivered.outcome.as_ref().err().map(|lost| lost.error.to_string()),
            at: Instant::now(),
        }
    }
}

/// What is known of the records so far.
struct Tally {
    under_way: BTreeMap<BatchId, Vec<Sent>>,
    all: Statistics,
    steady: Option<Statistics>,
}

impl Tally {
    fn new(records: u64, interval: Duration) -> Self {
        Self { under_way: BTreeMap::new(), all: Statistics::new(records, interval, ""), steady: None }
    }

    fn begin_steady_state(&mut self, records: u64, interval: Duration) {
        self.steady = Some(Statistics::new(records, interval, " steady state"));
        self.all.silence();
    }

    /// Counts what has ended since the last time.
    fn take(&mut self, ended: &Mutex<Vec<Ended>>, out: Out<'_>) -> Result<(), Failure> {
        let batches = std::mem::take(&mut *ended.lock().expect("nobody fails with the lock"));
        for batch in batches {
            let Some(sent) = self.under_way.get(&batch.batch) else { continue };
            let last = batch.first + batch.count;
            let over = last >= sent.len();
            if let Some(error) = batch.error {
                eprintln!("{} record(s) not sent: {error}", batch.count);
            } else {
                for Sent { started, bytes, steady } in sent.iter().take(last).skip(batch.first).copied() {
                    let latency = batch.at.saturating_duration_since(started);
                    if let Some(line) = self.all.record(latency, bytes, batch.at) {
                        out.write_all(line.as_bytes())?;
                    }
                    let line = self.steady.as_mut().filter(|_| steady);
                    if let Some(line) =
                        line.and_then(|statistics| statistics.record(latency, bytes, batch.at))
                    {
                        out.write_all(line.as_bytes())?;
                    }
                }
                out.flush()?;
            }
            if over {
                self.under_way.remove(&batch.batch);
            }
        }
        Ok(())
    }
}

fn transaction(error: TransactionError) -> Failure {
    Failure::Error(error.to_string())
}

fn refused(why: String) -> Failure {
    Failure::Error(format!("{}: error: {why}", COMMAND.name))
}

fn new_id() -> String {
    let mut bytes = [0; 16];
    // Without randomness two tests at once would only fence each other.
    let _ = getrandom::fill(&mut bytes);
    format!("performance-producer-{}", ottla_protocol::Uuid(bytes))
}

fn check_properties(chosen: &Chosen) -> Result<(), Failure> {
    let sources =
        ["bootstrap-server", "command-property", "producer-props", "producer.config", "command-config"];
    if !sources.iter().any(|name| chosen.has(name)) {
        return Err(refused(
            "At least one of --bootstrap-server, --command-property, --producer-props, --producer.config or \
             --command-config must be specified."
                .to_owned(),
        ));
    }
    for (new, old) in [("command-property", "producer-props"), ("command-config", "producer.config")] {
        if chosen.has(new) && chosen.has(old) {
            return Err(refused(format!("--{new} and --{old} cannot be specified together.")));
        }
    }
    Ok(())
}

fn given_properties(chosen: &Chosen, out: Out<'_>) -> Result<Properties, Failure> {
    for (old, new) in [("producer-props", "command-property"), ("producer.config", "command-config")] {
        if chosen.has(old) {
            writeln!(
                out,
                "Option --{old} has been deprecated and will be removed in a future version. Use --{new} instead."
            )?;
        }
    }
    let mut properties = match chosen.value("command-config").or(chosen.value("producer.config")) {
        Some(path) => connect::load(path)?,
        None => Properties::default(),
    };
    for word in chosen.values("command-property").into_iter().chain(chosen.values("producer-props")) {
        match word.split_once('=') {
            Some((key, value)) if !value.is_empty() && !value.contains('=') => properties.set(key, value),
            _ => return Err(Failure::Error(format!("Invalid property: {word}"))),
        }
    }
    if let Some(servers) = chosen.value("bootstrap-server") {
        properties.set("bootstrap.servers", servers);
    }
    properties.set_default("client.id", "perf-producer-client");
    Ok(properties)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn test(words: &[&str]) -> Result<Test, String> {
        let given =
            ["--topic", "t", "--num-records", "10", "--throughput", "-1", "--bootstrap-server", "h:1"];
        let words: Vec<String> = given.iter().chain(words).map(|word| (*word).to_owned()).collect();
        let chosen = COMMAND.parse_alone(&words).map_err(|failure| failure.message().to_owned())?;
        Test::new(&chosen, &mut Vec::new()).map_err(|failure| failure.message().to_owned())
    }

    #[test]
    fn options_are_checked_before_anything_is_sent() {
        let why = |words: &[&str]| test(words).err().unwrap().rsplit(": error: ").next().unwrap().to_owned();
        assert_eq!(why(&["--record-size", "0"]), "--record-size should be greater than zero.");
        assert!(why(&["--record-size", "1", "--warmup-records", "10"]).contains("must be strictly fewer"));
        assert!(why(&["--record-size", "1", "--payload-monotonic"]).contains("not allowed with argument"));
        assert!(why(&[]).contains("--record-size --payload-file --payload-monotonic is required"));
        assert_eq!(
            why(&["--record-size", "1", "--producer-props", "a=b", "--command-property", "a=b"]),
            "--command-property and --producer-props cannot be specified together."
        );
        assert_eq!(
            why(&["--record-size", "1", "--key-distribution", "range"]),
            "--record-key-range is required when --key-distribution is 'range' or 'random'."
        );
        assert_eq!(why(&["--record-size", "1", "--command-property", "a"]), "Invalid property: a");
    }

    #[test]
    fn transactions_have_an_id_and_a_length() {
        let plain = test(&["--record-size", "1"]).unwrap();
        assert_eq!((plain.transactions, plain.properties.get("transactional.id")), (None, None));
        let timed = test(&["--record-size", "1", "--transaction-duration-ms", "7"]).unwrap();
        assert_eq!(timed.transactions, Some(Duration::from_millis(7)));
        assert!(timed.properties.get("transactional.id").unwrap().starts_with("performance-producer-"));
        let named =
            test(&["--record-size", "1", "--command-property", "transactional.id=x", "acks=all"]).unwrap();
        assert_eq!(named.transactions, Some(Duration::from_secs(3)));
        assert_eq!(named.properties.get("transactional.id"), Some("x"));
    }
}
