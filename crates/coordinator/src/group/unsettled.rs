//! What each group costs that is in no record, and all of them together. A group that costs nothing is not listed.

use std::collections::BTreeMap;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Unsettled {
    by_group: BTreeMap<String, usize>,
    total: usize,
}

impl Unsettled {
    /// The group costs so many bytes from now on.
    pub(super) fn set(&mut self, group: &str, bytes: usize) {
        match self.by_group.get_mut(group) {
            Some(known) => {
                self.total = self.total - *known + bytes;
                *known = bytes;
            }
            None if bytes == 0 => return,
            None => {
                self.total += bytes;
                self.by_group.insert(group.to_owned(), bytes);
            }
        }
        if bytes == 0 {
            self.by_group.remove(group);
        }
    }

    /// What all of them cost, in bytes.
    pub(super) fn total(&self) -> usize {
        self.total
    }
}
