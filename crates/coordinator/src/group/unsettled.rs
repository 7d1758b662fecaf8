//! What is known of members that is in no record: what it costs, by the host that brought it, for each group and for all of
//! them together. What costs nothing is not listed.
//!
//! A group keeps a [`Ledger`] and notes what changes; [`Unsettled`] takes the changes over whenever the group has been
//! asked something. Invariant: each sum is that of the changes taken over since its group came into being.

use std::collections::BTreeMap;

/// What has changed with what one group costs since that was last taken.
#[derive(Debug)]
pub(super) struct Ledger {
    changes: Vec<(String, isize)>,
    /// Nothing has been taken yet: whatever was known under the group's name was another group's.
    is_fresh: bool,
}

impl Default for Ledger {
    fn default() -> Self {
        Self { changes: Vec::new(), is_fresh: true }
    }
}

impl Ledger {
    /// What somebody on this host said costs so much.
    pub(super) fn charge(&mut self, host: &str, bytes: usize) {
        self.change(host, bytes.cast_signed());
    }

    /// It does not any longer.
    pub(super) fn release(&mut self, host: &str, bytes: usize) {
        self.change(host, -bytes.cast_signed());
    }

    fn change(&mut self, host: &str, by: isize) {
        if by != 0 {
            self.changes.push((host.to_owned(), by));
        }
    }
}

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Unsettled {
    by_group: BTreeMap<String, BTreeMap<String, usize>>,
    by_host: BTreeMap<String, usize>,
    total: usize,
}

impl Unsettled {
    /// Takes over what has changed with a group.
    pub(super) fn take(&mut self, group: &str, ledger: &mut Ledger) {
        if std::mem::take(&mut ledger.is_fresh) {
            self.forget(group);
        }
        for (host, by) in ledger.changes.drain(..) {
            let hosts = self.by_group.entry(group.to_owned()).or_default();
            add(hosts, &host, by);
            if hosts.is_empty() {
                self.by_group.remove(group);
            }
            add(&mut self.by_host, &host, by);
            self.total = self.total.strict_add_signed(by);
        }
    }

    /// A group costs nothing from now on.
    pub(super) fn forget(&mut self, group: &str) {
        for (host, bytes) in self.by_group.remove(group).unwrap_or_default() {
            add(&mut self.by_host, &host, -bytes.cast_signed());
            self.total -= bytes;
        }
    }

    /// What all of them cost, in bytes.
    pub(super) fn total(&self) -> usize {
        self.total
    }

    /// What of this was said by members on one host, in bytes.
    pub(super) fn of_host(&self, host: &str) -> usize {
        self.by_host.get(host).copied().unwrap_or(0)
    }

    /// Whether the sums are those of one group, which costs so much; for tests.
    #[cfg(test)]
    pub(super) fn check(&self, bytes: usize) {
        assert_eq!(self.total, bytes);
        assert_eq!(self.by_host.values().sum::<usize>(), bytes);
        assert_eq!(self.by_group.values().flat_map(BTreeMap::values).sum::<usize>(), bytes);
        assert!(self.by_host.values().all(|bytes| *bytes > 0));
    }
}

fn add(sums: &mut BTreeMap<String, usize>, host: &str, by: isize) {
    let sum = sums.get(host).copied().unwrap_or(0).saturating_add_signed(by);
    match sums.get_mut(host) {
        _ if sum == 0 => drop(sums.remove(host)),
        Some(known) => *known = sum,
        None => drop(sums.insert(host.to_owned(), sum)),
    }
}
