//! One partition kept alike on leader and followers.
//!
//! A keeper: [`Partition::step`] takes the time and an input and fills a list of outputs. It knows its log and what the
//! metadata says of it; it knows no session, no topic name, no thread and no clock.

mod flushing;
mod input;
mod journal;
mod leader;
mod output;
mod partition;
mod read;
mod settings;
mod shortage;
mod transactions;
mod waiting;

pub use input::{
    Acks, Append, Input, Isolation, Lead, Mark, OffsetSpec, Question, ReadRequest, TransactionProtocol,
    Verify,
};
pub use journal::Stretch;
pub use ottla_protocol::Ticket;
pub use output::{AbortedTransaction, Appended, EpochEnd, ListedOffset, Output, ProducerState, Read, Reply};
pub use partition::Partition;
pub use settings::TopicSettings;
pub use transactions::VerificationGuard;
