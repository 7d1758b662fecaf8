//! What a group sees while it decides, and what it decides upon.

use ottla_metadata::Image;
use ottla_protocol::{Now, Ticket, Uuid};

use super::command::Reply;
use super::record::Record;
use super::settings::GroupSettings;
use crate::decider::Decision;

/// What the group coordinator wants done by others: nothing so far.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {}

/// Records and replies of groups.
pub type Decided = Decision<Record, Reply, Effect>;

/// See the module.
#[derive(Debug)]
pub struct Scene<'a> {
    /// The present moment.
    pub now: Now,
    /// The cluster as this core knows it.
    pub image: &'a Image,
    /// What the configuration says.
    pub settings: &'a GroupSettings,
    /// Where new ids come from.
    pub random: &'a mut Random,
}

/// Random numbers out of a seed (splitmix64): for ids of members, never for secrets.
#[derive(Clone, Debug)]
pub struct Random(u64);

/// The longest name that fits into a record, less a dash and an id.
const PREFIX_MAX: usize = i16::MAX as usize - 37;

impl Random {
    /// All of its future follows from the seed; another start of a node wants another one.
    #[must_use]
    pub fn new(seed: u64) -> Self {
        Self(seed)
    }

    /// A random (version 4) id.
    pub fn uuid(&mut self) -> Uuid {
        let both = (u128::from(self.next()) << 64) | u128::from(self.next());
        Uuid::from_random(both.to_be_bytes())
    }

    /// An id for a member, as Kafka makes it: the static or the client's name, a dash, and an id in hexadecimal.
    pub fn member_id(&mut self, prefix: &str) -> String {
        let number = u128::from_be_bytes(self.uuid().0);
        let part = |shift: u32, digits: usize| {
            format!("{:0digits$x}", (number >> shift) & ((1 << (4 * digits)) - 1))
        };
        let id = [part(96, 8), part(80, 4), part(64, 4), part(48, 4), part(0, 12)].join("-");
        format!("{}-{id}", &prefix[..prefix.floor_char_boundary(PREFIX_MAX)])
    }

    fn next(&mut self) -> u64 {
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        mixed ^ (mixed >> 31)
    }
}

impl Decided {
    /// Adds a reply.
    pub fn answer(&mut self, ticket: Ticket, reply: impl Into<Reply>) {
        self.replies.push((ticket, reply.into()));
    }

    /// Whether there is nothing to write and nobody to answer.
    #[must_use]
    pub fn is_nothing(&self) -> bool {
        self.records.is_empty() && self.replies.is_empty() && self.effects.is_empty()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_of_a_member_looks_like_kafkas() {
        let mut random = Random::new(1);
        let (one, other) = (random.member_id("client"), random.member_id("client"));
        assert_ne!(one, other);
        let parts: Vec<usize> = one.split('-').map(str::len).collect();
        assert_eq!(parts, [6, 8, 4, 4, 4, 12]);
        assert_eq!(one.split('-').nth(3).unwrap().chars().next(), Some('4'), "a random uuid");
        assert_eq!(
            random.member_id(&format!("x{}", "é".repeat(20_000))).len(),
            32_766,
            "cut between two letters"
        );
    }
}
