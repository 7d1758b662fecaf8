//! A partition on a bench: commands in words, and what it answers and does, in lines.
//!
//! The log lies on a disk in memory; a flush ends only when told to, and time stands still until `wait`.
#![allow(dead_code, reason = "each test uses the part of the bench that it needs")]

use std::collections::{BTreeMap, VecDeque};
use std::fmt::Write as _;
use std::sync::Arc;

use ottla_log::disk::Crash;
use ottla_log::producers::Origin;
use ottla_log::{Cleanup, Disk, FirstBatch, Log, LogConfig, MemoryDisk, OpenHint, PendingFlush, Stop};
use ottla_partition::{
    Acks, Append, Input, Isolation, Lead, ListedOffset, Mark, OffsetSpec, Output, Partition, Question, Read,
    ReadRequest, Reply, Ticket, TopicSettings, TransactionProtocol, VerificationGuard, Verify,
};
use ottla_protocol::batch::{
    Attributes, BatchBuilder, BatchFields, BatchHeader, Batches, ControlType, RecordParts, RecordsIter,
    TimestampType, TransactionMarker, Validated,
};
use ottla_protocol::compression::{Codecs, Limit};
use ottla_protocol::{LeaderEpoch, NodeId, Now, Offset, PartitionId, ProducerEpoch, ProducerId, Uuid};

const DIR: &str = "/data/topic-0";
const SECOND_US: u64 = 1_000_000;

/// See the module.
pub struct Bench {
    /// Where the log lies.
    pub disk: MemoryDisk,
    /// What the topic is set to.
    pub settings: TopicSettings,
    /// The partition, while it is open.
    pub partition: Option<Partition>,
    /// The present moment.
    pub now: Now,
    flushes: VecDeque<PendingFlush>,
    names: BTreeMap<u64, String>,
    guards: BTreeMap<String, VerificationGuard>,
    tickets: u64,
}

/// What a command may say besides its first words: `key=value`, or a word alone.
struct Words<'a>(Vec<&'a str>);

impl<'a> Words<'a> {
    fn value(&self, key: &str) -> Option<&'a str> {
        self.0.iter().find_map(|word| word.strip_prefix(key)?.strip_prefix('='))
    }

    fn number<T: std::str::FromStr>(&self, key: &str) -> Option<T> {
        self.value(key).map(|text| text.parse().unwrap_or_else(|_| panic!("{key}={text} is no number")))
    }

    fn has(&self, word: &str) -> bool {
        self.0.contains(&word)
    }

    /// `producer=7/0`.
    fn producer(&self) -> Option<(ProducerId, ProducerEpoch)> {
        let (id, epoch) = self.value("producer")?.split_once('/').expect("producer=id/epoch");
        Some((ProducerId(id.parse().expect("an id")), ProducerEpoch(epoch.parse().expect("an epoch"))))
    }

    fn isolation(&self) -> Isolation {
        if self.has("committed") { Isolation::ReadCommitted } else { Isolation::ReadUncommitted }
    }

    fn protocol(&self) -> TransactionProtocol {
        TransactionProtocol::of_version(if self.has("v2") { 2 } else { 1 })
    }
}

impl Default for Bench {
    fn default() -> Self {
        let log = LogConfig { cleanup: Cleanup::Delete, retention_ms: None, ..LogConfig::default() };
        let settings = TopicSettings {
            min_insync_replicas: 1,
            max_message_bytes: 1 << 20,
            timestamp_type: TimestampType::CreateTime,
            timestamp_before_max_ms: i64::MAX,
            timestamp_after_max_ms: i64::MAX,
            compression: None,
            compacted: false,
            deletes: true,
            flush_messages: i64::MAX,
            flush_ms: i64::MAX,
            verifies_transactions: true,
            log,
        };
        // The log directory itself is there for good.
        let disk = MemoryDisk::new();
        disk.create_dir("/data".as_ref())
            .and_then(|()| disk.sync_dir("/".as_ref()))
            .expect("the disk is well");
        Self {
            disk,
            settings,
            partition: None,
            now: Now { monotonic_us: SECOND_US, wall_ms: 1_000 },
            flushes: VecDeque::new(),
            names: BTreeMap::new(),
            guards: BTreeMap::new(),
            tickets: 0,
        }
    }
}

impl Bench {
    /// Runs one command; what happens is the answer, line by line.
    pub fn run(&mut self, command: &str) -> Vec<String> {
        let mut words = command.split_whitespace();
        let verb = words.next().expect("a command");
        let words = Words(words.collect());
        match verb {
            "set" => self.set(&words),
            "open" => self.open(&words),
            "lead" => {
                let nodes = |key| words.value(key).map_or(vec![1], numbers);
                let ids = |numbers: Vec<i32>| numbers.into_iter().map(NodeId).collect();
                self.step(Input::Lead(Lead {
                    epoch: LeaderEpoch(words.number("epoch").unwrap_or(0)),
                    partition_epoch: words.number("version").unwrap_or(0),
                    replicas: ids(nodes("replicas")),
                    isr: ids(nodes("isr")),
                }))
            }
            "step-down" => self.step(Input::StepDown),
            "append" => {
                let append = self.append(&words);
                self.ask(&words, Question::Append(append))
            }
            "verify" => self.verify(&words),
            "commit" => self.mark(&words, ControlType::Commit),
            "abort" => self.mark(&words, ControlType::Abort),
            "read" => self.ask(&words, Question::Read(read_request(&words))),
            "await" => {
                let beyond = Offset(words.number("beyond").expect("beyond=N"));
                let until = self.now.after_ms(words.number("ms").unwrap_or(500));
                self.ask(&words, Question::AwaitGrowth { beyond, isolation: words.isolation(), until })
            }
            "offset" => {
                let (spec, isolation) = (spec(words.0[0]), words.isolation());
                self.ask(&words, Question::ListOffset { spec, isolation, current_leader_epoch: None })
            }
            "delete-records" => {
                let before = words.number("before").map(Offset);
                self.ask(&words, Question::DeleteRecords { before })
            }
            "producers" => self.ask(&words, Question::DescribeProducers),
            "flush" => self.flush(words.has("fails")),
            "wait" => {
                let ms: i64 = words.number("ms").expect("ms=N");
                self.now.monotonic_us += ms as u64 * 1_000;
                self.now.wall_ms += ms;
                self.step(Input::Look)
            }
            "retain" => self.step(Input::Retain),
            "full" => {
                self.disk.set_capacity(words.has("yes").then_some(0));
                Vec::new()
            }
            "descriptors" => {
                if words.has("none") {
                    self.disk.use_up_descriptors()
                } else {
                    self.disk.free_descriptors()
                }
                Vec::new()
            }
            "begin-close" => self.step(Input::Close),
            "close" => self.close(),
            "crash" => {
                self.partition = None;
                self.flushes.clear();
                self.disk.reboot(if words.has("power") { Crash::Power } else { Crash::Process });
                Vec::new()
            }
            "state" => vec![self.state()],
            other => panic!("no such command: {other}"),
        }
    }

    fn set(&mut self, words: &Words<'_>) -> Vec<String> {
        let settings = &mut self.settings;
        if let Some(count) = words.number("min-isr") {
            settings.min_insync_replicas = count;
        }
        if let Some(messages) = words.number("flush-messages") {
            settings.flush_messages = messages;
        }
        if let Some(ms) = words.number("flush-ms") {
            settings.flush_ms = ms;
        }
        if let Some(bytes) = words.number("segment-bytes") {
            settings.log.segment_bytes = bytes;
        }
        if let Some(ms) = words.number("producer-expiration-ms") {
            settings.log.producer_expiration_ms = ms;
        }
        if let Some(ms) = words.number("retention-ms") {
            settings.log.retention_ms = Some(ms);
        }
        if let Some(kind) = words.value("timestamps") {
            settings.timestamp_type = match kind {
                "broker" => TimestampType::LogAppendTime,
                _ => TimestampType::CreateTime,
            };
        }
        if let Some(verifies) = words.value("verification") {
            settings.verifies_transactions = verifies == "on";
        }
        let settings = Arc::new(self.settings.clone());
        if self.partition.is_some() { self.step(Input::Configure(settings)) } else { Vec::new() }
    }

    fn open(&mut self, words: &Words<'_>) -> Vec<String> {
        self.guards.clear();
        let stop = if words.has("clean") { Stop::Clean } else { Stop::Unclean };
        let log_start = Offset(words.number("start").unwrap_or(0));
        let hint = OpenHint { stop, recovery_point: Offset::ZERO, log_start };
        let disk = Arc::new(self.disk.clone());
        let log = Log::open(disk, DIR.into(), self.settings.log, hint, self.now).expect("the log opens");
        let id = PartitionId { topic: Uuid::from_random([1; 16]), index: 0 };
        let high_watermark = Offset(words.number("high-watermark").unwrap_or(0));
        self.partition = Some(Partition::new(id, log, Arc::new(self.settings.clone()), high_watermark));
        vec![self.state()]
    }

    fn close(&mut self) -> Vec<String> {
        let mut lines = self.step(Input::Close);
        while let Some(pending) = self.flushes.pop_front() {
            lines.extend(self.step(Input::Flushed(pending.run())));
        }
        self.partition = None;
        lines
    }

    fn append(&mut self, words: &Words<'_>) -> Append {
        let records = words.value("records").unwrap_or_else(|| words.0[0]);
        let batch = self.batch(words, &records.split(',').collect::<Vec<_>>());
        let acks = if words.value("acks") == Some("1") { Acks::Leader } else { Acks::All };
        let guard = words.value("guard").map(|name| self.guards[name]);
        let origin = if words.has("coordinator") { Origin::Coordinator } else { Origin::Client };
        Append { batch, acks, origin, guard }
    }

    fn batch(&self, words: &Words<'_>, records: &[&str]) -> Validated {
        let mut builder = BatchBuilder::new();
        for value in records {
            let value = value.as_bytes();
            let record =
                RecordParts { timestamp: self.now.wall_ms, value: Some(value), ..RecordParts::default() };
            builder.append(&record).expect("a small record");
        }
        let mut fields = BatchFields::default();
        if let Some((id, epoch)) = words.producer() {
            fields.producer_id = id;
            fields.producer_epoch = epoch;
            fields.base_sequence = words.number("sequence").unwrap_or(-1);
        }
        if words.has("transactional") {
            fields.attributes = Attributes::default().transactional();
        }
        let batch = builder.finish(&fields, &mut Codecs::new());
        Validated { header: batch.header(), batch, rewritten: false }
    }

    fn verify(&mut self, words: &Words<'_>) -> Vec<String> {
        let (producer_id, producer_epoch) = words.producer().expect("producer=id/epoch");
        let verify = Verify {
            producer_id,
            producer_epoch,
            base_sequence: words.number("sequence").unwrap_or(0),
            protocol: words.protocol(),
        };
        let name = words.value("as").unwrap_or("guard").to_owned();
        let ticket = self.ticket(&name);
        let outputs = self.outputs(Input::Question(ticket, Question::Verify(verify)));
        let mut lines = Vec::new();
        for output in outputs {
            if let Output::Reply(_, Reply::Verification(Some(guard))) = &output {
                let same = self.guards.iter().find(|(other, known)| **known == *guard && **other != name);
                lines.push(match same {
                    Some((other, _)) => format!("{name}: ask the coordinator, as {other} does"),
                    None => format!("{name}: ask the coordinator"),
                });
                self.guards.insert(name.clone(), *guard);
            } else {
                lines.extend(self.line(output));
            }
        }
        lines
    }

    fn mark(&mut self, words: &Words<'_>, end: ControlType) -> Vec<String> {
        let (producer_id, producer_epoch) = words.producer().expect("producer=id/epoch");
        let coordinator_epoch = words.number("coordinator").unwrap_or(0);
        let marker = TransactionMarker { producer_id, producer_epoch, end, coordinator_epoch };
        self.ask(words, Question::Mark(Mark { marker, protocol: words.protocol() }))
    }

    fn flush(&mut self, fails: bool) -> Vec<String> {
        let Some(pending) = self.flushes.pop_front() else { return vec!["nothing to flush".to_owned()] };
        if fails {
            self.disk.fail_sync(1);
        }
        self.step(Input::Flushed(pending.run()))
    }

    fn ask(&mut self, words: &Words<'_>, question: Question) -> Vec<String> {
        let fallback = words.0.first().copied().filter(|word| !word.contains('=')).unwrap_or("reply");
        let ticket = self.ticket(words.value("as").unwrap_or(fallback));
        self.step(Input::Question(ticket, question))
    }

    /// A ticket whose reply is shown under this name.
    pub fn ticket(&mut self, name: &str) -> Ticket {
        self.tickets += 1;
        self.names.insert(self.tickets, name.to_owned());
        Ticket { asker: self.tickets, question: 0 }
    }

    /// Takes an input and gives what comes of it.
    pub fn outputs(&mut self, input: Input) -> Vec<Output> {
        let mut outputs = Vec::new();
        let partition = self.partition.as_mut().expect("open comes first");
        partition.step(self.now, input, &mut outputs);
        outputs
    }

    fn step(&mut self, input: Input) -> Vec<String> {
        self.outputs(input).into_iter().flat_map(|output| self.line(output)).collect()
    }

    fn line(&mut self, output: Output) -> Vec<String> {
        match output {
            Output::Reply(ticket, reply) => self.reply(ticket, reply),
            Output::Flush(pending) => {
                let line = format!("a flush up to {} begins", pending.up_to());
                self.flushes.push_back(pending);
                vec![line]
            }
            Output::Closed => vec!["closed".to_owned()],
            Output::Failed(_) => vec!["the directory fails".to_owned()],
        }
    }

    fn reply(&mut self, ticket: Ticket, reply: Reply) -> Vec<String> {
        let name = &self.names[&ticket.asker];
        match reply {
            Reply::Appended(appended) => {
                let mut line = format!("{name}: appended at {}", appended.base_offset);
                if let Some(time) = appended.log_append_time_ms {
                    let _ = write!(line, " time {time}");
                }
                vec![line]
            }
            Reply::RecordErrors(refusal, errors) => {
                vec![format!("{name}: {} for {} records", refusal.name(), errors.len())]
            }
            Reply::Read(read) => shown(name, &read),
            Reply::Grown => vec![format!("{name}: there is more")],
            Reply::Listed(listed) => vec![match listed {
                None => format!("{name}: none"),
                Some(ListedOffset { offset, timestamp_ms, epoch }) => {
                    format!(
                        "{name}: {offset} time {timestamp_ms} epoch {}",
                        epoch.map_or(-1, |epoch| epoch.0)
                    )
                }
            }],
            Reply::EpochEnd(end) => vec![format!("{name}: {end:?}")],
            Reply::LowWatermark(low) => vec![format!("{name}: the log starts at {low}")],
            Reply::Verification(None) => vec![format!("{name}: nobody has to be asked")],
            Reply::Verification(Some(_)) => vec![format!("{name}: ask the coordinator")],
            Reply::Producers(producers) => producers
                .iter()
                .map(|producer| {
                    format!(
                        "{}/{} sequence {} time {} coordinator {} transaction {}",
                        producer.id.0,
                        producer.epoch.0,
                        producer.last_sequence,
                        producer.last_timestamp_ms,
                        producer.coordinator_epoch,
                        producer.transaction_start.map_or("-".to_owned(), |start| format!("from {start}"))
                    )
                })
                .collect(),
            Reply::Refused(refusal) => vec![format!("{name}: {}", refusal.name())],
        }
    }

    fn state(&self) -> String {
        let partition = self.partition.as_ref().expect("open comes first");
        format!(
            "log {}..{}, high watermark {}, last stable {}",
            partition.log().start_offset(),
            partition.log().end_offset(),
            partition.high_watermark(),
            partition.last_stable()
        )
    }
}

/// What a reader sees: batch by batch, then what is to be skipped.
fn shown(name: &str, read: &Read) -> Vec<String> {
    if let Some(diverging) = read.diverging {
        return vec![format!("{name}: diverging at {} of epoch {}", diverging.end, diverging.epoch.0)];
    }
    let mut lines = vec![format!(
        "{name}: up to {}, high watermark {}, last stable {}",
        read.readable_end, read.high_watermark, read.last_stable
    )];
    for slice in &read.slices {
        let bytes = slice.read().expect("the disk is well");
        for batch in Batches::new(&bytes) {
            let batch = batch.expect("whole batches");
            lines.push(format!("  {}", batch_line(&batch.header, batch.bytes)));
        }
    }
    for aborted in read.aborted.iter().flatten() {
        lines.push(format!("  aborted: producer {} from {}", aborted.producer.0, aborted.first_offset));
    }
    lines
}

fn batch_line(header: &BatchHeader, bytes: &[u8]) -> String {
    let mut line = format!("{}", header.base_offset);
    if header.last_offset() > header.base_offset {
        let _ = write!(line, "..{}", header.last_offset());
    }
    let bytes = bytes::Bytes::copy_from_slice(bytes);
    let records = RecordsIter::new(&bytes, Limit::bytes(1 << 20), &mut Codecs::new()).expect("records");
    for record in records {
        let record = record.expect("a record");
        if header.is_control() {
            let kind = ControlType::from_key(record.key.as_deref()).expect("a control record");
            let epoch = TransactionMarker::coordinator_epoch_of(record.value.as_deref()).expect("a marker");
            let kind = if kind == Some(ControlType::Commit) { "commit" } else { "abort" };
            let _ = write!(line, " {kind} by coordinator {epoch}");
        } else {
            let _ = write!(line, " {}", String::from_utf8_lossy(&record.value.unwrap_or_default()));
        }
    }
    if header.has_producer_id() {
        let _ = write!(line, ", producer {}/{}", header.producer_id.0, header.producer_epoch.0);
    }
    if header.is_transactional() && !header.is_control() {
        line.push_str(" in a transaction");
    }
    line
}

fn numbers(text: &str) -> Vec<i32> {
    text.split(',').map(|number| number.parse().expect("a node's id")).collect()
}

fn read_request(words: &Words<'_>) -> ReadRequest {
    ReadRequest {
        from: Offset(words.number("from").unwrap_or(0)),
        max_bytes: words.number("max").unwrap_or(1 << 20),
        first_batch: if words.has("within-limit") { FirstBatch::WithinLimit } else { FirstBatch::AnySize },
        isolation: words.isolation(),
        current_leader_epoch: words.number("epoch").map(LeaderEpoch),
        last_fetched_epoch: words.number("last-epoch").map(LeaderEpoch),
    }
}

fn spec(word: &str) -> OffsetSpec {
    match word {
        "earliest" => OffsetSpec::Earliest,
        "latest" => OffsetSpec::Latest,
        "max-timestamp" => OffsetSpec::MaxTimestamp,
        time => OffsetSpec::Timestamp(time.parse().expect("a time")),
    }
}
