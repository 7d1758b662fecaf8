//! The API table: for each key its versions, where and when it may be called, and the function that answers.
//!
//! A key without a row is not served and not advertised. What ApiVersions advertises, the dispatcher and
//! `docs/compatibility.md` come from here.

mod add_offsets_to_txn;
mod add_partitions_to_txn;
mod alter_configs;
mod alter_partition_reassignments;
mod api_versions;
mod compatibility;
mod consumer_group_describe;
mod consumer_group_heartbeat;
mod coordinate;
mod create_partitions;
mod create_topics;
mod delete_groups;
mod delete_records;
mod delete_topics;
mod describe_cluster;
mod describe_configs;
mod describe_groups;
mod describe_producers;
mod describe_quorum;
mod describe_topic_partitions;
mod describe_transactions;
mod elect_leaders;
mod end_txn;
mod fetch;
mod find_coordinator;
mod forward;
mod heartbeat;
mod init_producer_id;
mod join_group;
mod leader_hint;
mod leave_group;
mod list_config_resources;
mod list_groups;
mod list_offsets;
mod list_partition_reassignments;
mod list_transactions;
mod metadata;
mod offset_commit;
mod offset_delete;
mod offset_fetch;
mod offset_for_leader_epoch;
mod produce;
mod scatter;
mod sync_group;
mod table;
mod transact;
mod txn_offset_commit;
mod unregister_broker;
mod update_features;
mod write_txn_markers;

pub use compatibility::page as compatibility_page;
pub use table::{Access, Listeners, Row, row, rows};
pub(crate) use write_txn_markers::mark as mark_of;

use ottla_protocol::codec::Reader;
use ottla_protocol::{ApiKey, Refusal};

use crate::answer::{Answer, Encodable};
use crate::context::Context;
use crate::frame::Head;

/// Answers one request, or closes the connection as Kafka does where key or version are not served.
pub fn serve(context: &mut Context<'_>, head: &mut Head, body: Reader) -> Answer<Box<dyn Encodable>> {
    let kind = context.node.listeners[context.listener].kind;
    let Some(row) = row(head.key).filter(|row| row.listeners.include(kind)) else {
        return Answer::Close("this API is not served here");
    };
    if !(row.min..=row.max).contains(&head.version) {
        if head.key == ApiKey::ApiVersions {
            // The client learns from a version 0 response what it may send (KIP-511).
            head.version = 0;
            return api_versions::unsupported(Refusal::UnsupportedVersion).erase();
        }
        return Answer::Close("this version of the API is not served");
    }
    let (host, client) = (context.client_host, context.client_id);
    (row.serve)(context, body).unwrap_or_else(|error| {
        // That the connection is closed, and whose it was, is logged where it is closed, and seldom.
        let (api, version) = (head.key.name(), head.version);
        tracing::debug!(api, version, host, client, %error, "a request is malformed");
        Answer::Close("malformed request")
    })
}
