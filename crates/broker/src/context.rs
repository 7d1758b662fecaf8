//! What an API function may know besides its request.

use std::sync::Arc;

use ottla_metadata::Image;
use ottla_protocol::Now;
use ottla_protocol::compression::Codecs;

use crate::core::SessionId;
use crate::fetch_session::FetchSession;
use crate::node::Node;
use crate::topics::Topics;

/// The surroundings of one request. Everything that answers depend on stands here; nothing is ambient.
pub struct Context<'a> {
    /// The present moment.
    pub now: Now,
    /// The cluster as this core knows it.
    pub image: &'a Arc<Image>,
    /// This node's own, unchanging facts.
    pub node: &'a Arc<Node>,
    /// Topic settings, resolved and typed.
    pub topics: &'a mut Topics,
    /// The connection.
    pub session: SessionId,
    /// The listener that the request came in on: an index into [`Node::listeners`].
    pub listener: usize,
    /// The version of the request.
    pub version: i16,
    /// What the client calls itself.
    pub client_id: &'a str,
    /// The client's address, as text.
    pub client_host: &'a str,
    /// The core's compressors, with their contexts.
    pub codecs: &'a mut Codecs,
    /// The connection's incremental fetch session (KIP-227).
    pub fetch_session: &'a mut FetchSession,
}

impl Context<'_> {
    /// An id for a fetch session: unlike those of other sessions on this core, and never 0.
    #[must_use]
    pub fn fresh_fetch_session_id(&self) -> i32 {
        i32::try_from(self.session.0 & 0x7fff_ffff).unwrap_or(0).max(1)
    }
}
