//! Counts by reason: whatever is dropped, repaired or unknown anywhere in Monitor leaves a mark here.

use std::collections::BTreeMap;

/// What happened to an answer on its way in.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Account {
    /// Lines and series that gave nothing.
    pub dropped: Tally,
    /// Series that are there, but restarted, had to be repaired, or have a growth that cannot be known.
    pub noticed: Tally,
}

/// How often each reason applied. Reasons are closed sets of static names, so this never grows with the input.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Tally(BTreeMap<&'static str, u64>);

impl Tally {
    /// One more for `reason`.
    pub fn count(&mut self, reason: &'static str) {
        self.add(reason, 1);
    }

    /// `n` more for `reason`; nothing is noted when `n` is zero.
    pub fn add(&mut self, reason: &'static str, n: u64) {
        if n > 0 {
            *self.0.entry(reason).or_default() += n;
        }
    }

    /// All of `other`'s counts on top of these.
    pub fn merge(&mut self, other: &Self) {
        other.iter().for_each(|(reason, n)| self.add(reason, n));
    }

    /// The count for `reason`, zero if it never applied.
    #[must_use]
    pub fn get(&self, reason: &str) -> u64 {
        self.0.get(reason).copied().unwrap_or(0)
    }

    /// The sum over all reasons.
    #[must_use]
    pub fn total(&self) -> u64 {
        self.0.values().sum()
    }

    /// Reasons and counts, ordered by reason.
    pub fn iter(&self) -> impl Iterator<Item = (&'static str, u64)> + '_ {
        self.0.iter().map(|(reason, n)| (*reason, *n))
    }
}
