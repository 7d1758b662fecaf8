//! kafka-transactions: which transactions there are, who writes in them, and an end to those that hang.

mod hanging;

use std::fmt::Write as _;
use std::str::FromStr;
use std::time::{SystemTime, UNIX_EPOCH};

use ottla_client::admin::{
    self, AbortTransaction, ProducerState, Replica, TransactionDescription, TransactionFilter,
};
use ottla_client::net::Client;

use super::failure::Failure;
use super::filter::with_bootstrap;
use super::options::Usage;
use super::subcommands::{Chosen, Command, Kind, Opt, Program};
use super::{Out, block_on, connect};

/// The tool has no options of the other kind.
pub static USAGE: Usage = Usage { about: PROGRAM.about, flags: &[] };

const TOPIC: Opt = Opt::long("topic", Kind::Required, "The topic.");
const PARTITION: Opt = Opt::long("partition", Kind::Required, "The partition's number.");

static PROGRAM: Program = Program {
    name: "kafka-transactions.sh",
    about: "Shows transactions and the producers in them, and ends those that hang.",
    globals: &[
        Opt::long("command-config", Kind::Value, "A file with client properties."),
        Opt::long("bootstrap-server", Kind::Required, "Where the cluster is."),
    ],
    commands: &[
        Command {
            name: "list",
            about: "List the transactional ids.",
            options: &[
                Opt::long(
                    "duration-filter",
                    Kind::Value,
                    "Only transactions that have been open for longer, in ms; all where it is negative.",
                ),
                Opt::long(
                    "transactional-id-pattern",
                    Kind::Value,
                    "Only transactional ids that match this regular expression.",
                ),
            ],
        },
        Command {
            name: "describe",
            about: "Show the state of a transactional id.",
            options: &[Opt::long("transactional-id", Kind::Required, "The transactional id.")],
        },
        Command {
            name: "describe-producers",
            about: "Show the producers that write to a partition.",
            options: &[
                Opt::long("broker-id", Kind::Value, "The replica that is asked, if not the leader."),
                TOPIC,
                PARTITION,
            ],
        },
        Command {
            name: "abort",
            about: "Abort a transaction that hangs.",
            options: &[
                TOPIC,
                PARTITION,
                Opt::long("start-offset", Kind::Value, "Where the transaction begins (brokers from 3.0)."),
                Opt::long("producer-id", Kind::Value, "Its producer (older brokers)."),
                Opt::long("producer-epoch", Kind::Value, "The producer's epoch (older brokers)."),
                Opt::long("coordinator-epoch", Kind::Value, "The coordinator's epoch (older brokers)."),
            ],
        },
        Command {
            name: "find-hanging",
            about: "Find transactions that hang.",
            options: &[
                Opt::long("broker-id", Kind::Value, "The broker that is searched."),
                Opt::long(
                    "max-transaction-timeout",
                    Kind::Value,
                    "Only transactions that have been open for so many minutes can hang (default: 15).",
                ),
                Opt::long("topic", Kind::Value, "The topic that is searched."),
                Opt::long("partition", Kind::Value, "The partition that is searched; needs --topic."),
            ],
        },
        Command {
            name: "forceTerminateTransaction",
            about: "Abort what a transactional id has open.",
            options: &[Opt::long("transactionalId", Kind::Required, "The transactional id.")],
        },
    ],
};

/// Runs the tool.
pub fn run(words: &[String], out: Out<'_>) -> Result<(), Failure> {
    // Kafka's tool takes the request for help for an error.
    let chosen = PROGRAM.parse(words).map_err(|failure| match failure {
        Failure::Help(text) => Failure::Printed(text),
        other => other,
    })?;
    let numbers = Numbers::new(&chosen)?;
    block_on(async {
        let servers = chosen.value("bootstrap-server").unwrap_or_default();
        let properties = match chosen.value("command-config") {
            Some(path) => connect::load(path)?,
            None => ottla_client::Properties::default(),
        };
        let client = connect::admin(with_bootstrap(properties, servers)).await?;
        let text = |name: &str| chosen.value(name).unwrap_or_default().to_owned();
        let table = match chosen.command {
            "list" => list(&client, &chosen, &numbers).await?,
            "describe" => describe(&client, text("transactional-id")).await?,
            "describe-producers" => describe_producers(&client, &chosen, &numbers).await?,
            "abort" => return abort(&client, &chosen, &numbers).await,
            "find-hanging" => hanging::find(&client, &chosen, &numbers).await?,
            _ => {
                let id = text("transactionalId");
                let ended = client.run(admin::terminate_transaction(id.clone())).await;
                ended.map_err(|error| {
                    failed(format!("Failed to force terminate transactionalId `{id}`"), &error)
                })?;
                return Ok(());
            }
        };
        Ok(out.write_all(table.as_bytes())?)
    })
}

/// The options that are numbers.
#[derive(Clone, Copy, Debug, Default)]
struct Numbers {
    partition: Option<i32>,
    broker: Option<i32>,
    duration: Option<i64>,
    start_offset: Option<i64>,
    producer_id: Option<i64>,
    producer_epoch: Option<i16>,
    coordinator_epoch: Option<i32>,
    max_timeout_minutes: Option<i32>,
}

impl Numbers {
    fn new(chosen: &Chosen) -> Result<Self, Failure> {
        fn number<T: FromStr>(chosen: &Chosen, name: &str) -> Result<Option<T>, Failure> {
            let Some(text) = chosen.value(name) else { return Ok(None) };
            let kind = std::any::type_name::<T>();
            text.parse().map(Some).map_err(|_| {
                Failure::Error(format!(
                    "{}: error: argument --{name}: could not convert '{text}' to {kind}",
                    PROGRAM.name
                ))
            })
        }
        Ok(Self {
            partition: number(chosen, "partition")?,
            broker: number(chosen, "broker-id")?,
            duration: number(chosen, "duration-filter")?,
            start_offset: number(chosen, "start-offset")?,
            producer_id: number(chosen, "producer-id")?,
            producer_epoch: number(chosen, "producer-epoch")?,
            coordinator_epoch: number(chosen, "coordinator-epoch")?,
            max_timeout_minutes: number(chosen, "max-transaction-timeout")?,
        })
    }

    fn replica(&self) -> Replica {
        self.broker.map_or(Replica::Leader, Replica::Broker)
    }
}

async fn list(client: &Client, chosen: &Chosen, numbers: &Numbers) -> Result<String, Failure> {
    let filter = TransactionFilter {
        longer_than_ms: numbers.duration.filter(|ms| *ms >= 0),
        id_pattern: chosen
            .value("transactional-id-pattern")
            .filter(|text| !text.is_empty())
            .map(str::to_owned),
        ..TransactionFilter::default()
    };
    let listed = client.run(admin::list_transactions(filter)).await;
    let (listed, _) = listed.map_err(|error| failed("Failed to list transactions".to_owned(), &error))?;
    let row = |listing: admin::TransactionListing| {
        let (coordinator, producer) = (listing.coordinator.to_string(), listing.producer_id.to_string());
        [listing.transactional_id, coordinator, producer, listing.state]
    };
    Ok(table(
        ["TransactionalId", "Coordinator", "ProducerId", "TransactionState"],
        listed.into_iter().map(row).collect(),
    ))
}

async fn describe(client: &Client, id: String) -> Result<String, Failure> {
    let what = format!("Failed to describe transaction state of transactional-id `{id}`");
    let mut described = client
        .run(admin::describe_transactions(vec![id.clone()]))
        .await
        .map_err(|error| failed(what.clone(), &error))?;
    match described.remove(&id) {
        Some(Ok(described)) => Ok(description(&id, &described, now_ms())),
        Some(Err(error)) => Err(failed(what, &error)),
        None => Err(failed(what, &"the coordinator did not answer")),
    }
}

fn description(id: &str, described: &TransactionDescription, now_ms: i64) -> String {
    let or_none = |ms: Option<i64>| ms.map_or_else(|| "None".to_owned(), |ms| ms.to_string());
    let names = described.partitions.iter().map(|(topic, partition)| format!("{topic}-{partition}"));
    let row = [
        described.coordinator.to_string(),
        id.to_owned(),
        described.producer_id.to_string(),
        described.producer_epoch.to_string(),
        described.state.clone(),
        described.timeout_ms.to_string(),
        or_none(described.started_ms),
        or_none(described.started_ms.map(|started| now_ms.saturating_sub(started))),
        names.collect::<Vec<_>>().join(","),
    ];
    let head = [
        "CoordinatorId",
        "TransactionalId",
        "ProducerId",
        "ProducerEpoch",
        "TransactionState",
        "TransactionTimeoutMs",
        "CurrentTransactionStartTimeMs",
        "TransactionDurationMs",
        "TopicPartitions",
    ];
    table(head, vec![row])
}

async fn describe_producers(client: &Client, chosen: &Chosen, numbers: &Numbers) -> Result<String, Failure> {
    let place = place(chosen, numbers);
    let at = match numbers.broker {
        Some(broker) => format!("broker {broker}"),
        None => "leader".to_owned(),
    };
    let what = format!("Failed to describe producers for partition {}-{} on {at}", place.0, place.1);
    let states = producers(client, place, numbers.replica(), what).await?;
    let row = |state: ProducerState| {
        [
            state.producer_id.to_string(),
            state.producer_epoch.to_string(),
            state.coordinator_epoch.unwrap_or(-1).to_string(),
            state.last_sequence.to_string(),
            state.last_timestamp.to_string(),
            state.transaction_start.map_or_else(|| "None".to_owned(), |offset| offset.to_string()),
        ]
    };
    let head = [
        "ProducerId",
        "ProducerEpoch",
        "LatestCoordinatorEpoch",
        "LastSequence",
        "LastTimestamp",
        "CurrentTransactionStartOffset",
    ];
    Ok(table(head, states.into_iter().map(row).collect()))
}

fn place(chosen: &Chosen, numbers: &Numbers) -> (String, i32) {
    (chosen.value("topic").unwrap_or_default().to_owned(), numbers.partition.unwrap_or_default())
}

async fn producers(
    client: &Client,
    place: (String, i32),
    replica: Replica,
    what: String,
) -> Result<Vec<ProducerState>, Failure> {
    let asked = client.run(admin::describe_producers(vec![place], replica)).await;
    let found = asked.map_err(|error| failed(what.clone(), &error))?.into_values().next();
    match found {
        Some(Ok(states)) => Ok(states),
        Some(Err(error)) => Err(failed(what, &error)),
        None => Ok(Vec::new()),
    }
}

async fn abort(client: &Client, chosen: &Chosen, numbers: &Numbers) -> Result<(), Failure> {
    let partition = place(chosen, numbers);
    let name = format!("{}-{}", partition.0, partition.1);
    let missing = |name: &str| Failure::Error(format!("Missing required argument --{name}"));
    let abort = match (numbers.start_offset, numbers.producer_id) {
        (Some(start), _) => {
            let what = format!("Failed to validate producer state for partition {name}");
            let states = producers(client, partition.clone(), Replica::Leader, what).await?;
            let state = states.into_iter().find(|state| state.transaction_start == Some(start));
            let state = state.ok_or_else(|| {
                Failure::Error(format!(
                    "Could not find any open transactions starting at offset {start} on partition {name}"
                ))
            })?;
            AbortTransaction {
                partition,
                producer_id: state.producer_id,
                producer_epoch: i16::try_from(state.producer_epoch).unwrap_or(i16::MAX),
                coordinator_epoch: state.coordinator_epoch.unwrap_or(0),
            }
        }
        (None, Some(producer_id)) => AbortTransaction {
            partition,
            producer_id,
            producer_epoch: numbers.producer_epoch.ok_or_else(|| missing("producer-epoch"))?,
            // A producer that never ended a transaction shows −1; every coordinator has at least 0.
            coordinator_epoch: numbers.coordinator_epoch.ok_or_else(|| missing("coordinator-epoch"))?.max(0),
        },
        (None, None) => {
            return Err(Failure::Error(
                "The transaction to abort must be identified either with --start-offset (for brokers on 3.0 or above) or \
                 with --producer-id, --producer-epoch, and --coordinator-epoch (for older brokers)"
                    .to_owned(),
            ));
        }
    };
    let what = format!(
        "Failed to abort transaction AbortTransactionSpec(topicPartition={name}, producerId={}, producerEpoch={}, \
         coordinatorEpoch={})",
        abort.producer_id, abort.producer_epoch, abort.coordinator_epoch
    );
    client.run(admin::abort_transaction(abort)).await.map_err(|error| failed(what, &error))
}

/// How an error is told.
fn failed(what: String, why: &dyn std::fmt::Display) -> Failure {
    Failure::Error(format!("{what}: {why}. Enable debug logging for additional detail."))
}

/// Columns as wide as their widest cell, each followed by a tab.
fn table<const N: usize>(head: [&str; N], rows: Vec<[String; N]>) -> String {
    let head = head.map(str::to_owned);
    let mut table = String::new();
    for row in [&head].into_iter().chain(&rows) {
        for (at, cell) in row.iter().enumerate() {
            let width = rows.iter().chain([&head]).map(|row| row[at].chars().count()).max().unwrap_or(0);
            let _ = write!(table, "{cell:<width$}\t");
        }
        table.push('\n');
    }
    table
}

fn now_ms() -> i64 {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).unwrap_or_default();
    i64::try_from(now.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_are_as_wide_as_their_cells() {
        let rows = vec![["transaction-one".to_owned(), "1".to_owned()], ["t".to_owned(), "12".to_owned()]];
        assert_eq!(
            table(["Id", "Producer"], rows),
            "Id             \tProducer\t\ntransaction-one\t1       \t\nt              \t12      \t\n"
        );
        assert_eq!(table(["Id"], Vec::new()), "Id\t\n");
    }

    #[test]
    fn a_transaction_is_one_row() {
        let described = TransactionDescription {
            coordinator: 1,
            state: "Ongoing".to_owned(),
            producer_id: 5,
            producer_epoch: 2,
            timeout_ms: 60_000,
            started_ms: Some(1_000),
            partitions: vec![("t".to_owned(), 0), ("t".to_owned(), 1)],
        };
        let shown = description("id", &described, 1_250);
        let row: Vec<&str> = shown.lines().nth(1).unwrap().split('\t').map(str::trim).collect();
        assert_eq!(row, ["1", "id", "5", "2", "Ongoing", "60000", "1000", "250", "t-0,t-1", ""]);
        let idle = description("id", &TransactionDescription { started_ms: None, ..described }, 0);
        assert!(idle.contains("None"));
    }

    #[test]
    fn numbers_must_be_numbers() {
        let words =
            ["--bootstrap-server", "h:1", "abort", "--topic", "t", "--partition", "x"].map(str::to_owned);
        let chosen = PROGRAM.parse(&words).unwrap();
        assert!(Numbers::new(&chosen).unwrap_err().message().contains("--partition: could not convert 'x'"));
    }
}
