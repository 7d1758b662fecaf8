//! `find-hanging`: transactions that have been open for longer than any may, and that no coordinator will end.
//!
//! A transaction hangs if its coordinator does not know its producer any more, or does not know that the partition is
//! part of it.

use std::collections::{BTreeMap, BTreeSet};

use ottla_client::admin::{
    self, Limit, PartitionDescription, ProducerState, TransactionDescription, TransactionFilter,
};
use ottla_client::net::Client;
use ottla_protocol::Refusal;

use super::{Numbers, failed, now_ms, table};
use crate::tools::failure::Failure;
use crate::tools::subcommands::Chosen;

/// How many topics, or partitions, one request asks about.
const BATCH_MAX: usize = 500;

const MS_OF_MINUTE: i64 = 60_000;

/// For how many minutes a transaction must have been open.
const MAX_TIMEOUT_MINUTES: i32 = 15;

type Place = (String, i32);

/// A transaction that is open in a partition.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Open {
    place: Place,
    producer: ProducerState,
}

/// The table of those that hang.
pub async fn find(client: &Client, chosen: &Chosen, numbers: &Numbers) -> Result<String, Failure> {
    let topic = chosen.value("topic");
    if topic.is_none() && numbers.broker.is_none() {
        return Err(Failure::Error(
            "The `find-hanging` command requires either --topic or --broker-id to limit the scope of the search"
                .to_owned(),
        ));
    }
    if numbers.partition.is_some() && topic.is_none() {
        return Err(Failure::Error("The --partition argument requires --topic to be provided".to_owned()));
    }
    let places = match (topic, numbers.partition) {
        (Some(topic), Some(partition)) => vec![(topic.to_owned(), partition)],
        (Some(topic), None) => places(client, vec![topic.to_owned()], numbers.broker).await?,
        (None, _) => {
            let listed = client.run(admin::list_topics()).await;
            let listed = listed.map_err(|error| failed("Failed to list topics".to_owned(), &error))?;
            places(client, listed.into_iter().map(|topic| topic.name).collect(), numbers.broker).await?
        }
    };
    let minutes = numbers.max_timeout_minutes.unwrap_or(MAX_TIMEOUT_MINUTES);
    let now = now_ms();
    let open =
        open_for(client, places, numbers, now.saturating_sub(i64::from(minutes) * MS_OF_MINUTE)).await?;
    let hanging = if open.is_empty() { open } else { without_coordinator(client, open).await? };
    Ok(shown(&hanging, now))
}

async fn places(client: &Client, topics: Vec<String>, broker: Option<i32>) -> Result<Vec<Place>, Failure> {
    let mut places = Vec::new();
    for batch in topics.chunks(BATCH_MAX) {
        let what = format!("Failed to describe {} topics", batch.len());
        let described = client.run(admin::describe_topics(batch.to_vec(), Limit::default())).await;
        for (topic, result) in described.map_err(|error| failed(what.clone(), &error))? {
            let described = result.map_err(|error| failed(what.clone(), &error))?;
            let has = |partition: &PartitionDescription| {
                broker.is_none_or(|broker| partition.replicas.contains(&broker))
            };
            let here = described.partitions.into_iter().filter(has);
            places.extend(here.map(|partition| (topic.clone(), partition.index)));
        }
    }
    Ok(places)
}

/// Transactions whose last record is older than `before_ms`.
async fn open_for(
    client: &Client,
    places: Vec<Place>,
    numbers: &Numbers,
    before_ms: i64,
) -> Result<Vec<Open>, Failure> {
    let mut open = Vec::new();
    for batch in places.chunks(BATCH_MAX) {
        let at = numbers.broker.map_or("Optional.empty".to_owned(), |broker| format!("Optional[{broker}]"));
        let what = format!("Failed to describe producers for {} partitions on broker {at}", batch.len());
        let asked = client.run(admin::describe_producers(batch.to_vec(), numbers.replica())).await;
        for (place, states) in asked.map_err(|error| failed(what.clone(), &error))? {
            let states = states.map_err(|error| failed(what.clone(), &error))?.into_iter();
            let old =
                states.filter(|state| state.transaction_start.is_some() && state.last_timestamp < before_ms);
            open.extend(old.map(|producer| Open { place: place.clone(), producer }));
        }
    }
    Ok(open)
}

/// Those that no coordinator will end.
async fn without_coordinator(client: &Client, open: Vec<Open>) -> Result<Vec<Open>, Failure> {
    let producer_ids: BTreeSet<i64> = open.iter().map(|open| open.producer.producer_id).collect();
    let what = format!("Failed to list transactions for {} producers", producer_ids.len());
    let filter = TransactionFilter {
        producer_ids: producer_ids.iter().copied().collect(),
        ..TransactionFilter::default()
    };
    let (listed, _) =
        client.run(admin::list_transactions(filter)).await.map_err(|error| failed(what, &error))?;
    let ids: BTreeMap<i64, String> =
        listed.into_iter().map(|listing| (listing.producer_id, listing.transactional_id)).collect();
    let names: Vec<String> = ids.values().cloned().collect();
    let what = format!("Failed to describe {} transactions", names.len());
    let mut descriptions = BTreeMap::new();
    for (id, result) in
        client.run(admin::describe_transactions(names)).await.map_err(|error| failed(what.clone(), &error))?
    {
        match result {
            Ok(description) => drop(descriptions.insert(id, description)),
            Err(error) if error.refusal == Refusal::TransactionalIdNotFound => {}
            Err(error) => return Err(failed(what, &error)),
        }
    }
    Ok(open.into_iter().filter(|open| hangs(open, &ids, &descriptions)).collect())
}

fn hangs(
    open: &Open,
    ids: &BTreeMap<i64, String>,
    descriptions: &BTreeMap<String, TransactionDescription>,
) -> bool {
    let description = ids.get(&open.producer.producer_id).and_then(|id| descriptions.get(id));
    description.is_none_or(|description| !description.partitions.contains(&open.place))
}

fn shown(hanging: &[Open], now_ms: i64) -> String {
    let row = |Open { place, producer }: &Open| {
        [
            place.0.clone(),
            place.1.to_string(),
            producer.producer_id.to_string(),
            producer.producer_epoch.to_string(),
            producer.coordinator_epoch.unwrap_or(-1).to_string(),
            producer.transaction_start.unwrap_or(-1).to_string(),
            producer.last_timestamp.to_string(),
            (now_ms.saturating_sub(producer.last_timestamp) / MS_OF_MINUTE).to_string(),
        ]
    };
    let head = [
        "Topic",
        "Partition",
        "ProducerId",
        "ProducerEpoch",
        "CoordinatorEpoch",
        "StartOffset",
        "LastTimestamp",
        "Duration(min)",
    ];
    table(head, hanging.iter().map(row).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_transaction_hangs_if_its_coordinator_will_not_end_it() {
        let producer = |producer_id| ProducerState {
            producer_id,
            producer_epoch: 0,
            last_sequence: 0,
            last_timestamp: 60_000,
            coordinator_epoch: None,
            transaction_start: Some(4),
        };
        let open = |producer_id, partition| Open {
            place: ("t".to_owned(), partition),
            producer: producer(producer_id),
        };
        let ids = BTreeMap::from([(1, "known".to_owned()), (2, "gone".to_owned())]);
        let description = TransactionDescription {
            coordinator: 1,
            state: "Ongoing".to_owned(),
            producer_id: 1,
            producer_epoch: 0,
            timeout_ms: 1,
            started_ms: None,
            partitions: vec![("t".to_owned(), 0)],
        };
        let descriptions = BTreeMap::from([("known".to_owned(), description)]);
        let hangs = |open: Open| hangs(&open, &ids, &descriptions);
        assert!(!hangs(open(1, 0)));
        assert!(hangs(open(1, 1)) && hangs(open(2, 0)) && hangs(open(3, 0)));
        let table = shown(&[open(3, 0)], 200_000);
        let row: Vec<&str> = table.lines().nth(1).unwrap().split('\t').map(str::trim).collect();
        assert_eq!(row, ["t", "0", "3", "0", "-1", "4", "60000", "2", ""]);
    }
}
