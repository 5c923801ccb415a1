//! Events → slices of time, each good or bad as a whole; slices then count as events. A slice in which nothing happened is
//! neither, unless people say otherwise.

use std::time::Duration;

use jiff::Timestamp;

use super::indicator::Tick;
use crate::snapshot::codec::{Damaged, Reader, Stored, Writer};

/// Share of a slice that must be known to judge it: the majority.
const KNOWN_SHARE_MIN: f64 = 0.5;
/// Slices closed by one observation at most: a day of minutes. What lies before is unknown, and so it stays.
const CLOSED_MAX: i64 = 1_440;

/// What a slice without events counts as.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum EmptySlice {
    /// It does not count.
    #[default]
    Neither,
    /// Somebody decided that silence is fine.
    Good,
    /// Somebody decided that silence is failure.
    Bad,
}

/// How a slice is judged.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum SliceRule {
    /// Bad when the share of good events is below this.
    Target(f64),
    /// It is as bad as its share of bad events.
    Ratio,
}

/// A closed slice.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Slice {
    /// Its begin.
    pub from: Timestamp,
    /// Its end.
    pub to: Timestamp,
    /// How bad: 0 to 1; `None` when it does not count.
    pub bad: Option<f64>,
    /// Whether it is unknown, which also does not count.
    pub unknown: bool,
}

/// Cuts time into slices.
#[derive(Debug, Clone, PartialEq)]
pub struct Slicer {
    width_ms: i64,
    rule: SliceRule,
    empty: EmptySlice,
    current: Option<i64>,
    total: f64,
    bad: f64,
    known_ms: i64,
}

impl Slicer {
    /// Slices of `width`, aligned to it.
    #[must_use]
    pub fn new(width: Duration, rule: SliceRule, empty: EmptySlice) -> Self {
        let width_ms = i64::try_from(width.as_millis()).unwrap_or(i64::MAX).max(1);
        Self { width_ms, rule, empty, current: None, total: 0.0, bad: 0.0, known_ms: 0 }
    }

    /// Takes in what happened between two moments; gives back the slices that ended.
    pub fn observe(&mut self, from: Timestamp, to: Timestamp, tick: Tick) -> Vec<Slice> {
        let (from, to) = (from.as_millisecond(), to.as_millisecond());
        let mut closed = Vec::new();
        if to <= from {
            return closed;
        }
        let length = (to - from) as f64;
        let mut at = from.max(to.saturating_sub(self.width_ms.saturating_mul(CLOSED_MAX)));
        while at < to {
            let number = at.div_euclid(self.width_ms);
            self.turn_to(number, &mut closed);
            let end = ((number + 1) * self.width_ms).min(to);
            if self.current == Some(number)
                && let Tick::Known { total, bad } = tick
            {
                let share = (end - at) as f64 / length;
                self.total += total * share;
                self.bad += bad * share;
                self.known_ms += end - at;
            }
            at = end;
        }
        if to.rem_euclid(self.width_ms) == 0 {
            self.turn_to(to.div_euclid(self.width_ms), &mut closed);
        }
        closed
    }

    fn turn_to(&mut self, number: i64, closed: &mut Vec<Slice>) {
        match self.current {
            Some(current) if number <= current => return,
            Some(current) => closed.extend(self.judged(current)),
            None => {}
        }
        (self.current, self.total, self.bad, self.known_ms) = (Some(number), 0.0, 0.0, 0);
    }

    fn judged(&self, number: i64) -> Option<Slice> {
        let from = Timestamp::from_millisecond(number * self.width_ms).ok()?;
        let to = Timestamp::from_millisecond((number + 1) * self.width_ms).ok()?;
        let unknown = (self.known_ms as f64) < KNOWN_SHARE_MIN * self.width_ms as f64;
        let bad = if unknown {
            None
        } else if self.total > 0.0 {
            let ratio = (self.bad / self.total).clamp(0.0, 1.0);
            Some(match self.rule {
                // The tolerance is of rounding: 0.95 of events that were split over slices must not fall short by 1e-16.
                SliceRule::Target(target) => f64::from(u8::from(1.0 - ratio < target - 1e-9)),
                SliceRule::Ratio => ratio,
            })
        } else {
            match self.empty {
                EmptySlice::Neither => None,
                EmptySlice::Good => Some(0.0),
                EmptySlice::Bad => Some(1.0),
            }
        };
        Some(Slice { from, to, bad, unknown })
    }
}

/// The slices of several parts, closed at the same moments, as one: bad when any part is, else unknown when any part is, else good
/// when any part counts.
#[must_use]
pub fn any_bad(parts: &[Vec<Slice>]) -> Vec<Slice> {
    let Some((first, others)) = parts.split_first() else { return Vec::new() };
    let join = |one: Slice, other: &Slice| {
        let bad = match (one.bad, other.bad) {
            (Some(one), Some(other)) => Some(one.max(other)),
            (bad, other) => bad.or(other),
        };
        // What is bad for certain is not made unknown by another part.
        let unknown = (one.unknown || other.unknown) && bad.is_none_or(|bad| bad <= 0.0);
        Slice { bad: bad.filter(|_| !unknown), unknown, ..one }
    };
    let joined = |slice: &Slice| {
        let same = |part: &Vec<Slice>| part.iter().find(|other| other.from == slice.from).copied();
        let missing = Slice { bad: None, unknown: true, ..*slice };
        others.iter().fold(*slice, |one, part| join(one, &same(part).unwrap_or(missing)))
    };
    first.iter().map(joined).collect()
}

impl Stored for Slicer {
    fn save(&self, writer: &mut Writer) {
        let Self { width_ms, rule, empty, current, total, bad, known_ms } = self;
        let target = match rule {
            SliceRule::Target(target) => Some(*target),
            SliceRule::Ratio => None,
        };
        let empty: u8 = match empty {
            EmptySlice::Neither => 0,
            EmptySlice::Good => 1,
            EmptySlice::Bad => 2,
        };
        writer.put(width_ms).put(&target).put(&empty).put(current).put(total).put(bad).put(known_ms);
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        let width_ms: i64 = reader.get()?;
        let rule = reader.get::<Option<f64>>()?.map_or(SliceRule::Ratio, SliceRule::Target);
        let empty = match reader.get::<u8>()? {
            0 => EmptySlice::Neither,
            1 => EmptySlice::Good,
            2 => EmptySlice::Bad,
            _ => return Err(reader.damaged()),
        };
        if width_ms < 1 {
            return Err(reader.damaged());
        }
        let (current, total, bad, known_ms) = (reader.get()?, reader.get()?, reader.get()?, reader.get()?);
        Ok(Self { width_ms, rule, empty, current, total, bad, known_ms })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(600_000 + second).unwrap()
    }

    fn slicer(rule: SliceRule, empty: EmptySlice) -> Slicer {
        Slicer::new(Duration::from_secs(60), rule, empty)
    }

    fn known(total: f64, bad: f64) -> Tick {
        Tick::Known { total, bad }
    }

    #[test]
    fn a_slice_is_bad_as_a_whole_when_it_misses_its_target() {
        let mut slicer = slicer(SliceRule::Target(0.95), EmptySlice::Neither);
        assert!(slicer.observe(at(0), at(30), known(10.0, 1.0)).is_empty());
        let closed = slicer.observe(at(30), at(60), known(10.0, 0.0));
        assert_eq!((closed.len(), closed[0].bad), (1, Some(0.0)), "1 of 20 is just good enough");
        let closed = slicer.observe(at(60), at(120), known(100.0, 6.0));
        assert_eq!((closed[0].from, closed[0].to, closed[0].bad), (at(60), at(120), Some(1.0)));
    }

    #[test]
    fn a_ratio_slice_is_as_bad_as_its_events_however_many_they_are() {
        let mut slicer = slicer(SliceRule::Ratio, EmptySlice::Neither);
        let busy = slicer.observe(at(0), at(60), known(1_000.0, 100.0));
        let quiet = slicer.observe(at(60), at(120), known(2.0, 1.0));
        assert_eq!((busy[0].bad, quiet[0].bad), (Some(0.1), Some(0.5)));
    }

    #[test]
    fn an_empty_slice_counts_for_nothing_unless_told() {
        for (empty, expect) in
            [(EmptySlice::Neither, None), (EmptySlice::Good, Some(0.0)), (EmptySlice::Bad, Some(1.0))]
        {
            let mut slicer = slicer(SliceRule::Target(0.9), empty);
            let closed = slicer.observe(at(0), at(60), known(0.0, 0.0));
            assert_eq!((closed[0].bad, closed[0].unknown), (expect, false));
        }
    }

    #[test]
    fn a_slice_that_is_mostly_unknown_is_unknown_whatever_silence_means() {
        let mut slicer = slicer(SliceRule::Target(0.9), EmptySlice::Good);
        slicer.observe(at(0), at(20), known(10.0, 10.0));
        let closed = slicer.observe(at(20), at(60), Tick::Unknown);
        assert_eq!((closed[0].bad, closed[0].unknown), (None, true));
    }

    #[test]
    fn any_bad_part_makes_the_slice_bad_and_unknown_parts_make_good_ones_unknown() {
        let slice = |bad, unknown| vec![Slice { from: at(0), to: at(60), bad, unknown }];
        let (good, bad) = (slice(Some(0.0), false), slice(Some(1.0), false));
        let (empty, unknown) = (slice(None, false), slice(None, true));
        let joined = |parts: &[&Vec<Slice>]| {
            let parts: Vec<_> = parts.iter().map(|part| (*part).clone()).collect();
            let whole = any_bad(&parts);
            (whole[0].bad, whole[0].unknown)
        };
        assert_eq!(joined(&[&good, &good]), (Some(0.0), false));
        assert_eq!(joined(&[&good, &bad, &unknown]), (Some(1.0), false));
        assert_eq!(joined(&[&unknown, &bad]), (Some(1.0), false));
        assert_eq!(joined(&[&good, &unknown]), (None, true));
        assert_eq!(joined(&[&empty, &good]), (Some(0.0), false), "a part without traffic says nothing");
        assert_eq!(joined(&[&empty, &empty]), (None, false));
        assert_eq!(joined(&[&good, &Vec::new()]), (None, true));
    }

    #[test]
    fn a_tick_over_several_slices_is_split_among_them() {
        let mut slicer = slicer(SliceRule::Ratio, EmptySlice::Neither);
        let closed = slicer.observe(at(0), at(180), known(30.0, 3.0));
        assert_eq!(closed.iter().map(|slice| slice.bad).collect::<Vec<_>>(), [Some(0.1); 3]);
    }
}
