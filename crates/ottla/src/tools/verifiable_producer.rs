//! kafka-verifiable-producer: growing numbers are sent, and what became of each is told as a line of JSON.

use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use ottla_client::net::{Delivery, Producer, Written};
use ottla_client::producer::NewRecord;
use ottla_client::{ClientError, Properties};
use serde_json::Value;
use tokio::sync::mpsc;

use super::failure::Failure;
use super::options::Usage;
use super::signals::Signals;
use super::subcommands::{Chosen, Command, Kind, Opt};
use super::throttle::Throttle;
use super::{Out, block_on, connect, java, thrown};

/// The tool has no options of the other kind.
pub static USAGE: Usage = Usage { about: COMMAND.about, flags: &[] };

static COMMAND: Command = Command {
    name: "verifiable-producer",
    about: "Sends growing numbers to a topic, and tells what became of each as a line of JSON.",
    options: &[
        Opt::long("topic", Kind::Required, "The topic that records go to."),
        Opt::long("bootstrap-server", Kind::Required, "Where the cluster is."),
        Opt::long(
            "max-messages",
            Kind::Value,
            "How many records are sent; -1 (the default) until it is stopped.",
        ),
        Opt::long(
            "throughput",
            Kind::Value,
            "About how many a second; -1 (the default) for as many as possible.",
        ),
        Opt::long("acks", Kind::Value, "0, 1 or -1 (the default)."),
        Opt::long("producer.config", Kind::Value, "Old name of --command-config."),
        Opt::long("message-create-time", Kind::Value, "The first record's time, in ms since 1970."),
        Opt::long("value-prefix", Kind::Value, "A number that is put before each value, with a dot."),
        Opt::long("repeating-keys", Kind::Value, "Keys from 0 up to this number, then from 0 again."),
        Opt::long("command-config", Kind::Value, "A file with a producer's properties."),
    ],
};

/// How many records may wait for their end to be told.
const UNTOLD_MAX: usize = 100_000;

/// What is sent has an end of its own (`delivery.timeout.ms`), so closing need not have an earlier one.
const CLOSE_TIMEOUT: Duration = Duration::from_secs(u32::MAX as u64);

/// Runs the tool.
pub fn run(words: &[String], out: Out<'_>) -> Result<(), Failure> {
    if words.is_empty() {
        return match COMMAND.parse_alone(&["--help".to_owned()]) {
            Err(failure) => Err(failure),
            Ok(_) => Ok(()),
        };
    }
    let chosen = COMMAND.parse_alone(words).map_err(told_as_error)?;
    let wanted = Wanted::new(&chosen)?;
    let properties = properties(&chosen, out)?;
    block_on(wanted.run(&properties, out))
}

/// Tools on this parser end with 1 also where help was asked for.
pub fn told_as_error(failure: Failure) -> Failure {
    match failure {
        Failure::Help(text) => Failure::Printed(text),
        other => other,
    }
}

/// A number among the options.
pub fn number<T: std::str::FromStr>(
    command: &Command,
    chosen: &Chosen,
    name: &str,
) -> Result<Option<T>, Failure> {
    let Some(text) = chosen.value(name) else { return Ok(None) };
    text.parse().map(Some).map_err(|_| {
        let kind = std::any::type_name::<T>();
        Failure::Error(format!(
            "{}: error: argument --{name}: could not convert '{text}' to {kind}",
            command.name
        ))
    })
}

fn properties(chosen: &Chosen, out: Out<'_>) -> Result<Properties, Failure> {
    let mut properties = Properties::default();
    properties.set("bootstrap.servers", chosen.value("bootstrap-server").unwrap_or_default());
    let acks = chosen.value("acks").unwrap_or("-1");
    if !matches!(acks, "0" | "1" | "-1") {
        return Err(Failure::Error(format!(
            "{}: error: argument --acks: invalid choice: '{acks}' (choose from {{0,1,-1}})",
            COMMAND.name
        )));
    }
    properties.set("acks", acks);
    // What fails is told, not tried again.
    properties.set("retries", "0");
    let old = chosen.value("producer.config");
    if old.is_some() && chosen.has("command-config") {
        let why = "Options --producer.config and --command-config are mutually exclusive.";
        return Err(Failure::Error(format!("{}: error: {why}", COMMAND.name)));
    }
    if old.is_some() {
        writeln!(
            out,
            "Option --producer.config has been deprecated and will be removed in a future version. Use --command-config \
             instead."
        )?;
    }
    if let Some(path) = old.or(chosen.value("command-config")) {
        properties.0.extend(connect::load(path)?.0);
    }
    Ok(properties)
}

/// What is to be sent.
#[derive(Clone, Debug)]
struct Wanted {
    topic: String,
    most: u64,
    throughput: i32,
    create_time: Option<i64>,
    prefix: Option<i32>,
    keys: Option<i32>,
}

/// A record on its way.
struct OnItsWay {
    key: Option<String>,
    value: String,
    delivery: Result<Delivery, ClientError>,
}

/// What came of it all.
#[derive(Clone, Copy, Debug, Default)]
struct Tally {
    sent: u64,
    acked: u64,
}

impl Wanted {
    fn new(chosen: &Chosen) -> Result<Self, Failure> {
        let most: i64 = number::<i32>(&COMMAND, chosen, "max-messages")?.unwrap_or(-1).into();
        Ok(Self {
            topic: chosen.value("topic").unwrap_or_default().to_owned(),
            most: u64::try_from(most).unwrap_or(u64::MAX),
            throughput: number(&COMMAND, chosen, "throughput")?.unwrap_or(-1),
            create_time: number(&COMMAND, chosen, "message-create-time")?.filter(|ms| *ms != -1),
            prefix: number(&COMMAND, chosen, "value-prefix")?,
            keys: number(&COMMAND, chosen, "repeating-keys")?,
        })
    }

    async fn run(self, properties: &Properties, out: Out<'_>) -> Result<(), Failure> {
        let mut signals = Signals::catch()?;
        let producer = Producer::start(properties).await?;
        let started = Instant::now();
        let mut tally = Tally::default();
        line(out, "startup_complete", &[])?;
        let (sender, untold) = mpsc::channel(UNTOLD_MAX);
        let sending = async {
            let mut sent = 0;
            let ended = tokio::select! {
                () = self.send_all(&producer, sender, &mut sent) => Ok(()),
                signal = signals.caught() => Err(signal),
            };
            producer.close(CLOSE_TIMEOUT).await;
            (ended, sent)
        };
        let ((ended, sent), told) = tokio::join!(sending, tell(&self.topic, untold, out, &mut tally));
        tally.sent = sent;
        told?;
        line(out, "shutdown_complete", &[])?;
        let ms = started.elapsed().as_millis() as f64;
        let average = java::double(1000.0 * (tally.acked as f64 / ms));
        let fields = [
            ("sent", tally.sent.to_string()),
            ("acked", tally.acked.to_string()),
            ("target_throughput", self.throughput.to_string()),
            ("avg_throughput", average),
        ];
        line(out, "tool_data", &fields)?;
        ended
    }

    async fn send_all(&self, producer: &Producer, told: mpsc::Sender<OnItsWay>, sent: &mut u64) {
        let started = now_ms();
        let mut throttle = Throttle::start(self.throughput.into());
        let mut time = self.create_time;
        let mut key_counter = 0;
        while *sent < self.most {
            let at = *sent;
            let key = self.keys.map(|keys| {
                let key = key_counter;
                key_counter = if key + 1 == keys { 0 } else { key + 1 };
                key.to_string()
            });
            let value = self.prefix.map_or_else(|| at.to_string(), |prefix| format!("{prefix}.{at}"));
            let record = NewRecord {
                topic: &self.topic,
                timestamp: time,
                key: key.as_deref().map(str::as_bytes),
                value: Some(value.as_bytes()),
                ..NewRecord::default()
            };
            *sent += 1;
            let delivery = producer.send(&record).await;
            time = time.map(|time| time.saturating_add(now_ms().saturating_sub(started)));
            if told.send(OnItsWay { key, value, delivery }).await.is_err() {
                return;
            }
            throttle.wait(at).await;
        }
    }
}

/// Tells the end of each record in the order in which they were sent.
async fn tell(
    topic: &str,
    mut records: mpsc::Receiver<OnItsWay>,
    out: Out<'_>,
    tally: &mut Tally,
) -> Result<(), Failure> {
    while let Some(OnItsWay { key, value, delivery }) = records.recv().await {
        let ended = match delivery {
            Ok(delivery) => delivery.await,
            Err(error) => Err(error),
        };
        tally.acked += u64::from(ended.is_ok());
        let key = key.map_or(Value::Null, Value::from).to_string();
        told(out, topic, [key, Value::from(value).to_string()], ended)?;
    }
    Ok(())
}

fn told(
    out: Out<'_>,
    topic: &str,
    [key, value]: [String; 2],
    ended: Result<Written, ClientError>,
) -> Result<(), Failure> {
    let topic = Value::from(topic).to_string();
    match ended {
        Ok(written) => {
            let fields = [
                ("key", key),
                ("value", value),
                ("topic", topic),
                ("partition", written.partition.to_string()),
                ("offset", written.offset.to_string()),
            ];
            line(out, "producer_send_success", &fields)
        }
        Err(error) => {
            let class = thrown::thrown(&error);
            let class = class.split(": ").next().unwrap_or_default();
            let fields = [
                ("key", key),
                ("value", value),
                ("topic", topic),
                ("exception", Value::from(format!("class {class}")).to_string()),
                ("message", Value::from(error.to_string()).to_string()),
            ];
            line(out, "producer_send_error", &fields)
        }
    }
}

/// Prints an event: its time, its name, then these fields, whose values are JSON already.
pub fn line(out: Out<'_>, name: &str, fields: &[(&str, String)]) -> Result<(), Failure> {
    let fields: String = fields.iter().map(|(name, value)| format!(",\"{name}\":{value}")).collect();
    writeln!(out, "{{\"timestamp\":{},\"name\":\"{name}\"{fields}}}", now_ms())?;
    Ok(out.flush()?)
}

fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn parsed(words: &[&str]) -> Chosen {
        let words: Vec<String> = words
            .iter()
            .chain(&["--topic", "t", "--bootstrap-server", "h:1"])
            .map(|w| (*w).to_owned())
            .collect();
        COMMAND.parse_alone(&words).unwrap()
    }

    #[test]
    fn events_are_lines_of_json_with_time_and_name_first() {
        let mut out = Vec::new();
        let written = Written { partition: 1, offset: 7, log_append_time: None };
        told(&mut out, "t", ["null".to_owned(), "\"0\"".to_owned()], Ok(written)).unwrap();
        told(
            &mut out,
            "t",
            ["\"k\"".to_owned(), "\"1\"".to_owned()],
            Err(ClientError::TimedOut("late".to_owned())),
        )
        .unwrap();
        let text = String::from_utf8(out).unwrap();
        let ends: Vec<&str> = text.lines().map(|line| line.split_once(",\"name\":").unwrap().1).collect();
        assert_eq!(
            ends,
            [
                r#""producer_send_success","key":null,"value":"0","topic":"t","partition":1,"offset":7}"#,
                r#""producer_send_error","key":"k","value":"1","topic":"t","exception":"class org.apache.kafka.common.errors.TimeoutException","message":"late"}"#,
            ]
        );
        assert!(text.lines().all(|line| serde_json::from_str::<Value>(line).is_ok()), "{text}");
    }

    #[test]
    fn options_become_properties() {
        let mut out = Vec::new();
        let made = properties(&parsed(&["--acks", "1"]), &mut out).unwrap();
        assert_eq!((made.get("acks"), made.get("retries")), (Some("1"), Some("0")));
        assert!(properties(&parsed(&["--acks", "2"]), &mut out).is_err());
        let wanted = Wanted::new(&parsed(&["--max-messages", "5", "--message-create-time", "-1"])).unwrap();
        assert_eq!((wanted.most, wanted.create_time, wanted.throughput), (5, None, -1));
        assert_eq!(Wanted::new(&parsed(&[])).unwrap().most, u64::MAX);
        assert!(Wanted::new(&parsed(&["--max-messages", "x"])).is_err());
    }
}
