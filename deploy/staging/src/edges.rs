//! The breakers of this process's outgoing edges, as a handle that an actuator can drive.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use breaker::{
    Applied, Breaker, InvalidPolicy, LimitPolicy, Mode, PhaseKind, Policy, PolicyError, Setup, Snapshot,
    State, Transition, Verdict,
};
use chassis::SharedClock;
use serde_json::{Value, json};

use crate::dir::Dir;
use crate::files;

/// What was learned since is lost when a replica dies: a minute of it is little.
const EXPORT_INTERVAL: Duration = Duration::from_secs(60);

/// One breaker per outgoing edge, by the edge's name: `catalog->inventory`.
#[derive(Debug, Clone, Default)]
pub struct EdgeBreakers {
    edges: BTreeMap<String, Arc<Breaker>>,
}

/// Why an edge's policy was not adopted.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum EdgeError {
    /// This process has no such edge.
    #[error("no edge {0:?} leaves this process")]
    Unknown(String),
    /// Its breaker refused.
    #[error(transparent)]
    Refused(#[from] PolicyError),
}

/// Watching only, until somebody says otherwise.
pub fn default_policy() -> Policy {
    Policy { mode: Mode::MetricsOnly, ..Policy::default() }
}

/// What a process's breakers do before anybody sets a policy.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, clap::ValueEnum)]
pub enum FirstMode {
    /// They watch.
    #[default]
    MetricsOnly,
    /// They open, probe and close by themselves: a cluster without a control plane.
    Enforce,
}

impl FirstMode {
    /// The policy of generation 0.
    pub fn policy(self, limit: bool) -> Policy {
        let mode = match self {
            FirstMode::MetricsOnly => Mode::MetricsOnly,
            FirstMode::Enforce => Mode::Enforce,
        };
        Policy { mode, limit: limit.then(LimitPolicy::default), ..Policy::default() }
    }
}

impl EdgeBreakers {
    /// One breaker for each named edge. `policy` must be valid; its transitions are logged with their reasons.
    pub fn new(
        edges: impl IntoIterator<Item = String>,
        policy: &Policy,
        setup: Setup,
    ) -> Result<Self, InvalidPolicy> {
        let breaker = |edge: String| {
            let name = edge.clone();
            let breaker = Breaker::with(policy.clone(), setup)?;
            Ok((edge, Arc::new(breaker.with_listener(move |transition| log(&name, transition)))))
        };
        Ok(Self { edges: edges.into_iter().map(breaker).collect::<Result<_, _>>()? })
    }

    /// The edges of this process.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.edges.keys().map(String::as_str)
    }

    /// The breaker of one edge.
    pub fn get(&self, edge: &str) -> Option<&Arc<Breaker>> {
        self.edges.get(edge)
    }

    /// Hands a policy to an edge's breaker. `now` is the process's monotonic clock, the one its calls are timed with.
    pub fn set_policy(
        &self,
        edge: &str,
        policy: Policy,
        generation: u64,
        now: Duration,
    ) -> Result<Applied, EdgeError> {
        let breaker = self.get(edge).ok_or_else(|| EdgeError::Unknown(edge.to_owned()))?;
        Ok(breaker.set_policy(policy, generation, now)?)
    }

    /// What an edge's breaker looks like.
    pub fn snapshot(&self, edge: &str, now: Duration) -> Option<Snapshot> {
        self.get(edge).map(|breaker| breaker.snapshot(now))
    }
}

/// An opening is what people look for; the rest is the way there and back.
fn log(edge: &str, transition: &Transition) {
    let Transition { from, to, cause, evidence, .. } = transition;
    let (from, to, cause) = (from.name(), to.name(), cause.name());
    let (score, threshold) = (evidence.score, evidence.threshold);
    let (calls, failures, baseline) = (evidence.calls, evidence.failures, evidence.baseline);
    if transition.to == State::Open {
        tracing::warn!(edge, from, to, cause, score, threshold, calls, failures, baseline, "breaker opened");
    } else {
        tracing::info!(edge, from, to, cause, score, threshold, calls, failures, baseline, "breaker moved");
    }
}

/// Begins with what earlier replicas learned; what cannot be read or is no baseline is learned anew.
pub(crate) fn import_baselines(edges: &EdgeBreakers, dir: &Dir, now: Duration) {
    for (name, breaker) in &edges.edges {
        match files::read_json::<Vec<f64>>(&dir.baseline(name)) {
            Ok(None) => {}
            Ok(Some(numbers)) => {
                if let Err(error) = breaker.import_baseline(&numbers, now) {
                    tracing::warn!(edge = name, "{}", chassis::chain(&error));
                }
            }
            Err(error) => tracing::warn!(edge = name, "{}", chassis::chain(&error)),
        }
    }
}

/// Writes down what was learned, now and then; the last replica that wrote is believed. Never returns.
pub(crate) async fn export_baselines(edges: EdgeBreakers, dir: Dir, clock: SharedClock) {
    loop {
        tokio::time::sleep(EXPORT_INTERVAL).await;
        for (name, breaker) in &edges.edges {
            let numbers = breaker.export_baseline(clock.monotonic());
            if let Err(error) = files::write_json(&dir.baseline(name), &numbers) {
                tracing::warn!(edge = name, "{}", chassis::chain(&error));
            }
        }
    }
}

/// What there is to see of every edge, and how it came about, for people and tests.
pub fn to_json(edges: &EdgeBreakers, now: Duration) -> Value {
    let edge = |(name, breaker): (&String, &Arc<Breaker>)| {
        let seen = breaker.snapshot(now);
        let transitions: Vec<Value> = breaker.transitions(0).iter().map(transition).collect();
        let counted = |names: &[&str], counts: &[u64]| -> BTreeMap<String, u64> {
            names.iter().map(|name| (*name).to_owned()).zip(counts.iter().copied()).collect()
        };
        let value = json!({
            "state": seen.state.name(),
            "phase": phase(seen.phase),
            "verdict": verdict(seen.verdict),
            "evidence": { "score": seen.evidence.score, "threshold": seen.evidence.threshold },
            "baseline_ratio": seen.baseline_ratio,
            "slow_from_s": seen.slow_from.map(|limit| limit.as_secs_f64()),
            "rate_per_second": seen.rate_per_second,
            "admitted_share": seen.admitted_share,
            "concurrency_limit": seen.concurrency_limit,
            "probes_in_flight": seen.probes_in_flight,
            "probe_stage": seen.probe_stage,
            "opened_total": seen.opened_total,
            "late_total": seen.late_total,
            "generation": seen.generation,
            "results": counted(&breaker::Outcome::NAMES, &seen.results),
            "rejected": counted(&breaker::Rejection::REASONS, &seen.rejected),
            "transitions": transitions,
        });
        (name.clone(), value)
    };
    edges.edges.iter().map(edge).collect::<serde_json::Map<_, _>>().into()
}

fn transition(transition: &Transition) -> Value {
    let Transition { number, at, from, to, cause, evidence } = transition;
    json!({
        "number": number,
        "at_s": at.as_secs_f64(),
        "from": from.name(),
        "to": to.name(),
        "cause": cause.name(),
        "evidence": {
            "score": evidence.score,
            "threshold": evidence.threshold,
            "calls": evidence.calls,
            "failures": evidence.failures,
            "baseline": evidence.baseline,
        },
    })
}

/// The phase's name in metrics.
pub(crate) fn phase(phase: PhaseKind) -> &'static str {
    match phase {
        PhaseKind::Closed => "closed",
        PhaseKind::Open => "open",
        PhaseKind::HalfOpen => "half_open",
    }
}

/// The verdict's name in metrics.
pub(crate) fn verdict(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Nominal => "nominal",
        Verdict::Degraded => "degraded",
        Verdict::Outage => "outage",
    }
}
