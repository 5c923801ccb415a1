//! How a service fares, and how closely it is followed for that: HEALTHY, OPTIMIZING, DEGRADED, CRITICAL, RECOVERING.
//!
//! *Pressure* is how many times faster than allowed things go bad. It takes two looks to get worse, by limits that lie above those
//! for getting better (hysteresis), and a whole dwell of calm to get better, one state at a time. Every relapse doubles the dwell,
//! so that whatever comes and goes ends up in the worse of its two states and stays there. What is unknown is degraded: it is not
//! healthy, and it never calms anything.

mod tuning;

pub use tuning::Tuning;

mod look;

pub use look::{pressure, spare};

use jiff::{SignedDuration, Timestamp};
use std::{fmt, time::Duration};

/// Twice what is allowed: the budget of a window lasts half of it.
const DEGRADED: (f64, f64) = (2.0, 1.0);
/// A month's budget is gone in three days.
const CRITICAL: (f64, f64) = (10.0, 5.0);
/// Looks in a row before a state gets worse: one may be chance.
const LOOKS_WORSE: u32 = 2;
/// Calm before a state gets better, at least; and at least so many looks.
const DWELL: Duration = Duration::from_secs(60);
const DWELL_LOOKS: u32 = 4;
/// Doublings of the dwell: up to an hour. What recurs more rarely is an event of its own.
const RELAPSES_MAX: u32 = 6;
/// A relapse is forgotten after two of the longest dwells in which nothing spoke for another state: sooner, whatever recurs within
/// the longest dwell would be met as new each time.
const FORGET_DOUBLINGS: u32 = RELAPSES_MAX + 1;

/// How a service fares.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum State {
    /// Nothing is to be done.
    #[default]
    Healthy,
    /// It could do with less.
    Optimizing,
    /// It was in trouble, and is watched until it has been well for long enough.
    Recovering,
    /// It goes bad faster than allowed, or nobody can tell.
    Degraded,
    /// Its budget is gone, or soon.
    Critical,
}

impl State {
    /// The one text form.
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Healthy => "healthy",
            Self::Optimizing => "optimizing",
            Self::Recovering => "recovering",
            Self::Degraded => "degraded",
            Self::Critical => "critical",
        }
    }
}

impl fmt::Display for State {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.as_str())
    }
}

/// What one look at a service tells.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Look {
    /// When.
    pub at: Timestamp,
    /// How many times faster than allowed things go bad; `None`: unknown.
    pub pressure: Option<f64>,
    /// Whether it runs more than it needs.
    pub spare: bool,
    /// Until the next look.
    pub interval: Duration,
}

/// The state of one service.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Operating {
    state: State,
    since: Option<Timestamp>,
    last: Option<Timestamp>,
    /// Looks in a row that were worse than the state.
    worse: u32,
    /// Since when it has been calm enough for a better state, or fit for the other of the two good ones.
    calm_since: Option<Timestamp>,
    relapses: u32,
    /// When it last relapsed, or a look last spoke for another state.
    restless_at: Option<Timestamp>,
    pressure: Option<f64>,
}

impl Operating {
    /// Takes in a look; older ones than the newest change nothing. Whether the state changed.
    pub fn observe(&mut self, look: &Look) -> bool {
        let Look { at, pressure, spare, interval } = *look;
        if self.last.is_some_and(|last| at <= last) {
            return false;
        }
        self.last = Some(at);
        self.since.get_or_insert(at);
        let pressure = pressure.filter(|pressure| pressure.is_finite() && *pressure >= 0.0);
        self.pressure = pressure;
        let dwell = dwell(interval, self.relapses);
        self.forget(at, interval);
        // What is unknown is as bad as degraded, and no calm.
        let known = pressure.unwrap_or(DEGRADED.0);
        let floor = if known >= CRITICAL.0 {
            State::Critical
        } else if known >= DEGRADED.0 {
            State::Degraded
        } else {
            State::Healthy
        };
        if floor > self.state && floor >= State::Degraded {
            self.calm_since = None;
            self.fidget(at);
            self.worse += 1;
            return self.worse >= LOOKS_WORSE && self.worsen(floor, at);
        }
        self.worse = 0;
        let Some(better) = pressure.and_then(|known| self.better(known, spare)) else {
            self.calm_since = None;
            return false;
        };
        self.fidget(at);
        let calm_since = *self.calm_since.get_or_insert(at);
        if at.duration_since(calm_since) < dwell {
            return false;
        }
        if self.state == State::Optimizing {
            // To and fro between the two good states is a relapse as well.
            self.relapse(at);
        }
        self.enter(better, at);
        true
    }

    fn forget(&mut self, at: Timestamp, interval: Duration) {
        let long_ago = |then: Timestamp| at.duration_since(then) >= dwell(interval, FORGET_DOUBLINGS);
        if self.state < State::Degraded && self.restless_at.is_some_and(long_ago) {
            self.relapses = self.relapses.saturating_sub(1);
            self.restless_at = (self.relapses > 0).then_some(at);
        }
    }

    /// A state that was left not long ago and is entered again is a relapse.
    fn worsen(&mut self, to: State, at: Timestamp) -> bool {
        self.relapse(at);
        self.enter(to, at);
        true
    }

    fn relapse(&mut self, at: Timestamp) {
        if self.restless_at.is_some() {
            self.relapses = (self.relapses + 1).min(RELAPSES_MAX);
        }
        self.restless_at = Some(at);
    }

    /// Only what has been restless goes on being so: a first wish for another state is nothing to remember.
    fn fidget(&mut self, at: Timestamp) {
        if self.state != State::Recovering && self.restless_at.is_some() {
            self.restless_at = Some(at);
        }
    }

    fn enter(&mut self, to: State, at: Timestamp) {
        (self.state, self.since, self.worse, self.calm_since) = (to, Some(at), 0, None);
    }

    /// The better state, or the other good one, for which this look speaks.
    fn better(&self, pressure: f64, spare: bool) -> Option<State> {
        match self.state {
            State::Critical => (pressure < CRITICAL.1).then_some(State::Degraded),
            State::Degraded => (pressure < DEGRADED.1).then_some(State::Recovering),
            State::Recovering => (pressure < DEGRADED.1).then_some(State::Healthy),
            State::Optimizing => (!spare || pressure >= DEGRADED.1).then_some(State::Healthy),
            State::Healthy => (spare && pressure < DEGRADED.1).then_some(State::Optimizing),
        }
    }

    /// Where it stands.
    pub fn state(&self) -> State {
        self.state
    }

    /// Since when; `None` before the first look.
    pub fn since(&self) -> Option<Timestamp> {
        self.since
    }

    /// How closely it is followed.
    pub fn tuning(&self) -> Tuning {
        Tuning::of(self.state)
    }

    /// Why, for people.
    pub fn reason(&self) -> String {
        let relapses = match self.relapses {
            0 => String::new(),
            1 => ", after a relapse".to_owned(),
            many => format!(", after {many} relapses"),
        };
        match self.pressure {
            None => format!("nobody can tell how it fares{relapses}"),
            Some(pressure) => format!("{pressure:.1} times as much goes bad as is allowed{relapses}"),
        }
    }
}

fn dwell(interval: Duration, doublings: u32) -> SignedDuration {
    let dwell = DWELL.max(interval.saturating_mul(DWELL_LOOKS)).saturating_mul(1 << doublings);
    SignedDuration::try_from(dwell).unwrap_or(SignedDuration::MAX)
}

#[cfg(test)]
mod tests;
