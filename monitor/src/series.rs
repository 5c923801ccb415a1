//! What is remembered of one target: its series, what each grew by at the last scrape, and whether that scrape was whole.

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;

use jiff::{SignedDuration, Timestamp};

use crate::admission::Standing;
use crate::histogram::{Observed, Snapshot};
use crate::normalize::{Kind, Reading, write_key};
use crate::rate::{self, Increase, Point, Unknown};
use crate::tally::Account;
use crate::window::Window;

/// When a process began, in Unix seconds: a name that Prometheus' client libraries share.
const PROCESS_START: &str = "process_start_time_seconds";

/// One answer of a target.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Scrape {
    /// When the answer arrived, by the wall clock: a target's own times are held against it.
    pub at: Timestamp,
    /// The same on a time line that never jumps: growth is measured on it.
    pub steady: Timestamp,
    /// Whether its end was seen; in a partial answer a missing series is unknown.
    pub complete: bool,
    /// Whether every series in it was taken in, so that one that is new next time did not exist before.
    pub whole: bool,
}

/// How points become rates.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Rules {
    /// Rates cover at least this span; zero: between the two newest scrapes.
    pub rate_span: SignedDuration,
    /// Between two scrapes of a target.
    pub interval: SignedDuration,
    /// Points kept per counter.
    pub points: usize,
    /// Across a longer silence nothing is known, and a series silent for longer is forgotten.
    pub gap_max: SignedDuration,
}

/// One series, or one histogram with all its buckets.
#[derive(Debug, Clone)]
pub struct Entry {
    /// Labels ordered by name, without `le`.
    pub labels: Vec<(Box<str>, Box<str>)>,
    /// The unit that the target declared, or empty.
    pub unit: Box<str>,
    /// What is known of its value.
    pub measured: Measured,
    scrape: u64,
    /// When it was in an answer last, on the steady time line.
    at: Timestamp,
}

/// What is known of a series' value after a scrape.
#[derive(Debug, Clone)]
pub enum Measured {
    /// A level.
    Gauge(f64),
    /// A total, and how much it grew.
    Counter {
        /// Its latest points.
        window: Window,
        /// Its growth up to the newest point.
        growth: Result<Increase, Unknown>,
    },
    /// A histogram, and what it observed since the scrape before.
    Histogram {
        /// When it was read last, and what it said.
        last: (Timestamp, Snapshot),
        /// What was observed, or why that is unknown.
        growth: Result<Observed, &'static str>,
    },
}

impl Entry {
    /// A label's value.
    #[must_use]
    pub fn label(&self, name: &str) -> Option<&str> {
        self.labels.iter().find(|(label, _)| **label == *name).map(|(_, value)| value.as_ref())
    }
}

/// The series of one target.
#[derive(Debug, Clone, Default)]
pub struct SeriesStore {
    metrics: BTreeMap<Box<str>, Metric>,
    /// Counts the answers taken in; the entries of the latest carry this number.
    scrapes: u64,
    last: Option<Scrape>,
}

#[derive(Debug, Clone, Default)]
struct Metric {
    entries: BTreeMap<Box<str>, Entry>,
    /// The two latest scrapes that had a series of this metric.
    seen: [u64; 2],
}

impl SeriesStore {
    /// Where each reading stands before admission; `declared` tells whether a declared service needs a metric.
    pub fn standings(&self, readings: &[Reading<'_>], declared: impl Fn(&str) -> bool) -> Vec<Standing> {
        let mut key = String::new();
        let mut standing = |reading: &Reading<'_>| {
            let metric = metric_of(reading);
            if declared(metric) {
                return Standing::Declared;
            }
            write_entry_key(&mut key, reading);
            let known =
                self.metrics.get(metric).is_some_and(|metric| metric.entries.contains_key(key.as_str()));
            if known { Standing::Known } else { Standing::New }
        };
        readings.iter().map(&mut standing).collect()
    }

    /// Takes in one answer. Losses and oddities go to `account`.
    pub fn absorb(
        &mut self,
        scrape: Scrape,
        readings: Vec<Reading<'_>>,
        rules: &Rules,
        account: &mut Account,
    ) {
        self.scrapes += 1;
        let started = started_within(&readings, scrape.at, rules).filter(|_| self.last.is_none());
        let mut intake =
            Intake { scrape, previous: self.last, started, number: self.scrapes, rules, account };
        let mut key = String::new();
        let mut histograms: BTreeMap<(Box<str>, Box<str>), Gathered> = BTreeMap::new();
        for reading in readings {
            let Some(at) = intake.time(reading.timestamp_ms) else { continue };
            write_entry_key(&mut key, &reading);
            let metric = metric_of(&reading);
            if let Kind::Bucket { bound } = reading.kind {
                let gathered =
                    histograms.entry((metric.into(), key.as_str().into())).or_insert_with(|| Gathered {
                        labels: own_labels(&reading),
                        unit: reading.unit.into(),
                        at,
                        buckets: Vec::new(),
                    });
                gathered.buckets.push((bound, reading.value));
            } else {
                let metric = metric_mut(&mut self.metrics, metric, intake.number);
                intake.scalar(metric, &key, &reading, at);
            }
        }
        for ((metric, key), gathered) in histograms {
            intake.histogram(metric_mut(&mut self.metrics, &metric, intake.number), key, gathered);
        }
        self.last = Some(scrape);
        self.forget(scrape.steady, rules);
    }

    /// Forgets series that were silent for longer than the longest gap at `now` (on the steady time line), so that vanished ones do not pile up.
    pub fn forget(&mut self, now: Timestamp, rules: &Rules) {
        for metric in self.metrics.values_mut() {
            metric.entries.retain(|_, entry| now.duration_since(entry.at) <= rules.gap_max);
        }
        self.metrics.retain(|_, metric| !metric.entries.is_empty());
    }

    /// The entries of `metric` in the latest answer; `None` if it had none of that metric.
    pub fn fresh(&self, metric: &str) -> Option<impl Iterator<Item = &Entry>> {
        let metric = self.metrics.get(metric).filter(|metric| metric.seen[1] == self.scrapes)?;
        Some(metric.entries.values().filter(|entry| entry.scrape == self.scrapes))
    }

    /// Every entry that is remembered, by metric and key, and whether it was in the latest answer.
    pub fn entries(&self) -> impl Iterator<Item = (&str, &Entry, bool)> {
        self.metrics.iter().flat_map(move |(name, metric)| {
            metric.entries.values().map(move |entry| (name.as_ref(), entry, entry.scrape == self.scrapes))
        })
    }

    /// How many entries are remembered.
    #[must_use]
    pub fn len(&self) -> usize {
        self.metrics.values().map(|metric| metric.entries.len()).sum()
    }

    /// Whether nothing is remembered.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.metrics.is_empty()
    }

    /// Whether the latest answer was whole.
    #[must_use]
    pub fn complete(&self) -> bool {
        self.last.is_some_and(|scrape| scrape.complete)
    }
}

/// A histogram's buckets, brought together from their lines.
#[derive(Debug)]
struct Gathered {
    labels: Vec<(Box<str>, Box<str>)>,
    unit: Box<str>,
    at: Timestamp,
    buckets: Vec<(f64, f64)>,
}

struct Intake<'a> {
    scrape: Scrape,
    previous: Option<Scrape>,
    /// How long ago a target that answers for the first time began, if it says so.
    started: Option<SignedDuration>,
    number: u64,
    rules: &'a Rules,
    account: &'a mut Account,
}

impl Intake<'_> {
    /// The target's own time if it gave one that can be true, else that of the answer.
    fn time(&mut self, timestamp_ms: Option<i64>) -> Option<Timestamp> {
        let Some(ms) = timestamp_ms else { return Some(self.scrape.steady) };
        let near = |at: &Timestamp| self.scrape.at.duration_since(*at).abs() <= self.rules.gap_max;
        let at = Timestamp::from_millisecond(ms).ok().filter(near);
        if at.is_none() {
            self.account.dropped.count("timestamp_out_of_range");
        }
        at
    }

    /// How long ago a series that is new now cannot have existed yet: the answer before was whole and had its metric, but
    /// not this one. Such a series (the first 503 of a service, say) counts from zero. When the whole metric is new, it may
    /// have existed unseen, with any value.
    fn born_within(&self, metric: &Metric) -> Option<SignedDuration> {
        if self.started.is_some() {
            return self.started;
        }
        let previous = self.previous.filter(|previous| previous.whole)?;
        let had_metric = metric.seen[0] != 0 && metric.seen[0] + 1 == self.number;
        if !had_metric {
            return None;
        }
        rate::elapsed(previous.steady, self.scrape.steady, self.rules.gap_max).ok()
    }

    fn scalar(&mut self, metric: &mut Metric, key: &str, reading: &Reading<'_>, at: Timestamp) {
        let born = self.born_within(metric);
        let point = Point { at, value: reading.value };
        let Some(entry) = metric.entries.get_mut(key) else {
            let measured = self.first(reading.kind, point, born);
            let entry = Entry {
                labels: own_labels(reading),
                unit: reading.unit.into(),
                measured,
                scrape: self.number,
                at: self.scrape.steady,
            };
            metric.entries.insert(key.into(), entry);
            return;
        };
        match (&mut entry.measured, reading.kind) {
            (Measured::Gauge(value), Kind::Gauge) => *value = reading.value,
            (Measured::Counter { window, growth }, Kind::Counter) => {
                window.hold(self.rules.points);
                *growth = window
                    .push(point)
                    .and_then(|()| window.increase(self.rules.rate_span, self.rules.gap_max));
                note_growth(growth, self.account);
            }
            // The target changed its mind about the type.
            (measured, kind) => *measured = self.first(kind, point, None),
        }
        (entry.scrape, entry.at) = (self.number, self.scrape.steady);
    }

    fn first(&self, kind: Kind, point: Point, born: Option<SignedDuration>) -> Measured {
        if kind == Kind::Gauge {
            return Measured::Gauge(point.value);
        }
        let mut window = Window::new(self.rules.points);
        // An empty window takes any point.
        let _ = window.push(point);
        let growth = match born {
            Some(elapsed) => Ok(Increase { amount: point.value, elapsed, reset: false }),
            None => Err(Unknown::First),
        };
        Measured::Counter { window, growth }
    }

    fn histogram(&mut self, metric: &mut Metric, key: Box<str>, gathered: Gathered) {
        let Gathered { labels, unit, at, buckets } = gathered;
        let zero = Snapshot::new(buckets.iter().map(|(bound, _)| (*bound, 0.0)));
        let now = Snapshot::new(buckets);
        let born = self.born_within(metric);
        let growth = match metric.entries.get(&key).map(|entry| &entry.measured) {
            Some(Measured::Histogram { last: (last_at, last), .. }) => {
                rate::elapsed(*last_at, at, self.rules.gap_max)
                    .map_err(Unknown::name)
                    .and_then(|_| now.since(last).map_err(|unknown| unknown.name()))
            }
            _ if born.is_some() => now.since(&zero).map_err(|unknown| unknown.name()),
            _ => Err(Unknown::First.name()),
        };
        match &growth {
            Ok(observed) => {
                self.account.noticed.add("counter_reset", observed.reset.into());
                self.account.noticed.add("histogram_repaired", observed.repaired.into());
            }
            Err(reason) => self.account.noticed.add(reason, (*reason != Unknown::First.name()).into()),
        }
        let measured = Measured::Histogram { last: (at, now), growth };
        metric
            .entries
            .insert(key, Entry { labels, unit, measured, scrape: self.number, at: self.scrape.steady });
    }
}

/// How long ago the process behind a target began, by its own word. A replica that began since the tick before counted from
/// zero, so that its first answer says what it did; without that, a service would be partly unknown whenever it grows. The
/// span is at least an interval: what it did within one is its share of that interval.
fn started_within(readings: &[Reading<'_>], at: Timestamp, rules: &Rules) -> Option<SignedDuration> {
    let started = readings.iter().find(|reading| reading.name == PROCESS_START)?;
    let started = Timestamp::from_microsecond((started.value * 1e6) as i64).ok()?;
    let life = rate::elapsed(started, at, rules.gap_max).ok()?;
    Some(life.max(rules.interval))
}

fn note_growth(growth: &Result<Increase, Unknown>, account: &mut Account) {
    match growth {
        Ok(increase) => account.noticed.add("counter_reset", increase.reset.into()),
        Err(unknown) => account.noticed.add(unknown.name(), (*unknown != Unknown::First).into()),
    }
}

fn metric_mut<'m>(metrics: &'m mut BTreeMap<Box<str>, Metric>, name: &str, number: u64) -> &'m mut Metric {
    if !metrics.contains_key(name) {
        metrics.insert(name.into(), Metric::default());
    }
    let metric = metrics.get_mut(name).expect("it was inserted above if it was missing");
    if metric.seen[1] != number {
        metric.seen = [metric.seen[1], number];
    }
    metric
}

/// A histogram goes by its family's name, everything else by its own.
fn metric_of<'r>(reading: &'r Reading<'_>) -> &'r str {
    match reading.kind {
        Kind::Bucket { .. } => reading.name.strip_suffix("_bucket").unwrap_or(&reading.name),
        _ => &reading.name,
    }
}

/// Two buckets of one histogram share a key: it leaves `le` out.
fn write_entry_key(key: &mut String, reading: &Reading<'_>) {
    if matches!(reading.kind, Kind::Bucket { .. }) {
        let labels: Vec<_> = reading.labels.iter().filter(|(name, _)| name != "le").cloned().collect();
        write_key(key, metric_of(reading), &labels);
    } else {
        write_key(key, &reading.name, &reading.labels);
    }
}

fn own_labels(reading: &Reading<'_>) -> Vec<(Box<str>, Box<str>)> {
    let bucket = matches!(reading.kind, Kind::Bucket { .. });
    let kept = reading.labels.iter().filter(|(name, _)| !bucket || name != "le");
    kept.map(|(name, value)| (name.as_ref().into(), value.as_ref().into())).collect()
}
