//! SyncGroup (14): the leader brings the assignment, everybody asks for its part. And Heartbeat (12).

use std::collections::BTreeMap;

use bytes::Bytes;
use ottla_protocol::messages::{HeartbeatRequest, HeartbeatResponse, SyncGroupRequest};
use ottla_protocol::{Refusal, Ticket};

use super::rebalance::refused_sync;
use super::{ClassicGroup, State};
use crate::group::command::Reply;
use crate::group::scene::{Decided, Scene};
use crate::mutant::Mutant;

/// The answer to a SyncGroup of a group that does not exist.
#[must_use]
pub fn sync_with_nobody(request: &SyncGroupRequest) -> Reply {
    let nameless = request.group_id.is_empty();
    Reply::Sync(refused_sync(if nameless { Refusal::InvalidGroupId } else { Refusal::UnknownMemberId }))
}

/// The answer to a heartbeat in a group that does not exist.
#[must_use]
pub fn heartbeat_of_nobody(request: &HeartbeatRequest) -> Reply {
    let nameless = request.group_id.is_empty();
    heartbeat(Some(if nameless { Refusal::InvalidGroupId } else { Refusal::UnknownMemberId }))
}

fn heartbeat(refusal: Option<Refusal>) -> Reply {
    Reply::Heartbeat(HeartbeatResponse { error_code: Refusal::code_of(refusal), ..Default::default() })
}

impl ClassicGroup {
    /// Decides on a SyncGroup.
    pub fn sync(&mut self, scene: &Scene<'_>, ticket: Ticket, request: SyncGroupRequest) -> Decided {
        if let Err(refusal) = self.may_sync(&request) {
            return Decided::reply(ticket, Reply::Sync(refused_sync(refusal)));
        }
        let id = &request.member_id;
        self.members.pending_sync.remove(id);
        if self.members.pending_sync.is_empty() {
            self.timers.set_sync(None);
        }
        if self.state == State::Stable {
            let assignment = self.members.get(id).map(|member| member.assignment.clone());
            return Decided::reply(ticket, Reply::Sync(self.assigned(assignment.unwrap_or_default())));
        }
        let mut decided = Decided::nothing();
        let earlier = self.members.get_mut(id).and_then(|member| member.sync.replace(ticket));
        if let Some(earlier) = earlier
            && !scene.settings.planted.has(Mutant::FirstSyncForgotten)
        {
            // It has asked twice, so it no longer listens to the first answer.
            decided.answer(earlier, Reply::Sync(refused_sync(Refusal::RebalanceInProgress)));
        }
        if self.members.is_leader(id) {
            self.assign(scene, request, &mut decided);
        }
        decided
    }

    fn may_sync(&self, request: &SyncGroupRequest) -> Result<(), Refusal> {
        if request.group_id.is_empty() {
            return Err(Refusal::InvalidGroupId);
        }
        self.check_member(&request.member_id, request.group_instance_id.as_deref())?;
        if request.generation_id != self.generation {
            return Err(Refusal::IllegalGeneration);
        }
        let differs = |said: Option<&String>, is: Option<&str>| {
            said.is_some_and(|said| is.is_some_and(|is| is != said))
        };
        if differs(request.protocol_type.as_ref(), self.protocol_type())
            || differs(request.protocol_name.as_ref(), self.protocol())
        {
            return Err(Refusal::InconsistentGroupProtocol);
        }
        match self.state {
            State::Empty => Err(Refusal::UnknownMemberId),
            State::PreparingRebalance => Err(Refusal::RebalanceInProgress),
            State::CompletingRebalance | State::Stable => Ok(()),
        }
    }

    /// The leader's assignment is written; everybody who waits is answered when it is. With the record the group is stable.
    fn assign(&mut self, scene: &Scene<'_>, request: SyncGroupRequest, decided: &mut Decided) {
        let assignments: BTreeMap<String, Bytes> =
            request.assignments.into_iter().map(|of| (of.member_id, of.assignment)).collect();
        let for_all = scene.settings.planted.has(Mutant::LeadersShareForAll).then_some(&request.member_id);
        let assignment = |id: &str| assignments.get(for_all.map_or(id, |id| id)).cloned().unwrap_or_default();
        if !scene.settings.planted.has(Mutant::AssignmentUnwritten) {
            decided.records.push(self.record_with(&assignment));
        }
        self.answer_syncs(scene.now, Ok(&assignment), decided);
    }

    /// Decides on a heartbeat.
    pub fn heartbeat(&mut self, scene: &Scene<'_>, ticket: Ticket, request: &HeartbeatRequest) -> Decided {
        Decided::reply(ticket, heartbeat(self.beat(scene, request).err()))
    }

    fn beat(&mut self, scene: &Scene<'_>, request: &HeartbeatRequest) -> Result<(), Refusal> {
        if request.group_id.is_empty() {
            return Err(Refusal::InvalidGroupId);
        }
        self.check_member(&request.member_id, request.group_instance_id.as_deref())?;
        if request.generation_id != self.generation {
            return Err(Refusal::IllegalGeneration);
        }
        self.keep_alive(&request.member_id, scene.now);
        match self.state {
            State::Empty => Err(Refusal::UnknownMemberId),
            State::PreparingRebalance => Err(Refusal::RebalanceInProgress),
            // The leader may take its time; the others beat meanwhile.
            State::CompletingRebalance | State::Stable => Ok(()),
        }
    }
}
