//! Where a reply goes.

/// Where a reply goes: opaque to the machine that replies, meaningful to whoever asked.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct Ticket {
    /// Who asked.
    pub asker: u64,
    /// Which of the asker's questions.
    pub question: u64,
}
