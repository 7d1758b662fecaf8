//! Where the last few batches of a segment end, in memory, so that whoever reads at the tail needs no disk.

use ottla_protocol::Offset;

/// How many are remembered at most.
const REMEMBERED: usize = 32;

/// The end of a batch (or the beginning of a segment).
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Mark {
    /// The offset after the batch.
    pub next: Offset,
    /// The position after the batch.
    pub position: u32,
}

/// The last marks of a segment, each batch between them known.
#[derive(Debug, Default)]
pub(crate) struct Marks(Vec<Mark>);

impl Marks {
    /// Knows one mark only: the segment's end.
    pub fn at(mark: Mark) -> Self {
        Self(vec![mark])
    }

    /// The next batch ends here.
    pub fn push(&mut self, mark: Mark) {
        if self.0.len() == REMEMBERED {
            self.0.drain(..REMEMBERED / 2);
        }
        self.0.push(mark);
    }

    /// Position of the first batch that reaches to `offset` or beyond; `None` when that is not remembered.
    pub fn locate(&self, offset: Offset) -> Option<u32> {
        let reaching = self.0.partition_point(|mark| mark.next <= offset);
        // Its beginning is the end of the one before.
        Some(self.0.get(reaching.checked_sub(1)?)?.position)
    }

    /// The last end of a batch at or before `position`; `None` when that is not remembered.
    pub fn floor(&self, position: u32) -> Option<Mark> {
        let after = self.0.partition_point(|mark| mark.position <= position);
        self.0.get(after.checked_sub(1)?).copied()
    }

    /// The first end of a batch after `position`; `None` when that is not remembered.
    pub fn after(&self, position: u32) -> Option<Mark> {
        let after = self.0.partition_point(|mark| mark.position <= position);
        // Unless one before it is known there may be others in between.
        (after > 0).then(|| self.0.get(after).copied())?
    }
}

/// How many readers of one segment are remembered.
const READERS: usize = 8;

/// Where the last few readers of a segment stopped: most go on from there.
#[derive(Debug, Default)]
pub(crate) struct Stops(Vec<Mark>);

impl Stops {
    /// A reader has read up to here.
    pub fn note(&mut self, mark: Mark) {
        if self.0.contains(&mark) {
            return;
        }
        if self.0.len() == READERS {
            self.0.remove(0);
        }
        self.0.push(mark);
    }

    /// Where the batch begins that comes after what was read up to `offset`.
    pub fn locate(&self, offset: Offset) -> Option<u32> {
        self.0.iter().rev().find(|mark| mark.next == offset).map(|mark| mark.position)
    }

    /// Nobody has read anything: the file has been cut.
    pub fn forget(&mut self) {
        self.0 = Vec::new();
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_last_readers_are_remembered() {
        let mut stops = Stops::default();
        let mark = |n: u32| Mark { next: Offset(i64::from(n)), position: n * 10 };
        (1..=10).for_each(|n| stops.note(mark(n)));
        stops.note(mark(10));
        assert_eq!(stops.locate(Offset(2)), None, "two more have come since");
        assert_eq!(stops.locate(Offset(3)), Some(30));
        assert_eq!(stops.locate(Offset(10)), Some(100));
        stops.forget();
        assert_eq!(stops.locate(Offset(10)), None);
    }

    #[test]
    fn what_is_remembered_is_right() {
        let mut marks = Marks::at(Mark { next: Offset(10), position: 100 });
        for i in 1..=40u32 {
            marks.push(Mark { next: Offset(10 + i64::from(i) * 5), position: 100 + i * 10 });
        }
        assert_eq!(marks.locate(Offset(10)), None, "forgotten");
        assert_eq!(marks.locate(Offset(209)), Some(490));
        assert_eq!(marks.locate(Offset(204)), Some(480));
        assert_eq!(marks.locate(Offset(205)), Some(490));
        assert_eq!(marks.locate(Offset(210)), Some(500), "the end");
        assert_eq!(marks.floor(495), Some(Mark { next: Offset(205), position: 490 }));
        assert_eq!(marks.after(490), Some(Mark { next: Offset(210), position: 500 }));
        assert_eq!(marks.after(500), None);
        assert_eq!(marks.floor(100), None);
    }
}
