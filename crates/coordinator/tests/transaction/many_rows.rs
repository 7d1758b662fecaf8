//! A request with very many rows costs what its rows say, not that times what the transaction is made of.

use ottla_coordinator::transaction::{Command, Reply, TransactionVersion};
use ottla_protocol::Refusal;
use ottla_protocol::messages::InitProducerIdRequest;
use ottla_protocol::messages::add_partitions_to_txn::{
    AddPartitionsToTxnTopic, AddPartitionsToTxnTransaction,
};

use crate::world::{Happened, World};

const PARTITIONS: i32 = 5_000;

fn ask(world: &mut World, verify_only: bool, rows: Vec<Vec<i32>>) -> Vec<Vec<i16>> {
    let topic = |partitions| AddPartitionsToTxnTopic { name: "t".to_owned(), partitions };
    let asked = AddPartitionsToTxnTransaction {
        transactional_id: "id".to_owned(),
        producer_id: 7,
        producer_epoch: 0,
        verify_only,
        topics: rows.into_iter().map(topic).collect(),
    };
    let (_, happened) = world.command(Command::AddPartitions(TransactionVersion::V2, asked));
    let answer = happened.into_iter().find_map(|happened| match happened {
        Happened::Replied(_, Reply::AddPartitions(answer)) => Some(answer),
        _ => None,
    });
    let rows = answer.expect("an answer").topic_results.into_iter();
    rows.map(|row| row.results_by_partition.iter().map(|row| row.partition_error_code).collect()).collect()
}

/// Were the transaction looked through for each row, this would take minutes.
#[test]
fn many_rows_about_a_large_transaction_are_answered_soon() {
    let mut world = World::default();
    world.topic("t", PARTITIONS + 1, 1);
    let request = InitProducerIdRequest {
        transactional_id: Some("id".to_owned()),
        transaction_timeout_ms: 60_000,
        producer_id: -1,
        producer_epoch: -1,
        ..Default::default()
    };
    world.command(Command::InitProducerId(request));
    world.command(Command::ProducerIdGranted(Ok(ottla_protocol::ProducerId(7))));
    let added = ask(&mut world, false, vec![(0..PARTITIONS).collect()]);
    assert!(added[0].iter().all(|code| *code == 0));
    let mut rows = vec![Vec::new(); 200_000];
    rows.push(vec![3, PARTITIONS]);
    rows.push(vec![4]);
    let verified = ask(&mut world, true, rows);
    let abortable = Refusal::TransactionAbortable.code();
    assert_eq!(verified[200_000..], [vec![0, abortable], vec![0]]);
    assert!(verified[..200_000].iter().all(Vec::is_empty));
}
