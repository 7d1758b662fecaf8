//! A member by the consumer protocol (KIP-848): it sends heartbeats, says at once what it has taken or given up, and
//! leaves.

use std::sync::Arc;

use anyhow::ensure;
use ottla_protocol::messages::ConsumerGroupHeartbeatRequest;
use ottla_protocol::messages::consumer_group_heartbeat::RequestTopicPartitions;

use super::{Phase, Role, Stage};
use crate::bench::coordination::member::{first_heartbeat, unique_id};
use crate::bench::wire::Wire;

pub async fn member(stage: Arc<Stage>, mut wire: Wire, number: usize, role: Role) -> anyhow::Result<()> {
    let mut heard = stage.phase.subscribe();
    let mut request = first_heartbeat(&stage.group, &unique_id(&format!("{} {number}", stage.group)));
    let mut owned = 0;
    let mut role = role;
    loop {
        let response = wire.ask_until_there(&request, 1, |response| response.error_code).await?;
        let why = response.error_message.unwrap_or_default();
        ensure!(response.error_code == 0, "ConsumerGroupHeartbeat: {} {why}", response.error_code);
        if role == Role::Newcomer {
            stage.phase.send_replace(Phase::Joining);
            role = Role::First;
        }
        // Only what has changed is said again.
        request = ConsumerGroupHeartbeatRequest {
            group_id: request.group_id,
            member_id: request.member_id,
            member_epoch: response.member_epoch,
            ..ConsumerGroupHeartbeatRequest::default()
        };
        if let Some(given) = response.assignment {
            let own = given.topic_partitions.into_iter().find(|own| own.topic_id == stage.topic);
            let partitions = own.map(|own| own.partitions).unwrap_or_default();
            owned = partitions.len();
            request.topic_partitions =
                Some(vec![RequestTopicPartitions { topic_id: stage.topic, partitions }]);
            continue;
        }
        stage.stands(number, response.member_epoch, owned);
        if stage.pause(&mut heard).await == Phase::Over {
            request.member_epoch = -1;
            let left = wire.ask(&request, 1).await?;
            ensure!(left.error_code == 0, "leaving: {}", left.error_code);
            return Ok(());
        }
    }
}
