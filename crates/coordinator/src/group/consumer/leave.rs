//! Members that go: because they say so, or because they have been silent or late.
//!
//! If only members of the classic protocol are left, the group may go back to being a classic one.

use ottla_protocol::Refusal;
use ottla_protocol::messages::consumer_group_heartbeat::ConsumerGroupHeartbeatResponse;
use ottla_protocol::messages::leave_group::{LeaveGroupResponse, MemberIdentity, MemberResponse};
use ottla_protocol::messages::{ConsumerGroupHeartbeatRequest, LeaveGroupRequest};

use super::member::{LEFT_FOR_A_WHILE, Member};
use super::subscriptions::pattern_tombstone;
use super::timers::{Timer, What};
use super::{ConsumerGroup, Denied, Step, target};
use crate::group::scene::Scene;
use crate::mutant::Mutant;

/// When a member that could not be taken out is taken out again, in milliseconds.
const RETRY_MS: i64 = 500;

impl ConsumerGroup {
    /// A member's last heartbeat: it leaves, or (a static one) will be back.
    ///
    /// # Errors
    /// If there is no such member.
    pub fn heartbeat_of_leaving(
        &mut self,
        scene: &Scene<'_>,
        request: &ConsumerGroupHeartbeatRequest,
    ) -> Result<Step<ConsumerGroupHeartbeatResponse>, Denied> {
        let id = &request.member_id;
        let answer = ConsumerGroupHeartbeatResponse {
            member_id: Some(id.clone()),
            member_epoch: request.member_epoch,
            ..Default::default()
        };
        let member = match request.instance_id.as_deref() {
            None => self.roster.members.get(id).ok_or_else(|| self.unknown(id))?,
            Some(instance) => {
                let member = self.known_static(id, instance)?;
                if request.member_epoch == LEFT_FOR_A_WHILE {
                    let record = member.gone_for_a_while().current_record(&self.roster.id);
                    return Ok(Step::write(vec![record], answer));
                }
                member
            }
        };
        let leaving = [member.id.clone()];
        Ok(self.take_out(scene, &leaving, answer))
    }

    /// LeaveGroup of members of any protocol; each is answered for itself.
    pub(super) fn leave_step(
        &mut self,
        scene: &Scene<'_>,
        request: &LeaveGroupRequest,
    ) -> Step<LeaveGroupResponse> {
        let mut leaving = Vec::new();
        let mut members = Vec::new();
        for identity in &request.members {
            let found = self.leaving(identity);
            members.push(MemberResponse {
                member_id: identity.member_id.clone(),
                group_instance_id: identity.group_instance_id.clone(),
                error_code: found.as_ref().err().map_or(0, |denied| denied.refusal.code()),
            });
            leaving.extend(found.ok());
        }
        leaving.sort_unstable();
        leaving.dedup();
        self.take_out(scene, &leaving, LeaveGroupResponse { members, ..Default::default() })
    }

    fn leaving(&self, identity: &MemberIdentity) -> Result<String, Denied> {
        let id = &identity.member_id;
        let member = match identity.group_instance_id.as_deref() {
            None => self.roster.members.get(id).ok_or_else(|| self.unknown(id))?,
            Some(instance) if id.is_empty() => {
                let unknown = || Denied::new(Refusal::UnknownMemberId, "Instance id is unknown.");
                self.roster.static_member(instance).ok_or_else(unknown)?
            }
            Some(instance) => self.known_static(id, instance)?,
        };
        Ok(member.id.clone())
    }

    /// A member's deadline has come; `None` if it does not matter any more.
    pub(super) fn give_up(
        &mut self,
        scene: &Scene<'_>,
        id: &str,
        what: What,
        epoch: i32,
    ) -> Option<Step<()>> {
        let member = self.roster.members.get(id)?;
        if what == What::Rebalance && member.epoch != epoch {
            return None;
        }
        tracing::info!(group = %self.roster.id, member = %id, why = what.missed(), "a member is taken out of its group");
        // Given up when the member is gone; until then it may be that nothing of this can be written.
        if !scene.settings.planted.has(Mutant::UnwrittenRemovalForgotten) {
            self.timers.set_for_epoch(Timer::of(id, what), scene.now.after_ms(RETRY_MS), epoch);
        }
        Some(self.take_out(scene, &[id.to_owned()], ()))
    }

    /// Takes members out of the group, which then may become a classic one.
    fn take_out<Answer>(&mut self, scene: &Scene<'_>, leaving: &[String], answer: Answer) -> Step<Answer> {
        if leaving.is_empty() {
            return Step::write(Vec::new(), answer);
        }
        if self.may_downgrade_without(scene, leaving) {
            let mut records = Vec::new();
            match self.downgrade_without(scene, leaving, &mut records) {
                Ok(downgrade) => return Step { records, answer, downgrade: Some(downgrade) },
                Err(denied) => {
                    tracing::warn!(group = %self.roster.id, why = denied.message, "a consumer group cannot become a classic one");
                }
            }
        }
        let roster = &self.roster;
        let members: Vec<&Member> = leaving.iter().filter_map(|id| roster.members.get(id)).collect();
        let mut records = Vec::new();
        for member in &members {
            roster.remove_records(&member.id, &mut records);
        }
        let orphans = roster.subscriptions.orphans(&members);
        records.extend(orphans.iter().map(|pattern| pattern_tombstone(&roster.id, pattern)));
        let topics = roster.subscriptions.without(&members, &orphans);
        let metadata_hash = self.topics.hash(scene.image, topics.names());
        let epoch = roster.epoch + 1;
        records.push(roster.epoch_record(epoch, metadata_hash));
        if members.len() == roster.members.len() {
            // Nobody is left: the target is up to date, and the next member need not wait for another.
            records.push(target::metadata_record(&roster.id, epoch, 0));
        }
        Step::write(records, answer)
    }
}
