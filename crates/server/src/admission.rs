//! Which connections are let in: how many there are, in all and from each address.

use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use crate::limits::Limits;

/// Counts the connections of a node.
#[derive(Clone, Debug)]
pub struct Admission(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    limits: Limits,
    counts: Mutex<Counts>,
}

#[derive(Debug)]
struct Counts {
    all: usize,
    by_ip: HashMap<IpAddr, usize>,
    by_core: Vec<usize>,
    /// Where the search for the next core begins.
    turn: usize,
}

/// The right to be connected; ends when it is dropped.
#[derive(Debug)]
pub struct Place {
    admission: Admission,
    ip: IpAddr,
    core: usize,
}

/// Why a connection was not let in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// `max.connections`.
    TooMany,
    /// `max.connections.per.ip` or its overrides.
    TooManyFromThere,
}

impl Admission {
    /// Nobody is connected.
    #[must_use]
    pub fn new(limits: Limits, cores: usize) -> Self {
        let counts = Counts { all: 0, by_ip: HashMap::new(), by_core: vec![0; cores], turn: 0 };
        Self(Arc::new(Shared { limits, counts: Mutex::new(counts) }))
    }

    /// Lets a connection in and finds it a core: the one with the fewest, in turn where several have.
    ///
    /// # Errors
    /// If there are too many connections already.
    pub fn enter(&self, ip: IpAddr) -> Result<Place, Refused> {
        let limits = &self.0.limits;
        let mut counts = self.counts();
        if counts.all >= limits.connections {
            return Err(Refused::TooMany);
        }
        let from_there = counts.by_ip.entry(ip).or_default();
        if *from_there >= *limits.overrides.get(&ip).unwrap_or(&limits.connections_per_ip) {
            if *from_there == 0 {
                counts.by_ip.remove(&ip);
            }
            return Err(Refused::TooManyFromThere);
        }
        *from_there += 1;
        counts.all += 1;
        let cores = counts.by_core.len();
        let in_turn = (0..cores).map(|n| (counts.turn + n) % cores);
        let core = in_turn.min_by_key(|&core| counts.by_core[core]).unwrap_or(0);
        counts.turn = (core + 1) % cores.max(1);
        counts.by_core[core] += 1;
        Ok(Place { admission: self.clone(), ip, core })
    }

    /// How many are connected.
    #[must_use]
    #[cfg(test)]
    pub fn count(&self) -> usize {
        self.counts().all
    }

    fn counts(&self) -> MutexGuard<'_, Counts> {
        self.0.counts.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Place {
    /// The core that the connection belongs to.
    #[must_use]
    pub fn core(&self) -> usize {
        self.core
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut counts = self.admission.counts();
        counts.all -= 1;
        counts.by_core[self.core] -= 1;
        if let Some(from_there) = counts.by_ip.get_mut(&self.ip) {
            *from_there -= 1;
            if *from_there == 0 {
                counts.by_ip.remove(&self.ip);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ip(last: u8) -> IpAddr {
        IpAddr::from([127, 0, 0, last])
    }

    #[test]
    fn places_are_spread_and_given_back() {
        let admission = Admission::new(Limits::default(), 3);
        let mut places: Vec<Place> = (0..6).map(|_| admission.enter(ip(1)).unwrap()).collect();
        assert_eq!(places.iter().map(Place::core).collect::<Vec<_>>(), [0, 1, 2, 0, 1, 2]);
        places.retain(|place| place.core() != 1);
        assert_eq!(admission.count(), 4);
        assert_eq!(admission.enter(ip(1)).unwrap().core(), 1);
        drop(places);
        assert_eq!(admission.count(), 0);
        assert!(admission.counts().by_ip.is_empty());
    }

    #[test]
    fn limits_hold() {
        let limits = Limits {
            connections: 3,
            connections_per_ip: 1,
            overrides: [(ip(2), 2), (ip(3), 0)].into(),
            ..Limits::default()
        };
        let admission = Admission::new(limits, 1);
        let first = admission.enter(ip(1)).unwrap();
        assert_eq!(admission.enter(ip(1)).unwrap_err(), Refused::TooManyFromThere);
        assert_eq!(admission.enter(ip(3)).unwrap_err(), Refused::TooManyFromThere);
        let _second = admission.enter(ip(2)).unwrap();
        let _third = admission.enter(ip(2)).unwrap();
        assert_eq!(admission.enter(ip(4)).unwrap_err(), Refused::TooMany);
        drop(first);
        assert!(admission.enter(ip(4)).is_ok());
        assert_eq!(admission.counts().by_ip.len(), 1, "addresses without connections are forgotten");
    }
}
