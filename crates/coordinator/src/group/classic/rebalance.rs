//! From one generation to the next, and what time brings.
//!
//! A rebalance awaits all members, at most as long as the most patient of them allows; who has not come by then is no
//! longer a member, unless it has a static name. A group that begins waits a little for more to come.

use bytes::Bytes;
use ottla_protocol::messages::join_group::JoinGroupResponseMember;
use ottla_protocol::messages::{JoinGroupResponse, SyncGroupResponse};
use ottla_protocol::time::Deadline;
use ottla_protocol::{Now, Refusal, Ticket};

use super::member::JoinWait;
use super::timers::JoinPhase;
use super::{ClassicGroup, State};
use crate::group::command::Reply;
use crate::group::scene::{Decided, Scene};
use crate::mutant::Mutant;

/// Static members that do not come back keep a rebalance open until their sessions end; it is looked after this often.
const RETRY_MS: i64 = 100;
/// From this version on, a JoinGroup response may name no protocol.
const PROTOCOL_MAY_BE_NULL: i16 = 7;

/// A join of this member that has come to nothing.
pub(super) fn refused_join(member_id: &str, refusal: Refusal) -> JoinGroupResponse {
    let member_id = member_id.to_owned();
    JoinGroupResponse { error_code: refusal.code(), member_id, ..Default::default() }
}

/// A sync that has come to nothing.
pub(super) fn refused_sync(refusal: Refusal) -> SyncGroupResponse {
    SyncGroupResponse { error_code: refusal.code(), ..Default::default() }
}

impl ClassicGroup {
    /// Begins a rebalance, or goes on with the one that is under way.
    pub(super) fn rebalance(&mut self, scene: &Scene<'_>, reason: &str, decided: &mut Decided) {
        if self.state == State::PreparingRebalance {
            self.complete_if_all_joined(scene, decided);
        } else {
            self.prepare_rebalance(scene, reason, decided);
        }
    }

    /// Begins a rebalance.
    pub(super) fn prepare_rebalance(&mut self, scene: &Scene<'_>, reason: &str, decided: &mut Decided) {
        if self.state == State::CompletingRebalance {
            self.reset_assignments();
            self.answer_syncs(scene.now, Err(Refusal::RebalanceInProgress), decided);
        }
        self.members.pending_sync.clear();
        self.timers.set_sync(None);
        tracing::debug!(group = self.id, generation = self.generation, reason, "a group begins to rebalance");
        let begins = self.state == State::Empty;
        self.enter(State::PreparingRebalance, scene.now);
        if begins {
            let delay_ms = scene.settings.classic.initial_rebalance_delay_ms;
            let remaining_ms = (self.members.rebalance_timeout_ms() - delay_ms).max(0);
            self.await_more(scene.now, delay_ms, remaining_ms);
        } else if self.members.have_all_joined() {
            self.complete_join(scene, decided);
        } else {
            let until = scene.now.after_ms(self.members.rebalance_timeout_ms());
            self.timers.set_join(Some(JoinPhase::Rebalance { until }));
        }
    }

    fn await_more(&mut self, now: Now, delay_ms: i64, remaining_ms: i64) {
        let until = now.after_ms(delay_ms);
        let phase = JoinPhase::Initial { until, delay_ms, remaining_ms, more_came: false };
        self.timers.set_join(Some(phase));
    }

    /// A rebalance under way ends when nobody is missing; the first one of a group takes its time.
    pub(super) fn complete_if_all_joined(&mut self, scene: &Scene<'_>, decided: &mut Decided) {
        let begins = self.previous == State::Empty;
        if self.state == State::PreparingRebalance && !begins && self.members.have_all_joined() {
            self.complete_join(scene, decided);
        }
    }

    /// Nobody else is awaited: the next generation begins.
    fn complete_join(&mut self, scene: &Scene<'_>, decided: &mut Decided) {
        self.timers.set_join(None);
        let missing =
            self.members.iter().filter(|member| !member.is_joining() && member.instance_id.is_none());
        for id in missing.map(|member| member.id.clone()).collect::<Vec<_>>() {
            if scene.settings.planted.has(Mutant::MissingMembersStay) {
                break;
            }
            tracing::info!(
                group = self.id,
                member = id,
                "a member is taken out of its group: it did not rejoin in time"
            );
            self.members.remove(&id);
        }
        if !self.elect_leader() && !self.members.is_empty() {
            let wait_ms = self.members.rebalance_timeout_ms().max(RETRY_MS);
            let until = scene.now.after_ms(wait_ms);
            self.timers.set_join(Some(JoinPhase::Rebalance { until }));
            return;
        }
        // Whoever counts to the end of an i32 begins anew: clients take negative generations for none.
        if !scene.settings.planted.has(Mutant::GenerationStays) {
            self.generation = self.generation.checked_add(1).unwrap_or(1);
        }
        self.members.pending_sync.clear();
        self.protocol = self.members.elect_protocol();
        self.subscribed = self.read_subscriptions();
        if self.members.is_empty() {
            self.enter(State::Empty, scene.now);
            decided.records.push(self.record());
        } else {
            self.enter(State::CompletingRebalance, scene.now);
            self.begin_generation(scene.now, decided);
        }
    }

    /// Who leads has to be here. Whether there is such a member.
    fn elect_leader(&mut self) -> bool {
        let Some(leader) = self.members.leader().and_then(|id| self.members.get(id)) else { return false };
        if leader.is_joining() {
            return true;
        }
        let present = self.members.iter().find(|member| member.is_joining()).map(|member| member.id.clone());
        match present {
            Some(id) => {
                tracing::debug!(
                    group = self.id,
                    leader = id,
                    "a group has another leader: the old one did not rejoin in time"
                );
                self.members.set_leader(Some(id));
                true
            }
            None => false,
        }
    }

    /// Tells all members the generation, and awaits their syncs.
    fn begin_generation(&mut self, now: Now, decided: &mut Decided) {
        tracing::debug!(
            group = self.id,
            generation = self.generation,
            members = self.members.len(),
            "a group has all its members and awaits its leader's assignment"
        );
        for id in self.members.ids() {
            if let Some(wait) = self.members.take_join(&id) {
                let answer = self.present_generation(&id);
                answer_join(wait, answer, decided);
            }
            self.keep_alive(&id, now);
            if let Some(member) = self.members.get_mut(&id) {
                member.is_new = false;
            }
            self.members.pending_sync.insert(id);
        }
        self.timers.set_sync(Some(now.after_ms(self.members.rebalance_timeout_ms())));
    }

    /// What a member is told of the generation; the leader is told who the others are.
    pub(super) fn present_generation(&self, member_id: &str) -> JoinGroupResponse {
        let members = if self.members.is_leader(member_id) { self.all_metadata() } else { Vec::new() };
        JoinGroupResponse {
            generation_id: self.generation,
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol.clone(),
            leader: self.members.leader().unwrap_or_default().to_owned(),
            member_id: member_id.to_owned(),
            members,
            ..Default::default()
        }
    }

    fn all_metadata(&self) -> Vec<JoinGroupResponseMember> {
        let protocol = self.protocol().unwrap_or_default();
        let of = |member: &super::Member| JoinGroupResponseMember {
            member_id: member.id.clone(),
            group_instance_id: member.instance_id.clone(),
            metadata: member.metadata(protocol).cloned().unwrap_or_default(),
        };
        self.members.iter().map(of).collect()
    }

    /// Answers all syncs that wait, with the assignments of these members or a refusal; their sessions go on from here.
    pub(super) fn answer_syncs(
        &mut self,
        now: Now,
        outcome: Result<&dyn Fn(&str) -> Bytes, Refusal>,
        decided: &mut Decided,
    ) {
        let waiting: Vec<(String, Ticket)> = self
            .members
            .iter_mut()
            .filter_map(|member| Some((member.id.clone(), member.sync.take()?)))
            .collect();
        for (id, ticket) in waiting {
            let answer = match outcome {
                Ok(assignment) => self.assigned(assignment(&id)),
                Err(refusal) => refused_sync(refusal),
            };
            decided.answer(ticket, Reply::Sync(answer));
            self.keep_alive(&id, now);
        }
    }

    pub(super) fn assigned(&self, assignment: Bytes) -> SyncGroupResponse {
        SyncGroupResponse {
            protocol_type: self.protocol_type.clone(),
            protocol_name: self.protocol.clone(),
            assignment,
            ..Default::default()
        }
    }

    /// A member is gone. If it waits to join it is told so, for perhaps it is not.
    pub(super) fn remove(&mut self, member_id: &str, decided: &mut Decided) {
        let Some(member) = self.members.remove(member_id) else { return };
        if let Some(wait) = member.join {
            answer_join(wait, refused_join("", Refusal::UnknownMemberId), decided);
        }
        if let Some(ticket) = member.sync {
            decided.answer(ticket, Reply::Sync(refused_sync(Refusal::UnknownMemberId)));
        }
    }

    /// Members have been removed: the others share what they had.
    pub(super) fn rebalance_without_them(&mut self, scene: &Scene<'_>, reason: &str, decided: &mut Decided) {
        match self.state {
            State::Stable | State::CompletingRebalance => self.prepare_rebalance(scene, reason, decided),
            State::PreparingRebalance => self.complete_if_all_joined(scene, decided),
            State::Empty => {}
        }
    }

    /// Does what is due.
    pub fn tick(&mut self, scene: &Scene<'_>) -> Decided {
        let mut decided = Decided::nothing();
        let now = scene.now;
        if let Some(reason) = self.owes_rebalance.take().filter(|_| self.state != State::PreparingRebalance) {
            self.prepare_rebalance(scene, reason, &mut decided);
        }
        self.end_sessions(scene, &mut decided);
        if let Some(phase) = self.timers.join().filter(|phase| now.reached(phase.until())) {
            self.end_join_phase(scene, phase, &mut decided);
        }
        if self.timers.sync().is_some_and(|until| now.reached(until)) {
            self.end_sync_phase(scene, &mut decided);
        }
        let sessions = self.members.iter().filter_map(|member| member.session_ends);
        let pending = self.members.pending_deadlines();
        self.timers.settle(sessions.chain(pending).collect::<Vec<Deadline>>().into_iter());
        decided
    }

    fn end_sessions(&mut self, scene: &Scene<'_>, decided: &mut Decided) {
        let over = |ends: Deadline| scene.now.reached(ends);
        let mut gone = 0;
        for id in self.members.ids() {
            if scene.settings.planted.has(Mutant::SilentMembersStay) {
                break;
            }
            let Some(member) = self.members.get_mut(&id) else { continue };
            if !member.session_ends.is_some_and(over) {
                continue;
            }
            if member.may_be_silent() {
                // Its session goes on when it has been answered.
                member.session_ends = None;
                continue;
            }
            tracing::info!(
                group = self.id,
                member = id,
                "a member is taken out of its group: it was silent for too long"
            );
            self.remove(&id, decided);
            gone += 1;
        }
        let given_up = self.members.expire_pending(scene.now);
        if gone > 0 || given_up {
            let reason = format!("{gone} members were silent for too long");
            if gone > 0 || self.state == State::PreparingRebalance {
                self.end_waiting_for_them(scene, &reason, decided);
            }
        }
    }

    /// As [`Self::rebalance_without_them`], but a group that begins ends to wait if nobody is left to wait for.
    fn end_waiting_for_them(&mut self, scene: &Scene<'_>, reason: &str, decided: &mut Decided) {
        if self.state == State::PreparingRebalance && self.members.have_all_joined() {
            self.complete_join(scene, decided);
        } else {
            self.rebalance_without_them(scene, reason, decided);
        }
    }

    fn end_join_phase(&mut self, scene: &Scene<'_>, phase: JoinPhase, decided: &mut Decided) {
        match phase {
            JoinPhase::Initial { delay_ms, remaining_ms, more_came: true, .. } if remaining_ms != 0 => {
                let next_ms = scene.settings.classic.initial_rebalance_delay_ms.min(remaining_ms);
                self.await_more(scene.now, next_ms, (remaining_ms - delay_ms).max(0));
            }
            _ => self.complete_join(scene, decided),
        }
    }

    /// Who has not asked for its assignment by now does not live.
    fn end_sync_phase(&mut self, scene: &Scene<'_>, decided: &mut Decided) {
        self.timers.set_sync(None);
        let missing = std::mem::take(&mut self.members.pending_sync);
        if missing.is_empty() || !matches!(self.state, State::CompletingRebalance | State::Stable) {
            return;
        }
        for id in &missing {
            tracing::info!(
                group = self.id,
                member = id,
                "a member is taken out of its group: it did not sync in time"
            );
            self.remove(id, decided);
        }
        self.prepare_rebalance(scene, "members did not sync in time", decided);
    }

    /// Sessions begin anew when the log has been read; nobody has been heard of for a while.
    pub fn loaded(&mut self, scene: &Scene<'_>) {
        self.begin_sessions(scene.now);
        if self.owes_rebalance.is_some() {
            self.timers.note(scene.now.after_ms(0));
        }
        if self.members.len() > scene.settings.classic.members_max {
            let mut decided = Decided::nothing();
            self.prepare_rebalance(scene, "there are more members than group.max.size allows", &mut decided);
            assert!(decided.is_nothing(), "nobody waits after a restart");
        }
    }

    pub(super) fn begin_sessions(&mut self, now: Now) {
        for id in self.members.ids() {
            self.keep_alive(&id, now);
        }
    }
}

/// Answers a join in the version in which it was asked.
pub(super) fn answer_join(wait: JoinWait, answer: JoinGroupResponse, decided: &mut Decided) {
    decided.answer(wait.ticket, Reply::Join(in_version(wait.version, answer)));
}

/// The answer as clients of a version can read it.
pub(super) fn in_version(version: i16, mut answer: JoinGroupResponse) -> JoinGroupResponse {
    if version < PROTOCOL_MAY_BE_NULL {
        answer.protocol_name.get_or_insert_default();
    }
    answer
}
