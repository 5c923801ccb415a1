//! What is known by resource, found by hash: a round looks up tens of thousands of names, and comparing them one after the other
//! in a tree would be most of its time. Nothing is ever told in the map's order.

use proto::model::ResourceId;
use std::{
    collections::HashMap,
    hash::{BuildHasherDefault, Hasher},
};

/// Values by resource.
pub(crate) type ByResource<T> = HashMap<ResourceId, T, BuildHasherDefault<Names>>;

/// Multiply and rotate, eight bytes at a time, as the hash of Firefox and rustc. Names are declared by people who may do worse than
/// let them collide, so that it needs no secret, and everything runs alike everywhere.
#[derive(Debug, Default, Clone, Copy)]
pub(crate) struct Names(u64);

impl Names {
    /// An odd number without a pattern: the fraction of pi.
    const FACTOR: u64 = 0x517c_c1b7_2722_0a95;

    fn add(&mut self, word: u64) {
        self.0 = (self.0.rotate_left(5) ^ word).wrapping_mul(Self::FACTOR);
    }
}

impl Hasher for Names {
    fn write(&mut self, bytes: &[u8]) {
        let (words, rest) = bytes.as_chunks::<8>();
        words.iter().for_each(|word| self.add(u64::from_le_bytes(*word)));
        if !rest.is_empty() {
            let mut last = [0; 8];
            last[..rest.len()].copy_from_slice(rest);
            self.add(u64::from_le_bytes(last));
        }
    }

    fn write_u8(&mut self, byte: u8) {
        self.add(u64::from(byte));
    }

    fn write_isize(&mut self, number: isize) {
        self.add(number as u64);
    }

    fn finish(&self) -> u64 {
        // The multiplication mixes upwards only; the table looks at the lowest bits.
        self.0.rotate_left(26)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::{collections::BTreeSet, hash::Hash};

    #[test]
    fn names_that_differ_in_a_digit_spread_over_the_table() {
        let hash = |index: usize| {
            let mut names = Names::default();
            ResourceId::service("bench", &format!("service-{index:05}")).unwrap().hash(&mut names);
            names.finish()
        };
        let places: BTreeSet<u64> = (0..10_000).map(|index| hash(index) % 16_384).collect();
        // Of so many places, chance fills 7,480.
        assert!(places.len() > 7_000, "{}", places.len());
        let tags: BTreeSet<u64> = (0..10_000).map(|index| hash(index) >> 57).collect();
        assert_eq!(tags.len(), 128);
    }
}
