//! What must hold of transactions, whatever goes wrong: one file for each invariant.

mod all_or_nothing;
mod producers;
mod recovered;

pub use all_or_nothing::AllOrNothing;
pub use producers::Producers;
pub use recovered::recovered;

use crate::check::Violation;

fn violation(invariant: &'static str, what: String) -> Result<(), Violation> {
    Err(Violation { invariant, what })
}
