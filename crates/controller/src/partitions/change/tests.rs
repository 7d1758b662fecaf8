//! One rule each of building a change.

use std::sync::Arc;

use ottla_metadata::config::Settings;
use ottla_metadata::features::ELR_VERSION;
use ottla_metadata::{Image, directory};
use ottla_protocol::records::metadata::PartitionRecord;

use super::*;

fn view(level: i16, elr: i16) -> View {
    let features = [(ELR_VERSION.to_owned(), elr)].into_iter().filter(|(_, level)| *level > 0).collect();
    let image = Image {
        metadata_version: MetadataVersion::from_level(level),
        features: Arc::new(features),
        ..Default::default()
    };
    View { image, settings: Settings::default() }
}

fn partition(leader: i32, isr: &[i32]) -> PartitionRecord {
    PartitionRecord {
        replicas: vec![1, 2, 3],
        isr: isr.to_vec(),
        leader,
        directories: vec![Uuid([1; 16]), Uuid([2; 16]), Uuid([3; 16])],
        leader_epoch: 1,
        partition_epoch: 1,
        ..Default::default()
    }
}

/// Builds a change where only the brokers of `alive` may lead.
fn build(
    view: &View,
    record: &PartitionRecord,
    alive: &[i32],
    set: impl FnOnce(&mut Change<'_>),
) -> Option<PartitionChangeRecord> {
    let partition = Partition::from_record(record).unwrap();
    let around = Surroundings {
        view,
        min_isr: 2,
        acceptable: &|broker| alive.contains(&broker.0),
        default_directory: &|_| directory::UNASSIGNED,
    };
    let id = PartitionId { topic: Uuid([9; 16]), index: 0 };
    let mut change = Change::new(id, &partition, &around);
    set(&mut change);
    change.build()
}

fn nodes(ids: &[i32]) -> Vec<NodeId> {
    ids.iter().map(|id| NodeId(*id)).collect()
}

#[test]
fn nothing_to_change_is_no_record() {
    assert_eq!(build(&view(30, 0), &partition(1, &[1, 2]), &[1, 2, 3], |_| ()), None);
}

#[test]
fn the_leader_stays_while_it_may() {
    let record = build(&view(30, 0), &partition(2, &[1, 2]), &[1, 2, 3], |c| c.isr = nodes(&[2])).unwrap();
    assert_eq!((record.leader, record.isr), (NO_LEADER_CHANGE, Some(vec![2])));
    let preferred =
        build(&view(30, 0), &partition(2, &[1, 2]), &[1, 2, 3], |c| c.election = Election::Preferred);
    assert_eq!(preferred.unwrap().leader, 1);
}

#[test]
fn below_3_6_a_shrinking_isr_bumps_the_leader_epoch() {
    let shrink = |c: &mut Change<'_>| c.isr = nodes(&[1]);
    assert_eq!(build(&view(11, 0), &partition(1, &[1, 2]), &[1, 2], shrink).unwrap().leader, 1);
    assert_eq!(
        build(&view(12, 0), &partition(1, &[1, 2]), &[1, 2], shrink).unwrap().leader,
        NO_LEADER_CHANGE
    );
    let grow = |c: &mut Change<'_>| c.isr = nodes(&[1, 2, 3]);
    assert_eq!(
        build(&view(11, 0), &partition(1, &[1, 2]), &[1, 2, 3], grow).unwrap().leader,
        NO_LEADER_CHANGE
    );
}

#[test]
fn the_last_in_sync_replica_stays_without_elr() {
    let record = build(&view(30, 0), &partition(1, &[1]), &[2, 3], |c| c.isr.clear()).unwrap();
    assert_eq!((record.leader, record.isr), (-1, None));
    let record = build(&view(30, 1), &partition(1, &[1]), &[2, 3], |c| c.isr.clear()).unwrap();
    assert_eq!(
        (record.leader, record.isr, record.eligible_leader_replicas),
        (-1, Some(vec![]), Some(vec![1]))
    );
    assert_eq!(record.last_known_elr, Some(vec![1]));
}

#[test]
fn an_eligible_replica_leads_alone() {
    let mut gone = partition(-1, &[]);
    gone.eligible_leader_replicas = Some(vec![2, 3]);
    gone.last_known_elr = Some(vec![1]);
    let record = build(&view(30, 1), &gone, &[3], |_| ()).unwrap();
    assert_eq!((record.leader, record.isr), (3, Some(vec![3])));
    assert_eq!(record.eligible_leader_replicas, Some(vec![2]));
    assert_eq!((record.last_known_elr, record.leader_recovery_state), (Some(vec![]), -1));
}

#[test]
fn the_last_leader_may_come_back_when_nobody_else_can() {
    let mut gone = partition(-1, &[]);
    gone.last_known_elr = Some(vec![2]);
    let record = build(&view(30, 1), &gone, &[1, 2, 3], |_| ()).unwrap();
    assert_eq!((record.leader, record.isr, record.leader_recovery_state), (2, Some(vec![2]), 1));
    assert_eq!(build(&view(30, 1), &gone, &[1, 3], |_| ()), None);
}

#[test]
fn an_unclean_leader_is_alone_and_recovers() {
    let unclean = |c: &mut Change<'_>| c.election = Election::Unclean;
    let record = build(&view(30, 0), &partition(-1, &[1]), &[3], unclean).unwrap();
    assert_eq!((record.leader, record.isr, record.leader_recovery_state), (3, Some(vec![3]), 1));
    assert_eq!(build(&view(30, 0), &partition(-1, &[1]), &[3], |_| ()), None);
}

#[test]
fn replicas_that_leave_are_fenced_by_an_epoch() {
    let record = build(&view(30, 0), &partition(1, &[1, 2]), &[1, 2, 3], |c| {
        c.replicas = nodes(&[1, 2]);
    });
    let record = record.unwrap();
    assert_eq!((record.leader, record.replicas), (1, Some(vec![1, 2])));
    assert_eq!(record.directories, Some(vec![Uuid([1; 16]), Uuid([2; 16])]));
}

#[test]
fn a_reassignment_waits_for_what_it_adds_and_for_what_stays() {
    let mut moving = partition(1, &[1, 2]);
    moving.replicas = vec![4, 1, 2];
    moving.adding_replicas = vec![4];
    moving.removing_replicas = vec![2];
    assert_eq!(build(&view(30, 0), &moving, &[1, 2, 4], |_| ()), None);
    let done = build(&view(30, 0), &moving, &[1, 2, 4], |c| c.isr = nodes(&[1, 2, 4])).unwrap();
    assert_eq!((done.replicas, done.isr, done.leader), (Some(vec![4, 1]), Some(vec![1, 4]), 1));
    // KAFKA-19975: where the partition shrinks, all that stay have to be in sync.
    let mut shrinking = partition(1, &[1]);
    shrinking.removing_replicas = vec![1];
    assert_eq!(
        build(&view(30, 0), &shrinking, &[1, 2, 3], |c| c.isr = nodes(&[1, 2])).unwrap().replicas,
        None
    );
    let done = build(&view(30, 0), &shrinking, &[1, 2, 3], |c| c.isr = nodes(&[1, 2, 3])).unwrap();
    assert_eq!((done.leader, done.replicas), (2, Some(vec![2, 3])));
}

#[test]
fn a_crashed_replica_is_not_eligible() {
    let record = build(&view(30, 1), &partition(1, &[1, 2]), &[1], |c| {
        c.isr = nodes(&[1]);
        c.unclean_shutdown = Some(NodeId(2));
    });
    assert_eq!(record.unwrap().eligible_leader_replicas, None);
    let record = build(&view(30, 1), &partition(1, &[1, 2]), &[1], |c| c.isr = nodes(&[1]));
    assert_eq!(record.unwrap().eligible_leader_replicas, Some(vec![2]));
}
