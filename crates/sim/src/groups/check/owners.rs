//! One owner for each partition: no two members are told that a partition is theirs in one epoch of their group, no two
//! have it in the log, and no two believe it at the same time, as long as the coordinator counts both as members.

use std::collections::{BTreeMap, BTreeSet};

use ottla_coordinator::group::{Command, Record, Reply};
use ottla_protocol::records::coordinator::ConsumerGroupCurrentMemberAssignmentValue;

use super::{Asked, Violation, violation};
use crate::groups::client::Client;
use crate::groups::cluster::{Cluster, Place};
use crate::groups::{classic, consumer};

/// Remembers what was told and what is believed.
#[derive(Debug, Default)]
pub struct Owners {
    /// In which epoch of which group whom a partition was given to.
    told: BTreeMap<(String, i32, Place), String>,
    /// What each client believes.
    held: BTreeMap<usize, Held>,
    members: BTreeMap<String, Members>,
    /// What the log says each member of a group has, or has to give up.
    assigned: BTreeMap<String, BTreeMap<String, BTreeSet<(ottla_protocol::TopicId, i32)>>>,
    touched: BTreeSet<String>,
}

#[derive(Debug, Default)]
struct Held {
    group: String,
    member: String,
    epoch: i32,
    is_static: bool,
    places: BTreeSet<Place>,
}

/// Who belongs to a group, as the log says.
#[derive(Debug, Default)]
struct Members {
    classic: BTreeSet<String>,
    consumer: BTreeSet<String>,
    generation: i32,
}

impl Owners {
    /// Takes in a record of the log.
    pub fn read(&mut self, record: &Record) {
        let group = record.group().to_owned();
        match record {
            Record::GroupMetadata(_, value) => {
                let members = self.members.entry(group.clone()).or_default();
                members.generation = value.as_ref().map_or(0, |value| value.generation);
                members.classic.clear();
                match value {
                    Some(value) => {
                        members.classic.extend(value.members.iter().map(|member| member.member_id.clone()));
                    }
                    None => self.begin_anew(&group),
                }
            }
            Record::ConsumerGroupMetadata(_, None) => self.begin_anew(&group),
            Record::ConsumerGroupMemberMetadata(key, value) => {
                let members = &mut self.members.entry(group).or_default().consumer;
                match value {
                    Some(_) => members.insert(key.member_id.clone()),
                    None => members.remove(&key.member_id),
                };
            }
            Record::ConsumerGroupCurrentMemberAssignment(key, value) => {
                let members = self.assigned.entry(group.clone()).or_default();
                match value {
                    Some(value) => members.insert(key.member_id.clone(), partitions(value)),
                    None => members.remove(&key.member_id),
                };
                self.touched.insert(group);
            }
            _ => {}
        }
    }

    /// After each batch: the log gives no partition to two.
    ///
    /// # Errors
    /// If it does.
    pub fn after_batch(&mut self) -> Result<(), Violation> {
        for group in std::mem::take(&mut self.touched) {
            let mut owners = BTreeMap::new();
            for (member, partitions) in self.assigned.get(&group).into_iter().flatten() {
                for partition in partitions {
                    if let Some(other) = owners.insert(partition, member) {
                        let what = format!("{group}: {partition:?} belongs to {other} and {member}");
                        return violation("the log gives a partition to one member", what);
                    }
                }
            }
        }
        Ok(())
    }

    /// The log has been cut.
    pub fn forget_log(&mut self) {
        self.members.clear();
        self.assigned.clear();
    }

    /// A reply leaves the coordinator.
    ///
    /// # Errors
    /// If it gives away what was given to another in the same epoch.
    pub fn told(&mut self, asked: &Asked, reply: &Reply, cluster: &Cluster) -> Result<(), Violation> {
        let (group, epoch, name, places) = match (&asked.command, reply) {
            (Command::Sync(_, request), Reply::Sync(response)) if response.error_code == 0 => {
                let name = request.group_instance_id.as_ref().unwrap_or(&request.member_id);
                (&request.group_id, request.generation_id, name, classic::assigned(response, cluster))
            }
            (Command::ConsumerHeartbeat(_, request), Reply::ConsumerHeartbeat(response))
                if response.error_code == 0 && response.member_epoch > 0 =>
            {
                let Some(assignment) = &response.assignment else { return Ok(()) };
                let name = request.instance_id.as_ref().unwrap_or(&request.member_id);
                (&request.group_id, response.member_epoch, name, consumer::assigned(assignment, cluster))
            }
            _ => return Ok(()),
        };
        for place in places {
            let first = self.told.entry((group.clone(), epoch, place)).or_insert_with(|| name.clone());
            if first != name {
                let what = format!("{group} in epoch {epoch}: {place:?} is {first}'s and {name}'s");
                return violation("one owner for each partition and epoch", what);
            }
        }
        Ok(())
    }

    /// A client has changed its mind about what it owns.
    ///
    /// # Errors
    /// If another member believes to own the same.
    pub fn believes(&mut self, client: &Client) -> Result<(), Violation> {
        let places: BTreeSet<Place> = client.owned.keys().copied().collect();
        let before = self.held.remove(&client.index).unwrap_or_default();
        let gained: Vec<Place> = places.difference(&before.places).copied().collect();
        let held = Held {
            group: client.group.clone(),
            member: client.member_id().to_owned(),
            epoch: client.epoch(),
            is_static: client.instance.is_some(),
            places,
        };
        for place in gained {
            let same = |other: &&Held| other.group == held.group && other.places.contains(&place);
            if let Some(other) = self.held.values().find(same)
                && self.counts(other)
                && self.counts(&held)
            {
                let (group, other, member) = (&held.group, &other.member, &held.member);
                let what = format!("{group}: {place:?} is given to {member}, but {other} has it still");
                return violation("one owner for each partition at a time", what);
            }
        }
        self.held.insert(client.index, held);
        Ok(())
    }

    /// A static member of a classic group that does not come back to a rebalance stays a member; it cannot commit what
    /// it had in an earlier generation (KIP-345).
    fn counts(&self, held: &Held) -> bool {
        let Some(members) = self.members.get(&held.group) else { return false };
        let is_behind =
            members.classic.contains(&held.member) && held.is_static && held.epoch < members.generation;
        self.is_member(&held.group, &held.member) && !is_behind
    }

    fn is_member(&self, group: &str, member: &str) -> bool {
        let members = self.members.get(group);
        members.is_some_and(|members| members.classic.contains(member) || members.consumer.contains(member))
    }

    /// The group is deleted: its epochs begin anew.
    fn begin_anew(&mut self, group: &str) {
        self.told.retain(|(of, _, _), _| of != group);
    }
}

fn partitions(value: &ConsumerGroupCurrentMemberAssignmentValue) -> BTreeSet<(ottla_protocol::TopicId, i32)> {
    let all = value.assigned_partitions.iter().chain(&value.partitions_pending_revocation);
    all.flat_map(|topic| topic.partitions.iter().map(|partition| (topic.topic_id, *partition))).collect()
}
