//! The events of one indicator as one cumulative series: any window is the difference of two look-ups.
//!
//! Buckets are coarse. A bucket keeps its fine parts only while it is recent, or where its bad events came so unevenly that
//! taking a share of the whole would move the budget by more than [`EVENNESS`]. So windows of any length, their ends anywhere,
//! are exact to that bound, adding costs the same whatever the window, and a quiet month takes 16 KB.

use std::collections::{BTreeMap, VecDeque};
use std::time::Duration;

use jiff::Timestamp;

use crate::snapshot::codec::{Damaged, Reader, Stored, Writer};

/// Share of the budget by which evening out a bucket may move any reading: an eighth of the promised 0.1 %, since both ends of
/// a window and both the events and the bad ones among them may be evened out.
pub const EVENNESS: f64 = 0.000_125;
/// Fine parts of a coarse bucket: minutes of an hour.
const PARTS: usize = 60;
/// Coarse buckets that keep their parts: burn rates look at the last hours, and data may come late.
const RECENT: i64 = 3;
/// Old buckets with parts that are looked at again as each new one begins: what looked uneven while little had been seen may be
/// even enough beside a month.
const AGAIN: usize = 8;
/// Room for coarse buckets grows by so many: four days of hours. Doubling would leave half of it unused.
const ROOM: usize = 96;
/// Fine parts of the longest window, about: minutes of 30 days.
const FINE_PER_SPAN: u128 = 43_200;
/// Widths of a fine part, in milliseconds: divisors of the hour, so that coarse buckets are round.
const FINE_MS: [i64; 9] = [1_000, 2_000, 5_000, 10_000, 15_000, 30_000, 60_000, 300_000, 600_000];

/// Events of a span of time.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Sums {
    /// All events.
    pub total: f64,
    /// The bad ones.
    pub bad: f64,
    /// Seconds about which something is known, also that nothing happened.
    pub known_s: f64,
}

impl Sums {
    fn plus(self, other: Self) -> Self {
        Self {
            total: self.total + other.total,
            bad: self.bad + other.bad,
            known_s: self.known_s + other.known_s,
        }
    }

    fn minus(self, other: Self) -> Self {
        Self {
            total: (self.total - other.total).max(0.0),
            bad: (self.bad - other.bad).max(0.0),
            known_s: (self.known_s - other.known_s).max(0.0),
        }
    }

    fn share(self, share: f64) -> Self {
        Self { total: self.total * share, bad: self.bad * share, known_s: self.known_s * share }
    }

    /// Share of bad events; `None` without events.
    #[must_use]
    pub fn bad_ratio(&self) -> Option<f64> {
        (self.total > 0.0).then(|| (self.bad / self.total).clamp(0.0, 1.0))
    }
}

/// Events over time.
#[derive(Debug, Clone, PartialEq)]
pub struct EventHistory {
    fine_ms: i64,
    /// Coarse buckets that are kept.
    keep: usize,
    /// Share of events that may be bad under the strictest objective: what counts as uneven.
    allowed: f64,
    /// Number of the oldest coarse bucket.
    first: i64,
    /// All that came before each coarse bucket: its own events are the difference to what came before the next.
    before: VecDeque<Sums>,
    /// The events of the newest one.
    newest: Sums,
    parts: BTreeMap<i64, Box<[Sums]>>,
    began_ms: Option<i64>,
    /// End of the newest events: the part that holds it is filled only so far.
    end_ms: i64,
}

impl EventHistory {
    /// For windows of up to `span`; `allowed` is the strictest share of events that may be bad.
    #[must_use]
    pub fn new(span: Duration, allowed: f64) -> Self {
        let wanted = i64::try_from(span.as_millis() / FINE_PER_SPAN).unwrap_or(i64::MAX);
        let fine_ms =
            FINE_MS.into_iter().find(|width| *width >= wanted).unwrap_or(FINE_MS[FINE_MS.len() - 1]);
        let coarse_ms = u128::from(fine_ms.unsigned_abs()) * PARTS as u128;
        // One more, of which the window holds a part, and one that has just begun.
        let keep =
            usize::try_from(span.as_millis().div_ceil(coarse_ms)).unwrap_or(usize::MAX).saturating_add(2);
        let (before, newest, parts) = (VecDeque::new(), Sums::default(), BTreeMap::new());
        Self { fine_ms, keep, allowed, first: 0, before, newest, parts, began_ms: None, end_ms: i64::MIN }
    }

    /// The same events for windows of another length or another share that may be bad; what it does not reach back to is left
    /// out, and what was evened out stays so.
    #[must_use]
    pub fn reshaped(&self, span: Duration, allowed: f64) -> Self {
        let mut other = Self::new(span, allowed);
        for index in 0..self.before.len() {
            let number = self.first + index as i64;
            let start = number * self.coarse_ms();
            match self.parts.get(&number) {
                None => other.add_known(start, start + self.coarse_ms(), self.own(index)),
                Some(parts) => {
                    for (part, sums) in parts.iter().enumerate() {
                        let from = start + part as i64 * self.fine_ms;
                        other.add_known(from, from + self.fine_ms, *sums);
                    }
                }
            }
        }
        (other.began_ms, other.end_ms) = (self.began_ms, self.end_ms);
        other
    }

    /// Whether it is kept for windows of that length and that share of bad events.
    #[must_use]
    pub fn fits(&self, span: Duration, allowed: f64) -> bool {
        let wanted = Self::new(span, allowed);
        (self.fine_ms, self.keep, self.allowed) == (wanted.fine_ms, wanted.keep, wanted.allowed)
    }

    /// Adds what is known to have happened somewhere in a span, of which only so many seconds are known.
    fn add_known(&mut self, from: i64, to: i64, sums: Sums) {
        let known_ms = ((sums.known_s * 1_000.0).round() as i64).min(to - from);
        let end = Timestamp::from_millisecond(from + known_ms);
        if let (Ok(from), Ok(end)) = (Timestamp::from_millisecond(from), end) {
            self.add(from, end, sums.total, sums.bad);
        }
    }

    /// When the first event or known silence was.
    #[must_use]
    pub fn began(&self) -> Option<Timestamp> {
        self.began_ms.and_then(|ms| Timestamp::from_millisecond(ms).ok())
    }

    /// Width of the parts to which windows are exact.
    #[must_use]
    pub fn resolution(&self) -> Duration {
        Duration::from_millis(self.fine_ms.unsigned_abs())
    }

    /// Adds what happened between two moments, spread evenly over them. `known` tells whether anybody looked: time that nobody
    /// adds is unknown. What is older than the history is left out; numbers that are no counts are too.
    pub fn add(&mut self, from: Timestamp, to: Timestamp, total: f64, bad: f64) {
        let (from, to) = (from.as_millisecond(), to.as_millisecond());
        if to <= from || !(total.is_finite() && total >= 0.0 && bad.is_finite()) {
            return;
        }
        let bad = bad.clamp(0.0, total);
        self.advance((to - 1).div_euclid(self.coarse_ms()));
        self.began_ms = Some(self.began_ms.map_or(from, |began| began.min(from)));
        self.end_ms = self.end_ms.max(to);
        let length = (to - from) as f64;
        let oldest = self.first * self.coarse_ms();
        let mut at = from.max(oldest);
        while at < to {
            let end = ((at.div_euclid(self.fine_ms) + 1) * self.fine_ms).min(to);
            let share = (end - at) as f64 / length;
            let known_s = (end - at) as f64 / 1_000.0;
            self.add_part(at, Sums { total: total * share, bad: bad * share, known_s });
            at = end;
        }
        self.even_out_from((from.max(oldest)).div_euclid(self.coarse_ms()));
    }

    /// Everything in the window of that length that ends at `until`.
    #[must_use]
    pub fn window(&self, until: Timestamp, span: Duration) -> Sums {
        let until_ms = until.as_millisecond();
        let span_ms = i64::try_from(span.as_millis()).unwrap_or(i64::MAX);
        self.between_ms(until_ms.saturating_sub(span_ms), until_ms)
    }

    /// Everything between two moments.
    #[must_use]
    pub fn between(&self, from: Timestamp, to: Timestamp) -> Sums {
        self.between_ms(from.as_millisecond(), to.as_millisecond())
    }

    /// Whole coarse buckets between two moments with what is in them, oldest first.
    pub fn buckets(&self, from: Timestamp, to: Timestamp) -> impl Iterator<Item = (Timestamp, Sums)> + '_ {
        let width = self.coarse_ms();
        let (from, to) = (from.as_millisecond(), to.as_millisecond());
        (0..self.before.len()).filter_map(move |index| {
            let start = (self.first + index as i64) * width;
            let at = Timestamp::from_millisecond(start).ok()?;
            (start >= from && start.saturating_add(width) <= to).then(|| (at, self.own(index)))
        })
    }

    /// Width of a coarse bucket.
    #[must_use]
    pub fn bucket_width(&self) -> Duration {
        Duration::from_millis(self.coarse_ms().unsigned_abs())
    }

    fn between_ms(&self, from: i64, to: i64) -> Sums {
        if to <= from { Sums::default() } else { self.upto(to).minus(self.upto(from)) }
    }

    fn coarse_ms(&self) -> i64 {
        self.fine_ms * PARTS as i64
    }

    /// All that came before the moment.
    fn upto(&self, ms: i64) -> Sums {
        let number = ms.div_euclid(self.coarse_ms());
        let Some(index) = number.checked_sub(self.first).filter(|index| *index >= 0) else {
            return self.before.front().copied().unwrap_or_default();
        };
        let index = usize::try_from(index).unwrap_or(usize::MAX);
        let Some(before) = self.before.get(index).filter(|_| ms < self.end_ms) else { return self.all() };
        let into = ms.rem_euclid(self.coarse_ms());
        let inside = match self.parts.get(&number) {
            None => self.own(index).share(into as f64 / self.coarse_ms() as f64),
            Some(parts) => {
                let whole = (into / self.fine_ms) as usize;
                let begun = parts.get(whole).copied().unwrap_or_default();
                let part_ms = self.fine_ms.min(self.end_ms - ms.div_euclid(self.fine_ms) * self.fine_ms);
                let begun = begun.share((into % self.fine_ms) as f64 / part_ms as f64);
                parts.iter().take(whole).fold(begun, |sum, part| sum.plus(*part))
            }
        };
        before.plus(inside)
    }

    /// What happened in the coarse bucket at this place.
    fn own(&self, index: usize) -> Sums {
        match (self.before.get(index), self.before.get(index + 1)) {
            (Some(before), Some(next)) => next.minus(*before),
            (Some(_), None) => self.newest,
            (None, _) => Sums::default(),
        }
    }

    /// All that ever came.
    fn all(&self) -> Sums {
        self.before.back().copied().unwrap_or_default().plus(self.newest)
    }

    /// Makes room up to that coarse bucket; the oldest leave.
    fn advance(&mut self, number: i64) {
        if self.before.is_empty() || number - self.head() >= self.keep as i64 {
            let all = self.all();
            self.parts.clear();
            self.before.clear();
            self.first = number;
            self.begin(all);
            return;
        }
        for _ in self.head()..number {
            self.begin(self.all());
            self.even_out(self.head() - RECENT);
            self.look_again();
        }
        while self.before.len() > self.keep {
            self.before.pop_front();
            self.parts.remove(&self.first);
            self.first += 1;
        }
    }

    /// Begins the next coarse bucket, after all that came.
    fn begin(&mut self, all: Sums) {
        if self.before.len() == self.before.capacity() {
            self.before.reserve_exact(ROOM);
        }
        self.before.push_back(all);
        self.newest = Sums::default();
    }

    /// Evens out some of the old buckets, in turn.
    fn look_again(&mut self) {
        let head = self.head();
        let begin = head.unsigned_abs() as usize * AGAIN % self.parts.len().max(1);
        let old = self.parts.keys().copied().skip(begin).take(AGAIN).filter(|old| *old <= head - RECENT);
        old.collect::<Vec<_>>().into_iter().for_each(|old| self.even_out(old));
    }

    fn head(&self) -> i64 {
        self.first + self.before.len() as i64 - 1
    }

    fn add_part(&mut self, ms: i64, sums: Sums) {
        let (coarse_ms, fine_ms) = (self.coarse_ms(), self.fine_ms);
        let number = ms.div_euclid(coarse_ms);
        // A history from the future gets earlier data: room is made at the old end, as far as there is any.
        let Some(index) = usize::try_from(number - self.first).ok().filter(|i| *i < self.before.len()) else {
            return;
        };
        let own = self.own(index);
        let parts = self
            .parts
            .entry(number)
            .or_insert_with(|| vec![own.share(1.0 / PARTS as f64); PARTS].into_boxed_slice());
        let Some(part) = parts.get_mut((ms.rem_euclid(coarse_ms) / fine_ms) as usize) else { return };
        // Time is known once, however often it is told.
        let known_s = sums.known_s.min((fine_ms as f64 / 1_000.0 - part.known_s).max(0.0));
        let sums = Sums { known_s, ..sums };
        *part = part.plus(sums);
        if index + 1 == self.before.len() {
            self.newest = self.newest.plus(sums);
        }
        self.before.range_mut(index + 1..).for_each(|before| *before = before.plus(sums));
    }

    /// Evens out the buckets from `number` on that are not recent any more.
    fn even_out_from(&mut self, number: i64) {
        for old in number..=self.head() - RECENT {
            self.even_out(old);
        }
    }

    /// Forgets the parts of a bucket if a share of the whole says as much.
    fn even_out(&mut self, number: i64) {
        let Some(parts) = self.parts.get(&number) else { return };
        let Some(index) = usize::try_from(number - self.first).ok().filter(|i| *i < self.before.len()) else {
            self.parts.remove(&number);
            return;
        };
        let own = self.own(index);
        let all = self.all().total - self.before.front().map_or(0.0, |first| first.total);
        let (total_most, bad_most) = (EVENNESS * all, EVENNESS * all * self.allowed);
        let mut sum = Sums::default();
        let uneven = parts.iter().enumerate().any(|(index, part)| {
            sum = sum.plus(*part);
            let even = own.share((index + 1) as f64 / PARTS as f64);
            (sum.bad - even.bad).abs() > bad_most || (sum.total - even.total).abs() > total_most
        });
        if !uneven {
            self.parts.remove(&number);
        }
    }

    /// How many buckets keep their parts.
    #[must_use]
    pub fn detailed(&self) -> usize {
        self.parts.len()
    }
}

impl Stored for Sums {
    fn save(&self, writer: &mut Writer) {
        writer.put(&self.total).put(&self.bad).put(&self.known_s);
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        Ok(Self { total: reader.get()?, bad: reader.get()?, known_s: reader.get()? })
    }
}

impl Stored for EventHistory {
    fn save(&self, writer: &mut Writer) {
        let Self { fine_ms, keep, allowed, first, before, newest, parts, began_ms, end_ms } = self;
        writer.put(fine_ms).put(&(*keep as u64)).put(allowed).put(first).put(began_ms).put(end_ms);
        writer.put(newest).list(&before.iter().copied().collect::<Vec<_>>());
        writer.list(&parts.keys().copied().collect::<Vec<_>>());
        parts.values().for_each(|parts| _ = writer.list(parts));
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        let (fine_ms, keep, allowed, first) =
            (reader.get()?, reader.get::<u64>()?, reader.get()?, reader.get()?);
        let (began_ms, end_ms, newest) = (reader.get()?, reader.get()?, reader.get()?);
        if !FINE_MS.contains(&fine_ms) {
            return Err(reader.damaged());
        }
        let before = reader.list::<Sums>()?.into();
        let numbers = reader.list::<i64>()?;
        let mut parts = BTreeMap::new();
        for number in numbers {
            let list = reader.list::<Sums>()?;
            if list.len() != PARTS {
                return Err(reader.damaged());
            }
            parts.insert(number, list.into_boxed_slice());
        }
        let keep = usize::try_from(keep).map_err(|_| reader.damaged())?;
        Ok(Self { fine_ms, keep, allowed, first, before, newest, parts, began_ms, end_ms })
    }
}

#[cfg(test)]
#[path = "events/tests.rs"]
mod tests;
