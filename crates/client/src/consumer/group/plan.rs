//! Rebalances act by act: what is held back, committed, told, let go and taken on, in that order.

use std::collections::BTreeSet;

use ottla_protocol::Now;
use ottla_protocol::time::Deadline;

use crate::cluster::Cluster;
use crate::consumer::assigned::{Assigned, Position};
use crate::consumer::group::Member;
use crate::consumer::group::commits::CommitId;
use crate::consumer::{Consumer, TopicPartition};

/// Whether the owner is told of rebalances while they happen.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Hooks {
    /// No: they go on by themselves.
    #[default]
    None,
    /// Yes, and they wait for its answer.
    Owner,
}

/// What a rebalance takes or gives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Rebalance {
    /// These are about to go to others. What was read of them can still be committed, and is where commits are
    /// automatic.
    Revoked(Vec<TopicPartition>),
    /// These are to be read from now on, perhaps none; reading begins when this has been answered.
    Assigned(Vec<TopicPartition>),
    /// These went to others already: nothing can be committed any more.
    Lost(Vec<TopicPartition>),
}

/// One step of a rebalance.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Act {
    /// No records of these are handed out any more.
    Hold(BTreeSet<TopicPartition>),
    /// The positions of these are committed where commits are automatic.
    Commit(BTreeSet<TopicPartition>),
    /// That commit must end, or this moment come.
    Await(CommitId, Deadline),
    /// The owner is told that these go, or are gone; then they are let go.
    Revoke(BTreeSet<TopicPartition>),
    /// They are taken on, and the owner is told.
    Assign(BTreeSet<TopicPartition>),
    /// The classic member joins.
    Join,
    /// The classic member has settled; it joins anew where it had to let go of something.
    Settle { again: bool },
    /// The broker is told that the member has what it was given.
    Acknowledge,
    /// Nothing is subscribed any more, and the group is left.
    Leave,
}

impl Act {
    /// When it goes on although nothing happens.
    pub(super) fn deadline(&self) -> Option<Deadline> {
        match self {
            Self::Await(_, until) => Some(*until),
            _ => None,
        }
    }
}

/// Whether a plan can go on.
enum Step {
    On,
    Blocked,
}

impl Consumer {
    /// The owner has heard of the rebalance it was told of: on it goes.
    pub fn rebalanced(&mut self, now: Now, cluster: &mut Cluster) {
        let Some(group) = &mut self.group else { return };
        match group.told.take() {
            Some(Rebalance::Revoked(partitions) | Rebalance::Lost(partitions)) => {
                self.let_go(now, cluster, partitions);
            }
            Some(Rebalance::Assigned(partitions)) => self.release(&partitions),
            None => return,
        }
        self.carry_out(now, cluster);
        self.step(now, cluster);
    }

    /// Carries out the plan as far as it goes.
    pub(super) fn carry_out(&mut self, now: Now, cluster: &mut Cluster) {
        loop {
            let Some(group) = &mut self.group else { return };
            if group.told.is_some() {
                if group.hooks == Hooks::Owner {
                    return;
                }
                match group.told.take() {
                    Some(Rebalance::Revoked(gone) | Rebalance::Lost(gone)) => self.let_go(now, cluster, gone),
                    Some(Rebalance::Assigned(new)) => self.release(&new),
                    None => {}
                }
                continue;
            }
            let Some(act) = group.plan.pop_front() else { return };
            if let Step::Blocked = self.act(now, cluster, act.clone()) {
                if let Some(group) = &mut self.group {
                    group.plan.push_front(act);
                }
                return;
            }
        }
    }

    fn act(&mut self, now: Now, cluster: &mut Cluster, act: Act) -> Step {
        match act {
            Act::Hold(partitions) => {
                for partition in &partitions {
                    if let Some(assigned) = self.partitions.get_mut(partition) {
                        assigned.held = true;
                    }
                }
            }
            Act::Commit(partitions) => {
                let automatic = self.group.as_ref().is_some_and(|group| {
                    group.settings.auto_commit.is_some() && group.identity().generation >= 0
                });
                if automatic {
                    let id = self.commit_positions(now, Some(&partitions));
                    if let (Some(id), Some(group)) = (id, &mut self.group) {
                        let until = now.after(group.settings.max_poll_interval);
                        group.plan.push_front(Act::Await(id, until));
                    }
                    self.send_commit(now, cluster);
                }
            }
            Act::Await(id, until) => {
                let over = |group: &super::Group| group.commits.is_over(id) || now.reached(until);
                if !self.group.as_ref().is_none_or(|group| over(group)) {
                    return Step::Blocked;
                }
            }
            Act::Revoke(partitions) => self.revoke(partitions),
            Act::Assign(partitions) => self.take_on(now, cluster, partitions),
            Act::Join => return if self.join(now, cluster) { Step::On } else { Step::Blocked },
            Act::Settle { again } => self.settle(again),
            Act::Acknowledge => self.acknowledge(),
            Act::Leave => self.leave(now, cluster),
        }
        Step::On
    }

    /// Tells the owner of those partitions that it still has.
    fn revoke(&mut self, partitions: BTreeSet<TopicPartition>) {
        let gone: Vec<_> = partitions.into_iter().filter(|p| self.partitions.contains_key(p)).collect();
        let Some(group) = &mut self.group else { return };
        if gone.is_empty() {
            return;
        }
        let lost = match &group.member {
            Member::Classic(classic) => classic.lost,
            Member::Reconciling(member) => member.lost(),
        };
        group.told = Some(if lost { Rebalance::Lost(gone) } else { Rebalance::Revoked(gone) });
    }

    pub(super) fn let_go(&mut self, now: Now, cluster: &mut Cluster, partitions: Vec<TopicPartition>) {
        for partition in &partitions {
            self.partitions.remove(partition);
            if let Some(group) = &mut self.group {
                group.commits.last.remove(partition);
            }
        }
        self.ready.retain(|partition| self.partitions.contains_key(partition));
        self.watch(now, cluster);
    }

    fn take_on(&mut self, now: Now, cluster: &mut Cluster, partitions: BTreeSet<TopicPartition>) {
        for partition in &partitions {
            let generation = self.next_generation();
            let mut assigned = Assigned::new(Position::Committed, generation);
            assigned.held = true;
            self.partitions.insert(partition.clone(), assigned);
        }
        self.watch(now, cluster);
        if let Some(group) = &mut self.group {
            group.told = Some(Rebalance::Assigned(partitions.into_iter().collect()));
            // The new positions are not old enough to be committed.
            group.commit_at = group.settings.auto_commit.map(|interval| now.after(interval));
        }
    }

    fn release(&mut self, partitions: &[TopicPartition]) {
        for partition in partitions {
            if let Some(assigned) = self.partitions.get_mut(partition) {
                assigned.held = false;
            }
        }
    }

    /// Plans to let go of everything and to leave.
    pub(super) fn plan_leaving(&mut self, now: Now) {
        let all: BTreeSet<_> = self.partitions.keys().cloned().collect();
        let Some(group) = &mut self.group else {
            self.partitions.clear();
            self.ready.clear();
            return;
        };
        group.plan.clear();
        group.plan.push_back(Act::Hold(all.clone()));
        group.plan.push_back(Act::Commit(all.clone()));
        if let Some(last) = group.commits.last_id() {
            group.plan.push_back(Act::Await(last, now.after(group.settings.api_timeout)));
        }
        group.plan.push_back(Act::Revoke(all));
        group.plan.push_back(Act::Leave);
    }
}
