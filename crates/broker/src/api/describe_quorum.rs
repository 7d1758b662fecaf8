//! DescribeQuorum (55), versions 0–2: leader, voters and observers of the metadata log (KIP-595, KIP-836, KIP-853).

use ottla_protocol::Refusal;
use ottla_protocol::messages::{DescribeQuorumRequest, DescribeQuorumResponse};

use crate::answer::{Answer, Question};
use crate::context::Context;
use crate::control::{Command, Reply};

/// How long control may take.
const TIMEOUT_MS: i64 = 10_000;

/// Asks control, which holds the replica of the metadata log.
pub fn answer(request: DescribeQuorumRequest, context: &mut Context<'_>) -> Answer<DescribeQuorumResponse> {
    let deadline = Some(context.now.after_ms(TIMEOUT_MS));
    let question = Question::Control(Command::DescribeQuorum(request));
    Answer::ask_all(vec![question], deadline, |_, mut replies| {
        Answer::reply(match replies.control(0) {
            Some(Reply::Quorum(response)) => *response,
            Some(Reply::Refused(refusal)) => refused(refusal),
            _ => refused(Refusal::RequestTimedOut),
        })
    })
}

fn refused(refusal: Refusal) -> DescribeQuorumResponse {
    DescribeQuorumResponse { error_code: refusal.code(), ..Default::default() }
}
