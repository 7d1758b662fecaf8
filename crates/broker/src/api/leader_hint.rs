//! Who leads now, for clients that came to the wrong node (KIP-951).

use ottla_protocol::PartitionId;
use ottla_protocol::messages::{fetch, produce};

use crate::context::Context;

/// Leader and epoch of a partition as the image has them; −1 where there is none.
fn current(context: &Context<'_>, id: PartitionId) -> Option<(i32, i32)> {
    let partition = context.image.topics.partition(id)?;
    Some((partition.leader.map_or(-1, |leader| leader.0), partition.leader_epoch.0))
}

/// Fills the hint of a Produce response.
pub fn produce(context: &Context<'_>, id: PartitionId, hint: &mut produce::LeaderIdAndEpoch) {
    if let Some((leader_id, leader_epoch)) = current(context, id) {
        (hint.leader_id, hint.leader_epoch) = (leader_id, leader_epoch);
    }
}

/// Fills the hint of a Fetch response.
pub fn fetch(context: &Context<'_>, id: PartitionId, hint: &mut fetch::LeaderIdAndEpoch) {
    if let Some((leader_id, leader_epoch)) = current(context, id) {
        (hint.leader_id, hint.leader_epoch) = (leader_id, leader_epoch);
    }
}
