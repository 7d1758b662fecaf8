//! A member by the classic protocol: it joins, syncs, sends heartbeats until it has to join again, and leaves.

use std::sync::Arc;

use anyhow::{bail, ensure};
use bytes::Bytes;
use ottla_protocol::codec::Reader;
use ottla_protocol::messages::join_group::JoinGroupResponseMember;
use ottla_protocol::messages::leave_group::MemberIdentity;
use ottla_protocol::messages::sync_group::SyncGroupRequestAssignment;
use ottla_protocol::messages::{HeartbeatRequest, JoinGroupRequest, JoinGroupResponse, LeaveGroupRequest};
use ottla_protocol::records::consumer_protocol::ConsumerProtocolAssignment;
use ottla_protocol::{Message, Refusal};
use tokio::time::{Duration, sleep};

use super::{Phase, Role, Stage};
use crate::bench::coordination::member::{Member, assignment, join_request, sync_request};
use crate::bench::wire::Wire;

/// The others hear of a newcomer a moment after it has asked to be let in, when it has surely been read.
const HEARD: Duration = Duration::from_millis(2);

pub async fn member(stage: Arc<Stage>, mut wire: Wire, number: usize, role: Role) -> anyhow::Result<()> {
    let mut member = Member { group: stage.group.clone(), id: String::new(), generation: -1 };
    let mut heard = stage.phase.subscribe();
    let mut role = role;
    loop {
        let joined = join(&stage, &mut wire, &member.id, role).await?;
        role = Role::First;
        member.id.clone_from(&joined.member_id);
        member.generation = joined.generation_id;
        if joined.error_code != 0 {
            bail!("JoinGroup: {}", joined.error_code);
        }
        let shares = if joined.leader == member.id { deal(&joined, stage.partitions)? } else { Vec::new() };
        let synced = wire.ask(&sync_request(&member, shares), 5).await?;
        if is_new_round(synced.error_code) {
            continue;
        }
        ensure!(synced.error_code == 0, "SyncGroup: {}", synced.error_code);
        stage.stands(number, member.generation, count(synced.assignment)?);
        loop {
            if stage.pause(&mut heard).await == Phase::Over {
                return leave(&mut wire, &member).await;
            }
            let beat = HeartbeatRequest {
                group_id: member.group.clone(),
                generation_id: member.generation,
                member_id: member.id.clone(),
                group_instance_id: None,
            };
            let code = wire.ask(&beat, 4).await?.error_code;
            if is_new_round(code) {
                break;
            }
            ensure!(code == 0, "Heartbeat: {code}");
        }
    }
}

fn is_new_round(code: i16) -> bool {
    code == Refusal::RebalanceInProgress.code() || code == Refusal::IllegalGeneration.code()
}

/// Joins, after having been given an id. A newcomer has the others send their heartbeats.
async fn join(stage: &Stage, wire: &mut Wire, id: &str, role: Role) -> anyhow::Result<JoinGroupResponse> {
    let mut request = join_request(&stage.group, id)?;
    if id.is_empty() {
        let given = wire.ask_until_there(&request, 9, |response| response.error_code).await?;
        ensure!(given.error_code == Refusal::MemberIdRequired.code(), "no id, but {}", given.error_code);
        request.member_id = given.member_id;
    }
    wire.send(&request, 9).await?;
    if role == Role::Newcomer {
        sleep(HEARD).await;
        stage.phase.send_replace(Phase::Joining);
    }
    wire.answer::<JoinGroupRequest>(9).await
}

/// Partitions in turn to all members.
fn deal(joined: &JoinGroupResponse, partitions: usize) -> anyhow::Result<Vec<SyncGroupRequestAssignment>> {
    let members = joined.members.len();
    let share = |(at, member): (usize, &JoinGroupResponseMember)| {
        let own = (at..partitions).step_by(members.max(1)).map(i32::try_from).collect::<Result<_, _>>()?;
        Ok(SyncGroupRequestAssignment { member_id: member.member_id.clone(), assignment: assignment(own)? })
    };
    joined.members.iter().enumerate().map(share).collect()
}

/// How many partitions a member has been given.
fn count(assignment: Bytes) -> anyhow::Result<usize> {
    let mut reader = Reader::new(assignment);
    let version = reader.i16();
    let given = ConsumerProtocolAssignment::decode(&mut reader, version)?;
    Ok(given.assigned_partitions.iter().map(|topic| topic.partitions.len()).sum())
}

async fn leave(wire: &mut Wire, member: &Member) -> anyhow::Result<()> {
    let who = MemberIdentity { member_id: member.id.clone(), ..MemberIdentity::default() };
    let request = LeaveGroupRequest {
        group_id: member.group.clone(),
        members: vec![who],
        ..LeaveGroupRequest::default()
    };
    let left = wire.ask(&request, 5).await?;
    ensure!(left.error_code == 0, "LeaveGroup: {}", left.error_code);
    Ok(())
}
