//! LeaveGroup (13): members go, or an operator sends static members away (KIP-345).

use ottla_protocol::messages::leave_group::{MemberIdentity, MemberResponse};
use ottla_protocol::messages::{LeaveGroupRequest, LeaveGroupResponse};
use ottla_protocol::{Refusal, Ticket};

use super::ClassicGroup;
use crate::group::command::{Caller, Reply};
use crate::group::scene::{Decided, Scene};

/// From this version on, several members leave at once, and each is answered for itself.
const SEVERAL: i16 = 3;

/// The answer to a LeaveGroup of a group that does not exist.
#[must_use]
pub fn leave_by_nobody(caller: &Caller, request: LeaveGroupRequest) -> Reply {
    if request.group_id.is_empty() {
        let error_code = Refusal::InvalidGroupId.code();
        return Reply::Leave(LeaveGroupResponse { error_code, ..Default::default() });
    }
    let members = request.members.into_iter();
    answer(caller, members.map(|member| outcome(member, Err(Refusal::UnknownMemberId))).collect())
}

fn outcome(member: MemberIdentity, outcome: Result<(), Refusal>) -> MemberResponse {
    MemberResponse {
        member_id: member.member_id,
        group_instance_id: member.group_instance_id,
        error_code: Refusal::code_of(outcome.err()),
    }
}

fn answer(caller: &Caller, members: Vec<MemberResponse>) -> Reply {
    let error_code =
        if caller.version < SEVERAL { members.first().map_or(0, |member| member.error_code) } else { 0 };
    Reply::Leave(LeaveGroupResponse { error_code, members, ..Default::default() })
}

impl ClassicGroup {
    /// Decides on a LeaveGroup. Those who stay share what the others had.
    pub fn leave(
        &mut self,
        scene: &Scene<'_>,
        ticket: Ticket,
        caller: &Caller,
        request: LeaveGroupRequest,
    ) -> Decided {
        let mut decided = Decided::nothing();
        let mut answers = Vec::with_capacity(request.members.len());
        for member in request.members {
            let left = self.leave_one(&member, &mut decided);
            answers.push(outcome(member, left));
        }
        if answers.iter().any(|answer| answer.error_code == 0) {
            self.rebalance_without_them(scene, "members left", &mut decided);
        }
        decided.answer(ticket, answer(caller, answers));
        decided
    }

    fn leave_one(&mut self, member: &MemberIdentity, decided: &mut Decided) -> Result<(), Refusal> {
        let instance_id = member.group_instance_id.as_deref();
        let id = if member.member_id.is_empty() {
            // Whoever administers the group knows static names only.
            let id = instance_id.and_then(|instance_id| self.members.static_id(instance_id));
            id.ok_or(Refusal::UnknownMemberId)?.to_owned()
        } else if self.members.forget_pending(&member.member_id) {
            return Ok(());
        } else {
            self.check_member(&member.member_id, instance_id)?;
            member.member_id.clone()
        };
        let reason = member.reason.as_deref().unwrap_or("not provided");
        tracing::debug!(group = self.id, member = id, reason, "a member leaves its group");
        self.remove(&id, decided);
        Ok(())
    }
}
