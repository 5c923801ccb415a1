//! What happened to a breaker, told as values: from which state to which, why, and on what evidence. The last few are kept.

use std::collections::VecDeque;
use std::time::Duration;

use crate::evidence::Evidence;

/// How many transitions are kept: an incident of a few openings with all their probes.
const KEPT: usize = 64;

/// The state as seen from outside: the mode where it decides, the phase otherwise.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[expect(missing_docs, reason = "the names are the six states of the README")]
pub enum State {
    Closed,
    Open,
    HalfOpen,
    Disabled,
    ForcedOpen,
    MetricsOnly,
}

impl State {
    /// Every state, for metrics that export one series each.
    pub const ALL: [State; 6] =
        [State::Closed, State::Open, State::HalfOpen, State::Disabled, State::ForcedOpen, State::MetricsOnly];

    /// The name used on the wire and in metrics.
    pub fn name(self) -> &'static str {
        match self {
            State::Closed => "CLOSED",
            State::Open => "OPEN",
            State::HalfOpen => "HALF_OPEN",
            State::Disabled => "DISABLED",
            State::ForcedOpen => "FORCED_OPEN",
            State::MetricsOnly => "METRICS_ONLY",
        }
    }
}

/// Why something changed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Cause {
    /// Hardly a call succeeds: it opens.
    Outage,
    /// Calls fail more than they use to: told, but nothing opens.
    Failures,
    /// Calls succeed but take longer than they use to: told, but nothing opens.
    SlowCalls,
    /// The degradation is over.
    Recovered,
    /// The degradation lasted so long, or was acknowledged, that it is the baseline now.
    Adopted,
    /// The wait is over and a first probe was let through.
    WaitOver,
    /// The probes failed.
    ProbesFailed,
    /// The last stage of probes passed.
    ProbesPassed,
    /// A trial began whether leaving out calls helps.
    TrialBegan,
    /// It helps, so calls are shed.
    SheddingHelps,
    /// It does not help, so no calls are shed.
    SheddingIsUseless,
    /// Whether it helps cannot be seen, as all calls are made (METRICS_ONLY).
    SheddingUnknown,
    /// All calls are admitted again.
    SheddingEnded,
    /// A policy or an override says so.
    Told,
}

impl Cause {
    /// The name used in metrics and traces.
    pub fn name(self) -> &'static str {
        match self {
            Cause::Outage => "outage",
            Cause::Failures => "failures",
            Cause::SlowCalls => "slow_calls",
            Cause::Recovered => "recovered",
            Cause::Adopted => "adopted",
            Cause::WaitOver => "wait_over",
            Cause::ProbesFailed => "probes_failed",
            Cause::ProbesPassed => "probes_passed",
            Cause::TrialBegan => "trial_began",
            Cause::SheddingHelps => "shedding_helps",
            Cause::SheddingIsUseless => "shedding_is_useless",
            Cause::SheddingUnknown => "shedding_unknown",
            Cause::SheddingEnded => "shedding_ended",
            Cause::Told => "told",
        }
    }
}

/// One change, or a verdict that changed no state.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Transition {
    /// Counts up from 1 per breaker.
    pub number: u64,
    /// When, on the breaker's clock.
    pub at: Duration,
    /// The state before.
    pub from: State,
    /// The state after; the same for a verdict that only tells.
    pub to: State,
    /// Why.
    pub cause: Cause,
    /// What it rests on.
    pub evidence: Evidence,
}

/// The last transitions.
#[derive(Debug, Clone)]
pub(crate) struct Log {
    kept: VecDeque<Transition>,
    number: u64,
}

impl Log {
    /// Room for all is taken once, so that no call allocates.
    pub(crate) fn new() -> Self {
        Self { kept: VecDeque::with_capacity(KEPT), number: 0 }
    }

    pub(crate) fn push(&mut self, transition: Transition) {
        if self.kept.len() == KEPT {
            self.kept.pop_front();
        }
        self.number += 1;
        self.kept.push_back(Transition { number: self.number, ..transition });
    }

    pub(crate) fn number(&self) -> u64 {
        self.number
    }

    pub(crate) fn since(&self, number: u64) -> Vec<Transition> {
        self.kept.iter().filter(|transition| transition.number > number).copied().collect()
    }
}
