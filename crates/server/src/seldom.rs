//! Log lines that a client could cause by the thousand: at most one in a while, with the number of those left out.

use std::cell::Cell;
use std::time::Duration;

use ottla_protocol::Now;
use ottla_protocol::time::Deadline;

/// At least this long between two lines of one kind.
const INTERVAL: Duration = Duration::from_secs(5);

/// One kind of line.
#[derive(Debug, Default)]
pub struct Seldom {
    next: Cell<Option<Deadline>>,
    left_out: Cell<u64>,
}

impl Seldom {
    /// Whether a line may be written now; if so, how many were not since the last.
    pub fn may(&self, now: Now) -> Option<u64> {
        if self.next.get().is_some_and(|next| !now.reached(next)) {
            self.left_out.set(self.left_out.get() + 1);
            return None;
        }
        self.next.set(Some(now.after(INTERVAL)));
        Some(self.left_out.take())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_line_in_a_while() {
        let seldom = Seldom::default();
        let at = |seconds: u64| Now { monotonic_us: seconds * 1_000_000, wall_ms: 0 };
        assert_eq!(seldom.may(at(1)), Some(0));
        assert_eq!(seldom.may(at(2)), None);
        assert_eq!(seldom.may(at(5)), None);
        assert_eq!(seldom.may(at(6)), Some(2));
        assert_eq!(seldom.may(at(11)), Some(0));
    }
}
