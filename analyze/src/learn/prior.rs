//! What a signal is judged by before it has taught enough itself: the limits of signals of the same name and kind.
//!
//! A new replica does what its siblings do. It is judged by the widest of their limits, in shares of its own level, and no
//! longer once it shows that it is not like them.

use std::collections::BTreeMap;

use proto::model::{ResourceId, SignalId, SignalKind};

use super::minimum_effect;
use crate::snapshot::codec::{Damaged, Reader, Stored, Writer};

/// Siblings that must agree before anything is passed on: two may be a pair of freaks.
const SIBLINGS_MIN: usize = 3;
/// The last so many siblings are remembered.
const SIBLINGS_MAX: usize = 8;
/// Samples of one's own level before a prior is held against it.
const SAMPLES_MIN: u64 = 10;
/// Normal samples cross a limit next to never. More than these are no chance: the prior does not fit.
const MISSES_MAX: u8 = 2;

/// Limits on the residual, in units of the signal's size.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Prior {
    below: f64,
    above: f64,
    misses: u8,
}

/// What shares of a ratio are measured by is the ratio itself; all else is measured by its level.
fn size(kind: SignalKind, level: f64) -> f64 {
    if kind == SignalKind::Ratio { 1.0 } else { level.abs().max(minimum_effect(kind, level)) }
}

impl Prior {
    /// Limits on the residual of a signal at this level.
    #[must_use]
    pub fn limits(&self, kind: SignalKind, level: f64) -> (f64, f64) {
        let (size, effect) = (size(kind, level), minimum_effect(kind, level));
        ((-self.below * size).min(-effect), (self.above * size).max(effect))
    }

    /// Whether a signal with so many samples can be held against it.
    #[must_use]
    pub fn is_due(samples: u64) -> bool {
        samples >= SAMPLES_MIN
    }

    /// It was crossed. `None`: it does not fit.
    #[must_use]
    pub fn missed(self) -> Option<Self> {
        let misses = self.misses.saturating_add(1);
        (misses <= MISSES_MAX).then_some(Self { misses, ..self })
    }
}

/// What a signal has learned.
#[derive(Debug, Clone, PartialEq)]
pub struct Lesson {
    /// Which signal.
    pub signal: SignalId,
    /// What its number means.
    pub kind: SignalKind,
    /// Where it is.
    pub level: f64,
    /// Lower and upper limit on the residual.
    pub limits: (f64, f64),
}

/// The limits of one signal, as its likes may use them.
#[derive(Debug, Clone, PartialEq)]
struct Sibling {
    resource: ResourceId,
    below: f64,
    above: f64,
}

/// What signals taught each other.
#[derive(Debug, Default)]
pub struct Priors {
    pools: BTreeMap<SignalKind, BTreeMap<Box<str>, Vec<Sibling>>>,
}

impl Priors {
    /// Takes in what a signal has learned.
    pub fn learn(&mut self, lesson: &Lesson) {
        let Lesson { signal, kind, level, limits: (lower, upper) } = lesson;
        let size = size(*kind, *level);
        let (resource, name) = (signal.resource.clone(), signal.name());
        let sibling = Sibling { resource, below: -lower / size, above: upper / size };
        if !(sibling.below.is_finite() && sibling.above.is_finite()) {
            return;
        }
        let pools = self.pools.entry(*kind).or_default();
        if !pools.contains_key(name) {
            pools.insert(name.into(), Vec::new());
        }
        let Some(siblings) = pools.get_mut(name) else { return };
        siblings.retain(|known| known.resource != sibling.resource);
        if siblings.len() == SIBLINGS_MAX {
            siblings.remove(0);
        }
        siblings.push(sibling);
    }

    /// What a new signal may start with.
    #[must_use]
    pub fn of(&self, name: &str, kind: SignalKind) -> Option<Prior> {
        let siblings = self.pools.get(&kind)?.get(name).filter(|known| known.len() >= SIBLINGS_MIN)?;
        let widest = |side: fn(&Sibling) -> f64| siblings.iter().map(side).fold(0.0, f64::max);
        Some(Prior { below: widest(|known| known.below), above: widest(|known| known.above), misses: 0 })
    }
}

impl Stored for Prior {
    fn save(&self, writer: &mut Writer) {
        let Self { below, above, misses } = self;
        writer.put(below).put(above).put(misses);
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        Ok(Self { below: reader.get()?, above: reader.get()?, misses: reader.get()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn lesson(name: &str, kind: SignalKind, replica: u32, level: f64, limits: (f64, f64)) -> Lesson {
        let signal = format!("host:shop/web-{replica}#{name}").parse().unwrap();
        Lesson { signal, kind, level, limits }
    }

    fn taught(kind: SignalKind, siblings: u32) -> Priors {
        let mut priors = Priors::default();
        for replica in 0..siblings {
            let level = 100.0 * f64::from(replica + 1);
            priors.learn(&lesson("load", kind, replica, level, (-0.1 * level, 0.3 * level)));
        }
        priors
    }

    #[test]
    fn three_alike_teach_the_fourth_in_shares_of_its_own_level() {
        assert_eq!(taught(SignalKind::Gauge, 2).of("load", SignalKind::Gauge), None);
        let prior = taught(SignalKind::Gauge, 3).of("load", SignalKind::Gauge).unwrap();
        let (lower, upper) = prior.limits(SignalKind::Gauge, 10.0);
        assert!((lower + 1.0).abs() < 1e-9 && (upper - 3.0).abs() < 1e-9, "{lower} {upper}");
        assert_eq!(taught(SignalKind::Gauge, 3).of("load", SignalKind::Rate), None, "of another kind");
        assert_eq!(taught(SignalKind::Gauge, 3).of("errors", SignalKind::Gauge), None, "of another name");
    }

    #[test]
    fn one_signal_that_learns_thrice_is_no_three_siblings() {
        let mut priors = Priors::default();
        (0..3).for_each(|_| priors.learn(&lesson("load", SignalKind::Gauge, 7, 10.0, (-1.0, 1.0))));
        assert_eq!(priors.of("load", SignalKind::Gauge), None);
    }

    #[test]
    fn ratios_are_compared_as_they_are() {
        let mut priors = Priors::default();
        for replica in 0..3 {
            priors.learn(&lesson("error_ratio", SignalKind::Ratio, replica, 0.001, (-0.01, 0.02)));
        }
        let prior = priors.of("error_ratio", SignalKind::Ratio).unwrap();
        assert_eq!(prior.limits(SignalKind::Ratio, 0.1), (-0.01, 0.02));
    }

    #[test]
    fn what_does_not_fit_is_dropped_at_the_third_miss() {
        let prior = taught(SignalKind::Gauge, 3).of("load", SignalKind::Gauge).unwrap();
        let twice = prior.missed().and_then(Prior::missed);
        assert!(twice.is_some() && twice.and_then(Prior::missed).is_none());
    }
}
