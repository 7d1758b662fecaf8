//! EndTxn (26), versions 0–5: a transaction is to be committed or aborted.
//!
//! v2 PRODUCER_FENCED, v4 TRANSACTION_ABORTABLE, v5 every transaction has an epoch of its own, which the response names
//! (KIP-890).

use ottla_coordinator::transaction::{Command, Reply, TransactionVersion};
use ottla_protocol::messages::{EndTxnRequest, EndTxnResponse};

use crate::answer::Answer;
use crate::api::transact;
use crate::context::Context;

/// The first version that knows PRODUCER_FENCED.
const FENCED_SINCE: i16 = 2;

/// The first version whose clients take a new epoch with each transaction.
const EPOCHS_SINCE: i16 = 5;

/// Asks the coordinator.
pub fn answer(request: EndTxnRequest, context: &mut Context<'_>) -> Answer<EndTxnResponse> {
    let version = context.version;
    let protocol = if version >= EPOCHS_SINCE { TransactionVersion::V2 } else { TransactionVersion::V0 };
    let id = request.transactional_id.clone();
    let pick = |reply| match reply {
        Reply::End(response) => Some(response),
        _ => None,
    };
    let refuse = |refusal: ottla_protocol::Refusal| EndTxnResponse {
        error_code: refusal.code(),
        ..Default::default()
    };
    transact::ask(context, &id, Command::End(protocol, request), pick, refuse).map(move |mut response| {
        response.error_code = transact::as_told(response.error_code, version, FENCED_SINCE);
        if version < EPOCHS_SINCE {
            (response.producer_id, response.producer_epoch) = (-1, -1);
        }
        response
    })
}
