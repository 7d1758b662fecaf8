//! Who of a topic's subscribers has least and who has most, while partitions move from the one to the other.
//!
//! The subscribers stand in a list sorted by load. Those with least form a range at its start, those with most one at
//! its end; each gives or takes one partition in turn, and then the range's members are one partition nearer to the
//! middle, where the range takes in more of the list. So nothing needs to be sorted again.

/// See the module.
pub(super) struct Balancer {
    sorted: Vec<usize>,
    /// Ends at this place, exclusive.
    least_end: usize,
    /// How much the members of the lower range had, before its present turn.
    least_load: i64,
    next_least: usize,
    most_start: usize,
    /// Behind it stand those that cannot give.
    most_end: usize,
    /// How much the members of the upper range had, before its present turn.
    most_load: i64,
    /// One above the next to give.
    next_most: usize,
}

impl Balancer {
    /// There is at least one subscriber.
    pub(super) fn new(subscribers: &[usize], sizes: &[usize]) -> Self {
        let mut sorted = subscribers.to_vec();
        sorted.sort_by_key(|member| (sizes[*member], *member));
        let count = sorted.len();
        let least_load = load(sizes, sorted[0]) - 1;
        let most_load = load(sizes, sorted[count - 1]) + 1;
        Self {
            sorted,
            least_end: 0,
            least_load,
            next_least: 0,
            most_start: count,
            most_end: count,
            most_load,
            next_most: count,
        }
    }

    /// The difference between most and least.
    pub(super) fn imbalance(&self, sizes: &[usize]) -> i64 {
        load(sizes, self.sorted[self.sorted.len() - 1]) - load(sizes, self.sorted[0])
    }

    /// Whether the ranges have met.
    pub(super) fn is_balanced(&self) -> bool {
        self.most_load - self.least_load <= 1
    }

    /// The next to take a partition; the caller gives it one.
    pub(super) fn least_loaded(&mut self, sizes: &[usize]) -> usize {
        if self.next_least >= self.least_end {
            self.least_load += 1;
            while self.least_end < self.sorted.len()
                && load(sizes, self.sorted[self.least_end]) == self.least_load
            {
                self.least_end += 1;
            }
            self.next_least = 0;
        }
        self.next_least += 1;
        self.sorted[self.next_least - 1]
    }

    /// The next to give a partition; the caller takes one from it, or excludes it. `None` if nobody can.
    pub(super) fn most_loaded(&mut self, sizes: &[usize]) -> Option<usize> {
        if self.next_most <= self.most_start {
            if self.most_end <= self.most_start && self.most_start > 0 {
                self.most_load = load(sizes, self.sorted[self.most_start - 1]);
            } else {
                self.most_load -= 1;
            }
            while self.most_start > 0 && load(sizes, self.sorted[self.most_start - 1]) == self.most_load {
                self.most_start -= 1;
            }
            self.next_most = self.most_end;
        }
        if self.next_most == 0 {
            return None;
        }
        self.next_most -= 1;
        Some(self.sorted[self.next_most])
    }

    /// The last that was to give has nothing to give.
    pub(super) fn exclude_most_loaded(&mut self) {
        self.sorted.swap(self.next_most, self.most_end - 1);
        self.most_end -= 1;
    }
}

fn load(sizes: &[usize], member: usize) -> i64 {
    i64::try_from(sizes[member]).unwrap_or(i64::MAX)
}
