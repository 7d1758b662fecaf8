//! Refusals with their texts. Where Kafka gives an error no text of its own, clients see the error's general one.

use ottla_metadata::config::validate::Rejected;
use ottla_protocol::Refusal;

/// A refusal with this text.
pub(crate) fn refused(refusal: Refusal, message: impl Into<String>) -> Rejected {
    Rejected::new(refusal, message)
}

/// A refusal with its general text.
pub(crate) fn plain(refusal: Refusal) -> Rejected {
    let text = match refusal {
        Refusal::UnknownTopicOrPartition => "This server does not host this topic-partition.",
        Refusal::UnknownTopicId => "This server does not host this topic ID.",
        Refusal::TopicAuthorizationFailed => "Topic authorization failed.",
        Refusal::TopicDeletionDisabled => "Topic deletion is disabled.",
        Refusal::ElectionNotNeeded => "Leader election not needed for topic partition.",
        Refusal::PreferredLeaderNotAvailable => "The preferred leader was not available.",
        Refusal::EligibleLeadersNotAvailable => "Eligible topic partition leaders are not available.",
        Refusal::NoReassignmentInProgress => "No partition reassignment is in progress.",
        Refusal::NotController => "This is not the correct controller for this cluster.",
        other => other.name(),
    };
    Rejected::new(refusal, text)
}

/// Too much at once.
pub(crate) fn too_much() -> Rejected {
    refused(Refusal::PolicyViolation, "Unable to perform excessively large batch operation.")
}

/// The error code and text of an outcome.
pub(crate) fn outcome<T>(result: &Result<T, Rejected>) -> (i16, Option<String>) {
    match result {
        Ok(_) => (0, None),
        Err(rejected) => (rejected.refusal.code(), Some(rejected.message.clone())),
    }
}
