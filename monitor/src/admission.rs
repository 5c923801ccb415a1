//! Which series are let in: limits per target and in all, shared fairly, with every drop counted.

use std::collections::BTreeMap;

use crate::tally::Tally;

/// How many series Monitor holds. Labels are bounded earlier, by [`crate::exposition::Limits`].
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Limits {
    /// Series of one target.
    pub series_per_target: usize,
    /// Series of all targets together.
    pub series_total: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            // A service exposes hundreds; a large exporter about ten thousand.
            series_per_target: 20_000,
            // About 500 bytes of state a series, so 250 MB at the worst.
            series_total: 500_000,
        }
    }
}

/// Why a series was not let in.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reject {
    /// The target has more series than any one target may have.
    TargetLimit,
    /// The room is full and the target has its fair share of it.
    TotalLimit,
}

impl Reject {
    /// The name in metrics and reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::TargetLimit => "target_series_limit",
            Self::TotalLimit => "total_series_limit",
        }
    }
}

/// How many series each target may have: what it wants if all fits, else max-min fair. No target loses a series to
/// one that wants more than itself, and room that small targets leave goes to the large ones.
#[must_use]
pub fn shares<T: Ord + Clone>(wanted: &BTreeMap<T, usize>, limits: &Limits) -> BTreeMap<T, usize> {
    let mut by_want: Vec<_> =
        wanted.iter().map(|(target, want)| ((*want).min(limits.series_per_target), target)).collect();
    by_want.sort();
    let mut room = limits.series_total;
    let mut left = by_want.len();
    let mut shares = BTreeMap::new();
    for (want, target) in by_want {
        let share = want.min(room / left);
        room -= share;
        left -= 1;
        shares.insert(target.clone(), share);
    }
    shares
}

/// What every target wants, and so what each may have.
#[derive(Debug, Clone)]
pub struct Room<T> {
    wanted: BTreeMap<T, usize>,
    total: usize,
}

impl<T> Default for Room<T> {
    fn default() -> Self {
        Self { wanted: BTreeMap::new(), total: 0 }
    }
}

impl<T: Ord + Clone> Room<T> {
    /// A target has `n` series now: how many of them may be kept.
    pub fn share(&mut self, target: &T, n: usize, limits: &Limits) -> usize {
        let n = n.min(limits.series_per_target);
        let before = self.wanted.insert(target.clone(), n).unwrap_or(0);
        self.total = self.total - before + n;
        if self.total <= limits.series_total {
            return n;
        }
        shares(&self.wanted, limits).get(target).copied().unwrap_or(0)
    }

    /// A target is gone.
    pub fn leave(&mut self, target: &T) {
        self.total -= self.wanted.remove(target).unwrap_or(0);
    }
}

/// How a series stands before admission; the order is the order of precedence.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Standing {
    /// A declared service needs it.
    Declared,
    /// It was let in before. Keeping it keeps what was learned of it.
    Known,
    /// Never seen.
    New,
}

/// Which of a target's series are let in, in the order given, when it may have `share`; the drops are counted.
#[must_use]
pub fn admit(standings: &[Standing], share: usize, limits: &Limits, dropped: &mut Tally) -> Vec<bool> {
    let excess = standings.len().saturating_sub(share);
    if excess == 0 {
        return vec![true; standings.len()];
    }
    let over_target_limit = standings.len().saturating_sub(limits.series_per_target).min(excess);
    dropped.add(Reject::TargetLimit.name(), over_target_limit as u64);
    dropped.add(Reject::TotalLimit.name(), (excess - over_target_limit) as u64);
    let mut order: Vec<usize> = (0..standings.len()).collect();
    order.sort_by_key(|index| standings[*index]);
    let mut admitted = vec![false; standings.len()];
    order.into_iter().take(share).for_each(|index| admitted[index] = true);
    admitted
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(wanted: &[usize], total: usize, expect: &[usize]) {
        let limits = Limits { series_per_target: 100, series_total: total };
        let wanted: BTreeMap<_, _> = wanted.iter().copied().enumerate().collect();
        let got: Vec<_> = shares(&wanted, &limits).into_values().collect();
        assert_eq!(got, expect);
    }

    #[test]
    fn all_that_fits_is_let_in() {
        check(&[10, 20, 30], 60, &[10, 20, 30]);
        check(&[], 60, &[]);
    }

    #[test]
    fn a_greedy_target_does_not_crowd_out_the_others() {
        check(&[1_000, 10, 20], 60, &[30, 10, 20]);
        check(&[50, 50, 5], 60, &[27, 28, 5]);
        check(&[500, 5], 600, &[100, 5]);
    }

    #[test]
    fn the_room_follows_what_targets_want_now() {
        let limits = Limits { series_per_target: 100, series_total: 60 };
        let mut room = Room::default();
        assert_eq!(room.share(&"a", 200, &limits), 60);
        assert_eq!(room.share(&"b", 10, &limits), 10);
        assert_eq!(room.share(&"a", 200, &limits), 50);
        room.leave(&"b");
        assert_eq!(room.share(&"a", 55, &limits), 55);
    }

    #[test]
    fn declared_series_come_first_then_known_ones() {
        use Standing::{Declared, Known, New};
        let limits = Limits { series_per_target: 4, series_total: 100 };
        let mut dropped = Tally::default();
        let admitted = admit(&[New, Known, Declared, New, Known], 3, &limits, &mut dropped);
        assert_eq!(admitted, [false, true, true, false, true]);
        assert_eq!((dropped.get("target_series_limit"), dropped.get("total_series_limit")), (1, 1));
        assert_eq!(admit(&[New, New], 2, &limits, &mut dropped), [true, true]);
        assert_eq!(dropped.total(), 2);
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn shares_fill_the_room_fairly(wanted in prop::collection::vec(0_usize..200, 0..20), total in 0_usize..1_000) {
            let limits = Limits { series_per_target: 100, series_total: total };
            let wanted: BTreeMap<_, _> = wanted.into_iter().enumerate().collect();
            let got = shares(&wanted, &limits);
            let capped: usize = wanted.values().map(|want| (*want).min(100)).sum();
            prop_assert_eq!(got.values().sum::<usize>(), capped.min(total));
            let largest = got.values().copied().max().unwrap_or(0);
            for (target, share) in &got {
                let want = wanted[target].min(100);
                prop_assert!(*share == want || *share + 1 >= largest, "{target} is short and another has more");
            }
        }
    }
}
