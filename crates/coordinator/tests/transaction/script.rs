//! Commands of scripts in words, and what came of them in lines that a person can check.

use std::collections::BTreeMap;

use ottla_coordinator::Producer;
use ottla_coordinator::transaction::{
    Command, Effect, Entry, MarkersWritten, Record, Reply, Settings, TransactionVersion, TwoPhaseCommit,
};
use ottla_protocol::messages::add_partitions_to_txn::{
    AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};
use ottla_protocol::messages::{EndTxnRequest, InitProducerIdRequest, ListTransactionsRequest};
use ottla_protocol::{ProducerEpoch, ProducerId, Refusal};

use crate::world::{Happened, Log, World};

/// What becomes of wishes for producer ids.
enum Ids {
    /// They are granted at once, one after the other.
    From(i64),
    /// They have to wait for `grant`.
    Wait,
}

/// A world that understands words.
pub struct Script {
    world: World,
    /// The last ending of each id that markers were sent for.
    endings: BTreeMap<String, u64>,
    ids: Ids,
}

/// Words of a command: those with `=` by name, the others in order.
struct Words<'a> {
    plain: Vec<&'a str>,
    named: BTreeMap<&'a str, &'a str>,
}

impl<'a> Words<'a> {
    fn new(text: &'a str) -> Self {
        let (mut plain, mut named) = (Vec::new(), BTreeMap::new());
        for word in text.split_whitespace() {
            match word.split_once('=') {
                Some((name, value)) => {
                    named.insert(name, value);
                }
                None => plain.push(word),
            }
        }
        Self { plain, named }
    }

    fn named<T: std::str::FromStr>(&self, name: &str, or: T) -> T
    where
        T::Err: std::fmt::Debug,
    {
        self.named.get(name).map_or(or, |text| text.parse().unwrap())
    }

    fn has(&self, word: &str) -> bool {
        self.plain.contains(&word)
    }

    fn version(&self, or: i16) -> TransactionVersion {
        TransactionVersion::from_level(self.named("v", or))
    }
}

fn producer(text: &str) -> Producer {
    let (id, epoch) = text.split_once('/').unwrap();
    Producer { id: ProducerId(id.parse().unwrap()), epoch: ProducerEpoch(epoch.parse().unwrap()) }
}

fn partition(text: &str) -> (String, i32) {
    let (topic, index) = text.rsplit_once('-').unwrap();
    (topic.to_owned(), index.parse().unwrap())
}

fn texts(words: &Words<'_>, name: &str) -> Vec<String> {
    words.named.get(name).map_or(Vec::new(), |text| text.split(',').map(str::to_owned).collect())
}

impl Default for Script {
    fn default() -> Self {
        let mut world = World::default();
        world.topic("t", 3, 1);
        world.topic("u", 2, 2);
        Self { world, endings: BTreeMap::new(), ids: Ids::From(1000) }
    }
}

impl Script {
    /// Runs a command, and says what came of it.
    pub fn run(&mut self, text: &str) -> Vec<String> {
        let (verb, rest) = text.split_once(' ').unwrap_or((text, ""));
        let words = Words::new(rest);
        let happened = match verb {
            "init" => self.ask(init(&words)),
            "add" => self.ask(add(&words)),
            "end" => self.ask(end(&words)),
            "marked" => {
                let ending = self.endings.get(words.plain[0]).copied();
                self.ask(marked(&words, words.named("ending", ending.unwrap_or_default())))
            }
            "describe" => self.ask(Command::Describe(words.plain.first().map_or("", |id| id).to_owned())),
            "list" => self.ask(list(&words)),
            "grant" => {
                let granted = words.plain[0].parse().map(ProducerId);
                self.ask(Command::ProducerIdGranted(granted.map_err(|_| Refusal::CoordinatorLoadInProgress)))
            }
            "wait" => self.world.wait(words.named("ms", 0)),
            "reload" => self.world.reload(self.world.log.len() - words.named("lose", 0)),
            "show" => return self.show(),
            "jump" => self.jump(words.plain[0], words.plain[1].parse().unwrap()),
            _ => {
                self.arrange(verb, &words);
                self.world.tick()
            }
        };
        self.lines(happened)
    }

    fn ask(&mut self, command: Command) -> Vec<Happened> {
        let (_, mut happened) = self.world.command(command);
        happened.extend(self.world.tick());
        happened
    }

    /// An id whose producer has come to this epoch.
    fn jump(&mut self, id: &str, epoch: i16) -> Vec<Happened> {
        let happened = self.ask(init(&Words::new(id)));
        self.lines(happened);
        self.world.alter(id, |entry| entry.producer.epoch = ProducerEpoch(epoch))
    }

    fn arrange(&mut self, verb: &str, words: &Words<'_>) {
        let world = &mut self.world;
        match verb {
            "log" => world.takes = if words.has("refuses") { Log::Refuses } else { Log::Takes },
            "ids" if words.has("wait") => self.ids = Ids::Wait,
            "ids" => self.ids = Ids::From(words.named("from", 1000)),
            "feature" => world.feature(words.plain[0].parse().unwrap()),
            "topic" => world.topic(words.plain[0], words.named("partitions", 1), words.named("leader", 1)),
            "drop" => world.drop_topic(words.plain[0]),
            "lead" => {
                let (topic, index) = partition(words.plain[0]);
                world.lead(&topic, index, words.plain[1].parse().unwrap());
            }
            "2pc" => {
                world.settings = Settings { two_phase_commit: TwoPhaseCommit::Enabled, ..world.settings };
                let all = world.log.len();
                assert!(world.reload(all).is_empty());
            }
            other => panic!("no such command: {other}"),
        }
    }

    fn lines(&mut self, happened: Vec<Happened>) -> Vec<String> {
        let mut lines = Vec::new();
        for happened in happened {
            match happened {
                Happened::Wants(Effect::ProducerId) => {
                    lines.push("! producer id".to_owned());
                    if let Ids::From(next) = &mut self.ids {
                        let id = ProducerId(*next);
                        *next += 1;
                        let more = self.ask(Command::ProducerIdGranted(Ok(id)));
                        lines.extend(self.lines(more));
                    }
                }
                Happened::Wants(Effect::WriteMarkers(markers)) => {
                    self.endings.insert(markers.transactional_id.clone(), markers.ending);
                    let marker = &markers.marker;
                    let end = if marker.transaction_result { "commit" } else { "abort" };
                    let topics = marker.topics.iter().flat_map(|topic| {
                        topic.partition_indexes.iter().map(|index| format!("{}-{index}", topic.name))
                    });
                    lines.push(format!(
                        "! node {}: {end} {} {}/{} [{}] epoch={} v={}",
                        markers.leader,
                        markers.transactional_id,
                        marker.producer_id,
                        marker.producer_epoch,
                        topics.collect::<Vec<_>>().join(" "),
                        marker.coordinator_epoch,
                        marker.transaction_version
                    ));
                }
                Happened::Wrote(record) => lines.push(record_line(&record)),
                Happened::NotWritten(records) => {
                    lines.extend(
                        records.iter().map(|record| format!("(not written) {}", record_line(record))),
                    );
                }
                Happened::Replied(_, reply) => lines.extend(reply_lines(reply)),
            }
        }
        lines
    }

    fn show(&self) -> Vec<String> {
        self.world.transactions.entries().map(|(id, entry)| format!("{id} {}", entry_line(entry))).collect()
    }
}

fn init(words: &Words<'_>) -> Command {
    let expected = words.named.get("producer").map(|text| producer(text));
    Command::InitProducerId(InitProducerIdRequest {
        transactional_id: words.plain.first().map(|id| (*id).to_owned()),
        transaction_timeout_ms: words.named("timeout", 60_000),
        producer_id: expected.map_or(-1, |producer| producer.id.0),
        producer_epoch: expected.map_or(-1, |producer| producer.epoch.0),
        enable2_pc: words.has("2pc"),
        keep_prepared_txn: words.has("keep"),
    })
}

fn add(words: &Words<'_>) -> Command {
    let producer = producer(words.plain[1]);
    let mut topics: Vec<AddPartitionsToTxnTopic> = Vec::new();
    for (name, index) in words.plain[2..].iter().filter(|word| **word != "verify").map(|text| partition(text))
    {
        match topics.iter_mut().find(|topic| topic.name == name) {
            Some(topic) => topic.partitions.push(index),
            None => topics.push(AddPartitionsToTxnTopic { name, partitions: vec![index] }),
        }
    }
    let transaction = AddPartitionsToTxnTransaction {
        transactional_id: words.plain[0].to_owned(),
        producer_id: producer.id.0,
        producer_epoch: producer.epoch.0,
        verify_only: words.has("verify"),
        topics,
    };
    Command::AddPartitions(words.version(2), transaction)
}

fn end(words: &Words<'_>) -> Command {
    let producer = producer(words.plain[1]);
    let request = EndTxnRequest {
        transactional_id: words.plain[0].to_owned(),
        producer_id: producer.id.0,
        producer_epoch: producer.epoch.0,
        committed: words.has("commit"),
    };
    Command::End(words.version(2), request)
}

fn marked(words: &Words<'_>, ending: u64) -> Command {
    let refusal = |name: &&str| Refusal::ALL.iter().copied().find(|refusal| refusal.name() == *name);
    let plain = words.plain[1..].iter().map(|text| (partition(text), None));
    let named = words.named.iter().filter(|(name, _)| **name != "ending");
    let refused = named.map(|(text, name)| (partition(text), refusal(name)));
    let partitions = plain.chain(refused).map(|((topic, index), refusal)| (topic, index, refusal));
    Command::MarkersWritten(MarkersWritten {
        transactional_id: words.plain[0].to_owned(),
        ending,
        partitions: partitions.collect(),
    })
}

fn list(words: &Words<'_>) -> Command {
    let ids = texts(words, "ids");
    Command::List(ListTransactionsRequest {
        state_filters: texts(words, "states"),
        producer_id_filters: ids.iter().map(|id| id.parse().unwrap()).collect(),
        duration_filter: words.named("longer", -1),
        transactional_id_pattern: words.named.get("like").map(|text| (*text).to_owned()),
    })
}

fn record_line(record: &Record) -> String {
    match record {
        Record::Changed { id, entry, version } => format!("record {id} v{version} {}", entry_line(entry)),
        Record::Gone(id) => format!("record {id} gone"),
    }
}

fn entry_line(entry: &Entry) -> String {
    let partitions: Vec<String> =
        entry.partitions.iter().map(|(topic, index)| format!("{topic}-{index}")).collect();
    let mut line = format!(
        "{} {}/{} last={} previous={} [{}] start={} update={}",
        entry.state.name(),
        entry.producer.id,
        entry.producer.epoch,
        entry.last_epoch,
        entry.previous_id,
        partitions.join(" "),
        entry.start_ms,
        entry.update_ms
    );
    if entry.next_id != ProducerId::NONE {
        line.push_str(&format!(" next={}", entry.next_id));
    }
    if entry.timeout_ms != 60_000 {
        line.push_str(&format!(" timeout={}", entry.timeout_ms));
    }
    line.push_str(&format!(" client=v{}", entry.version.level()));
    line
}

fn outcome(code: i16) -> String {
    Refusal::from_code(code).map_or("ok".to_owned(), |refusal| refusal.name().to_owned())
}

fn reply_lines(reply: Reply) -> Vec<String> {
    match reply {
        Reply::InitProducerId(r) => {
            vec![format!("= {} {}/{}", outcome(r.error_code), r.producer_id, r.producer_epoch)]
        }
        Reply::End(r) => vec![format!("= {} {}/{}", outcome(r.error_code), r.producer_id, r.producer_epoch)],
        Reply::AddPartitions(r) => {
            let topics = r.topic_results.iter().flat_map(|topic| {
                topic.results_by_partition.iter().map(|p| {
                    format!("{}-{} {}", topic.name, p.partition_index, outcome(p.partition_error_code))
                })
            });
            vec![format!("= {}", topics.collect::<Vec<_>>().join(", "))]
        }
        Reply::Describe(r) => {
            let topics = r.topics.iter().map(|topic| format!("{}{:?}", topic.topic, topic.partitions));
            vec![format!(
                "= {} {} {:?} {}/{} timeout={} start={} {}",
                outcome(r.error_code),
                r.transactional_id,
                r.transaction_state,
                r.producer_id,
                r.producer_epoch,
                r.transaction_timeout_ms,
                r.transaction_start_time_ms,
                topics.collect::<Vec<_>>().join(" ")
            )]
        }
        Reply::List(r) => {
            let mut lines =
                vec![format!("= {} unknown={:?}", outcome(r.error_code), r.unknown_state_filters)];
            let row = |t: &ottla_protocol::messages::list_transactions::TransactionState| {
                format!("= {} {} {}", t.transactional_id, t.producer_id, t.transaction_state)
            };
            lines.extend(r.transaction_states.iter().map(row));
            lines
        }
        Reply::Refused(refusal) => vec![format!("= {}", refusal.name())],
    }
}
