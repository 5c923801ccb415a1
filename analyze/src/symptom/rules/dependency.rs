//! DEPENDENCY: calls along an edge fail, or take far longer than they used to.

use proto::model::{SignalGlance, ThresholdState};

use super::{Judged, View, percent};
use crate::snapshot::codec::{Damaged, Reader, Stored, Writer};
use crate::symptom::evidence::{Hypotheses, Sequential};
use crate::symptom::{Finding, SUSPECT_LEVEL, Trouble};

/// Ticks whose calls are looked at together when deciding that all is well, and for people.
const RECENT_TICKS: usize = 5;
/// A share of failures below this is well, whatever was normal.
const WELL_RATIO: f64 = 0.01;
/// Latency is far beyond when it is above its band and this many times what was expected,
const SLOW_FACTOR: f64 = 3.0;
/// over at least this many calls,
const SLOW_CALLS_MIN: f64 = 5.0;
/// in two ticks in a row.
const SLOW_STEP: f64 = 0.5;
/// Ticks after which a call counts 1/e when telling how often calls usually fail: an hour at 1 s.
const USUAL_TICKS: f64 = 3_600.0;
/// Calls before that is told to people.
const USUAL_CALLS_MIN: f64 = 100.0;
/// After this many ticks without any call there is nothing left to be wrong.
const SILENT_TICKS_MAX: u32 = 60;

#[derive(Debug, Clone, PartialEq, Default)]
pub(super) struct State {
    test: Sequential,
    slow: f64,
    silent: u32,
    /// Calls and failures, newest first.
    recent: [Calls; RECENT_TICKS],
    /// Calls and failures of quiet times, fading.
    usual: Calls,
}

#[derive(Debug, Clone, Copy, PartialEq, Default)]
struct Calls {
    total: f64,
    failed: f64,
}

impl Calls {
    fn add(&mut self, other: Self) {
        self.total += other.total;
        self.failed += other.failed;
    }

    fn fade(&mut self, share: f64) {
        self.total *= share;
        self.failed *= share;
    }

    /// 0 without calls.
    fn ratio(&self) -> f64 {
        if self.total > 0.0 { self.failed / self.total } else { 0.0 }
    }
}

impl State {
    pub(super) fn find(&mut self, view: &View<'_>) -> Finding {
        let Some(load) = view.value("load") else { return Finding::Unknown };
        let calls = load * view.interval.as_secs_f64();
        if calls <= 0.0 {
            self.silent = self.silent.saturating_add(1);
            return if self.silent > SILENT_TICKS_MAX { Finding::Clear } else { Finding::Between };
        }
        self.silent = 0;
        let Some(errors) = view.judged("error_ratio") else { return Finding::Unknown };
        let Some(ratio) = errors.glance.value else { return Finding::Unknown };
        let failing = self.failing(view, errors, ratio, calls);
        let slow = self.slow(view, calls);
        if failing >= slow && failing >= SUSPECT_LEVEL && !self.is_well(errors) {
            return Finding::Trouble(self.failure(view, ratio, failing));
        }
        match view.glance("latency_p99_seconds") {
            Some(latency) if slow >= SUSPECT_LEVEL => Finding::Trouble(slowness(view, latency, calls, slow)),
            _ if self.is_well(errors) => Finding::Clear,
            _ => Finding::Between,
        }
    }

    fn failing(&mut self, view: &View<'_>, errors: &Judged, ratio: f64, calls: f64) -> f64 {
        self.recent.rotate_right(1);
        self.recent[0] = Calls { total: calls, failed: calls * ratio };
        // Within what a person pinned, it is as it should be.
        let pinned = errors.glance.threshold_state == ThresholdState::Pinned;
        let tolerated = pinned && errors.glance.upper.is_some_and(|upper| ratio <= upper);
        let failed = if tolerated { 0.0 } else { calls * ratio };
        let level =
            self.test.observe(calls, failed, &Hypotheses::baseline(self.usual.ratio()), view.threshold);
        if level < SUSPECT_LEVEL {
            self.usual.fade(1.0 - 1.0 / USUAL_TICKS);
            self.usual.add(self.recent[0]);
        }
        level
    }

    fn slow(&mut self, view: &View<'_>, calls: f64) -> f64 {
        let Some(latency) = view.glance("latency_p99_seconds") else { return 0.0 };
        let (Some(value), Some(expected), Some(upper)) = (latency.value, latency.expected, latency.upper)
        else {
            return self.slow;
        };
        let far = value > upper && value > SLOW_FACTOR * expected && calls >= SLOW_CALLS_MIN;
        self.slow = if far { (self.slow + SLOW_STEP).min(1.0) } else { 0.0 };
        self.slow
    }

    fn recent(&self) -> Calls {
        let mut recent = Calls::default();
        self.recent.iter().for_each(|calls| recent.add(*calls));
        recent
    }

    fn is_well(&self, errors: &Judged) -> bool {
        let pinned = errors.glance.upper.filter(|_| errors.glance.threshold_state == ThresholdState::Pinned);
        let normal = Hypotheses::baseline(self.usual.ratio()).normal;
        self.recent().ratio() <= normal.max(WELL_RATIO).max(pinned.unwrap_or(0.0))
    }

    fn failure(&self, view: &View<'_>, ratio: f64, level: f64) -> Trouble {
        let Calls { total, failed } = self.recent();
        let known = self.usual.total >= USUAL_CALLS_MIN;
        let usual = if known { format!(", usually {}", percent(self.usual.ratio())) } else { String::new() };
        Trouble {
            level,
            burn: ratio / view.allowed,
            confidence: level,
            text: format!(
                "{failed:.0} of the last {total:.0} calls {} failed ({}{usual})",
                ends(view),
                percent(failed / total)
            ),
            evidence: view.evidence(&["error_ratio", "load", "latency_p99_seconds"]),
        }
    }
}

fn slowness(view: &View<'_>, latency: &SignalGlance, calls: f64, level: f64) -> Trouble {
    let (value, expected) = (latency.value.unwrap_or_default(), latency.expected.unwrap_or_default());
    Trouble {
        level,
        // One call in a hundred is slower than the 99th percentile, and that is far too slow.
        burn: 0.01 / view.allowed,
        confidence: level,
        text: format!(
            "the slowest of {calls:.0} calls {} took {:.0} ms, usually {:.0} ms",
            ends(view),
            1e3 * value,
            1e3 * expected
        ),
        evidence: view.evidence(&["latency_p99_seconds", "load", "error_ratio"]),
    }
}

fn ends(view: &View<'_>) -> String {
    match view.resource.edge_ends() {
        Some((caller, callee)) => format!("from {caller} to {callee}"),
        None => format!("of {}", view.resource.name()),
    }
}

impl Stored for Calls {
    fn save(&self, writer: &mut Writer) {
        writer.put(&self.total).put(&self.failed);
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        Ok(Self { total: reader.get()?, failed: reader.get()? })
    }
}

impl Stored for State {
    fn save(&self, writer: &mut Writer) {
        let Self { test, slow, silent, recent, usual } = self;
        writer.put(test).put(slow).put(silent).list(recent).put(usual);
    }

    fn load(reader: &mut Reader<'_>) -> Result<Self, Damaged> {
        let (test, slow, silent) = (reader.get()?, reader.get()?, reader.get()?);
        let recent: Vec<Calls> = reader.list()?;
        let recent = recent.try_into().map_err(|_| reader.damaged())?;
        Ok(Self { test, slow, silent, recent, usual: reader.get()? })
    }
}
