//! Identities and chance from one seedable generator, so that a run with a seed repeats itself.

use jiff::Timestamp;
use rand::rngs::StdRng;
use rand::{Rng, RngCore, SeedableRng};
use uuid::Uuid;

/// Makes ids and random numbers. The same seed gives the same sequence.
#[derive(Debug, Clone)]
pub struct IdGenerator {
    rng: StdRng,
}

impl IdGenerator {
    /// A generator that repeats itself: for tests, simulations and backtests.
    #[must_use]
    pub fn from_seed(seed: u64) -> Self {
        Self { rng: StdRng::seed_from_u64(seed) }
    }

    /// A generator that nobody can predict: for production.
    #[must_use]
    pub fn from_entropy() -> Self {
        Self { rng: StdRng::from_os_rng() }
    }

    /// A version 7 id: it sorts by `now` to the millisecond, and its other 74 bits come from the generator.
    /// A time before 1970 counts as 1970.
    pub fn uuid(&mut self, now: Timestamp) -> Uuid {
        let millis = u64::try_from(now.as_millisecond()).unwrap_or(0);
        let mut bits = [0; 10];
        self.rng.fill_bytes(&mut bits);
        uuid::Builder::from_unix_timestamp_millis(millis, &bits).into_uuid()
    }

    /// 64 random bits.
    pub fn next_u64(&mut self) -> u64 {
        self.rng.next_u64()
    }

    /// A number in [0, 1).
    pub fn unit_f64(&mut self) -> f64 {
        self.rng.random()
    }

    /// A generator of its own, derived from this one, so that a new consumer does not reshuffle the others.
    #[must_use]
    pub fn fork(&mut self) -> Self {
        Self::from_seed(self.next_u64())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(millis: i64) -> Timestamp {
        Timestamp::from_millisecond(millis).unwrap()
    }

    #[test]
    fn same_seed_gives_same_ids() {
        let ids = |seed| {
            let mut ids = IdGenerator::from_seed(seed);
            (0..50).map(|i| ids.uuid(at(i))).collect::<Vec<_>>()
        };
        assert_eq!(ids(7), ids(7));
        assert_ne!(ids(7), ids(8));
    }

    #[test]
    fn ids_are_version_7_and_sort_by_time() {
        let mut ids = IdGenerator::from_seed(1);
        let made: Vec<Uuid> = (0..100).map(|i| ids.uuid(at(1_700_000_000_000 + i))).collect();
        assert!(made.is_sorted());
        assert!(made.iter().all(|id| id.get_version_num() == 7));
    }

    #[test]
    fn time_before_1970_still_gives_an_id() {
        let id = IdGenerator::from_seed(1).uuid(at(-5));
        assert_eq!(id.get_timestamp().map(|t| t.to_unix().0), Some(0));
    }

    #[test]
    fn unit_stays_below_one() {
        let mut ids = IdGenerator::from_seed(3);
        assert!((0..10_000).map(|_| ids.unit_f64()).all(|u| (0.0..1.0).contains(&u)));
    }

    #[test]
    fn unseeded_generators_differ() {
        assert_ne!(IdGenerator::from_entropy().next_u64(), IdGenerator::from_entropy().next_u64());
    }
}
