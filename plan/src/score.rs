//! How candidates are ranked: the order of the fields is the ranking, the last one makes it total.

use proto::model::ExpectedCost;

/// What a candidate costs; the smallest is best.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Cost {
    /// Of 1,000 requests or calls, how many go unserved or keep hanging if this is chosen.
    pub unmet_permille: u32,
    /// Replicas beyond what the load of the whole stabilisation window needs.
    pub idle_replicas: u32,
    /// How much is changed: replicas, or 1 for an edge. Of two that help alike, the smaller change is better.
    pub changed: u32,
    /// Tells equal ones apart, so that the same input always gives the same choice.
    pub order: u32,
}

impl Cost {
    /// The cost of running `replicas` while `need` are needed now and `lasting` over the window.
    pub fn of_replicas(replicas: u32, current: u32, need: u32, lasting: u32) -> Self {
        Self {
            unmet_permille: unmet_permille(replicas, need),
            idle_replicas: replicas.saturating_sub(lasting.max(need)),
            changed: replicas.abs_diff(current),
            order: replicas,
        }
    }
}

impl From<Cost> for ExpectedCost {
    fn from(cost: Cost) -> Self {
        let Cost { unmet_permille, idle_replicas, changed, order: _ } = cost;
        let unserved_ratio = (f64::from(unmet_permille) / 1000.0).min(1.0);
        Self { unserved_ratio, idle_replicas, changed, replicas_worth: None }
    }
}

fn unmet_permille(replicas: u32, need: u32) -> u32 {
    let missing = u64::from(need.saturating_sub(replicas));
    missing.checked_mul(1000).map_or(1000, |missing| missing.div_ceil(u64::from(need.max(1)))) as u32
}

/// A share as permille; what is no number counts as the worst.
pub fn permille(ratio: f64) -> u32 {
    if ratio.is_nan() { 1000 } else { (ratio.clamp(0.0, 1.0) * 1000.0).round() as u32 }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn serving_what_comes_ranks_before_saving_and_saving_before_resting() {
        let cost = |replicas| Cost::of_replicas(replicas, 6, 4, 4);
        let mut ranked: Vec<u32> = (1..=8).collect();
        ranked.sort_by_key(|replicas| cost(*replicas));
        assert_eq!(ranked, [4, 5, 6, 7, 8, 3, 2, 1]);
    }

    #[test]
    fn idle_is_counted_against_the_window_and_not_the_moment() {
        assert_eq!(Cost::of_replicas(5, 5, 2, 5).idle_replicas, 0);
        assert_eq!(Cost::of_replicas(5, 5, 2, 3).idle_replicas, 2);
    }

    #[test]
    fn no_number_is_the_worst() {
        assert_eq!((permille(f64::NAN), permille(0.25), permille(9.0)), (1000, 250, 1000));
    }
}
