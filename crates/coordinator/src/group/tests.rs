//! What takes more than one decision, and what is asked of all groups.

use bytes::Bytes;
use ottla_metadata::Image;
use ottla_metadata::config::Settings;
use ottla_protocol::messages::join_group::JoinGroupRequestProtocol;
use ottla_protocol::messages::offset_commit::{OffsetCommitRequestPartition, OffsetCommitRequestTopic};
use ottla_protocol::messages::{
    ConsumerGroupHeartbeatRequest, JoinGroupRequest, ListGroupsRequest, OffsetCommitRequest, SyncGroupRequest,
};
use ottla_protocol::{Now, Offset, Refusal, Ticket, TopicId, Uuid};

use super::{Caller, Command, Decided, Groups, Record, Reply};
use crate::decider::{Around, Decider, Written};

struct World {
    groups: Groups,
    image: Image,
    now: Now,
    log: Vec<Record>,
    batches: Vec<usize>,
    tickets: u64,
    replies: Vec<(u64, Reply)>,
    loses: bool,
}

impl World {
    fn new() -> Self {
        let mut world = Self {
            groups: Groups::new(Settings::default(), 3),
            image: Image::default(),
            now: Now { monotonic_us: 9_000_000, wall_ms: 1_000_000 },
            log: Vec::new(),
            batches: Vec::new(),
            tickets: 0,
            replies: Vec::new(),
            loses: false,
        };
        world.groups.loaded(Around { now: world.now, image: &world.image });
        world
    }

    /// Asks, and gives the replies to all that were answered by it.
    fn ask(&mut self, command: Command) -> Vec<(u64, Reply)> {
        self.tickets += 1;
        let image = self.image.clone();
        let around = Around { now: self.now, image: &image };
        let ticket = Ticket { asker: 0, question: self.tickets };
        let mut next = Some(self.groups.decide(around, ticket, command));
        while let Some(decided) = next {
            self.carry_out(around, decided);
            let due = self.groups.deadline().is_some_and(|deadline| self.now.reached(deadline));
            next = if due { self.groups.tick(around) } else { None };
        }
        std::mem::take(&mut self.replies)
    }

    fn carry_out(&mut self, around: Around<'_>, decided: Decided) {
        let told = decided.replies.into_iter().map(|(ticket, reply)| (ticket.question, reply));
        if self.loses && !decided.records.is_empty() {
            let refusal = Refusal::CoordinatorNotAvailable;
            self.replies.extend(told.map(|(question, _)| (question, Reply::Refused(refusal))));
            let others = self.groups.unwritten(around, decided.records, refusal);
            self.replies.extend(others.into_iter().map(|(ticket, reply)| (ticket.question, reply)));
            return;
        }
        self.replies.extend(told);
        if !decided.records.is_empty() {
            self.batches.push(decided.records.len());
        }
        for record in decided.records {
            let offset = Offset(i64::try_from(self.log.len()).unwrap());
            self.log.push(record.clone());
            let written = Written { offset, timestamp_ms: self.now.wall_ms, transaction: None };
            self.groups.apply(written, record);
        }
    }

    /// Lets time pass, and gives the replies of that time.
    fn wait(&mut self, ms: i64) -> Vec<(u64, Reply)> {
        let mut replies = Vec::new();
        for _ in 0..ms / 100 {
            self.now = Now { monotonic_us: self.now.monotonic_us + 100_000, wall_ms: self.now.wall_ms + 100 };
            replies.extend(self.ask(Command::List(ListGroupsRequest::default())));
        }
        replies.retain(|(_, reply)| !matches!(reply, Reply::List(_)));
        replies
    }

    fn consumer_heartbeat(&mut self, epoch: i32) {
        let joins = epoch == 0;
        let request = ConsumerGroupHeartbeatRequest {
            group_id: "g".to_owned(),
            member_id: "me".to_owned(),
            member_epoch: epoch,
            rebalance_timeout_ms: if joins { 60_000 } else { -1 },
            subscribed_topic_names: joins.then(|| vec!["t".to_owned()]),
            topic_partitions: joins.then(Vec::new),
            ..Default::default()
        };
        let replies = self.ask(Command::ConsumerHeartbeat(caller(), request));
        let [(_, Reply::ConsumerHeartbeat(response))] = &replies[..] else { panic!("{replies:?}") };
        assert_eq!((response.error_code, &response.error_message), (0, &None));
    }

    fn listed(&mut self) -> Vec<(String, String)> {
        let replies = self.ask(Command::List(ListGroupsRequest::default()));
        let [(_, Reply::List(groups))] = &replies[..] else { panic!("{replies:?}") };
        groups.iter().map(|group| (group.group_type.clone(), group.group_state.clone())).collect()
    }

    fn commit(&mut self, group: &str, topic: TopicId, partitions: i32) {
        for first in (0..partitions).step_by(500) {
            let partition = |partition_index| OffsetCommitRequestPartition {
                partition_index,
                committed_offset: 1,
                ..Default::default()
            };
            let last = partitions.min(first + 500);
            let request = OffsetCommitRequest {
                group_id: group.to_owned(),
                generation_id_or_member_epoch: -1,
                topics: vec![OffsetCommitRequestTopic {
                    name: "t".to_owned(),
                    topic_id: topic,
                    partitions: (first..last).map(partition).collect(),
                }],
                ..Default::default()
            };
            let replies = self.ask(Command::CommitOffsets(caller(), request));
            assert!(matches!(replies[..], [(_, Reply::CommitOffsets(_))]), "{replies:?}");
        }
    }
}

fn caller() -> Caller {
    Caller { client_id: "c".to_owned(), client_host: "/127.0.0.1".to_owned(), version: 9 }
}

fn join() -> Command {
    let protocol = JoinGroupRequestProtocol { name: "range".to_owned(), metadata: Bytes::new() };
    let request = JoinGroupRequest {
        group_id: "g".to_owned(),
        session_timeout_ms: 10_000,
        protocol_type: "consumer".to_owned(),
        protocols: vec![protocol],
        ..Default::default()
    };
    Command::Join(caller(), request)
}

#[test]
fn an_empty_consumer_group_makes_way_for_a_classic_one() {
    let mut world = World::new();
    world.consumer_heartbeat(0);
    world.consumer_heartbeat(-1);
    assert_eq!(world.listed(), [("consumer".to_owned(), "Empty".to_owned())]);
    world.loses = true;
    let replies = world.ask(join());
    assert!(matches!(replies[..], [(_, Reply::Refused(Refusal::CoordinatorNotAvailable))]), "{replies:?}");
    assert_eq!(world.listed(), [("consumer".to_owned(), "Empty".to_owned())], "nothing has happened");
    world.loses = false;
    let replies = world.ask(join());
    let [(_, Reply::Join(response))] = &replies[..] else { panic!("{replies:?}") };
    assert_eq!(response.error_code, Refusal::MemberIdRequired.code());
    assert_eq!(world.listed(), [("classic".to_owned(), "Empty".to_owned())]);
    let last = world.log.last().unwrap();
    assert!(matches!(last, Record::GroupMetadata(_, Some(_))), "{last:?}");
}

#[test]
fn an_empty_classic_group_makes_way_for_a_consumer_group() {
    let mut world = World::new();
    world.ask(join());
    world.consumer_heartbeat(0);
    assert_eq!(world.listed()[0].0, "consumer");
}

#[test]
fn a_group_with_many_offsets_is_deleted_bit_by_bit() {
    let mut world = World::new();
    world.commit("g", Uuid::ZERO, 2_500);
    world.commit("h", Uuid::ZERO, 1);
    world.batches.clear();
    let replies = world.ask(Command::Delete("g".to_owned()));
    assert!(matches!(replies[..], [(_, Reply::Done)]), "{replies:?}");
    assert_eq!(world.batches.iter().sum::<usize>(), 2_501);
    assert!(world.batches.iter().all(|records| *records <= 1_000), "{:?}", world.batches);
    assert_eq!(world.groups.offsets().len(), 1);
    assert_eq!(world.listed().len(), 1);
}

#[test]
fn the_offsets_of_a_deleted_topic_go_bit_by_bit() {
    let mut world = World::new();
    let (old, new) = (Uuid([1; 16]), Uuid([2; 16]));
    world.commit("g", old, 1_200);
    world.commit("h", old, 1_200);
    world.commit("i", new, 3);
    world.batches.clear();
    let replies = world.ask(Command::TopicsDeleted(vec![(old, "t".to_owned())]));
    assert!(matches!(replies[..], [(_, Reply::Done)]), "{replies:?}");
    assert_eq!(world.batches.iter().sum::<usize>(), 2_400);
    assert_eq!(world.groups.offsets().len(), 3, "the new topic of that name keeps its offsets");
}

/// A new member of a group, in a version that gives no id out first, with so many bytes of metadata.
fn loud(group: &str, frame: &Bytes) -> Command {
    speaking(group, None, &[frame])
}

/// The same with the metadata of several protocols, and perhaps a static name.
fn speaking(group: &str, instance_id: Option<&str>, metadata: &[&Bytes]) -> Command {
    let protocols = metadata.iter().zip(1..).map(|(metadata, number)| JoinGroupRequestProtocol {
        name: format!("protocol {number}"),
        metadata: Bytes::clone(metadata),
    });
    let request = JoinGroupRequest {
        group_id: group.to_owned(),
        group_instance_id: instance_id.map(str::to_owned),
        session_timeout_ms: 10_000,
        rebalance_timeout_ms: 10_000,
        protocol_type: "connect".to_owned(),
        protocols: protocols.collect(),
        ..Default::default()
    };
    let version = if instance_id.is_some() { 9 } else { 3 };
    Command::Join(Caller { version, ..caller() }, request)
}

/// The same member, on another host.
fn from(host: usize, command: Command) -> Command {
    let Command::Join(caller, request) = command else { panic!("{command:?}") };
    Command::Join(Caller { client_host: format!("/127.0.0.{host}"), ..caller }, request)
}

fn is_sent_back(replies: &[(u64, Reply)]) -> bool {
    matches!(replies, [(_, Reply::Refused(Refusal::CoordinatorNotAvailable))])
}

#[test]
fn members_that_are_in_no_record_are_bounded_in_bytes_and_expire() {
    let mut world = World::new();
    let frame = Bytes::from(vec![7; 1_000_000]);
    let taken = (0..100)
        .take_while(|number| !is_sent_back(&world.ask(from(*number, loud(&format!("g{number}"), &frame)))));
    let taken = taken.count();
    assert!((10..=16).contains(&taken), "{taken} MB");
    assert!(world.groups.unsettled.total() <= world.groups.settings.unsettled_bytes_max(&world.image));
    let other = from(100, loud("g0", &frame));
    assert!(is_sent_back(&world.ask(other)), "not into a group that there is, either");
    assert!(!is_sent_back(&world.ask(join())), "there is room for somebody who says less");
    // Nobody takes part in the rebalances: a session's time after them everything is gone.
    world.wait(100_000);
    assert_eq!(world.groups.unsettled.total(), 0);
    assert!(!is_sent_back(&world.ask(loud("g", &frame))));
}

#[test]
fn what_a_record_could_not_hold_is_no_member() {
    let mut world = World::new();
    let replies = world.ask(loud("g", &Bytes::from(vec![7; 2_000_000])));
    let [(_, Reply::Join(response))] = &replies[..] else { panic!("{replies:?}") };
    assert_eq!(response.error_code, Refusal::UnknownServerError.code());
    assert_eq!(world.groups.unsettled.total(), 0);
}

#[test]
fn a_record_holds_one_of_the_protocols_so_all_of_them_may_be_larger() {
    let mut world = World::new();
    let frame = Bytes::from(vec![7; 600_000]);
    let replies = world.ask(speaking("g", None, &[&frame, &frame]));
    assert!(replies.is_empty(), "it waits for others: {replies:?}");
    assert!(world.groups.unsettled.total() > 1_200_000);
    // What there can never be room for is not sent back to come again.
    let replies = world.ask(speaking("h", None, &[&frame; 30]));
    let [(_, Reply::Join(response))] = &replies[..] else { panic!("{replies:?}") };
    assert_eq!(response.error_code, Refusal::UnknownServerError.code());
}

#[test]
fn what_the_record_does_not_have_of_a_member_is_not_settled() {
    let mut world = World::new();
    let (small, frame) = (Bytes::from(vec![7; 300_000]), Bytes::from(vec![7; 600_000]));
    world.ask(speaking("g", Some("me"), &[&small, &frame]));
    let late = world.wait(4_000);
    let [(_, Reply::Join(joined))] = &late[..] else { panic!("{late:?}") };
    let request = SyncGroupRequest {
        group_id: "g".to_owned(),
        generation_id: joined.generation_id,
        member_id: joined.member_id.clone(),
        ..Default::default()
    };
    assert_eq!(joined.protocol_name.as_deref(), Some("protocol 1"));
    world.ask(Command::Sync(caller(), request));
    assert_eq!(world.groups.state("g"), Some("Stable"));
    let unsettled = world.groups.unsettled.total();
    assert!((600_000..601_000).contains(&unsettled), "{unsettled}: the protocol that was not chosen");
    for host in 1..30 {
        while !is_sent_back(&world.ask(from(host, loud("h", &frame)))) {}
    }
    // Who comes back with its static name alone says what is known.
    let replies = world.ask(speaking("g", Some("me"), &[&small, &frame]));
    let [(_, Reply::Join(back))] = &replies[..] else { panic!("{replies:?}") };
    assert_eq!(back.error_code, 0);
}

#[test]
fn who_says_little_finds_room_where_others_have_taken_much() {
    let mut world = World::new();
    for bytes in [1_000_000, 100_000, 20_000] {
        let frame = Bytes::from(vec![7; bytes]);
        for host in 1..5 {
            while !is_sent_back(&world.ask(from(host, loud("loud", &frame)))) {}
        }
    }
    let little = Bytes::from(vec![7; 10_000]);
    for number in 0..100 {
        assert!(!is_sent_back(&world.ask(from(5, loud(&format!("g{number}"), &little)))), "{number}");
    }
    for host in 1..7 {
        while !is_sent_back(&world.ask(from(host, loud("loud", &little)))) {}
    }
    assert!(world.groups.unsettled.total() <= world.groups.settings.unsettled_bytes_max(&world.image));
}

#[test]
fn one_host_leaves_three_quarters_to_others_whatever_groups_it_fills() {
    let mut world = World::new();
    let all = world.groups.settings.unsettled_bytes_max(&world.image);
    let (large, little) = (Bytes::from(vec![7; 500_000]), Bytes::from(vec![7; 5_000]));
    for number in 0.. {
        let group = format!("g{number}");
        if is_sent_back(&world.ask(loud(&group, &large))) && is_sent_back(&world.ask(loud(&group, &little))) {
            break;
        }
    }
    let taken = world.groups.unsettled.total();
    assert!((all / 5..=all / 4).contains(&taken), "{taken} of {all}");
    // Neither ids that are given out nor a group of its own help it on.
    while !is_sent_back(&world.ask(join())) {}
    assert!(world.groups.unsettled.total() <= all / 4);
    for host in 2..4 {
        assert!(!is_sent_back(&world.ask(from(host, loud("g0", &large)))), "others come in, there too");
    }
    let mine = world.groups.unsettled.of_host("/127.0.0.1");
    assert!(mine <= all / 4);
    world.wait(100_000);
    assert_eq!((world.groups.unsettled.total(), world.groups.unsettled.of_host("/127.0.0.1")), (0, 0));
    assert!(!is_sent_back(&world.ask(loud("g", &large))));
}

#[test]
fn a_member_does_not_hold_fast_the_frame_that_it_came_in() {
    let mut world = World::new();
    let frame = Bytes::from(vec![7; 1_000_000]);
    world.ask(loud("g", &frame.slice(..10)));
    assert!(frame.is_unique());
}
