//! JoinGroup (11): somebody wants to be a member, or a member wants a rebalance, or has not heard the answer.

use ottla_metadata::Image;
use ottla_protocol::messages::{JoinGroupRequest, JoinGroupResponse};
use ottla_protocol::{Refusal, Ticket};

use super::member::{JoinWait, Member, bytes_of};
use super::rebalance::{answer_join, in_version, refused_join, refused_sync};
use super::{ClassicGroup, State};
use crate::group::any::{Group, GroupMap};
use crate::group::command::{Caller, Reply};
use crate::group::scene::{Decided, Scene};
use crate::group::settings::{GroupSettings, NEW_MEMBER_JOIN_TIMEOUT_MS};

/// From this version on, a new member comes back with the id that it is given (KIP-394).
const NEEDS_MEMBER_ID: i16 = 4;
/// From this version on, a static member that comes back as the leader may leave the assignment as it is (KIP-814).
const SKIPS_ASSIGNMENT: i16 = 9;

/// Somebody who joins, and what it is answered to.
struct Joiner {
    wait: JoinWait,
    caller: Caller,
    request: JoinGroupRequest,
}

impl Joiner {
    fn refuse(&self, refusal: Refusal, decided: &mut Decided) {
        answer_join(self.wait, refused_join(&self.request.member_id, refusal), decided);
    }
}

/// Decides on a JoinGroup. A group that does not exist begins with its first member.
pub fn join(
    groups: &mut GroupMap,
    scene: &mut Scene<'_>,
    ticket: Ticket,
    caller: Caller,
    request: JoinGroupRequest,
) -> Decided {
    let mut decided = Decided::nothing();
    let joiner = Joiner { wait: JoinWait { ticket, version: caller.version }, caller, request };
    let request = &joiner.request;
    let name = request.group_id.clone();
    match groups.get_mut(&name) {
        Some(Group::Classic(group)) => group.join(scene, joiner, &mut decided),
        Some(Group::Consumer(_)) => joiner.refuse(Refusal::InconsistentGroupProtocol, &mut decided),
        None if !request.member_id.is_empty() => joiner.refuse(Refusal::UnknownMemberId, &mut decided),
        None => {
            let mut group = ClassicGroup::simple(&name, scene.now.wall_ms);
            if !group.takes(request) {
                joiner.refuse(Refusal::InconsistentGroupProtocol, &mut decided);
                return decided;
            }
            decided.records.push(group.record());
            group.join(scene, joiner, &mut decided);
            groups.insert(name, Group::Classic(group));
        }
    }
    decided
}

/// What a JoinGroup would add to what is known of its sender, in bytes, and on whose host.
#[must_use]
pub fn growth<'a>(
    group: Option<&'a Group>,
    caller: &'a Caller,
    request: &JoinGroupRequest,
) -> (usize, &'a str) {
    match group {
        Some(Group::Classic(group)) => group.growth(caller, request),
        // What members of consumer groups say is written at once.
        Some(Group::Consumer(_)) => (0, &caller.client_host),
        None => (ClassicGroup::simple("", 0).growth(caller, request).0, &caller.client_host),
    }
}

/// The answer to a request that is wrong whatever the group.
#[must_use]
pub fn refuse_join(
    settings: &GroupSettings,
    image: &Image,
    caller: &Caller,
    request: &JoinGroupRequest,
) -> Option<JoinGroupResponse> {
    // A record has one of the protocols; the others have to be remembered.
    let largest = request.protocols.iter().map(|protocol| protocol.metadata.len()).max();
    let too_large = largest.is_some_and(|largest| largest > settings.record_bytes_max(image))
        || bytes_of(&request.protocols) > settings.host_bytes_max(image);
    let settings = &settings.classic;
    let timeouts = settings.session_timeout_min_ms..=settings.session_timeout_max_ms;
    let refusal = if request.group_id.is_empty() {
        Refusal::InvalidGroupId
    } else if !timeouts.contains(&request.session_timeout_ms) {
        Refusal::InvalidSessionTimeout
    } else if too_large {
        // What would be said of the assignment, which could not be written.
        Refusal::UnknownServerError
    } else {
        return None;
    };
    Some(in_version(caller.version, refused_join(&request.member_id, refusal)))
}

impl ClassicGroup {
    fn join(&mut self, scene: &mut Scene<'_>, joiner: Joiner, decided: &mut Decided) {
        let member_id = &joiner.request.member_id;
        if !self.has_room(scene, member_id) {
            self.remove(member_id, decided);
            answer_join(joiner.wait, refused_join("", Refusal::GroupMaxSizeReached), decided);
            self.complete_if_all_joined(scene, decided);
        } else if !self.takes(&joiner.request) {
            joiner.refuse(Refusal::InconsistentGroupProtocol, decided);
        } else if member_id.is_empty() {
            self.join_newcomer(scene, joiner, decided);
        } else if self.members.is_pending(member_id) {
            if joiner.request.group_instance_id.is_some() {
                // Ids that are to be brought back are given to dynamic members alone.
                joiner.refuse(Refusal::UnknownMemberId, decided);
            } else {
                let id = member_id.clone();
                self.add(scene, id, joiner, decided);
            }
        } else {
            self.join_member(scene, joiner, decided);
        }
    }

    /// Whether one more fits in, or this one is in already. While members come back, those that are first stay.
    fn has_room(&self, scene: &Scene<'_>, member_id: &str) -> bool {
        let max = scene.settings.classic.members_max;
        let member = self.members.get(member_id);
        match self.state {
            State::Empty => true,
            State::PreparingRebalance => {
                member.is_some_and(Member::is_joining) || self.members.joining() < max
            }
            State::CompletingRebalance | State::Stable => member.is_some() || self.members.len() < max,
        }
    }

    /// Whether the group can agree with it on a protocol.
    fn takes(&self, request: &JoinGroupRequest) -> bool {
        if self.state == State::Empty {
            !request.protocol_type.is_empty() && !request.protocols.is_empty()
        } else {
            self.protocol_type() == Some(&*request.protocol_type)
                && self.members.all_speak_one_of(&request.protocols)
        }
    }

    fn join_newcomer(&mut self, scene: &mut Scene<'_>, joiner: Joiner, decided: &mut Decided) {
        let request = &joiner.request;
        if let Some(instance_id) = &request.group_instance_id {
            let id = scene.random.member_id(instance_id);
            match self.members.static_id(instance_id).map(str::to_owned) {
                Some(existing) => self.replace_static(scene, &existing, id, joiner, decided),
                None => self.add(scene, id, joiner, decided),
            }
            return;
        }
        let id = scene.random.member_id(&joiner.caller.client_id);
        if joiner.caller.version < NEEDS_MEMBER_ID {
            self.add(scene, id, joiner, decided);
            return;
        }
        let ends = scene.now.after_ms(i64::from(request.session_timeout_ms));
        self.timers.note(ends);
        answer_join(joiner.wait, refused_join(&id, Refusal::MemberIdRequired), decided);
        self.members.await_join(id, joiner.caller.client_host, ends);
    }

    fn add(&mut self, scene: &Scene<'_>, id: String, joiner: Joiner, decided: &mut Decided) {
        let Joiner { wait, caller, request } = joiner;
        let reason = format!("{id} joins: {}", reason(&request));
        if self.members.is_empty() {
            self.protocol_type = Some(request.protocol_type.clone());
        }
        let mut member = Member::new(id, &caller, request);
        // It does not know its id yet, so nothing will be heard of it; and its connection may be gone.
        let ends = scene.now.after_ms(NEW_MEMBER_JOIN_TIMEOUT_MS);
        member.session_ends = Some(ends);
        member.join = Some(wait);
        self.timers.note(ends);
        self.timers.more_came();
        self.members.add(member);
        self.rebalance(scene, &reason, decided);
    }

    /// A member that the group knows, or claims to be one.
    fn join_member(&mut self, scene: &Scene<'_>, joiner: Joiner, decided: &mut Decided) {
        let request = &joiner.request;
        let id = request.member_id.clone();
        if let Err(refusal) = self.check_member(&id, request.group_instance_id.as_deref()) {
            joiner.refuse(refusal, decided);
            return;
        }
        let says_the_same = self.members.get(&id).is_some_and(|member| member.protocols == request.protocols);
        let repeats = match self.state {
            State::PreparingRebalance => false,
            State::CompletingRebalance => says_the_same,
            // A leader that joins wants to assign anew: perhaps there are more partitions.
            State::Stable => says_the_same && !self.members.is_leader(&id),
            State::Empty => {
                joiner.refuse(Refusal::UnknownMemberId, decided);
                return;
            }
        };
        if repeats {
            answer_join(joiner.wait, self.present_generation(&id), decided);
        } else {
            let reason = format!("{id} joins again: {}", reason(request));
            self.update(&id, joiner, decided);
            self.rebalance(scene, &reason, decided);
        }
    }

    /// A member says anew who it is, and waits for the others.
    fn update(&mut self, id: &str, joiner: Joiner, decided: &mut Decided) {
        let Joiner { wait, request, .. } = joiner;
        self.members.set_protocols(id, request.protocols);
        if let Some(member) = self.members.get_mut(id) {
            member.rebalance_timeout_ms = request.rebalance_timeout_ms;
            member.session_timeout_ms = request.session_timeout_ms;
        }
        if let Some(earlier) = self.members.set_join(id, wait) {
            // It has asked twice, so it no longer listens to the first answer.
            answer_join(earlier, refused_join(id, Refusal::RebalanceInProgress), decided);
        }
    }

    /// A static member has come back without its id: it takes the place of what it was (KIP-345).
    fn replace_static(
        &mut self,
        scene: &Scene<'_>,
        old_id: &str,
        id: String,
        joiner: Joiner,
        decided: &mut Decided,
    ) {
        tracing::debug!(
            group = self.id,
            member = id,
            replaces = old_id,
            "a static member is back in its group"
        );
        let old_leader = self.members.leader().unwrap_or_default().to_owned();
        if let Some(wait) = self.members.take_join(old_id) {
            answer_join(wait, refused_join(old_id, Refusal::FencedInstanceId), decided);
        }
        let waiting = self.members.get_mut(old_id).and_then(|member| member.sync.take());
        if let Some(ticket) = waiting {
            decided.answer(ticket, Reply::Sync(refused_sync(Refusal::FencedInstanceId)));
        }
        let old = self.members.get(old_id).cloned();
        self.members.rename(old_id, &id);
        if let Some(member) = self.members.get_mut(&id) {
            member.is_new = false;
        }
        self.keep_alive(&id, scene.now);
        let (wait, reason) = (joiner.wait, format!("{id} replaces {old_id}: {}", reason(&joiner.request)));
        self.update(&id, joiner, decided);
        match self.state {
            State::Stable if self.members.elect_protocol() == self.protocol => {
                self.members.take_join(&id);
                self.replaced = old.map(|old| (Box::new(old), id.clone()));
                decided.records.push(self.record());
                answer_join(wait, self.static_is_back(&id, old_leader, wait.version), decided);
            }
            State::Stable | State::CompletingRebalance => self.prepare_rebalance(scene, &reason, decided),
            State::PreparingRebalance | State::Empty => self.complete_if_all_joined(scene, decided),
        }
    }

    /// A static member that changes nothing is told what holds. Versions of old know no other way to keep a leader from
    /// assigning anew than to let it take its former self for the leader.
    fn static_is_back(&self, id: &str, old_leader: String, version: i16) -> JoinGroupResponse {
        let mut answer = self.present_generation(id);
        if version >= SKIPS_ASSIGNMENT {
            answer.skip_assignment = self.members.is_leader(id);
        } else {
            answer.members.clear();
            answer.leader = old_leader;
        }
        answer
    }
}

fn reason(request: &JoinGroupRequest) -> &str {
    request.reason.as_deref().filter(|reason| !reason.is_empty()).unwrap_or("not provided")
}
