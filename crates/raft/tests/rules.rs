//! One test per rule of the quorum's protocol, on a single replica that is told everything by hand.
//!
//! Node 1 of the voters 1, 2 and 3. Whole conversations are in `scripts/`; here are the corners.

mod alone;

use alone::{Alone, FETCH, batch, control, end, key, vote};
use bytes::Bytes;
use ottla_log::Disk;
use ottla_protocol::{LeaderEpoch, NodeId, Offset, Refusal, Uuid};
use ottla_raft::message::{Answer, Ask, Ballot, Fetch, Found};
use ottla_raft::store::FILE_NAME;
use ottla_raft::{AppendError, Input, OffsetAndEpoch, Output, Peer, ReplicaKey, Role};

// ---- the role at the start

#[test]
fn a_new_node_is_unattached_in_epoch_0() {
    let node = Alone::new();
    assert_eq!(node.role(), "unattached");
    assert_eq!((node.epoch(), node.raft.election().voted), (0, None));
}

#[test]
fn who_led_before_comes_up_resigned() {
    assert_eq!(Alone::with_state(7, 1, -1).role(), "resigned");
}

#[test]
fn who_voted_for_itself_comes_up_as_a_candidate_of_the_same_epoch() {
    let node = Alone::with_state(7, -1, 1);
    assert_eq!((node.role(), node.epoch()), ("candidate", 7));
}

#[test]
fn who_followed_a_voter_follows_it_again() {
    let node = Alone::with_state(7, 2, 3);
    assert_eq!((node.role(), node.epoch()), ("follower", 7));
    assert_eq!(node.raft.election().voted.map(|voted| voted.id), Some(NodeId(3)), "the vote is kept");
}

#[test]
fn a_leader_that_is_no_voter_is_remembered_but_not_followed() {
    let node = Alone::with_state(7, 9, 2);
    assert_eq!((node.role(), node.raft.election().leader), ("unattached", Some(NodeId(9))));
}

#[test]
fn a_log_that_knows_a_later_epoch_wins_over_the_file() {
    let mut node = Alone::with_state(3, 2, 2);
    node.follow(5, 2);
    node.fetched(&control(0, 5, 2), Some(1));
    node.restart_with_state(3, 2, 2);
    assert_eq!((node.role(), node.epoch()), ("unattached", 5));
    assert_eq!((node.raft.election().leader, node.raft.election().voted), (None, None));
}

#[test]
fn a_state_of_an_unknown_version_is_refused() {
    let mut node = Alone::new();
    for text in [r#"{"leaderId":1,"leaderEpoch":1,"votedId":1,"data_version":2}"#, "{", ""] {
        node.disk.replace(&node.path(FILE_NAME), text.as_bytes()).expect("written");
        assert!(node.try_restart().is_err_and(|error| error.is_corrupt()), "{text}");
    }
}

#[test]
fn the_state_is_written_in_kafkas_two_forms() {
    let mut node = Alone::new();
    node.ask(2, 4, vote(Ballot::Vote, end(0, 0)));
    let version_0 = r#"{"clusterId":"","leaderId":-1,"leaderEpoch":4,"votedId":2,"appliedOffset":0,"currentVoters":[{"voterId":1},{"voterId":2},{"voterId":3}],"data_version":0}"#;
    assert_eq!(node.read(FILE_NAME), version_0);
    let mut node = Alone::standalone();
    node.tick();
    let version_1 = format!(
        r#"{{"leaderId":1,"leaderEpoch":1,"votedId":1,"votedDirectoryId":"{}","data_version":1}}"#,
        key(1).directory
    );
    assert_eq!(node.read(FILE_NAME), version_1);
    node.restart();
    assert_eq!(node.role(), "resigned");
}

// ---- Vote

#[test]
fn votes_that_cannot_be_are_invalid() {
    let mut node = Alone::in_epoch(5);
    for (epoch, ballot, log_end) in [
        (6, Ballot::Vote, end(-1, 5)),
        (6, Ballot::Vote, end(1, -1)),
        (6, Ballot::Vote, end(1, 6)),
        (6, Ballot::PreVote, end(1, 7)),
    ] {
        let response = node.ask(2, epoch, vote(ballot, log_end));
        assert_eq!(response.refusal, Some(Refusal::InvalidRequest), "{epoch} {ballot:?} {log_end:?}");
    }
    assert_eq!(node.epoch(), 5, "what is invalid changes nothing");
    let response = node.ask(2, 6, vote(Ballot::PreVote, end(1, 6)));
    assert_eq!(response.refusal, None, "a pre-vote may come from an epoch that has a leader");
}

#[test]
fn votes_of_nobody_and_of_oneself_are_invalid() {
    let mut node = Alone::in_epoch(5);
    assert_eq!(node.ask(-1, 6, vote(Ballot::Vote, end(0, 0))).refusal, Some(Refusal::InvalidRequest));
    assert_eq!(node.ask(1, 6, vote(Ballot::Vote, end(0, 0))).refusal, Some(Refusal::InvalidRequest));
}

#[test]
fn votes_of_an_older_epoch_are_fenced() {
    let mut node = Alone::in_epoch(5);
    let response = node.ask(2, 4, vote(Ballot::Vote, end(0, 0)));
    assert_eq!((response.refusal, response.epoch), (Some(Refusal::FencedLeaderEpoch), LeaderEpoch(5)));
}

#[test]
fn another_clusters_requests_are_refused() {
    let mut node = Alone::in_epoch(5);
    let response = node.ask_from_cluster("other", 2, 6, vote(Ballot::Vote, end(0, 0)));
    assert_eq!(response.refusal, Some(Refusal::InconsistentClusterId));
    assert_eq!(node.epoch(), 5);
    assert_eq!(node.ask_from_cluster("ours", 2, 6, vote(Ballot::Vote, end(0, 0))).refusal, None);
}

#[test]
fn a_later_epoch_is_adopted_even_from_a_pre_vote() {
    let mut node = Alone::in_epoch(5);
    let response = node.ask(2, 9, vote(Ballot::PreVote, end(0, 0)));
    assert_eq!((node.role(), node.epoch(), response.epoch), ("unattached", 9, LeaderEpoch(9)));
    assert_eq!(response.answer, Answer::Vote { granted: true });
    assert_eq!(node.raft.election().voted, None, "a pre-vote is no vote");
}

#[test]
fn a_vote_meant_for_another_disk_is_refused_but_its_epoch_counts() {
    let mut node = Alone::in_epoch(5);
    for other in [key(2), ReplicaKey { directory: Uuid::from_random([9; 16]), ..key(1) }] {
        let ask = Ask::Vote { voter: Some(other), log_end: end(0, 0), ballot: Ballot::Vote };
        assert_eq!(node.ask(2, 6, ask).refusal, Some(Refusal::InvalidVoterKey));
    }
    assert_eq!((node.epoch(), node.raft.election().voted), (6, None));
    let unnamed = ReplicaKey { directory: Uuid::ZERO, ..key(1) };
    let ask = Ask::Vote { voter: Some(unnamed), log_end: end(0, 0), ballot: Ballot::Vote };
    assert_eq!(node.ask(2, 6, ask).answer, Answer::Vote { granted: true });
}

#[test]
fn a_candidate_need_not_be_a_known_voter() {
    let mut node = Alone::in_epoch(5);
    assert_eq!(node.ask(77, 6, vote(Ballot::Vote, end(0, 0))).answer, Answer::Vote { granted: true });
}

#[test]
fn a_log_that_ends_earlier_gets_no_vote() {
    let mut node = Alone::new();
    node.follow(5, 2);
    node.fetched(&control(0, 5, 2), Some(1));
    let granted = |node: &mut Alone, log_end| {
        let response = node.ask(3, 9, vote(Ballot::Vote, log_end));
        response.answer == Answer::Vote { granted: true }
    };
    assert!(!granted(&mut node, end(9, 4)), "more records, but of an older epoch");
    assert!(!granted(&mut node, end(0, 5)), "the same epoch, but fewer records");
    assert!(granted(&mut node, end(1, 5)));
}

#[test]
fn a_granted_vote_starts_the_wait_anew() {
    let mut node = Alone::in_epoch(5);
    node.pass(900);
    let before = node.raft.deadline();
    node.ask(2, 6, vote(Ballot::Vote, end(0, 0)));
    assert_eq!(node.role(), "unattached");
    node.pass(950);
    assert_eq!(node.role(), "unattached", "nobody waits less than a second, {before:?}");
    node.pass(1_100);
    assert_eq!(node.role(), "prospective");
}

#[test]
fn a_voter_too_old_for_pre_votes_is_passed_over() {
    let mut node = Alone::new();
    node.pass(2_000);
    let (to, correlation) = node.sent(2);
    node.respond(
        to,
        correlation,
        0,
        None,
        Some(Refusal::UnsupportedVersion),
        Answer::Vote { granted: false },
    );
    assert_eq!((node.role(), node.epoch()), ("candidate", 1));
}

#[test]
fn a_lost_pre_vote_leads_back_to_the_leader() {
    let mut node = Alone::new();
    node.follow(5, 2);
    node.pass(2_100);
    assert_eq!(node.role(), "prospective");
    for voter in [2, 3] {
        let (to, correlation) = node.sent(voter);
        node.respond(to, correlation, 5, Some(2), None, Answer::Vote { granted: false });
    }
    assert_eq!((node.role(), node.epoch()), ("follower", 5));
}

#[test]
fn a_losing_candidate_stays_one_until_its_time_is_up() {
    let mut node = Alone::candidate();
    for voter in [2, 3] {
        let (to, correlation) = node.sent(voter);
        node.respond(to, correlation, 1, None, None, Answer::Vote { granted: false });
    }
    assert_eq!(node.role(), "candidate");
    node.outputs.clear();
    node.pass(950);
    assert_eq!(node.role(), "candidate");
    assert!(node.asked().is_empty(), "it has nothing more to ask");
    node.pass(1_100);
    assert_eq!((node.role(), node.epoch()), ("prospective", 1));
}

#[test]
fn a_request_that_failed_is_repeated_after_a_rest_and_a_lost_one_after_its_time() {
    let mut node = Alone::new();
    node.pass(2_000);
    let (to, correlation) = node.sent(2);
    node.outputs.clear();
    node.step(Input::Failed { to, correlation });
    node.pass(19);
    assert!(node.asked().is_empty());
    node.pass(2);
    assert_eq!(node.asked(), [2]);
}

#[test]
fn an_answer_to_another_role_is_not_counted() {
    let mut node = Alone::new();
    node.pass(2_000);
    let (to, correlation) = node.sent(2);
    node.ask(3, 8, vote(Ballot::PreVote, end(0, 0)));
    assert_eq!((node.role(), node.epoch()), ("unattached", 8));
    node.respond(to, correlation, 8, None, None, Answer::Vote { granted: true });
    assert_eq!(node.role(), "unattached");
}

// ---- BeginQuorumEpoch and EndQuorumEpoch

#[test]
fn the_beginning_of_an_epoch_makes_a_follower() {
    let mut node = Alone::in_epoch(5);
    let response = node.ask(2, 6, Ask::BeginQuorumEpoch { voter: Some(key(1)), endpoints: Vec::new() });
    assert_eq!((response.refusal, response.leader, node.role()), (None, Some(NodeId(2)), "follower"));
    let stale = node.ask(3, 5, Ask::BeginQuorumEpoch { voter: None, endpoints: Vec::new() });
    assert_eq!(stale.refusal, Some(Refusal::FencedLeaderEpoch));
}

#[test]
fn a_second_leader_in_one_epoch_ends_this_replica() {
    let mut node = Alone::new();
    node.follow(6, 2);
    node.tell(3, 6, Ask::BeginQuorumEpoch { voter: None, endpoints: Vec::new() });
    assert!(node.is_dead());
    assert_eq!(node.raft.deadline(), None);
    node.outputs.clear();
    node.tell(2, 6, vote(Ballot::Vote, end(0, 0)));
    assert!(node.outputs.is_empty(), "the dead say nothing");
}

#[test]
fn being_told_that_one_leads_an_epoch_one_has_left_is_an_echo() {
    let mut node = Alone::with_state(7, 1, -1);
    node.pass(1);
    let (to, correlation) = node.sent(2);
    node.respond(to, correlation, 7, Some(1), None, Answer::EndQuorumEpoch);
    assert_eq!(node.role(), "resigned");
    node.pass(2_000);
    assert_eq!((node.role(), node.epoch()), ("prospective", 8), "never back into the same epoch");
}

#[test]
fn the_end_of_an_epoch_is_told_until_it_is_heard() {
    let mut node = Alone::leader();
    node.step(Input::ShutDown);
    assert_eq!((node.role(), node.raft.has_let_go()), ("resigned", false));
    let (to, correlation) = node.sent(2);
    node.respond(to, correlation, 1, Some(1), None, Answer::EndQuorumEpoch);
    let (to, correlation) = node.sent(3);
    node.outputs.clear();
    node.step(Input::Failed { to, correlation });
    node.pass(25);
    assert_eq!(node.asked(), [3]);
    let (to, correlation) = node.sent(3);
    node.respond(to, correlation, 1, Some(1), None, Answer::EndQuorumEpoch);
    assert!(node.raft.has_let_go());
    node.pass(60_000);
    assert_eq!(node.role(), "resigned", "a node that stops begins nothing");
}

#[test]
fn a_successor_waits_by_its_place() {
    for (successors, waits_ms) in [(vec![1, 3], 0), (vec![3, 1], 500), (vec![3], 1_000)] {
        let mut node = Alone::new();
        node.follow(6, 2);
        let successors = successors.into_iter().map(key).collect();
        node.ask(2, 6, Ask::EndQuorumEpoch { successors, endpoints: Vec::new() });
        if waits_ms > 0 {
            node.pass(waits_ms - 1);
            assert_eq!(node.role(), "follower", "{waits_ms}");
        }
        node.pass(1);
        assert_eq!(node.role(), "prospective", "{waits_ms}");
    }
}

#[test]
fn voters_that_do_not_fetch_are_told_again_that_the_epoch_has_begun() {
    let mut node = Alone::leader();
    for voter in [2, 3] {
        let (to, correlation) = node.sent(voter);
        node.respond(to, correlation, 1, Some(1), None, Answer::BeginQuorumEpoch);
    }
    node.outputs.clear();
    node.pass(500);
    node.tell(3, 1, FETCH);
    node.pass(501);
    assert_eq!(node.asked(), [2], "a second after the last time; node 3 has fetched since");
}

// ---- Fetch at the leader

#[test]
fn fetches_that_cannot_be_are_invalid() {
    let mut node = Alone::leader();
    let good = Fetch {
        offset: Offset(0),
        last_epoch: LeaderEpoch(0),
        high_watermark: Offset(-1),
        max_wait_ms: 0,
        max_bytes: 1,
    };
    for bad in [
        Fetch { offset: Offset(-1), ..good },
        Fetch { last_epoch: LeaderEpoch(-1), ..good },
        Fetch { last_epoch: LeaderEpoch(2), ..good },
        Fetch { max_wait_ms: -1, ..good },
    ] {
        assert_eq!(node.ask(2, 1, Ask::Fetch(bad)).refusal, Some(Refusal::InvalidRequest), "{bad:?}");
    }
    assert_eq!(node.ask(2, 1, Ask::Fetch(good)).refusal, None);
}

#[test]
fn only_the_leader_of_the_same_epoch_serves_fetches() {
    let mut node = Alone::leader();
    assert_eq!(node.ask(2, 0, FETCH).refusal, Some(Refusal::FencedLeaderEpoch));
    assert_eq!(node.ask(2, 2, FETCH).refusal, Some(Refusal::UnknownLeaderEpoch));
    assert_eq!(node.epoch(), 1, "a fetch raises nobody's epoch");
    let mut node = Alone::new();
    node.follow(6, 2);
    let response = node.ask(3, 6, FETCH);
    assert_eq!((response.refusal, response.leader), (Some(Refusal::NotLeaderOrFollower), Some(NodeId(2))));
    assert!(!response.endpoints.is_empty(), "and it says where the leader is");
}

#[test]
fn the_high_watermark_is_unknown_until_the_epochs_first_record_is_on_a_majority() {
    let mut node = Alone::leader();
    assert_eq!(node.fetch(2, 0, 0).0, None);
    assert_eq!(node.raft.high_watermark(), None);
    assert_eq!(node.fetch(2, 1, 1).0, Some(Offset(1)));
    assert_eq!(node.raft.high_watermark(), Some(Offset(1)));
}

#[test]
fn an_observers_fetch_moves_nothing() {
    let mut node = Alone::leader();
    node.fetch(7, 1, 1);
    assert_eq!(node.raft.high_watermark(), None);
    assert_eq!(node.raft.replicas().iter().filter(|replica| !replica.votes).count(), 1);
    node.pass(301_000);
}

#[test]
fn the_high_watermark_does_not_go_back() {
    let mut node = Alone::leader();
    node.append(&["a"]);
    node.fetch(2, 2, 1);
    assert_eq!(node.raft.high_watermark(), Some(Offset(2)));
    node.fetch(2, 0, 0);
    assert_eq!(node.raft.high_watermark(), Some(Offset(2)));
}

#[test]
fn a_fetch_beyond_the_log_or_of_another_history_is_told_where_they_part() {
    let mut node = Alone::leader();
    node.append(&["a", "b"]);
    assert_eq!(node.fetch(2, 9, 1).1, Found::Diverging(end(3, 1)));
    let high_watermark = node.raft.high_watermark();
    assert_eq!(high_watermark, None, "what differs acknowledges nothing");
    assert!(matches!(node.fetch(2, 3, 1).1, Found::Records(bytes) if bytes.is_empty()));
}

#[test]
fn a_fetch_waits_for_records_for_the_high_watermark_or_for_its_time() {
    let patient = |offset: i64, epoch: i32, known: i64| {
        Ask::Fetch(Fetch {
            offset: Offset(offset),
            last_epoch: LeaderEpoch(epoch),
            high_watermark: Offset(known),
            max_wait_ms: 500,
            max_bytes: 1_000,
        })
    };
    let mut node = Alone::leader();
    node.tell(2, 1, patient(1, 1, 1));
    assert_eq!(node.replies().len(), 0, "nothing new for who knows the high watermark");
    node.pass(499);
    assert_eq!(node.replies().len(), 0);
    node.pass(1);
    assert_eq!(node.replies().len(), 1, "its time is up");
    node.tell(2, 1, patient(1, 1, 1));
    node.append(&["a"]);
    node.tick();
    assert_eq!(node.replies().len(), 1, "a record has come");
    node.tell(3, 1, patient(2, 1, 1));
    assert_eq!(node.replies().len(), 1, "the high watermark moves by this very fetch");
    node.tell(2, 1, patient(2, 1, 2));
    node.step(Input::Resign { epoch: LeaderEpoch(1) });
    let replies = node.replies();
    assert_eq!(replies.len(), 1, "nobody serves it any more");
    assert_eq!(replies[0].refusal, Some(Refusal::NotLeaderOrFollower));
}

#[test]
fn a_leader_out_of_touch_with_the_majority_resigns() {
    let mut node = Alone::leader();
    node.pass(2_900);
    node.tell(2, 1, FETCH);
    node.pass(2_900);
    assert_eq!(node.role(), "leader");
    node.pass(200);
    assert_eq!(node.role(), "resigned");
}

#[test]
fn who_does_not_lead_appends_nothing() {
    let mut node = Alone::leader();
    let (now, values) = (node.now, [Bytes::from_static(b"x")]);
    assert_eq!(node.raft.append(now, LeaderEpoch(1), &[]), Err(AppendError::Empty));
    let large = [Bytes::from(vec![0; 8 << 20])];
    assert!(matches!(node.raft.append(now, LeaderEpoch(1), &large), Err(AppendError::TooLarge { .. })));
    let not_leader = AppendError::NotLeader { current: LeaderEpoch(1) };
    assert_eq!(node.raft.append(now, LeaderEpoch(0), &values), Err(not_leader.clone()));
    assert_eq!(node.raft.append(now, LeaderEpoch(1), &values), Ok(Offset(1)));
    node.step(Input::Resign { epoch: LeaderEpoch(1) });
    assert_eq!(node.raft.append(now, LeaderEpoch(1), &values), Err(not_leader));
}

// ---- Fetch at the follower

#[test]
fn a_follower_commits_up_to_what_it_has() {
    let mut node = Alone::new();
    node.follow(5, 2);
    node.fetched(&control(0, 5, 2), Some(100));
    assert_eq!(node.raft.high_watermark(), Some(Offset(1)));
    node.fetched(&batch(1, 5, &["a", "b"]), Some(3));
    assert_eq!(node.raft.high_watermark(), Some(Offset(3)));
    node.fetched(&batch(3, 5, &["c", "d"]), Some(4));
    assert!(node.is_dead(), "a batch is committed whole or not at all");
}

#[test]
fn what_is_damaged_or_does_not_fit_is_left_out() {
    let mut damaged = batch(2, 5, &["c"]).to_vec();
    let last = damaged.len() - 1;
    damaged[last] ^= 1;
    let mut node = Alone::new();
    node.follow(5, 2);
    node.fetched(&control(0, 5, 2), Some(1));
    for (what, bytes) in [
        ("a flipped bit", [batch(1, 5, &["a"]).to_vec(), damaged].concat()),
        ("a gap", [batch(1, 5, &["a"]), batch(3, 5, &["c"])].concat()),
        ("a later epoch", [batch(1, 5, &["a"]), batch(2, 6, &["c"])].concat()),
        ("an earlier epoch", [batch(1, 5, &["a"]), batch(2, 4, &["c"])].concat()),
        ("a torn end", [&batch(1, 5, &["a"])[..], &batch(2, 5, &["c"])[..20]].concat()),
    ] {
        node.fetched(&bytes, Some(1));
        assert_eq!(node.raft.log_end(), end(2, 5), "{what}: the good part is taken");
        assert_eq!(node.role(), "follower", "{what}");
        node.fetched_diverging(end(1, 5));
        assert_eq!(node.raft.log_end(), end(1, 5), "{what}");
    }
}

#[test]
fn what_is_committed_is_never_cut_off() {
    let mut node = Alone::new();
    node.follow(5, 2);
    node.fetched(&control(0, 5, 2), Some(1));
    node.fetched(&batch(1, 5, &["a"]), Some(2));
    node.fetched_diverging(end(1, 5));
    assert!(node.is_dead());
}

#[test]
fn every_good_answer_keeps_the_follower() {
    let mut node = Alone::new();
    node.follow(5, 2);
    for _ in 0..5 {
        node.pass(1_900);
        assert_eq!(node.role(), "follower");
        node.fetched(&[], None);
    }
    node.pass(2_000);
    assert_eq!(node.role(), "prospective");
}

#[test]
fn a_follower_that_was_answered_grants_no_pre_vote() {
    let mut node = Alone::new();
    node.follow(5, 2);
    let yes = Answer::Vote { granted: true };
    assert_eq!(node.ask(3, 5, vote(Ballot::PreVote, end(0, 0))).answer, yes);
    node.fetched(&[], None);
    assert_ne!(node.ask(3, 5, vote(Ballot::PreVote, end(0, 0))).answer, yes);
}

#[test]
fn an_answer_from_a_later_epoch_is_followed() {
    let mut node = Alone::new();
    node.follow(5, 2);
    let (to, correlation) = node.sent(2);
    let refused = Some(Refusal::FencedLeaderEpoch);
    node.respond(to, correlation, 8, Some(3), refused, alone::empty_fetch());
    assert_eq!((node.role(), node.epoch(), node.raft.election().leader), ("follower", 8, Some(NodeId(3))));
    let (to, correlation) = node.sent(3);
    node.respond(to, correlation, 9, None, refused, alone::empty_fetch());
    assert_eq!((node.role(), node.epoch()), ("unattached", 9));
}

#[test]
fn one_fetch_is_under_way_at_a_time() {
    let mut node = Alone::new();
    node.follow(5, 2);
    assert_eq!(node.asked(), [2]);
    node.pass(1_000);
    assert_eq!(node.asked(), [2], "nothing came back, and nothing more went out");
}

#[test]
fn a_follower_whose_leader_does_not_answer_asks_the_others() {
    let mut node = Alone::observer();
    node.tell(2, 5, Ask::BeginQuorumEpoch { voter: None, endpoints: Vec::new() });
    let (to, correlation) = node.sent(2);
    node.outputs.clear();
    node.step(Input::Failed { to, correlation });
    assert_eq!(node.asked().len(), 1, "somebody else is asked at once");
    assert_ne!(node.asked(), [2]);
    node.pass(60_000);
    assert_eq!(node.role(), "follower", "an observer never stands");
}

// ---- the disk

#[test]
fn a_failed_flush_is_the_end() {
    let mut node = Alone::leader();
    node.disk.fail_sync(1);
    node.append(&["a"]);
    node.tick();
    assert!(node.is_dead());
    assert_eq!(node.raft.high_watermark(), None);
    let (now, values) = (node.now, [Bytes::from_static(b"x")]);
    assert_eq!(node.raft.append(now, LeaderEpoch(1), &values), Err(AppendError::Dead));
}

#[test]
fn what_cannot_be_flushed_for_want_of_a_descriptor_is_flushed_later_and_told_to_nobody() {
    let mut node = Alone::leader();
    node.tick();
    node.fetch(2, 1, 1);
    let large = "x".repeat(600_000);
    node.append(&[&large]);
    node.append(&[&large]);
    node.disk.use_up_descriptors();
    node.tick();
    assert!(!node.is_dead() && node.disk.injected().refused_opens > 0);
    assert_eq!(node.raft.high_watermark(), Some(Offset(1)));
    let refused = node.disk.injected().refused_opens;
    node.pass(1_000);
    assert!((5..40).contains(&(node.disk.injected().refused_opens - refused)), "it is tried now and then");
    node.disk.free_descriptors();
    node.fetch(2, 3, 1);
    assert_eq!(node.raft.high_watermark(), Some(Offset(1)), "nothing counts before the disk has it");
    // What it has not on the disk it does not acknowledge to another leader either.
    node.follow(5, 2);
    node.outputs.clear();
    node.tick();
    assert!(node.asked().is_empty());
    node.pass(200);
    assert!(!node.is_dead());
    assert_eq!(node.asked(), [2]);
}

#[test]
fn a_vote_that_cannot_be_written_is_not_given() {
    let mut node = Alone::in_epoch(5);
    node.disk.fail_sync(1);
    node.tell(2, 6, vote(Ballot::Vote, end(0, 0)));
    assert!(node.is_dead());
    assert!(node.replies().is_empty());
}

#[test]
fn a_snapshot_ends_at_a_batch_and_not_beyond_what_is_committed() {
    let mut node = Alone::leader();
    node.append(&["a", "b"]);
    node.fetch(2, 3, 1);
    node.append(&["c"]);
    node.tick();
    for (end, works) in [(0, false), (2, false), (4, false), (3, true)] {
        assert_eq!(node.raft.begin_snapshot(Offset(end), 0).is_ok(), works, "{end}");
    }
}

#[test]
fn half_a_snapshot_is_none() {
    let mut node = Alone::leader();
    node.append(&["a", "b"]);
    node.fetch(2, 3, 1);
    let mut writer = node.raft.begin_snapshot(Offset(3), 5).expect("snapshot");
    writer.append(&[Bytes::from_static(b"state")]).expect("written");
    drop(writer);
    node.restart();
    assert_eq!(node.raft.latest_snapshot(), None);
    assert!(node.disk.list(&node.path("")).expect("list").iter().all(|entry| !entry.name.ends_with(".part")));
}

#[test]
fn a_log_that_begins_where_no_snapshot_ends_is_not_opened() {
    let mut node = Alone::leader();
    node.append(&["a", "b"]);
    node.fetch(2, 3, 1);
    let mut writer = node.raft.begin_snapshot(Offset(3), 5).expect("snapshot");
    writer.append(&[Bytes::from_static(b"state")]).expect("written");
    let id = writer.finish().expect("finished");
    assert_eq!(id, OffsetAndEpoch { offset: Offset(3), epoch: LeaderEpoch(1) });
    node.start_log_at(Offset(3));
    assert!(node.try_restart().is_ok());
    node.disk.remove(&node.path(&ottla_raft::snapshot::file_name(id))).expect("removed");
    assert!(node.try_restart().is_err_and(|error| error.is_corrupt()));
}

#[test]
fn outputs_come_only_when_something_is_to_be_done() {
    let mut node = Alone::leader();
    node.outputs.clear();
    node.tick();
    assert!(node.outputs.is_empty(), "{:?}", node.outputs);
    assert!(matches!(node.raft.role(), Role::Leader(_)));
    node.step(Input::Response {
        from: Peer::Node(NodeId(2)),
        correlation: 12_345,
        response: node.response(9, Some(2), None, Answer::BeginQuorumEpoch),
    });
    assert_eq!((node.outputs.len(), node.epoch()), (0, 1), "an answer to nothing is nothing");
    assert!(!node.outputs.iter().any(|output| matches!(output, Output::Fatal(_))));
}

// ---- a want of descriptors or of room: nobody dies of it, and nothing is said that is not stored

#[test]
fn a_vote_that_cannot_be_stored_is_not_given() {
    let mut node = Alone::in_epoch(5);
    node.disk.use_up_descriptors();
    let response = node.ask(2, 6, vote(Ballot::Vote, end(0, 0)));
    assert_eq!(response.refusal, Some(Refusal::BrokerNotAvailable));
    assert_eq!(response.answer, Answer::Vote { granted: false });
    assert_eq!((node.is_dead(), node.epoch()), (false, 5));
    node.disk.free_descriptors();
    let response = node.ask(3, 6, vote(Ballot::Vote, end(0, 0)));
    assert_eq!((response.refusal, response.answer), (None, Answer::Vote { granted: true }));
    assert!(node.read(FILE_NAME).contains("\"votedId\":3"), "{}", node.read(FILE_NAME));
}

#[test]
fn a_vote_whose_name_alone_could_not_be_stored_may_still_go_to_another() {
    let mut node = Alone::in_epoch(5);
    for at in 1..40 {
        node.disk.refuse_rename(1);
        assert_eq!(
            node.ask(2, 5 + at, vote(Ballot::Vote, end(0, 0))).refusal,
            Some(Refusal::BrokerNotAvailable)
        );
        let response = node.ask(3, 5 + at, vote(Ballot::Vote, end(0, 0)));
        assert_eq!(response.answer, Answer::Vote { granted: true });
        assert!(node.read(FILE_NAME).contains("\"votedId\":3"), "{}", node.read(FILE_NAME));
    }
    assert!(!node.is_dead());
}

#[test]
fn a_new_epoch_that_cannot_be_stored_is_not_known() {
    let mut node = Alone::new();
    node.follow(5, 2);
    node.disk.use_up_descriptors();
    let response = node.ask(3, 7, Ask::BeginQuorumEpoch { voter: None, endpoints: Vec::new() });
    assert_eq!(response.refusal, Some(Refusal::BrokerNotAvailable));
    assert_eq!((node.is_dead(), node.role(), node.epoch()), (false, "follower", 5));
    node.disk.free_descriptors();
    node.follow(7, 3);
}

#[test]
fn what_a_peer_says_of_a_later_epoch_is_asked_for_again() {
    let mut node = Alone::new();
    node.pass(2_000);
    let (to, correlation) = node.sent(2);
    node.disk.use_up_descriptors();
    node.outputs.clear();
    node.respond(to, correlation, 9, Some(3), None, Answer::Vote { granted: false });
    assert_eq!((node.is_dead(), node.role(), node.epoch()), (false, "prospective", 0));
    node.disk.free_descriptors();
    node.pass(150);
    let (to, correlation) = node.sent(2);
    node.respond(to, correlation, 9, Some(3), None, Answer::Vote { granted: false });
    assert_eq!((node.role(), node.epoch()), ("follower", 9));
}

#[test]
fn who_stands_alone_is_elected_once_there_are_descriptors() {
    let mut node = Alone::standalone();
    node.disk.use_up_descriptors();
    // This would not end if it tried again and again within the same moment.
    node.pass(10_000);
    assert!(!node.is_dead() && node.role() != "leader", "{}", node.role());
    let tried = node.disk.injected().refused_opens;
    assert!((10..=1_000).contains(&tried), "{tried}");
    node.disk.free_descriptors();
    node.pass(200);
    assert_eq!((node.role(), node.epoch()), ("leader", 1));
    assert!(node.raft.high_watermark().is_some());
}

#[test]
fn who_cannot_write_that_it_leads_does_not_lead() {
    let mut outcomes = std::collections::BTreeSet::new();
    for capacity in 0..4_000 {
        let mut node = Alone::standalone();
        node.disk.set_capacity(Some(capacity));
        node.tick();
        assert!(!node.is_dead(), "{capacity}");
        let role = node.role();
        outcomes.insert(role);
        node.disk.set_capacity(None);
        node.pass(100);
        assert_eq!(node.role(), "leader", "{capacity}");
        assert_eq!(node.raft.high_watermark(), Some(node.raft.log_end().offset));
        assert_eq!(node.epoch(), if role == "resigned" { 2 } else { 1 }, "{capacity}");
    }
    assert_eq!(outcomes.into_iter().collect::<Vec<_>>(), ["leader", "prospective", "resigned", "unattached"]);
}

#[test]
fn what_is_committed_is_delivered_once_it_can_be_read() {
    let large = |offset| batch(offset, 5, &["x".repeat(700_000).as_str()]);
    let mut node = Alone::new();
    node.follow(5, 2);
    for offset in 0..3 {
        node.fetched(&large(offset), None);
    }
    assert_eq!(node.raft.log_end(), end(3, 5));
    node.restart();
    node.pass(1);
    node.disk.use_up_descriptors();
    node.fetched(&[], Some(3));
    assert!(!node.is_dead() && node.disk.injected().refused_opens > 0);
    assert_eq!(committed(&node), [0; 0]);
    node.pass(50);
    node.disk.free_descriptors();
    node.pass(100);
    assert_eq!(committed(&node), [0, 1, 2]);
    assert_eq!(node.raft.election().leader, Some(NodeId(2)));
}

fn committed(node: &Alone) -> Vec<i64> {
    let offset = |output: &Output| match output {
        Output::Committed(batch) => Some(batch.base_offset.0),
        _ => None,
    };
    node.outputs.iter().filter_map(offset).collect()
}
