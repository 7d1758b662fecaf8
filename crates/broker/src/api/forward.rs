//! Requests that only the active controller can answer.

use ottla_controller::{Command, Reply};
use ottla_protocol::Refusal;
use ottla_protocol::time::Deadline;

use crate::answer::{Answer, Question};
use crate::control;

/// Asks the controller. `pick` takes the response out of the reply, `refuse` makes one out of a refusal.
pub fn ask<T: 'static>(
    command: Command,
    deadline: Option<Deadline>,
    pick: fn(Reply) -> Option<T>,
    refuse: impl FnOnce(Refusal) -> T + 'static,
) -> Answer<T> {
    let question = Question::Control(control::Command::Controller(Box::new(command)));
    Answer::ask_all(vec![question], deadline, move |_, mut replies| {
        let response = match replies.control(0) {
            Some(control::Reply::Controller(reply)) => match *reply {
                Reply::NotController => Err(Refusal::NotController),
                reply => pick(reply).ok_or(Refusal::UnknownServerError),
            },
            Some(control::Reply::Refused(refusal)) => Err(refusal),
            Some(_) => Err(Refusal::UnknownServerError),
            None => Err(Refusal::RequestTimedOut),
        };
        Answer::reply(response.unwrap_or_else(refuse))
    })
}
