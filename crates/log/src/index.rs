//! The indexes of a segment: sorted entries of a fixed size in a file, the last few also in memory.
//!
//! Nothing is mapped and nothing preallocated: a file is always exactly as long as its entries. New entries gather in
//! memory and go to the file a few at a time, so after a crash the file may lack the last ones, or have a torn end;
//! recovery makes the indexes of unflushed segments anew, and a file that contradicts its segment is found out when
//! it is loaded.

mod offset;
mod time;
mod transaction;

pub(crate) use offset::OffsetIndex;
pub(crate) use time::{TimeIndex, TimestampAt};
pub use transaction::AbortedTransaction;
pub(crate) use transaction::TransactionIndex;

use std::io::IoSlice;
use std::sync::Arc;

use ottla_protocol::Offset;

use crate::disk::{DiskError, DiskFile};
use crate::place::Place;

/// Entries kept in memory at most, unless the file cannot be written just now.
const TAIL: usize = 64;
/// Entries that a search reads at once.
const PAGE: u32 = 64;

/// Sorted entries of `N` bytes.
#[derive(Debug)]
pub(crate) struct EntryFile<const N: usize> {
    base: Offset,
    suffix: &'static str,
    /// Kept open while the segment is active; otherwise opened for each search.
    file: Option<Arc<dyn DiskFile>>,
    state: State<N>,
}

#[derive(Debug)]
enum State<const N: usize> {
    /// On the disk, and not looked at yet.
    Unread,
    Read(Entries<N>),
}

#[derive(Debug, Default)]
struct Entries<const N: usize> {
    /// How many entries are in the file.
    written: u32,
    /// How many entries are before those of `tail`, all of them written.
    before: u32,
    /// The last entries; at least one, if there is any.
    tail: Vec<[u8; N]>,
}

impl<const N: usize> Entries<N> {
    fn count(&self) -> u32 {
        self.before + self.tail.len() as u32
    }
}

impl<const N: usize> EntryFile<N> {
    /// No entries, and no file until there are some or [`persist`](Self::persist) is called.
    pub fn empty(base: Offset, suffix: &'static str) -> Self {
        let entries = Entries { written: 0, before: 0, tail: Vec::new() };
        Self { base, suffix, file: None, state: State::Read(entries) }
    }

    /// A file that will be looked at when it is needed.
    pub fn unread(base: Offset, suffix: &'static str) -> Self {
        Self { base, suffix, file: None, state: State::Unread }
    }

    /// Reads the end of the file, if that has not been done. What was read is the answer; the caller judges it.
    ///
    /// # Errors
    /// [`DiskError`]; when the file's length is impossible, [`DiskError::is_corrupt`].
    pub fn load(&mut self, place: &Place) -> Result<Loaded, DiskError> {
        if matches!(self.state, State::Read(_)) {
            return Ok(Loaded::Before);
        }
        let path = place.path(self.base, self.suffix);
        let file = match place.disk.open(&path) {
            Ok(file) => file,
            Err(error) if error.is_missing() => {
                self.state = State::Read(Entries { written: 0, before: 0, tail: Vec::new() });
                return Ok(Loaded::Now);
            }
            Err(error) => return Err(error),
        };
        let length = file.length()?;
        let count = u32::try_from(length / N as u64).ok().filter(|_| length % N as u64 == 0);
        let Some(count) = count else {
            return Err(DiskError::corrupt(&path, format!("{length} bytes are no whole number of entries")));
        };
        let mut tail = Vec::new();
        if count > 0 {
            tail.push([0; N]);
            self.read(place, &*file, tail.as_flattened_mut(), u64::from(count - 1) * N as u64)?;
        }
        self.state = State::Read(Entries { written: count, before: count - tail.len() as u32, tail });
        Ok(Loaded::Now)
    }

    pub fn count(&self) -> u32 {
        self.entries().count()
    }

    pub fn last(&self) -> Option<[u8; N]> {
        self.entries().tail.last().copied()
    }

    /// Adds an entry behind all others. It is written later.
    pub fn push(&mut self, entry: [u8; N]) {
        self.entries_mut().tail.push(entry);
    }

    /// Writes entries to the file once enough have gathered. Without room or a descriptor they wait.
    pub fn write_gathered(&mut self, place: &Place) -> Result<(), DiskError> {
        if self.entries().tail.len() < TAIL {
            return Ok(());
        }
        match self.write(place) {
            Err(error) if error.is_passing() => return Ok(()),
            result => result?,
        }
        let entries = self.entries_mut();
        let surplus = entries.tail.len() - TAIL / 2;
        entries.tail.drain(..surplus);
        entries.before += surplus as u32;
        Ok(())
    }

    /// Writes what has not been written, makes the file if there is none, and returns it for a sync.
    pub fn persist(&mut self, place: &Place) -> Result<Arc<dyn DiskFile>, DiskError> {
        if matches!(self.state, State::Read(_)) {
            self.write(place)?;
        }
        place.open_or_create(self.base, self.suffix)
    }

    /// Gives the file back; it is opened again for each search.
    pub fn close(&mut self) {
        self.file = None;
        if let State::Read(entries) = &mut self.state {
            // What is written need not be kept, but for the last entry.
            let surplus =
                entries.tail.len().saturating_sub(1).min((entries.written - entries.before) as usize);
            entries.tail.drain(..surplus);
            entries.before += surplus as u32;
            entries.tail.shrink_to_fit();
        }
    }

    /// How many entries, from the first on, fulfil `holds`, which must hold for a first part of them and no more. The
    /// search begins around entry `guess`: entries lie so evenly that one read mostly finds it.
    pub fn cut(
        &self,
        place: &Place,
        guess: u32,
        holds: impl Fn(&[u8; N]) -> bool,
    ) -> Result<Cut<N>, DiskError> {
        let entries = self.entries();
        let in_tail = entries.tail.partition_point(&holds);
        if let Some(before) = in_tail.checked_sub(1) {
            return Ok(Cut { after: entries.before + in_tail as u32, before: Some(entries.tail[before]) });
        }
        if entries.before == 0 {
            return Ok(Cut { after: 0, before: None });
        }
        let file = self.open(place)?;
        // The answer lies in `low..=high`; `before` is the entry before `low`.
        let (mut low, mut high, mut before) = (0, entries.before, None);
        let mut guess = guess;
        let mut page = [[0; N]; PAGE as usize];
        loop {
            let start = guess.saturating_sub(PAGE / 2).min(high.saturating_sub(PAGE)).max(low);
            let end = start.saturating_add(PAGE).min(high);
            let page = &mut page[..(end - start) as usize];
            self.read(place, &*file, page.as_flattened_mut(), u64::from(start) * N as u64)?;
            let inside = page.partition_point(&holds);
            if inside == 0 && start > low {
                high = start;
            } else if inside == page.len() && end < high {
                (low, before) = (end, page.last().copied());
            } else {
                let before = inside.checked_sub(1).map_or(before, |last| Some(page[last]));
                return Ok(Cut { after: start + inside as u32, before });
            }
            guess = low + (high - low) / 2;
        }
    }

    /// The `n`-th entry, which must exist.
    pub fn get(&self, place: &Place, n: u32) -> Result<[u8; N], DiskError> {
        let entries = self.entries();
        if let Some(in_tail) = n.checked_sub(entries.before) {
            return Ok(entries.tail[in_tail as usize]);
        }
        let mut entry = [0; N];
        self.read(place, &*self.open(place)?, &mut entry, u64::from(n) * N as u64)?;
        Ok(entry)
    }

    /// Keeps the first `count` entries.
    pub fn truncate(&mut self, place: &Place, count: u32) -> Result<(), DiskError> {
        if count >= self.count() {
            return Ok(());
        }
        if count < self.entries().written {
            self.open(place)?.truncate(u64::from(count) * N as u64)?;
            self.entries_mut().written = count;
        }
        if let Some(kept) = count.checked_sub(self.entries().before).filter(|&kept| kept > 0) {
            self.entries_mut().tail.truncate(kept as usize);
            return Ok(());
        }
        let last = if count > 0 { Some(self.get_written(place, count - 1)?) } else { None };
        let entries = self.entries_mut();
        entries.tail.clear();
        entries.tail.extend(last);
        entries.before = count - entries.tail.len() as u32;
        Ok(())
    }

    /// Forgets all entries, whatever the file was like.
    pub fn reset(&mut self, place: &Place) -> Result<(), DiskError> {
        self.state = State::Read(Entries { written: 0, before: 0, tail: Vec::new() });
        match self.open(place) {
            Ok(file) => file.truncate(0),
            Err(error) if error.is_missing() => Ok(()),
            Err(error) => Err(error),
        }
    }

    fn get_written(&self, place: &Place, n: u32) -> Result<[u8; N], DiskError> {
        let mut entry = [0; N];
        self.read(place, &*self.open(place)?, &mut entry, u64::from(n) * N as u64)?;
        Ok(entry)
    }

    fn write(&mut self, place: &Place) -> Result<(), DiskError> {
        let State::Read(entries) = &mut self.state else { return Ok(()) };
        let fresh = &entries.tail[(entries.written - entries.before) as usize..];
        if fresh.is_empty() {
            return Ok(());
        }
        let file = match &self.file {
            Some(file) => file,
            None => self.file.insert(place.open_or_create(self.base, self.suffix)?),
        };
        file.write_at(&[IoSlice::new(fresh.as_flattened())], u64::from(entries.written) * N as u64)?;
        entries.written = entries.count();
        Ok(())
    }

    fn read(
        &self,
        place: &Place,
        file: &dyn DiskFile,
        buffer: &mut [u8],
        position: u64,
    ) -> Result<(), DiskError> {
        if place.read(file, (self.base, self.suffix), buffer, position)? == buffer.len() {
            return Ok(());
        }
        let path = place.path(self.base, self.suffix);
        Err(DiskError::corrupt(&path, format!("it ends before {}", position + buffer.len() as u64)))
    }

    fn open(&self, place: &Place) -> Result<Arc<dyn DiskFile>, DiskError> {
        match &self.file {
            Some(file) => Ok(Arc::clone(file)),
            None => place.open(self.base, self.suffix),
        }
    }

    fn entries(&self) -> &Entries<N> {
        match &self.state {
            State::Read(entries) => entries,
            State::Unread => panic!("an index is loaded before it is used"),
        }
    }

    fn entries_mut(&mut self) -> &mut Entries<N> {
        match &mut self.state {
            State::Read(entries) => entries,
            State::Unread => panic!("an index is loaded before it is used"),
        }
    }
}

/// Where the entries that fulfil a condition end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Cut<const N: usize> {
    /// How many there are.
    pub after: u32,
    /// The last of them.
    pub before: Option<[u8; N]>,
}

/// The entry at which `value` is to be expected, where entries lie evenly between `first` and `last`.
pub(crate) fn expected_at(value: i64, (first, last): (i64, i64), count: u32) -> u32 {
    let (reach, whole) =
        (value.saturating_sub(first).max(0) as u128, last.saturating_sub(first).max(1) as u128);
    u32::try_from(reach * u128::from(count) / whole).unwrap_or(u32::MAX).min(count)
}

/// Whether [`EntryFile::load`] had something to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Loaded {
    /// No: it was in memory.
    Before,
    /// Yes, and nobody has judged the last entry yet.
    Now,
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::disk::{Disk, MemoryDisk};
    use proptest::prelude::*;

    fn place() -> Place {
        let disk = MemoryDisk::new();
        disk.create_dir("/p".as_ref()).unwrap();
        Place::new(Arc::new(disk), "/p".into())
    }

    #[derive(Clone, Debug)]
    enum Step {
        Push(u8),
        Truncate(u32),
        Persist,
        Reopen,
        Close,
    }

    fn step() -> impl Strategy<Value = Step> {
        prop_oneof![
            4 => (1..200u8).prop_map(Step::Push),
            2 => (0..700u32).prop_map(Step::Truncate),
            1 => Just(Step::Persist),
            1 => Just(Step::Reopen),
            1 => Just(Step::Close),
        ]
    }

    proptest! {
        #[test]
        fn it_behaves_as_a_vector(steps in prop::collection::vec(step(), 1..40)) {
            let place = place();
            let mut file = EntryFile::<4>::empty(Offset(7), ".index");
            let mut model: Vec<u32> = Vec::new();
            for step in steps {
                match step {
                    Step::Push(n) => for _ in 0..n {
                        let next = model.last().map_or(1, |last| last + 2);
                        model.push(next);
                        file.push(next.to_be_bytes());
                        file.write_gathered(&place).unwrap();
                    },
                    Step::Truncate(n) => {
                        file.truncate(&place, n).unwrap();
                        model.truncate(n as usize);
                    }
                    Step::Persist => { file.persist(&place).unwrap(); }
                    Step::Close => { file.persist(&place).unwrap(); file.close(); }
                    Step::Reopen => {
                        file.persist(&place).unwrap();
                        prop_assert_eq!(place.length(Offset(7), ".index").unwrap(), Some(model.len() as u64 * 4));
                        file = EntryFile::unread(Offset(7), ".index");
                        prop_assert_eq!(file.load(&place).unwrap(), Loaded::Now);
                    }
                }
                prop_assert_eq!(file.count() as usize, model.len());
                prop_assert_eq!(file.last().map(u32::from_be_bytes), model.last().copied());
                for target in [0, 1, 2, 3, model.len() as u32, model.last().map_or(9, |l| *l), 1_000_000] {
                    let after = model.partition_point(|&e| e < target);
                    // Wherever the search begins it ends in the same place.
                    for guess in [0, after as u32, model.len() as u32 / 3, u32::MAX] {
                        let cut = file.cut(&place, guess, |e| u32::from_be_bytes(*e) < target).unwrap();
                        prop_assert_eq!(cut.after as usize, after);
                        let before = after.checked_sub(1).map(|at| model[at]);
                        prop_assert_eq!(cut.before.map(u32::from_be_bytes), before);
                    }
                }
                for (i, entry) in model.iter().enumerate().step_by(37) {
                    prop_assert_eq!(u32::from_be_bytes(file.get(&place, i as u32).unwrap()), *entry);
                }
            }
        }
    }

    #[test]
    fn a_torn_file_is_told() {
        let place = place();
        place.disk.replace(&place.path(Offset(0), ".index"), &[0; 10]).unwrap();
        let mut file = EntryFile::<4>::unread(Offset(0), ".index");
        assert!(file.load(&place).unwrap_err().is_corrupt());
    }

    #[test]
    fn a_full_disk_makes_entries_wait() {
        let disk = MemoryDisk::new();
        disk.create_dir("/p".as_ref()).unwrap();
        let place = Place::new(Arc::new(disk.clone()), "/p".into());
        let mut file = EntryFile::<4>::empty(Offset(0), ".index");
        disk.set_capacity(Some(10));
        for i in 0..200u32 {
            file.push(i.to_be_bytes());
            file.write_gathered(&place).unwrap();
        }
        assert!(disk.injected().refused_writes > 0);
        assert!(file.persist(&place).unwrap_err().is_full());
        disk.set_capacity(None);
        file.persist(&place).unwrap();
        assert_eq!(place.length(Offset(0), ".index").unwrap(), Some(800));
        assert_eq!(file.get(&place, 150).unwrap(), 150u32.to_be_bytes());
    }
}
