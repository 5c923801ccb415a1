//! Classic histograms: what was observed between two scrapes, over all replicas, as quantiles and shares.

use std::collections::BTreeSet;

/// A histogram as one target exposes it: bounds ascending, counts cumulative since the target started.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct Snapshot {
    buckets: Vec<Bucket>,
}

/// What was observed in an interval, cumulative over bounds; the last bound is infinite and counts never shrink.
#[derive(Debug, Clone, PartialEq)]
pub struct Observed {
    buckets: Vec<Bucket>,
    /// Whether counts had to be raised to keep the order that cumulative counts must have.
    pub repaired: bool,
    /// Whether the histogram restarted in the interval, so that only what came after is in it.
    pub reset: bool,
}

#[derive(Debug, Clone, Copy, PartialEq)]
struct Bucket {
    bound: f64,
    count: f64,
}

/// Why two snapshots give no interval.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Unknown {
    /// Without the infinite bucket the total is not known.
    NoInfiniteBucket,
    /// The bounds changed between the scrapes.
    BoundsChanged,
}

impl Unknown {
    /// The name in metrics and reports.
    #[must_use]
    pub fn name(self) -> &'static str {
        match self {
            Self::NoInfiniteBucket => "no_infinite_bucket",
            Self::BoundsChanged => "bounds_changed",
        }
    }
}

impl Snapshot {
    /// From buckets in any order. The first of two equal bounds is kept.
    #[must_use]
    pub fn new(buckets: impl IntoIterator<Item = (f64, f64)>) -> Self {
        let mut buckets: Vec<_> = buckets.into_iter().map(|(bound, count)| Bucket { bound, count }).collect();
        buckets.sort_by(|a, b| a.bound.total_cmp(&b.bound));
        buckets.dedup_by(|later, first| later.bound == first.bound);
        Self { buckets }
    }

    /// What was observed between `previous` and this snapshot. One shrinking bucket means that the target restarted,
    /// and then all its buckets count from zero: they belong to one process.
    pub fn since(&self, previous: &Self) -> Result<Observed, Unknown> {
        if self.buckets.last().is_none_or(|last| last.bound != f64::INFINITY) {
            return Err(Unknown::NoInfiniteBucket);
        }
        let pairs = || self.buckets.iter().zip(&previous.buckets);
        if self.buckets.len() != previous.buckets.len() || pairs().any(|(new, old)| new.bound != old.bound) {
            return Err(Unknown::BoundsChanged);
        }
        let reset = pairs().any(|(new, old)| new.count < old.count);
        let grown = |(new, old): (&Bucket, &Bucket)| Bucket {
            bound: new.bound,
            count: if reset { new.count } else { new.count - old.count },
        };
        let mut observed = Observed { buckets: pairs().map(grown).collect(), repaired: false, reset };
        observed.repair();
        Ok(observed)
    }
}

impl Observed {
    /// The sum over replicas. Replicas with other bounds meet on the bounds they share, where cumulative counts add up
    /// exactly. `None` without any replica.
    #[must_use]
    pub fn sum<'a>(replicas: impl IntoIterator<Item = &'a Self>) -> Option<Self> {
        let mut replicas = replicas.into_iter();
        let mut sum = replicas.next()?.clone();
        for replica in replicas {
            let shared: BTreeSet<u64> = replica.buckets.iter().map(|bucket| bucket.bound.to_bits()).collect();
            sum.buckets.retain(|bucket| shared.contains(&bucket.bound.to_bits()));
            let kept: BTreeSet<u64> = sum.buckets.iter().map(|bucket| bucket.bound.to_bits()).collect();
            let theirs = replica.buckets.iter().filter(|bucket| kept.contains(&bucket.bound.to_bits()));
            sum.buckets.iter_mut().zip(theirs).for_each(|(bucket, more)| bucket.count += more.count);
            sum.repaired |= replica.repaired;
            sum.reset |= replica.reset;
        }
        Some(sum)
    }

    /// How many observations there were.
    #[must_use]
    pub fn total(&self) -> f64 {
        self.buckets.last().map_or(0.0, |bucket| bucket.count)
    }

    /// The `q`-quantile, linear within its bucket as Prometheus' `histogram_quantile` has it: the first bucket starts at
    /// zero unless its bound is negative, and what lies beyond the highest finite bound is reported as that bound.
    /// `None` if nothing was observed or no bound is finite.
    #[must_use]
    pub fn quantile(&self, q: f64) -> Option<f64> {
        let finite = &self.buckets[..self.buckets.len().checked_sub(1)?];
        let highest = finite.last()?.bound;
        if self.total() <= 0.0 {
            return None;
        }
        let rank = q.clamp(0.0, 1.0) * self.total();
        let Some(index) = finite.iter().position(|bucket| bucket.count >= rank) else {
            return Some(highest);
        };
        let Bucket { bound, count } = finite[index];
        let (low, below) = self.floor(index);
        let inside = count - below;
        Some(if bound <= low || inside <= 0.0 {
            bound
        } else {
            low + (bound - low) * (rank - below) / inside
        })
    }

    /// The share of observations at or below `bound`: exact on a bucket's bound, linear within a bucket, and beyond the
    /// highest finite bound only what is surely below. `None` if nothing was observed or no bound is finite.
    #[must_use]
    pub fn share_at_most(&self, bound: f64) -> Option<f64> {
        let finite = &self.buckets[..self.buckets.len().checked_sub(1)?];
        let highest = finite.last()?;
        if self.total() <= 0.0 {
            return None;
        }
        let below = match finite.iter().position(|bucket| same(bucket.bound, bound) || bucket.bound > bound) {
            None => highest.count,
            Some(index) if same(finite[index].bound, bound) => finite[index].count,
            Some(index) => {
                let (low, below) = self.floor(index);
                let Bucket { bound: high, count } = finite[index];
                let inside = ((bound - low) / (high - low)).clamp(0.0, 1.0);
                if high > low { below + (count - below) * inside } else { below }
            }
        };
        Some(below / self.total())
    }

    /// Where bucket `index` starts, and how many observations lie below it.
    fn floor(&self, index: usize) -> (f64, f64) {
        match index.checked_sub(1).map(|previous| self.buckets[previous]) {
            Some(Bucket { bound, count }) => (bound, count),
            None => (self.buckets[index].bound.min(0.0), 0.0),
        }
    }

    /// A target may be scraped between the updates of two buckets; a count below its neighbour's is raised to it.
    fn repair(&mut self) {
        let mut highest = 0.0_f64;
        for bucket in &mut self.buckets {
            self.repaired |= bucket.count < highest;
            highest = highest.max(bucket.count);
            bucket.count = highest;
        }
    }
}

/// Equal up to what writing `0.1` and adding up in binary lose.
fn same(a: f64, b: f64) -> bool {
    (a - b).abs() <= 1e-9 * a.abs().max(b.abs())
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const INF: f64 = f64::INFINITY;

    fn observed(buckets: &[(f64, f64)]) -> Observed {
        let zero = Snapshot::new(buckets.iter().map(|(bound, _)| (*bound, 0.0)));
        Snapshot::new(buckets.iter().copied()).since(&zero).unwrap()
    }

    #[test]
    fn the_interval_is_the_difference() {
        let before = Snapshot::new([(0.1, 5.0), (1.0, 8.0), (INF, 10.0)]);
        let after = Snapshot::new([(INF, 20.0), (0.1, 6.0), (1.0, 17.0)]);
        let got = after.since(&before).unwrap();
        assert_eq!(got, observed(&[(0.1, 1.0), (1.0, 9.0), (INF, 10.0)]));
        assert_eq!(got.total(), 10.0);
    }

    #[test]
    fn one_shrinking_bucket_restarts_all() {
        let before = Snapshot::new([(0.1, 90.0), (INF, 100.0)]);
        let after = Snapshot::new([(0.1, 80.0), (INF, 120.0)]);
        let got = after.since(&before).unwrap();
        assert!(got.reset);
        assert_eq!((got.total(), got.share_at_most(0.1)), (120.0, Some(80.0 / 120.0)));
    }

    #[test]
    fn an_interval_needs_the_same_bounds_and_the_infinite_one() {
        let a = Snapshot::new([(0.1, 1.0), (INF, 1.0)]);
        let b = Snapshot::new([(0.2, 1.0), (INF, 1.0)]);
        let c = Snapshot::new([(0.1, 1.0)]);
        assert_eq!(a.since(&b), Err(Unknown::BoundsChanged));
        assert_eq!(a.since(&c), Err(Unknown::BoundsChanged));
        assert_eq!(c.since(&c), Err(Unknown::NoInfiniteBucket));
        assert_eq!(Snapshot::default().since(&Snapshot::default()), Err(Unknown::NoInfiniteBucket));
    }

    #[test]
    fn shrinking_counts_are_raised_and_marked() {
        let got = observed(&[(0.1, 5.0), (1.0, 4.0), (INF, 6.0)]);
        assert!(got.repaired);
        assert_eq!(got.share_at_most(1.0), Some(5.0 / 6.0));
        assert!(!observed(&[(0.1, 5.0), (INF, 5.0)]).repaired);
    }

    /// The expected values are those of `histogram_quantile` in Prometheus' own tests for the same buckets.
    #[test]
    fn quantiles_are_those_of_prometheus() {
        let three = observed(&[(0.0, 0.0), (0.1, 5.0), (0.2, 8.0), (1.0, 10.0), (INF, 12.0)]);
        let check = |q: f64, expect: f64| {
            let got = three.quantile(q).unwrap();
            assert!((got - expect).abs() < 1e-12, "{q}: {got}, not {expect}");
        };
        check(0.0, 0.0);
        check(0.25, 0.06);
        check(5.0 / 12.0, 0.1);
        check(0.5, 0.1 + 0.1 / 3.0);
        check(9.0 / 12.0, 0.6);
        check(0.99, 1.0);
        check(1.0, 1.0);
        assert_eq!(observed(&[(-0.2, 1.0), (0.0, 2.0), (INF, 2.0)]).quantile(0.4), Some(-0.2));
    }

    #[test]
    fn without_observations_there_is_no_number() {
        let none = observed(&[(0.1, 0.0), (INF, 0.0)]);
        assert_eq!((none.quantile(0.5), none.share_at_most(0.1)), (None, None));
        let no_bound = observed(&[(INF, 7.0)]);
        assert_eq!((no_bound.quantile(0.5), no_bound.share_at_most(0.1)), (None, None));
        assert_eq!(Observed::sum([]), None);
    }

    #[test]
    fn shares_are_exact_on_bounds_linear_between_and_cautious_beyond() {
        let got = observed(&[(0.1, 4.0), (0.3, 8.0), (INF, 10.0)]);
        for (bound, expect) in
            [(0.1, 0.4), (0.1 + 0.2, 0.8), (0.2, 0.6), (0.05, 0.2), (5.0, 0.8), (-1.0, 0.0)]
        {
            let share = got.share_at_most(bound).unwrap();
            assert!((share - expect).abs() < 1e-9, "{bound}: {share}, not {expect}");
        }
    }

    #[test]
    fn replicas_meet_on_shared_bounds() {
        let a = observed(&[(0.1, 4.0), (0.5, 5.0), (1.0, 8.0), (INF, 10.0)]);
        let b = observed(&[(0.1, 1.0), (0.7, 5.0), (1.0, 6.0), (INF, 6.0)]);
        assert_eq!(Observed::sum([&a, &b]), Some(observed(&[(0.1, 5.0), (1.0, 14.0), (INF, 16.0)])));
    }

    fn any_buckets() -> impl Strategy<Value = Vec<(f64, f64)>> {
        prop::collection::vec((-1.0..10.0_f64, 0.0..100.0_f64), 1..12).prop_map(|mut buckets| {
            buckets.push((INF, 150.0));
            buckets
        })
    }

    proptest! {
        #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

        #[test]
        fn quantiles_never_shrink_with_q_and_stay_within_the_bounds(buckets in any_buckets()) {
            let got = observed(&buckets);
            let values: Vec<f64> = (0..=20).map(|i| got.quantile(f64::from(i) / 20.0).unwrap()).collect();
            prop_assert!(values.windows(2).all(|pair| pair[0] <= pair[1] + 1e-9), "{values:?}");
            let highest = buckets.iter().map(|b| b.0).filter(|b| b.is_finite()).fold(f64::MIN, f64::max);
            prop_assert!(values.iter().all(|value| *value <= highest + 1e-9));
        }

        #[test]
        fn shares_never_shrink_with_the_bound_and_are_ratios(buckets in any_buckets()) {
            let got = observed(&buckets);
            let shares: Vec<f64> = (-5..60).map(|i| got.share_at_most(f64::from(i) / 5.0).unwrap()).collect();
            prop_assert!(shares.windows(2).all(|pair| pair[0] <= pair[1] + 1e-9), "{shares:?}");
            prop_assert!(shares.iter().all(|share| (0.0..=1.0).contains(share)));
        }
    }
}
