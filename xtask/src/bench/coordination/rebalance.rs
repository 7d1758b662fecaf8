//! Rebalances of a large group: all join an empty one, then one more joins.
//!
//! Each member has a connection of its own and is a task. It is settled when it has its share and has said so; the
//! group is when all members are in one generation (or member epoch) and every partition has an owner. How often members
//! send heartbeats is what a real rebalance takes longest for, so here they send them often: while the group forms,
//! every `PACE`, and when one more has joined, at once and then every `PACE`.

mod classic;
mod consumer;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use anyhow::ensure;
use ottla_protocol::TopicId;
use ottla_protocol::messages::ListGroupsRequest;
use tokio::sync::{Notify, watch};
use tokio::task::JoinSet;
use tokio::time::sleep;

use super::member::TOPIC;
use super::{Figures, Protocol, milliseconds, percentile};
use crate::bench::machine::cpu_seconds;
use crate::bench::wire::{CoordinatorKind, Wire};
use crate::node::Node;

/// From one heartbeat's answer to the next heartbeat.
const PACE: Duration = Duration::from_millis(50);

/// How long a settled group is left alone, so that the last heartbeats are answered.
const REST: Duration = Duration::from_millis(300);

/// Rounds that are not counted.
const WARM_UP: usize = 2;

/// What members do when they have nothing to say.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Phase {
    /// Heartbeats.
    Forming,
    /// Nothing.
    Resting,
    /// Heartbeats, the first at once.
    Joining,
    /// They leave.
    Over,
}

/// Whether a member is one of those who make the group, or joins what is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Role {
    First,
    Newcomer,
}

/// A group that is measured, as its members share it.
struct Stage {
    group: String,
    topic: TopicId,
    partitions: usize,
    phase: watch::Sender<Phase>,
    standing: Mutex<Standing>,
    changed: Notify,
}

/// How far the members are.
#[derive(Default)]
struct Standing {
    /// Generation and number of partitions of each.
    members: BTreeMap<usize, (i32, usize)>,
    generations: BTreeMap<i32, usize>,
    owned: usize,
}

/// What one round took.
struct Round {
    all: f64,
    one_more: f64,
    one_more_cpu: f64,
}

pub async fn measure(
    node: &Node,
    protocol: Protocol,
    members: usize,
    rounds: usize,
) -> anyhow::Result<Figures> {
    let mut wire = Wire::open(&node.address()).await?;
    let partitions = 2 * members;
    let topic = wire.create_topic(TOPIC, i32::try_from(partitions)?).await?;
    wire.find_coordinator("rebalanced", CoordinatorKind::Group).await?;
    let mut counted = Vec::new();
    for round in 0..WARM_UP + rounds {
        let stage = Arc::new(Stage {
            group: format!("rebalanced-{round}"),
            topic,
            partitions,
            phase: watch::Sender::new(Phase::Forming),
            standing: Mutex::default(),
            changed: Notify::new(),
        });
        counted.push(stage.round(node, &mut wire, protocol, members).await?);
    }
    let median = |of: fn(&Round) -> f64| {
        percentile(&mut counted.iter().skip(WARM_UP).map(of).collect::<Vec<f64>>(), 0.5)
    };
    Ok(vec![
        ("all join, ms", median(|round| round.all)),
        ("one more joins, ms", median(|round| round.one_more)),
        ("one more joins, CPU ms", median(|round| round.one_more_cpu)),
    ])
}

impl Stage {
    async fn round(
        self: Arc<Self>,
        node: &Node,
        wire: &mut Wire,
        protocol: Protocol,
        members: usize,
    ) -> anyhow::Result<Round> {
        let mut wires = Vec::new();
        for _ in 0..=members {
            wires.push(Wire::open(&node.address()).await?);
        }
        let mut tasks = JoinSet::new();
        let mut start = |number: usize, wire: Wire, role: Role| match protocol {
            Protocol::Classic => drop(tasks.spawn(classic::member(self.clone(), wire, number, role))),
            Protocol::Consumer => drop(tasks.spawn(consumer::member(self.clone(), wire, number, role))),
        };
        let last = wires.pop();
        let begin = Instant::now();
        wires.into_iter().enumerate().for_each(|(number, wire)| start(number, wire, Role::First));
        self.settled(members, wire).await?;
        let all = milliseconds(begin.elapsed());
        self.phase.send_replace(Phase::Resting);
        sleep(REST).await;
        let (cpu, begin) = (cpu_seconds(node)?, Instant::now());
        last.into_iter().for_each(|wire| start(members, wire, Role::Newcomer));
        self.settled(members + 1, wire).await?;
        let one_more = milliseconds(begin.elapsed());
        let one_more_cpu = (cpu_seconds(node)? - cpu) * 1000.0;
        self.phase.send_replace(Phase::Over);
        while let Some(ended) = tasks.join_next().await {
            ended??;
        }
        Ok(Round { all, one_more, one_more_cpu })
    }

    /// Waits until so many members are settled, and the group calls itself stable.
    async fn settled(&self, members: usize, wire: &mut Wire) -> anyhow::Result<()> {
        loop {
            let changed = self.changed.notified();
            if self.standing().is_settled(members, self.partitions) && self.is_stable(wire).await? {
                return Ok(());
            }
            // A member that fails is silent; it is heard of at the end of the cell.
            let _ = tokio::time::timeout(PACE, changed).await;
        }
    }

    async fn is_stable(&self, wire: &mut Wire) -> anyhow::Result<bool> {
        let response = wire.ask(&ListGroupsRequest::default(), 5).await?;
        ensure!(response.error_code == 0, "ListGroups: {}", response.error_code);
        let group = response.groups.iter().find(|group| group.group_id == self.group);
        Ok(group.is_some_and(|group| group.group_state == "Stable"))
    }

    /// A member has taken its share.
    fn stands(&self, member: usize, generation: i32, owned: usize) {
        let mut standing = self.standing();
        standing.take(member, generation, owned);
        self.changed.notify_one();
    }

    fn standing(&self) -> std::sync::MutexGuard<'_, Standing> {
        self.standing.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits until it is time for the next heartbeat.
    async fn pause(&self, heard: &mut watch::Receiver<Phase>) -> Phase {
        let phase = *heard.borrow_and_update();
        match phase {
            Phase::Over => return phase,
            Phase::Resting => drop(heard.changed().await),
            Phase::Forming | Phase::Joining => {
                tokio::select! {
                    () = sleep(PACE) => {}
                    _ = heard.changed() => {}
                }
            }
        }
        *heard.borrow()
    }
}

impl Standing {
    fn take(&mut self, member: usize, generation: i32, owned: usize) {
        if let Some((before, had)) = self.members.insert(member, (generation, owned)) {
            self.owned -= had;
            match self.generations.get_mut(&before) {
                Some(count) if *count > 1 => *count -= 1,
                _ => drop(self.generations.remove(&before)),
            }
        }
        self.owned += owned;
        *self.generations.entry(generation).or_default() += 1;
    }

    fn is_settled(&self, members: usize, partitions: usize) -> bool {
        self.members.len() == members && self.generations.len() == 1 && self.owned == partitions
    }
}

#[cfg(test)]
mod tests {
    use super::Standing;

    #[test]
    fn a_group_is_settled_in_one_generation_that_owns_everything() {
        let mut standing = Standing::default();
        standing.take(0, 1, 4);
        assert!(standing.is_settled(1, 4));
        standing.take(1, 2, 2);
        assert!(!standing.is_settled(2, 4), "two generations");
        standing.take(0, 2, 1);
        assert!(!standing.is_settled(2, 4), "a partition is without an owner");
        standing.take(0, 2, 2);
        assert!(standing.is_settled(2, 4));
        assert!(!standing.is_settled(3, 4), "a member is missing");
    }
}
