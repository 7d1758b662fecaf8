//! After healing all groups are stable and everything is assigned: each partition that somebody reads to one reader.

use std::collections::BTreeMap;

use ottla_coordinator::group::Groups;

use super::{Violation, violation};
use crate::groups::client::Client;
use crate::groups::cluster::{Cluster, Place};

/// Looks at a world in which nothing has gone wrong for a while.
///
/// # Errors
/// If a group is not stable, or a partition without its one reader.
pub fn settled(clients: &[Client], groups: &Groups, cluster: &Cluster) -> Result<(), Violation> {
    let fail = |what: String| violation("after healing everything is assigned", what);
    let mut by_group: BTreeMap<&str, Vec<&Client>> = BTreeMap::new();
    for client in clients.iter().filter(|client| client.up) {
        by_group.entry(&client.group).or_default().push(client);
    }
    for (name, clients) in by_group {
        let state = groups.state(name);
        if state != Some("Stable") {
            return fail(format!("{name} is {state:?}"));
        }
        let mut owners: BTreeMap<Place, usize> = BTreeMap::new();
        for client in &clients {
            for place in client.owned.keys() {
                if let Some(other) = owners.insert(*place, client.index) {
                    return fail(format!("{name}: clients {other} and {} own {place:?}", client.index));
                }
                if !client.topics.contains(&place.0) {
                    return fail(format!(
                        "{name}: client {} owns {place:?}, but does not read it",
                        client.index
                    ));
                }
            }
        }
        for topic in 0..cluster.len() {
            if !clients.iter().any(|client| client.topics.contains(&topic)) {
                continue;
            }
            for partition in 0..cluster.count(topic) {
                if !owners.contains_key(&(topic, partition)) {
                    return fail(format!("{name}: nobody owns {:?}", (topic, partition)));
                }
            }
        }
    }
    Ok(())
}
