//! What the breakers of this replica's edges do and why, as metrics: state, evidence, permits, results, rejections by reason,
//! transitions by cause.

use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use breaker::{Outcome, PhaseKind, Rejection, Snapshot, State, Verdict};
use prometheus::{CounterVec, GaugeVec, Opts, Registry};

use super::metrics::{raise, register};
use crate::edges::{self, EdgeBreakers};

/// Gauges with one series per edge: name and help.
const GAUGES: [(&str, &str); 8] = [
    ("breaker_evidence", "Log likelihood ratio that calls fail more than they use to."),
    ("breaker_evidence_threshold", "What the evidence must reach."),
    ("breaker_failure_baseline_ratio", "Share of the calls that fails normally, as learned."),
    ("breaker_rate_per_second", "Calls per second over the last minutes."),
    ("breaker_admitted_ratio", "Share of the calls that shedding admits."),
    ("breaker_concurrency_limit", "Calls in flight that are allowed; absent while no limit is learned."),
    ("breaker_probes_in_flight", "Probes without a result."),
    ("breaker_probe_permits", "Probes that the present stage admits."),
];

/// Gauges of which the series with the present label is 1.
const STATES: [(&str, &str, &str); 3] = [
    ("breaker_state", "state", "1 for the state of the edge's breaker."),
    ("breaker_phase", "phase", "1 for the phase underneath, also where nothing is enforced."),
    ("breaker_verdict", "verdict", "1 for what the evidence amounts to."),
];

/// Counters: name, label beside the edge, help.
const COUNTERS: [(&str, &[&str], &str); 6] = [
    ("breaker_opened_total", &[], "How often the edge's breaker opened, or would have."),
    ("breaker_would_reject_total", &[], "Calls admitted that an enforcing breaker had rejected."),
    ("breaker_late_results_total", &[], "Results that came after the phase in which their calls began."),
    ("breaker_rejected_total", &["reason"], "Calls rejected, by reason."),
    ("breaker_results_total", &["outcome"], "Results recorded, by outcome."),
    ("breaker_transitions_total", &["from", "to", "cause"], "Transitions and verdicts, by cause."),
];

#[derive(Debug)]
pub(super) struct BreakerMetrics {
    gauges: Vec<GaugeVec>,
    states: Vec<GaugeVec>,
    counters: Vec<CounterVec>,
    /// How many transitions of each edge are counted.
    told: Mutex<BTreeMap<String, u64>>,
}

impl BreakerMetrics {
    pub(super) fn new(registry: &Registry) -> Self {
        let edge = ["caller", "callee"];
        let gauge =
            |(name, help): (&str, &str)| register(registry, GaugeVec::new(Opts::new(name, help), &edge));
        let state = |(name, label, help): (&str, &str, &str)| {
            register(registry, GaugeVec::new(Opts::new(name, help), &[edge[0], edge[1], label]))
        };
        let counter = |(name, labels, help): (&str, &[&str], &str)| {
            register(registry, CounterVec::new(Opts::new(name, help), &[&edge[..], labels].concat()))
        };
        Self {
            gauges: GAUGES.into_iter().map(gauge).collect(),
            states: STATES.into_iter().map(state).collect(),
            counters: COUNTERS.into_iter().map(counter).collect(),
            told: Mutex::default(),
        }
    }

    /// Brings everything up to date, just before it is read.
    pub(super) fn refresh(&self, breakers: &EdgeBreakers, now: Duration) {
        for name in breakers.names() {
            let Some((caller, callee)) = name.split_once("->") else { continue };
            let Some(breaker) = breakers.get(name) else { continue };
            let seen = breaker.snapshot(now);
            self.show(&[caller, callee], &seen);
            let mut told = self.told.lock().unwrap_or_else(PoisonError::into_inner);
            let told = told.entry(name.to_owned()).or_default();
            for transition in breaker.transitions(*told) {
                *told = transition.number;
                let (from, to) = (transition.from.name(), transition.to.name());
                let labels = [caller, callee, from, to, transition.cause.name()];
                self.counters[5].with_label_values(&labels).inc();
            }
        }
    }

    fn show(&self, edge: &[&str; 2], seen: &Snapshot) {
        let numbers = [
            Some(seen.evidence.score),
            Some(seen.evidence.threshold),
            Some(seen.baseline_ratio),
            Some(seen.rate_per_second),
            Some(seen.admitted_share),
            seen.concurrency_limit,
            Some(f64::from(seen.probes_in_flight)),
            Some(f64::from(seen.probe_stage)),
        ];
        for (gauge, number) in self.gauges.iter().zip(numbers) {
            number.into_iter().for_each(|number| gauge.with_label_values(edge).set(number));
        }
        let phases = [PhaseKind::Closed, PhaseKind::Open, PhaseKind::HalfOpen];
        let verdicts = [Verdict::Nominal, Verdict::Degraded, Verdict::Outage];
        let present = [
            State::ALL.map(|state| (state.name(), state == seen.state)).to_vec(),
            phases.map(|phase| (edges::phase(phase), phase == seen.phase)).to_vec(),
            verdicts.map(|verdict| (edges::verdict(verdict), verdict == seen.verdict)).to_vec(),
        ];
        for (gauge, labels) in self.states.iter().zip(present) {
            for (label, is) in labels {
                gauge.with_label_values(&[edge[0], edge[1], label]).set(f64::from(u8::from(is)));
            }
        }
        let totals = [seen.opened_total, seen.would_reject_total, seen.late_total];
        for (counter, total) in self.counters.iter().zip(totals) {
            raise(&counter.with_label_values(edge), total as f64);
        }
        let counted = [(&Rejection::REASONS, &seen.rejected), (&Outcome::NAMES, &seen.results)];
        for (counter, (names, totals)) in self.counters[3..].iter().zip(counted) {
            for (name, total) in names.iter().zip(totals) {
                raise(&counter.with_label_values(&[edge[0], edge[1], name]), *total as f64);
            }
        }
    }
}
