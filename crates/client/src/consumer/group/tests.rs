//! Members of groups against scripted coordinators: what they ask, in which order, and what becomes of their partitions.

use ottla_protocol::batch::{BatchBuilder, BatchFields, RecordParts};
use ottla_protocol::compression::Codecs;
use ottla_protocol::messages::consumer_group_heartbeat::{Assignment, ResponseTopicPartitions};
use ottla_protocol::messages::join_group::JoinGroupResponseMember;
use ottla_protocol::messages::offset_commit::{OffsetCommitResponsePartition, OffsetCommitResponseTopic};
use ottla_protocol::messages::offset_fetch::{OffsetFetchResponsePartition, OffsetFetchResponseTopic};
use ottla_protocol::messages::{
    ConsumerGroupHeartbeatRequest, ConsumerGroupHeartbeatResponse, FindCoordinatorRequest, HeartbeatRequest,
    HeartbeatResponse, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest, LeaveGroupResponse,
    OffsetCommitRequest, OffsetCommitResponse, OffsetFetchRequest, OffsetFetchResponse, SyncGroupRequest,
    SyncGroupResponse,
};
use ottla_protocol::{ApiKey, Refusal};

use super::*;
use crate::assignor::{self, Assignor, Me};
use crate::consumer::ConsumerSettings;
use crate::testing::{World, properties};

struct Bench {
    world: World,
    consumer: Consumer,
}

fn t(partition: i32) -> TopicPartition {
    TopicPartition::new("t", partition)
}

fn list(partitions: &[i32]) -> Vec<TopicPartition> {
    partitions.iter().map(|partition| t(*partition)).collect()
}

impl Bench {
    /// A consumer in group `g`; topic `t` has four partitions of three records each.
    fn new(pairs: &[(&str, &str)]) -> Self {
        let mut all = vec![("group.id", "g"), ("auto.offset.reset", "earliest")];
        all.extend_from_slice(pairs);
        let settings = ConsumerSettings::from_properties(&properties(&all)).unwrap();
        let mut world = World::new(&all, &[("t", 4), ("u", 2)]);
        for partition in 0..4 {
            let mut builder = BatchBuilder::new();
            for _ in 0..3 {
                builder.append(&RecordParts { value: Some(b"v"), ..RecordParts::default() }).unwrap();
            }
            world.log("t", partition).push(builder.finish(&BatchFields::default(), &mut Codecs::new()));
        }
        Self { world, consumer: Consumer::new(settings, 3) }
    }

    fn subscribe(&mut self, topics: &[&str]) {
        let topics = topics.iter().map(|topic| Arc::from(*topic)).collect();
        let subscription = Subscription::Topics(topics);
        self.consumer.subscribe(self.world.now, &mut self.world.cluster, subscription);
    }

    /// Lets happen what needs neither time nor the owner. Fetches go round for ever, so there is an end.
    fn settle(&mut self) {
        for _ in 0..30 {
            for done in self.world.carry_out() {
                self.consumer.done(self.world.now, &mut self.world.cluster, done.ticket, done.outcome);
            }
            self.consumer.step(self.world.now, &mut self.world.cluster);
            self.world.deliver();
        }
    }

    /// The owner is here for a while.
    fn attend(&mut self) {
        for _ in 0..4 {
            self.consumer.attend(self.world.now, &mut self.world.cluster);
            self.settle();
        }
    }

    fn pass(&mut self, ms: u64) {
        self.world.pass(ms);
        self.consumer.step(self.world.now, &mut self.world.cluster);
        self.settle();
    }

    fn owned(&self) -> Vec<TopicPartition> {
        self.consumer.assignment().cloned().collect()
    }

    fn read(&mut self) -> usize {
        let polled = self.consumer.poll().unwrap();
        self.settle();
        polled.iter().map(|polled| polled.records.len()).sum()
    }

    fn joins(
        &mut self,
        assignor: Assignor,
        generation: i32,
        leader: &str,
        members: &[(&str, &[TopicPartition])],
    ) {
        let member = |(id, owned): &(&str, &[TopicPartition])| {
            let topics: BTreeSet<Arc<str>> = ["t".into()].into();
            let me = Me { topics: &topics, owned, generation: generation - 1, rack: None, last: None };
            JoinGroupResponseMember {
                member_id: (*id).to_owned(),
                metadata: assignor.subscription(&me),
                ..JoinGroupResponseMember::default()
            }
        };
        self.world.script::<JoinGroupRequest>(JoinGroupResponse {
            generation_id: generation,
            protocol_type: Some("consumer".into()),
            protocol_name: Some(assignor.name().into()),
            leader: leader.to_owned(),
            member_id: "me".into(),
            members: members.iter().map(member).collect(),
            ..JoinGroupResponse::default()
        });
    }

    fn syncs(&mut self, partitions: &[i32]) {
        let assignment = assignor::encode(&list(partitions));
        self.world.script::<SyncGroupRequest>(SyncGroupResponse { assignment, ..Default::default() });
    }

    fn beats(&mut self, refusal: Option<Refusal>) {
        let error_code = refusal.map_or(0, Refusal::code);
        self.world.script::<HeartbeatRequest>(HeartbeatResponse { error_code, ..Default::default() });
    }

    fn stands(&mut self, offsets: &[(i32, i64)]) {
        let row = |(partition_index, committed_offset): &(i32, i64)| OffsetFetchResponsePartition {
            partition_index: *partition_index,
            committed_offset: *committed_offset,
            ..OffsetFetchResponsePartition::default()
        };
        let partitions = offsets.iter().map(row).collect();
        let topics = vec![OffsetFetchResponseTopic { name: "t".into(), partitions }];
        self.world.script::<OffsetFetchRequest>(OffsetFetchResponse { topics, ..Default::default() });
    }

    /// The answer to a commit of these partitions.
    fn commits(&mut self, partitions: &[i32], refusal: Option<Refusal>) {
        let row = |partition_index: &i32| OffsetCommitResponsePartition {
            partition_index: *partition_index,
            error_code: refusal.map_or(0, Refusal::code),
        };
        let topic = OffsetCommitResponseTopic {
            name: "t".into(),
            topic_id: World::topic_id("t"),
            partitions: partitions.iter().map(row).collect(),
        };
        let response = OffsetCommitResponse { topics: vec![topic], ..Default::default() };
        self.world.script::<OffsetCommitRequest>(response);
    }

    /// A follower of an eager group that has these partitions, all from the beginning.
    fn follows(&mut self, partitions: &[i32]) {
        self.joins(Assignor::Range, 5, "leader", &[]);
        self.syncs(partitions);
        let offsets: Vec<_> = partitions.iter().map(|partition| (*partition, -1)).collect();
        self.stands(&offsets);
        self.subscribe(&["t"]);
        self.attend();
        assert_eq!(self.owned(), list(partitions));
    }
}

#[test]
fn a_member_takes_its_id_leads_divides_and_begins_where_the_group_stands() {
    let mut bench = Bench::new(&[]);
    bench.world.script::<JoinGroupRequest>(JoinGroupResponse {
        error_code: Refusal::MemberIdRequired.code(),
        member_id: "me".into(),
        ..JoinGroupResponse::default()
    });
    bench.joins(Assignor::Range, 1, "me", &[("me", &[]), ("other", &[])]);
    bench.syncs(&[0, 1]);
    bench.stands(&[(0, 2), (1, -1)]);
    bench.subscribe(&["t"]);
    bench.attend();
    assert_eq!(bench.owned(), list(&[0, 1]));
    assert_eq!(
        (bench.consumer.position(&t(0)), bench.consumer.position(&t(1))),
        (Some(2), Some(0)),
        "the group stands in the first, the second begins by the policy"
    );
    let joins = bench.world.heard::<JoinGroupRequest>();
    assert_eq!((joins[0].member_id.as_str(), joins[1].member_id.as_str()), ("", "me"));
    let names: Vec<&str> = joins[1].protocols.iter().map(|protocol| protocol.name.as_str()).collect();
    assert_eq!(names, ["range", "cooperative-sticky"]);
    let sync = &bench.world.heard::<SyncGroupRequest>()[0];
    let of = |id: &str| sync.assignments.iter().find(|row| row.member_id == id).unwrap();
    assert_eq!(assignor::decode(&of("me").assignment).unwrap(), list(&[0, 1]));
    assert_eq!(assignor::decode(&of("other").assignment).unwrap(), list(&[2, 3]));
    assert_eq!(bench.read(), 4);
    let member = bench.consumer.group_metadata().unwrap().member;
    assert_eq!((member.generation, member.member_id.as_str()), (1, "me"));
}

#[test]
fn positions_are_committed_now_and_then_and_only_when_they_have_changed() {
    let mut bench = Bench::new(&[("auto.commit.interval.ms", "1000")]);
    bench.follows(&[0]);
    assert_eq!(bench.read(), 3);
    bench.attend();
    assert!(bench.world.heard::<OffsetCommitRequest>().is_empty());
    bench.commits(&[0], None);
    bench.pass(1001);
    assert!(bench.world.heard::<OffsetCommitRequest>().is_empty(), "the owner may still be reading");
    bench.attend();
    let commits = bench.world.heard::<OffsetCommitRequest>();
    assert_eq!(commits.len(), 1);
    assert_eq!((commits[0].generation_id_or_member_epoch, commits[0].member_id.as_str()), (5, "me"));
    assert_eq!(commits[0].topics[0].partitions[0].committed_offset, 3);
    bench.pass(1001);
    bench.attend();
    assert_eq!(bench.world.heard::<OffsetCommitRequest>().len(), 1);
}

#[test]
fn an_eager_member_commits_and_lets_go_before_it_joins_again() {
    let mut bench = Bench::new(&[]);
    bench.follows(&[0, 1]);
    bench.consumer.hooks(Hooks::Owner);
    assert_eq!(bench.read(), 6);
    bench.beats(Some(Refusal::RebalanceInProgress));
    bench.pass(3001);
    bench.settle();
    assert_eq!(bench.world.heard::<JoinGroupRequest>().len(), 1, "the owner has not polled");
    bench.commits(&[0, 1], None);
    bench.attend();
    assert_eq!(bench.consumer.rebalance(), Some(&Rebalance::Revoked(list(&[0, 1]))));
    assert_eq!(bench.world.asked().last(), Some(&ApiKey::OffsetCommit));
    assert_eq!(bench.read(), 0);
    bench.joins(Assignor::Range, 6, "leader", &[]);
    bench.syncs(&[2]);
    bench.stands(&[(2, 1)]);
    bench.consumer.rebalanced(bench.world.now, &mut bench.world.cluster);
    bench.attend();
    assert_eq!(bench.consumer.rebalance(), Some(&Rebalance::Assigned(list(&[2]))));
    assert_eq!(bench.read(), 0, "nothing is read before the owner has answered");
    bench.consumer.rebalanced(bench.world.now, &mut bench.world.cluster);
    bench.attend();
    assert_eq!((bench.owned(), bench.read()), (list(&[2]), 2));
}

#[test]
fn a_cooperative_member_lets_go_of_what_it_loses_and_joins_once_more() {
    let mut bench = Bench::new(&[("partition.assignment.strategy", "cooperative-sticky")]);
    bench.joins(Assignor::CooperativeSticky, 1, "leader", &[]);
    bench.syncs(&[0, 1, 2]);
    bench.stands(&[(0, -1), (1, -1), (2, -1)]);
    bench.subscribe(&["t"]);
    bench.attend();
    assert_eq!(bench.read(), 9);
    bench.beats(Some(Refusal::RebalanceInProgress));
    bench.pass(3001);
    bench.consumer.hooks(Hooks::Owner);
    bench.joins(Assignor::CooperativeSticky, 2, "leader", &[]);
    bench.syncs(&[0, 1]);
    bench.commits(&[2], None);
    bench.attend();
    let join = &bench.world.heard::<JoinGroupRequest>()[1];
    let me = assignor::Member::read("me".into(), None, &join.protocols[0].metadata).unwrap();
    assert_eq!((me.owned, me.generation), (list(&[0, 1, 2]), Some(1)), "nothing was let go of");
    assert_eq!(bench.consumer.rebalance(), Some(&Rebalance::Revoked(list(&[2]))));
    assert_eq!(bench.world.heard::<OffsetCommitRequest>()[0].topics[0].partitions.len(), 1);
    bench.joins(Assignor::CooperativeSticky, 3, "leader", &[]);
    bench.syncs(&[0, 1]);
    for _ in 0..4 {
        bench.consumer.rebalanced(bench.world.now, &mut bench.world.cluster);
        bench.attend();
    }
    assert_eq!(bench.world.heard::<JoinGroupRequest>().len(), 3, "so that others get it");
    assert_eq!((bench.owned(), bench.consumer.position(&t(1))), (list(&[0, 1]), Some(3)));
    assert_eq!(bench.world.heard::<OffsetFetchRequest>().len(), 1, "what stays is not looked up again");
}

#[test]
fn a_member_that_was_thrown_out_has_lost_everything_and_begins_anew() {
    for refusal in [Refusal::UnknownMemberId, Refusal::IllegalGeneration] {
        let mut bench = Bench::new(&[]);
        bench.follows(&[0]);
        bench.consumer.hooks(Hooks::Owner);
        assert_eq!(bench.read(), 3);
        bench.beats(Some(refusal));
        bench.pass(3001);
        bench.attend();
        assert_eq!(bench.consumer.rebalance(), Some(&Rebalance::Lost(list(&[0]))));
        assert!(bench.world.heard::<OffsetCommitRequest>().is_empty(), "it has nothing to say there");
        bench.consumer.rebalanced(bench.world.now, &mut bench.world.cluster);
        bench.attend();
        let joins = bench.world.heard::<JoinGroupRequest>();
        let id = if refusal == Refusal::UnknownMemberId { "" } else { "me" };
        assert_eq!(joins[1].member_id, id);
        assert_eq!(bench.owned(), []);
    }
}

#[test]
fn who_does_not_poll_leaves_and_comes_back_with_the_next_poll() {
    let mut bench = Bench::new(&[("max.poll.interval.ms", "10000")]);
    bench.follows(&[0]);
    for _ in 0..3 {
        bench.beats(None);
        bench.pass(3001);
    }
    assert!(bench.world.heard::<LeaveGroupRequest>().is_empty());
    bench.world.script::<LeaveGroupRequest>(LeaveGroupResponse::default());
    bench.pass(3001);
    assert_eq!(bench.world.heard::<LeaveGroupRequest>()[0].member_id, "me");
    let beats = bench.world.heard::<HeartbeatRequest>().len();
    bench.pass(9001);
    assert_eq!(bench.world.heard::<HeartbeatRequest>().len(), beats);
    bench.joins(Assignor::Range, 9, "leader", &[]);
    bench.syncs(&[3]);
    bench.stands(&[(3, -1)]);
    bench.attend();
    assert_eq!(bench.owned(), list(&[3]));
    assert_eq!(bench.world.heard::<JoinGroupRequest>()[1].member_id, "");
}

#[test]
fn a_fenced_static_member_is_told_at_every_poll() {
    let mut bench = Bench::new(&[("group.instance.id", "i")]);
    bench.follows(&[0]);
    assert_eq!(bench.read(), 3);
    bench.beats(Some(Refusal::FencedInstanceId));
    bench.pass(3001);
    for _ in 0..2 {
        bench.attend();
        let error = bench.consumer.poll().unwrap_err();
        assert!(
            matches!(&error, ConsumeError::Group(error) if error.refusal() == Some(Refusal::FencedInstanceId)),
            "{error}"
        );
    }
}

#[test]
fn a_moved_coordinator_is_found_and_the_membership_goes_on() {
    let mut bench = Bench::new(&[]);
    bench.follows(&[0]);
    bench.beats(Some(Refusal::NotCoordinator));
    bench.pass(3001);
    bench.beats(None);
    bench.pass(200);
    assert_eq!(bench.world.heard::<FindCoordinatorRequest>().len(), 2);
    assert_eq!(bench.world.heard::<HeartbeatRequest>().len(), 2);
    assert_eq!(bench.world.heard::<JoinGroupRequest>().len(), 1);
    assert_eq!(bench.owned(), list(&[0]));
}

#[test]
fn who_closes_while_the_join_is_not_answered_leaves_under_the_id_that_the_group_waits_for() {
    let mut bench = Bench::new(&[]);
    bench.world.script::<JoinGroupRequest>(JoinGroupResponse {
        error_code: Refusal::MemberIdRequired.code(),
        member_id: "me".into(),
        ..JoinGroupResponse::default()
    });
    bench.subscribe(&["t"]);
    bench.attend();
    assert_eq!(bench.world.heard::<JoinGroupRequest>().len(), 2, "the second one waits");
    bench.consumer.close(bench.world.now, &mut bench.world.cluster);
    bench.attend();
    assert!(!bench.consumer.is_closed(), "the answer comes behind that to the join");
    let left: Vec<String> =
        bench.world.heard::<LeaveGroupRequest>().into_iter().map(|request| request.member_id).collect();
    assert_eq!(left, ["me"]);
}

#[test]
fn who_closes_commits_and_leaves_but_a_static_member_stays() {
    for (instance, leaves) in [(None, 1), (Some("i"), 0)] {
        let mut pairs = vec![];
        pairs.extend(instance.map(|id| ("group.instance.id", id)));
        let mut bench = Bench::new(&pairs);
        bench.follows(&[0]);
        assert_eq!(bench.read(), 3);
        bench.commits(&[0], None);
        bench.world.script::<LeaveGroupRequest>(LeaveGroupResponse::default());
        bench.consumer.close(bench.world.now, &mut bench.world.cluster);
        bench.settle();
        bench.attend();
        assert!(bench.consumer.is_closed());
        assert_eq!(bench.world.heard::<LeaveGroupRequest>().len(), leaves);
        assert_eq!(bench.world.heard::<OffsetCommitRequest>()[0].topics[0].partitions[0].committed_offset, 3);
    }
}

#[test]
fn a_commit_that_the_group_refuses_is_told_and_costs_the_membership() {
    let mut bench = Bench::new(&[("enable.auto.commit", "false")]);
    bench.follows(&[0]);
    assert_eq!(bench.read(), 3);
    bench.commits(&[0], Some(Refusal::CoordinatorLoadInProgress));
    bench.commits(&[0], Some(Refusal::IllegalGeneration));
    let positions = bench.consumer.positions();
    let id = bench.consumer.commit(bench.world.now, &mut bench.world.cluster, positions).unwrap();
    bench.settle();
    assert_eq!(bench.consumer.committed(), None, "it is tried again");
    bench.pass(200);
    let (ended, result) = bench.consumer.committed().unwrap();
    assert_eq!((ended, result.unwrap_err().refusal()), (id, Some(Refusal::IllegalGeneration)));
    assert_eq!(
        bench.consumer.group_metadata().unwrap().member,
        Identity { generation: -1, ..Identity::default() }
    );
}

#[test]
fn a_pattern_means_what_there_is_and_what_comes() {
    let mut bench = Bench::new(&[]);
    bench.joins(Assignor::Range, 1, "leader", &[]);
    bench.syncs(&[]);
    let pattern = Subscription::Matching(Matcher::new(|topic| topic == "t"));
    bench.consumer.subscribe(bench.world.now, &mut bench.world.cluster, pattern);
    bench.attend();
    // The made-up brokers answer a question for all topics with none.
    let join = &bench.world.heard::<JoinGroupRequest>()[0];
    let me = assignor::Member::read("me".into(), None, &join.protocols[0].metadata).unwrap();
    assert!(me.topics.is_empty());
}

fn target(partitions: &[i32]) -> Option<Assignment> {
    let row = ResponseTopicPartitions { topic_id: World::topic_id("t"), partitions: partitions.to_vec() };
    Some(Assignment { topic_partitions: vec![row] })
}

impl Bench {
    fn told(&mut self, member_epoch: i32, assignment: Option<Assignment>) {
        self.world.script::<ConsumerGroupHeartbeatRequest>(ConsumerGroupHeartbeatResponse {
            member_epoch,
            heartbeat_interval_ms: 1000,
            assignment,
            ..ConsumerGroupHeartbeatResponse::default()
        });
    }

    fn refused(&mut self, refusal: Refusal) {
        self.world.script::<ConsumerGroupHeartbeatRequest>(ConsumerGroupHeartbeatResponse {
            error_code: refusal.code(),
            ..ConsumerGroupHeartbeatResponse::default()
        });
    }

    fn beaten(&self) -> Vec<ConsumerGroupHeartbeatRequest> {
        self.world.heard::<ConsumerGroupHeartbeatRequest>()
    }

    /// A member by the consumer protocol that has these partitions in epoch 3.
    fn reconciles(pairs: &[(&str, &str)], partitions: &[i32]) -> Self {
        let mut all = vec![("group.protocol", "consumer")];
        all.extend_from_slice(pairs);
        let mut bench = Self::new(&all);
        bench.told(3, target(partitions));
        bench.told(3, None);
        let offsets: Vec<_> = partitions.iter().map(|partition| (*partition, -1)).collect();
        bench.stands(&offsets);
        bench.subscribe(&["t"]);
        bench.attend();
        assert_eq!(bench.owned(), list(partitions));
        bench
    }
}

#[test]
fn a_heartbeat_joins_and_the_next_says_what_is_owned() {
    let mut bench = Bench::reconciles(&[("group.remote.assignor", "uniform")], &[1, 2]);
    let beats = bench.beaten();
    assert_eq!(beats.len(), 2);
    let join = &beats[0];
    assert_eq!((join.member_epoch, join.rebalance_timeout_ms), (0, 300_000));
    assert_eq!(join.subscribed_topic_names, Some(vec!["t".to_owned()]));
    assert_eq!(join.topic_partitions, Some(Vec::new()));
    assert_eq!(join.server_assignor.as_deref(), Some("uniform"));
    assert!(!join.member_id.is_empty());
    let ack = &beats[1];
    assert_eq!((ack.member_epoch, &ack.subscribed_topic_names), (3, &None));
    let owned = &ack.topic_partitions.as_ref().unwrap()[0];
    assert_eq!((owned.topic_id, &owned.partitions), (World::topic_id("t"), &vec![1, 2]));
    assert_eq!(bench.read(), 6);
    bench.told(3, None);
    bench.pass(1001);
    let plain = bench.beaten().pop().unwrap();
    assert_eq!((plain.topic_partitions, plain.rebalance_timeout_ms), (None, -1));
    assert_eq!(bench.consumer.group_metadata().unwrap().member.generation, 3);
}

#[test]
fn what_the_broker_takes_is_committed_and_let_go_and_told_to_it() {
    let mut bench = Bench::reconciles(&[], &[0, 1]);
    assert_eq!(bench.read(), 6);
    bench.consumer.hooks(Hooks::Owner);
    bench.told(4, target(&[1]));
    bench.pass(1001);
    bench.commits(&[0], None);
    bench.attend();
    assert_eq!(bench.consumer.rebalance(), Some(&Rebalance::Revoked(list(&[0]))));
    let commit = &bench.world.heard::<OffsetCommitRequest>()[0];
    assert_eq!((commit.generation_id_or_member_epoch, commit.topics[0].partitions.len()), (4, 1));
    let beats = bench.beaten().len();
    for _ in 0..2 {
        bench.told(4, None);
        bench.consumer.rebalanced(bench.world.now, &mut bench.world.cluster);
        bench.attend();
    }
    assert_eq!(bench.owned(), list(&[1]));
    let ack = &bench.beaten()[beats];
    assert_eq!(ack.topic_partitions.as_ref().unwrap()[0].partitions, [1]);
    assert_eq!(bench.consumer.position(&t(1)), Some(3));
}

#[test]
fn a_fenced_epoch_costs_everything_and_the_member_joins_again_under_its_id() {
    for refusal in [Refusal::FencedMemberEpoch, Refusal::UnknownMemberId] {
        let mut bench = Bench::reconciles(&[], &[0]);
        bench.consumer.hooks(Hooks::Owner);
        bench.refused(refusal);
        bench.pass(1001);
        bench.attend();
        assert_eq!(bench.consumer.rebalance(), Some(&Rebalance::Lost(list(&[0]))));
        let beats = bench.beaten().len();
        bench.told(9, target(&[2]));
        bench.consumer.rebalanced(bench.world.now, &mut bench.world.cluster);
        bench.attend();
        let (first, again) = (&bench.beaten()[0], &bench.beaten()[beats]);
        assert_eq!((again.member_epoch, &again.member_id), (0, &first.member_id));
        assert_eq!(again.topic_partitions, Some(Vec::new()));
    }
}

#[test]
fn members_leave_for_good_and_static_ones_for_a_while() {
    for (instance, epoch) in [(None, -1), (Some("i"), -2)] {
        let mut pairs = vec![];
        pairs.extend(instance.map(|id| ("group.instance.id", id)));
        let mut bench = Bench::reconciles(&pairs, &[0]);
        bench.commits(&[0], None);
        bench.told(epoch, None);
        bench.consumer.close(bench.world.now, &mut bench.world.cluster);
        bench.settle();
        bench.attend();
        assert!(bench.consumer.is_closed());
        assert_eq!(bench.beaten().last().unwrap().member_epoch, epoch);
    }
}

#[test]
fn after_a_failure_everything_is_said_again() {
    let mut bench = Bench::reconciles(&[], &[0]);
    bench.refused(Refusal::CoordinatorLoadInProgress);
    bench.pass(1001);
    bench.told(3, None);
    bench.pass(500);
    let beat = bench.beaten().pop().unwrap();
    assert_eq!(beat.member_epoch, 3);
    assert_eq!(beat.subscribed_topic_names, Some(vec!["t".to_owned()]));
    assert_eq!(beat.topic_partitions.unwrap()[0].partitions, [0]);
    assert_eq!(beat.rebalance_timeout_ms, 300_000);
}

#[test]
fn expressions_are_the_brokers_business_and_are_taken_back_with_an_empty_one() {
    let mut bench = Bench::new(&[("group.protocol", "consumer")]);
    bench.told(1, target(&[]));
    bench.told(1, None);
    let regex = Subscription::Regex("t.*".to_owned());
    bench.consumer.subscribe(bench.world.now, &mut bench.world.cluster, regex);
    bench.attend();
    let join = &bench.beaten()[0];
    assert_eq!(
        (join.subscribed_topic_regex.as_deref(), &join.subscribed_topic_names),
        (Some("t.*"), &Some(vec![]))
    );
    let beats = bench.beaten().len();
    bench.told(2, None);
    bench.subscribe(&["t"]);
    bench.attend();
    let changed = &bench.beaten()[beats];
    assert_eq!(changed.subscribed_topic_regex.as_deref(), Some(""));
    assert_eq!(changed.subscribed_topic_names, Some(vec!["t".to_owned()]));
}

#[test]
fn partitions_assigned_by_hand_begin_where_the_group_stands() {
    let mut bench = Bench::new(&[]);
    bench.stands(&[(0, 1), (1, -1)]);
    bench.consumer.assign(bench.world.now, &mut bench.world.cluster, list(&[0, 1]));
    bench.attend();
    assert_eq!(bench.read(), 5);
    bench.commits(&[0, 1], None);
    bench.pass(5001);
    bench.attend();
    bench.pass(5001);
    bench.attend();
    let commit = &bench.world.heard::<OffsetCommitRequest>()[0];
    assert_eq!((commit.generation_id_or_member_epoch, commit.member_id.as_str()), (-1, ""));
    assert!(bench.world.heard::<JoinGroupRequest>().is_empty());
}

#[test]
fn an_old_commits_refusal_does_not_disturb_a_join() {
    let mut bench = Bench::new(&[
        ("enable.auto.commit", "false"),
        ("partition.assignment.strategy", "cooperative-sticky"),
    ]);
    bench.joins(Assignor::CooperativeSticky, 1, "leader", &[]);
    bench.syncs(&[0]);
    bench.stands(&[(0, -1)]);
    bench.subscribe(&["t"]);
    bench.attend();
    bench.beats(Some(Refusal::RebalanceInProgress));
    bench.pass(3001);
    // The commit goes out just before the join, and is answered after it was sent.
    bench.commits(&[0], Some(Refusal::IllegalGeneration));
    bench.joins(Assignor::CooperativeSticky, 2, "leader", &[]);
    bench.syncs(&[0]);
    let positions = bench.consumer.positions();
    bench.consumer.commit(bench.world.now, &mut bench.world.cluster, positions);
    bench.consumer.attend(bench.world.now, &mut bench.world.cluster);
    bench.attend();
    assert_eq!(bench.world.heard::<JoinGroupRequest>().len(), 2);
    assert_eq!(bench.consumer.group_metadata().unwrap().member.generation, 2);
    assert_eq!(bench.owned(), list(&[0]));
}

#[test]
fn who_subscribes_again_while_leaving_is_let_in_again() {
    let mut bench = Bench::new(&[]);
    bench.follows(&[0]);
    assert_eq!(bench.read(), 3);
    // The last commit is never answered, so the farewell hangs.
    bench.consumer.unsubscribe(bench.world.now, &mut bench.world.cluster);
    assert!(bench.consumer.subscription().is_some());
    bench.subscribe(&["t"]);
    assert!(bench.owned().is_empty());
    bench.settle();
    assert_eq!(bench.world.asked().last(), Some(&ApiKey::LeaveGroup));
    assert!(matches!(bench.consumer.subscription(), Some(Subscription::Topics(_))));
}

#[test]
fn a_silent_owner_costs_a_member_of_a_consumer_group_its_place() {
    let mut bench = Bench::reconciles(&[("max.poll.interval.ms", "1500")], &[0]);
    bench.told(3, None);
    bench.pass(1001);
    bench.told(-1, None);
    bench.pass(1001);
    assert_eq!(bench.beaten().last().unwrap().member_epoch, -1);
    bench.consumer.hooks(Hooks::Owner);
    bench.attend();
    assert_eq!(bench.consumer.rebalance(), Some(&Rebalance::Lost(list(&[0]))));
    bench.told(9, target(&[1]));
    bench.consumer.rebalanced(bench.world.now, &mut bench.world.cluster);
    bench.attend();
    assert_eq!(bench.beaten().last().unwrap().member_epoch, 0);
}

#[test]
fn a_member_that_waits_wants_to_be_woken_only_in_time() {
    let mut bench = Bench::new(&[]);
    bench.follows(&[0]);
    bench.read();
    for _ in 0..20 {
        bench.commits(&[0], None);
        bench.beats(None);
        bench.attend();
        let deadlines = [bench.consumer.deadline(), bench.consumer.attend_by()];
        for deadline in deadlines.into_iter().flatten() {
            assert!(!bench.world.now.reached(deadline), "it would be asked over and over");
        }
        bench.pass(700);
    }
}
