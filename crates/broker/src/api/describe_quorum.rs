//! DescribeQuorum (55), versions 0–2: leader, voters and observers of the metadata log (KIP-595, KIP-836, KIP-853).

use ottla_protocol::messages::{DescribeQuorumRequest, DescribeQuorumResponse};
use ottla_protocol::{Refusal, Uuid};

use crate::answer::{Answer, Question};
use crate::context::Context;
use crate::control::{Command, Reply};

/// The first version with directories and the voters' addresses (KIP-853).
const NODES_SINCE: i16 = 2;

/// How long control may take.
const TIMEOUT_MS: i64 = 10_000;

/// Asks control, which holds the replica of the metadata log.
pub fn answer(request: DescribeQuorumRequest, context: &mut Context<'_>) -> Answer<DescribeQuorumResponse> {
    let deadline = Some(context.now.after_ms(TIMEOUT_MS));
    let question = Question::Control(Command::DescribeQuorum(request));
    Answer::ask_all(vec![question], deadline, |context, mut replies| {
        Answer::reply(match replies.control(0) {
            Some(Reply::Quorum(response)) => without_news(*response, context.version),
            Some(Reply::Refused(refusal)) => refused(refusal),
            _ => refused(Refusal::RequestTimedOut),
        })
    })
}

/// Takes away what the version does not know.
fn without_news(mut response: DescribeQuorumResponse, version: i16) -> DescribeQuorumResponse {
    if version >= NODES_SINCE {
        return response;
    }
    response.nodes.clear();
    response.error_message = None;
    for partition in response.topics.iter_mut().flat_map(|topic| &mut topic.partitions) {
        partition.error_message = None;
        for replica in partition.current_voters.iter_mut().chain(&mut partition.observers) {
            replica.replica_directory_id = Uuid::ZERO;
        }
    }
    response
}

fn refused(refusal: Refusal) -> DescribeQuorumResponse {
    DescribeQuorumResponse { error_code: refusal.code(), ..Default::default() }
}
