//! Names kept once, however many things bear them, and known by small numbers. A name is forgotten with its last bearer.

use std::collections::BTreeMap;
use std::sync::Arc;

/// See the module.
#[derive(Debug, Default)]
pub(super) struct Names {
    by_name: BTreeMap<Arc<str>, u32>,
    slots: Vec<Slot>,
    free: Vec<u32>,
}

#[derive(Debug)]
struct Slot {
    name: Arc<str>,
    bearers: u64,
}

impl Names {
    /// The number of a name that has one more bearer now.
    pub(super) fn take(&mut self, name: &str) -> u32 {
        if let Some(&number) = self.by_name.get(name) {
            self.slots[number as usize].bearers += 1;
            return number;
        }
        let name: Arc<str> = name.into();
        let slot = Slot { name: Arc::clone(&name), bearers: 1 };
        let number = if let Some(number) = self.free.pop() {
            self.slots[number as usize] = slot;
            number
        } else {
            self.slots.push(slot);
            u32::try_from(self.slots.len() - 1).expect("memory ends before four thousand million names")
        };
        self.by_name.insert(name, number);
        number
    }

    /// One bearer less.
    pub(super) fn release(&mut self, number: u32) {
        let slot = &mut self.slots[number as usize];
        slot.bearers -= 1;
        if slot.bearers == 0 {
            let name = std::mem::replace(&mut slot.name, Arc::from(""));
            self.by_name.remove(&name);
            self.free.push(number);
        }
    }

    /// The number of a name that somebody bears.
    pub(super) fn find(&self, name: &str) -> Option<u32> {
        self.by_name.get(name).copied()
    }

    /// The name of a number that somebody bears.
    pub(super) fn name(&self, number: u32) -> &str {
        &self.slots[number as usize].name
    }

    /// The numbers of all names.
    pub(super) fn numbers(&self) -> impl Iterator<Item = u32> {
        self.by_name.values().copied()
    }
}
