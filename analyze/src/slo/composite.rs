//! Objectives of several parts: the shares of good of the parts become one. What is unknown in a part is unknown in the whole,
//! unless the known parts decide it alone.

/// How the parts are joined.
#[derive(Debug, Clone, Copy, PartialEq, Eq, serde::Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Join {
    /// Mean of the parts' shares of good by their weights.
    Weighted,
    /// Bad when any part is bad.
    AnyBad,
    /// Good when each part on the request's path is, the parts failing independently: the product of their shares.
    Path,
    /// One less what is missing in each part, at least 0 (OpenSLO's RatioTimeslices).
    Missing,
}

/// A tree of parts.
#[derive(Debug, Clone, PartialEq)]
pub enum Composite<L> {
    /// A part.
    Leaf(L),
    /// Parts with their weights, joined.
    Node(Join, Vec<(f64, Composite<L>)>),
}

/// The share of good of a tree whose leaves are looked up; `None` when it is unknown. Shares outside 0 to 1, weights that are not
/// above 0, and nodes without parts are unknown.
pub fn good_ratio<L>(tree: &Composite<L>, leaf: &impl Fn(&L) -> Option<f64>) -> Option<f64> {
    match tree {
        Composite::Leaf(part) => leaf(part).filter(|share| (0.0..=1.0).contains(share)),
        Composite::Node(join, parts) => {
            if parts.is_empty() || parts.iter().any(|(weight, _)| !(weight.is_finite() && *weight > 0.0)) {
                return None;
            }
            let shares = parts.iter().map(|(weight, part)| (*weight, good_ratio(part, leaf)));
            joined(*join, &shares.collect::<Vec<_>>())
        }
    }
}

fn joined(join: Join, shares: &[(f64, Option<f64>)]) -> Option<f64> {
    let known = || shares.iter().filter_map(|(_, share)| *share);
    let all = || shares.iter().all(|(_, share)| share.is_some());
    match join {
        Join::Weighted => {
            let (mut sum, mut weights) = (0.0, 0.0);
            for (weight, share) in shares {
                sum += weight * (*share)?;
                weights += weight;
            }
            Some((sum / weights).clamp(0.0, 1.0))
        }
        // A part of which some events are bad is bad in that slice.
        Join::AnyBad if known().any(|share| share < 1.0) => Some(0.0),
        Join::AnyBad => all().then_some(1.0),
        Join::Path if known().any(|share| share == 0.0) => Some(0.0),
        Join::Path => all().then(|| known().product()),
        Join::Missing => {
            let missing: f64 = known().map(|share| 1.0 - share).sum();
            if missing >= 1.0 { Some(0.0) } else { all().then_some(1.0 - missing) }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::slo::simulate::Chance;

    /// A leaf: so many good of so many events; no events: unknown.
    type Leaf = (u64, u64);

    fn share(leaf: &Leaf) -> Option<f64> {
        (leaf.1 > 0).then(|| leaf.0 as f64 / leaf.1 as f64)
    }

    fn tree(chance: &mut Chance, depth: u32) -> Composite<Leaf> {
        if depth == 0 || chance.draw().is_multiple_of(4) {
            let total = chance.draw() % 5;
            let good = if chance.draw().is_multiple_of(3) { total } else { chance.draw() % (total + 1) };
            return Composite::Leaf((good, total));
        }
        let join = [Join::Weighted, Join::AnyBad, Join::Path, Join::Missing][(chance.draw() % 4) as usize];
        let parts = 1 + chance.draw() % 3;
        let parts = (0..parts).map(|_| ((1 + chance.draw() % 4) as f64, tree(chance, depth - 1)));
        Composite::Node(join, parts.collect())
    }

    /// Outcomes of a tree, one by one: how many there are and how many are good; `None`: unknown. Every combination of the parts'
    /// outcomes is looked at, each weight as so many copies.
    fn counted(tree: &Composite<Leaf>) -> Option<(u128, u128)> {
        let (join, parts) = match tree {
            Composite::Leaf((_, 0)) => return None,
            Composite::Leaf((good, total)) => return Some((u128::from(*good), u128::from(*total))),
            Composite::Node(join, parts) => (*join, parts),
        };
        let counted: Vec<(u128, Option<(u128, u128)>)> =
            parts.iter().map(|(weight, part)| (*weight as u128, super::tests::counted(part))).collect();
        match join {
            Join::Weighted => {
                // One part is drawn, as often as it weighs, then one of its outcomes.
                let all: Option<Vec<_>> =
                    counted.iter().map(|(weight, part)| Some((*weight, (*part)?))).collect();
                let all = all?;
                let common: u128 = all.iter().map(|(_, (_, total))| total).product();
                let (mut good, mut total) = (0, 0);
                for (weight, (g, t)) in all {
                    for _ in 0..weight {
                        good += g * (common / t);
                        total += common;
                    }
                }
                Some(reduced(good, total))
            }
            Join::AnyBad => {
                let any = counted.iter().any(|(_, part)| part.is_some_and(|(good, total)| good < total));
                let unknown = counted.iter().any(|(_, part)| part.is_none());
                match (any, unknown) {
                    (true, _) => Some((0, 1)),
                    (false, true) => None,
                    (false, false) => Some((1, 1)),
                }
            }
            Join::Path => {
                if counted.iter().any(|(_, part)| part.is_some_and(|(good, _)| good == 0)) {
                    return Some((0, 1));
                }
                // A request passes each part in turn: of all pairs of outcomes those in which both are good.
                let mut outcome = (1, 1);
                for (_, part) in counted {
                    let (good, total) = part?;
                    outcome = reduced(outcome.0 * good, outcome.1 * total);
                }
                Some(outcome)
            }
            Join::Missing => {
                let mut left = (1_i128, 1_i128);
                for (good, total) in counted.iter().filter_map(|(_, part)| *part) {
                    let (good, total) = (good as i128, total as i128);
                    left = (left.0 * total - (total - good) * left.1, left.1 * total);
                    let (a, b) = reduced(left.0.unsigned_abs(), left.1 as u128);
                    left = (if left.0 < 0 { -(a as i128) } else { a as i128 }, b as i128);
                }
                if left.0 <= 0 {
                    return Some((0, 1));
                }
                let unknown = counted.iter().any(|(_, part)| part.is_none());
                (!unknown).then_some((left.0 as u128, left.1 as u128))
            }
        }
    }

    fn reduced(good: u128, total: u128) -> (u128, u128) {
        let (mut a, mut b) = (good, total);
        while b > 0 {
            (a, b) = (b, a % b);
        }
        (good / a.max(1), total / a.max(1))
    }

    #[test]
    fn ten_thousand_random_trees_equal_counting_every_outcome() {
        let mut chance = Chance::new(20);
        let mut unknown = 0;
        for number in 0..10_000 {
            let tree = tree(&mut chance, 3);
            let expect = counted(&tree).map(|(good, total)| good as f64 / total as f64);
            let found = good_ratio(&tree, &share);
            unknown += u32::from(expect.is_none());
            match (found, expect) {
                (Some(found), Some(expect)) => assert!((found - expect).abs() < 1e-9, "{number}: {tree:?}"),
                (found, expect) => assert_eq!(found, expect, "{number}: {tree:?}"),
            }
        }
        assert!(
            (1_000..9_000).contains(&unknown),
            "{unknown} of 10,000 were unknown; both kinds must be tried"
        );
    }

    #[test]
    fn what_is_unknown_is_not_good() {
        let leaf = |share: Option<f64>| (1.0, Composite::Leaf(share));
        for (join, expect) in
            [(Join::Weighted, None), (Join::AnyBad, None), (Join::Path, None), (Join::Missing, None)]
        {
            let tree = Composite::Node(join, vec![leaf(Some(1.0)), leaf(None)]);
            assert_eq!(good_ratio(&tree, &|share: &Option<f64>| *share), expect, "{join:?}");
        }
        let decided = Composite::Node(Join::AnyBad, vec![leaf(Some(0.9)), leaf(None)]);
        assert_eq!(good_ratio(&decided, &|share: &Option<f64>| *share), Some(0.0));
    }

    #[test]
    fn nonsense_is_unknown() {
        let empty: Composite<f64> = Composite::Node(Join::Path, vec![]);
        assert_eq!(good_ratio(&empty, &|share| Some(*share)), None);
        for (weight, share) in [(0.0, 1.0), (f64::NAN, 1.0), (1.0, 1.5), (1.0, f64::NAN)] {
            let tree = Composite::Node(Join::Weighted, vec![(weight, Composite::Leaf(share))]);
            assert_eq!(good_ratio(&tree, &|share| Some(*share)), None);
        }
    }
}
