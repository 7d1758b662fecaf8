//! Elections: who may lead, how a role becomes another, and what Vote, BeginQuorumEpoch and EndQuorumEpoch do.
//!
//! Each `become_…` is one action of the published model (TLA+ `kip_996`). Invariant: epoch, leader and vote are on
//! the disk before the role that speaks of them exists.

use ottla_log::DiskError;
use ottla_protocol::time::{Deadline, Now};
use ottla_protocol::{LeaderEpoch, NodeId, Refusal};

use crate::control_record::ControlRecord;
use crate::message::{Answer, Ask, Ballot, OffsetAndEpoch, Peer, Request, Response};
use crate::mutant::Mutant;
use crate::output::{Fatal, Output};
use crate::quorum::{Tally, Votes};
use crate::raft::Raft;
use crate::role::{Candidate, Follower, Leader, Prospective, Resigned, Role, Unattached};
use crate::store::ElectionState;
use crate::voters::{Endpoint, ReplicaKey};

impl Raft {
    /// Moves to the role that the time and the votes call for; whether there was one.
    pub(crate) fn change_role(&mut self, now: Now) -> Result<bool, Fatal> {
        let alone = self.voters().is_only(self.config.me);
        let over = self.role_deadline().is_some_and(|deadline| now.reached(deadline));
        match &self.role {
            Role::Unattached(_) | Role::Follower(_) if self.shutting_down => return Ok(false),
            Role::Unattached(_) | Role::Follower(_) if alone || (over && self.is_voter()) => {
                self.become_prospective(now)?;
            }
            Role::Prospective(role) => match role.votes.tally() {
                Tally::Won => self.become_candidate(now)?,
                _ if self.shutting_down => return Ok(false),
                Tally::Lost => self.give_up_asking(now)?,
                Tally::Open if over => self.give_up_asking(now)?,
                Tally::Open => return Ok(false),
            },
            Role::Candidate(role) => match role.votes.tally() {
                Tally::Won => self.become_leader(now)?,
                _ if over && !self.shutting_down => self.become_prospective(now)?,
                _ => return Ok(false),
            },
            Role::Leader(_) if over || self.shutting_down => self.become_resigned(now),
            Role::Resigned(_) if alone && !self.shutting_down => self.become_prospective(now)?,
            Role::Resigned(_) if over && !self.shutting_down => {
                let next = self.next_epoch()?;
                self.become_unattached(now, next, None)?;
            }
            _ => return Ok(false),
        }
        Ok(true)
    }

    /// When the present role ends by itself.
    pub(crate) fn role_deadline(&self) -> Option<Deadline> {
        match &self.role {
            Role::Leader(leader) => {
                let patience = u64::from(self.config.timing.fetch_timeout_ms) * 1_500;
                leader.must_resign_at(self.config.me, self.voters(), patience)
            }
            Role::Prospective(_) | Role::Candidate(_) | Role::Follower(_) | Role::Unattached(_)
                if self.shutting_down =>
            {
                None
            }
            role => role.ends_at(),
        }
    }

    /// Answers a Vote.
    pub(crate) fn on_vote(&mut self, now: Now, request: &Request) -> Result<Response, Fatal> {
        let Ask::Vote { voter, log_end, ballot } = &request.ask else {
            return Ok(self.refuse(&request.ask, Refusal::InvalidRequest));
        };
        let impossible = match ballot {
            Ballot::Vote => log_end.epoch >= request.epoch,
            Ballot::PreVote => log_end.epoch > request.epoch,
        };
        if log_end.offset.0 < 0 || log_end.epoch.0 < 0 || impossible {
            return Ok(self.refuse(&request.ask, Refusal::InvalidRequest));
        }
        if let Some(refusal) = self.refusal_among_voters(request) {
            return Ok(self.refuse(&request.ask, refusal));
        }
        if request.epoch > self.election.epoch {
            self.become_unattached(now, request.epoch, None)?;
        }
        if voter.is_some_and(|voter| !voter.means(self.config.me)) {
            return Ok(self.refuse(&request.ask, Refusal::InvalidVoterKey));
        }
        let granted = self.grants(request.from, *log_end, *ballot);
        if granted && *ballot == Ballot::Vote && self.election.voted.is_none() {
            self.vote_for(now, request.from)?;
        }
        Ok(self.respond(Answer::Vote { granted }))
    }

    /// Answers a BeginQuorumEpoch: the sender leads.
    pub(crate) fn on_begin_quorum_epoch(&mut self, now: Now, request: &Request) -> Result<Response, Fatal> {
        let Ask::BeginQuorumEpoch { voter, endpoints } = &request.ask else {
            return Ok(self.refuse(&request.ask, Refusal::InvalidRequest));
        };
        if let Some(refusal) = self.refusal_among_voters(request) {
            return Ok(self.refuse(&request.ask, refusal));
        }
        self.adopt(now, request.epoch, Some(request.from.id), endpoints)?;
        if voter.is_some_and(|voter| !voter.means(self.config.me)) {
            return Ok(self.refuse(&request.ask, Refusal::InvalidVoterKey));
        }
        Ok(self.respond(Answer::BeginQuorumEpoch))
    }

    /// Answers an EndQuorumEpoch: the sender leads no longer, and its successor should not wait for the time-out.
    pub(crate) fn on_end_quorum_epoch(&mut self, now: Now, request: &Request) -> Result<Response, Fatal> {
        let Ask::EndQuorumEpoch { successors, endpoints } = &request.ask else {
            return Ok(self.refuse(&request.ask, Refusal::InvalidRequest));
        };
        if let Some(refusal) = self.refusal_among_voters(request) {
            return Ok(self.refuse(&request.ask, refusal));
        }
        self.adopt(now, request.epoch, Some(request.from.id), endpoints)?;
        let backoff_max = self.config.timing.election_backoff_max_ms;
        let me = self.config.me;
        let position = successors.iter().position(|key| key.means(me)).unwrap_or(successors.len());
        match &mut self.role {
            Role::Follower(follower) if follower.leader == request.from.id && follower.fetch.is_some() => {
                follower.fetch =
                    Some(now.after_ms(succession_backoff_ms(backoff_max, position, successors.len())));
            }
            _ => {}
        }
        Ok(self.respond(Answer::EndQuorumEpoch))
    }

    /// Counts the answer to a Vote of ours.
    pub(crate) fn on_vote_response(&mut self, voter: Peer, ballot: Ballot, granted: bool) {
        let Peer::Node(voter) = voter else { return };
        let votes = match (&mut self.role, ballot) {
            (Role::Prospective(role), Ballot::PreVote) => &mut role.votes,
            (Role::Candidate(role), Ballot::Vote) => &mut role.votes,
            _ => return,
        };
        if granted { votes.grant(voter) } else { votes.reject(voter) }
    }

    /// Takes up what somebody said about epoch and leader.
    pub(crate) fn adopt(
        &mut self,
        now: Now,
        epoch: LeaderEpoch,
        leader: Option<NodeId>,
        endpoints: &[Endpoint],
    ) -> Result<(), Fatal> {
        if epoch < self.election.epoch {
            return Ok(());
        }
        if leader == Some(self.config.me.id) {
            // Of this epoch that is an echo: we led it before we resigned or restarted.
            return if epoch == self.election.epoch {
                Ok(())
            } else {
                Err(Fatal::Impossible(format!(
                    "a peer says that this node leads epoch {epoch}, which it never began"
                )))
            };
        }
        let known = if epoch == self.election.epoch { self.election.leader } else { None };
        match (known, leader) {
            (Some(known), Some(other)) if known != other => Err(Fatal::Impossible(format!(
                "node {other} is said to lead epoch {epoch}, which node {known} leads"
            ))),
            (_, Some(leader)) if self.gains_by(epoch, known, leader, endpoints) => {
                self.become_follower(now, epoch, leader, endpoints.to_vec())
            }
            _ if epoch > self.election.epoch => self.become_unattached(now, epoch, leader),
            _ => Ok(()),
        }
    }

    /// Whether we would know more as a follower of `leader` than we know now.
    fn gains_by(
        &self,
        epoch: LeaderEpoch,
        known: Option<NodeId>,
        leader: NodeId,
        endpoints: &[Endpoint],
    ) -> bool {
        let reachable = !endpoints.is_empty() || self.voters().get(leader).is_some();
        let listed = match &self.role {
            Role::Follower(role) => role.endpoints.len(),
            Role::Prospective(role) => role.endpoints.len(),
            _ => 0,
        };
        reachable && (epoch > self.election.epoch || known.is_none() || endpoints.len() > listed)
    }

    /// Unattached in `epoch`: a later one, or (from Prospective) the same, in which the vote is kept.
    pub(crate) fn become_unattached(
        &mut self,
        now: Now,
        epoch: LeaderEpoch,
        leader: Option<NodeId>,
    ) -> Result<(), Fatal> {
        let voted = if epoch > self.election.epoch { None } else { self.election.voted };
        // A wait that has begun goes on, or else a stream of new epochs would keep everybody waiting.
        let waiting = match &self.role {
            Role::Leader(_) => None,
            Role::Prospective(role) if role.votes.tally() == Tally::Lost => None,
            role => role.ends_at(),
        };
        let election = match waiting {
            _ if !self.is_voter() => None,
            Some(deadline) => Some(deadline),
            None => Some(self.random_election_deadline(now)),
        };
        self.enter(ElectionState { epoch, leader, voted }, Role::Unattached(Unattached { election }))
    }

    pub(crate) fn become_follower(
        &mut self,
        now: Now,
        epoch: LeaderEpoch,
        leader: NodeId,
        endpoints: Vec<Endpoint>,
    ) -> Result<(), Fatal> {
        let voted = if epoch > self.election.epoch { None } else { self.election.voted };
        let mut follower =
            Follower::new(leader, endpoints, self.is_voter().then(|| self.fetch_deadline(now)));
        match &self.role {
            // Only the endpoints are new.
            Role::Follower(before) if epoch == self.election.epoch => {
                follower = Follower { endpoints: follower.endpoints, ..before.clone() };
            }
            _ => {}
        }
        self.enter(ElectionState { epoch, leader: Some(leader), voted }, Role::Follower(follower))
    }

    fn become_prospective(&mut self, now: Now) -> Result<(), Fatal> {
        let endpoints = match &self.role {
            Role::Follower(follower) => follower.endpoints.clone(),
            _ => Vec::new(),
        };
        let election = self.random_election_deadline(now);
        let role = Prospective { election, votes: self.own_votes(), endpoints };
        self.enter(self.election, Role::Prospective(role))
    }

    /// The pre-votes said no, or nothing: back to the leader if there is one, or else wait.
    fn give_up_asking(&mut self, now: Now) -> Result<(), Fatal> {
        let Role::Prospective(role) = &self.role else { return Ok(()) };
        let endpoints = role.endpoints.clone();
        let ElectionState { epoch, leader, .. } = self.election;
        match leader {
            Some(leader)
                if leader != self.config.me.id
                    && (!endpoints.is_empty() || self.voters().get(leader).is_some()) =>
            {
                self.become_follower(now, epoch, leader, endpoints)
            }
            leader => self.become_unattached(now, epoch, leader),
        }
    }

    fn become_candidate(&mut self, now: Now) -> Result<(), Fatal> {
        let epoch = self.next_epoch()?;
        let election = self.random_election_deadline(now);
        let role = Candidate { election, votes: self.own_votes() };
        self.enter(ElectionState { epoch, leader: None, voted: Some(self.config.me) }, Role::Candidate(role))
    }

    fn become_leader(&mut self, now: Now) -> Result<(), Fatal> {
        let Role::Candidate(role) = &self.role else { return Ok(()) };
        let granting = role.votes.granted().collect();
        let epoch_start = self.journal.end().offset;
        let leader = Leader::new(epoch_start, granting, self.other_voters(), now.monotonic_us);
        let records = self.first_records(&leader);
        let ElectionState { epoch, voted, .. } = self.election;
        let election = ElectionState { epoch, leader: Some(self.config.me.id), voted };
        self.enter(election, Role::Leader(leader))?;
        let appended = self.journal.append_control(now, epoch, &records);
        if appended.as_ref().is_err_and(DiskError::is_passing) {
            // Who cannot say that it leads does not lead: others may, or it itself in another epoch.
            self.become_resigned(now);
        }
        appended?;
        Ok(())
    }

    /// What a leader writes first: that it leads and, at kraft.version 1, the voter set, if that stands in the bootstrap
    /// checkpoint alone (nobody else is ever sent that) or does not say where this node listens now.
    fn first_records(&self, leader: &Leader) -> Vec<ControlRecord> {
        let membership = self.journal.membership();
        let mut records = vec![ControlRecord::LeaderChange {
            leader: self.config.me.id,
            voters: membership.voters().ids().collect(),
            granting: leader.granting.iter().copied().collect(),
        }];
        let mut voters = membership.voters().clone();
        let moved = voters.set_endpoints(self.config.me, &self.config.listeners);
        if membership.kraft_version() >= 1 && (moved || !membership.is_in_the_log()) {
            records.push(ControlRecord::KraftVersion(membership.kraft_version()));
            records.push(ControlRecord::KraftVoters(voters));
        }
        records
    }

    /// Needs no disk: that this node led the epoch is there already.
    pub(crate) fn become_resigned(&mut self, now: Now) {
        let Role::Leader(leader) = &self.role else { return };
        let successors = leader.successors(self.config.me.id, self.voters());
        let election = (!self.shutting_down).then(|| self.random_election_deadline(now));
        let role = Resigned { election, unacknowledged: self.other_voters().collect(), successors };
        self.take_role(Role::Resigned(role));
    }

    fn vote_for(&mut self, now: Now, candidate: ReplicaKey) -> Result<(), Fatal> {
        let timeout = self.random_election_deadline(now);
        let election = ElectionState { voted: Some(candidate), ..self.election };
        if self.config.has(Mutant::VoteNotPersisted) {
            self.election = election;
        } else {
            self.save(election)?;
        }
        let voter = self.is_voter();
        match &mut self.role {
            Role::Unattached(role) => role.election = voter.then_some(timeout),
            Role::Prospective(role) => role.election = timeout,
            _ => {}
        }
        Ok(())
    }

    /// The one door into a role: first the disk, then the role. What was asked in the old role is forgotten.
    fn enter(&mut self, election: ElectionState, role: Role) -> Result<(), Fatal> {
        debug_assert!(election.epoch >= self.election.epoch, "epochs do not go back");
        self.save(election)?;
        self.take_role(role);
        Ok(())
    }

    fn take_role(&mut self, role: Role) {
        let ElectionState { epoch, leader, .. } = self.election;
        self.links.reset();
        tracing::debug!(node = %self.config.me.id, %epoch, ?leader, "{}", role.name());
        self.role = role;
    }

    fn save(&mut self, election: ElectionState) -> Result<(), Fatal> {
        let membership = self.journal.membership();
        self.store.save(election, membership.kraft_version(), membership.voters())?;
        self.election = election;
        Ok(())
    }

    fn grants(&self, candidate: ReplicaKey, log_end: OffsetAndEpoch, ballot: Ballot) -> bool {
        let up_to_date = log_end >= self.journal.end() || self.config.has(Mutant::IgnoresCandidatesLog);
        let mut election = self.election;
        if self.config.has(Mutant::VotesTwice) {
            election.voted = None;
        }
        self.role.grants(ballot, candidate, &election, up_to_date)
    }

    fn refusal_among_voters(&self, request: &Request) -> Option<Refusal> {
        if request.epoch < self.election.epoch {
            Some(Refusal::FencedLeaderEpoch)
        } else if request.from.id.0 < 0 || request.from.id == self.config.me.id {
            Some(Refusal::InvalidRequest)
        } else {
            None
        }
    }

    pub(crate) fn is_voter(&self) -> bool {
        self.voters().contains(self.config.me)
    }

    pub(crate) fn other_voters(&self) -> impl Iterator<Item = NodeId> + '_ {
        self.voters().ids().filter(|id| *id != self.config.me.id)
    }

    /// An election in which only we have voted, for ourselves.
    pub(crate) fn own_votes(&self) -> Votes {
        let mut votes = Votes::among(self.voters().ids());
        votes.grant(self.config.me.id);
        votes
    }

    pub(crate) fn random_election_deadline(&mut self, now: Now) -> Deadline {
        let timeout_us = u64::from(self.config.timing.election_timeout_ms) * 1_000;
        Deadline(now.monotonic_us.saturating_add(timeout_us).saturating_add(self.random.below(timeout_us)))
    }

    pub(crate) fn fetch_deadline(&self, now: Now) -> Deadline {
        now.after_ms(i64::from(self.config.timing.fetch_timeout_ms))
    }

    fn next_epoch(&self) -> Result<LeaderEpoch, Fatal> {
        let next = self.election.epoch.0.checked_add(1);
        next.map(LeaderEpoch).ok_or_else(|| Fatal::Impossible("there are no more epochs".to_owned()))
    }

    /// Sends what the present role has to say to the other voters about its election.
    pub(crate) fn send_to_voters(&mut self, now: Now, out: &mut Vec<Output>) {
        let due: Vec<NodeId> =
            self.voters_to_ask().into_iter().filter(|(_, due)| now.reached(*due)).map(|(id, _)| id).collect();
        for voter in due {
            let (about, ask) = self.ask_of_voter(voter);
            self.ask(now, Peer::Node(voter), about, ask, out);
            let again = now.monotonic_us.saturating_add(self.begin_every_us());
            if let Role::Leader(leader) = &mut self.role {
                leader.told(voter, again);
            }
        }
    }
}

/// How long the follower at `position` of `count` successors waits before it stands: the first not at all, the others
/// ever longer, nobody longer than `max_ms`.
fn succession_backoff_ms(max_ms: u32, position: usize, count: usize) -> i64 {
    let Some(doublings) = position.checked_sub(1) else { return 0 };
    let shift = |by: usize| u32::try_from(by).unwrap_or(u32::MAX);
    let first = max_ms.checked_shr(shift(count.saturating_sub(1))).unwrap_or(0);
    let waits = u64::from(first).checked_shl(shift(doublings)).unwrap_or(u64::MAX);
    i64::from(u32::try_from(waits).unwrap_or(u32::MAX).min(max_ms))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn successors_wait_in_the_order_of_their_logs() {
        let waits = |count: usize| -> Vec<i64> {
            (0..=count).map(|position| succession_backoff_ms(1_000, position, count)).collect()
        };
        assert_eq!(waits(1), [0, 1_000]);
        assert_eq!(waits(2), [0, 500, 1_000]);
        assert_eq!(waits(4), [0, 125, 250, 500, 1_000]);
        assert_eq!(succession_backoff_ms(1_000, usize::MAX, usize::MAX), 1_000, "nonsense does not overflow");
    }
}
