//! Every metric of Execute, registered once.

use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry};

/// Execute's own telemetry.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Directives sent to actuators, each attempt.
    pub deliveries: IntCounter,
    /// From decision to sending, of first attempts.
    pub decision_to_delivery: Histogram,
    /// Reports by what they said.
    pub reports: IntCounterVec,
    /// Reports that the actuator has to repeat, by reason.
    pub reports_deferred: IntCounterVec,
    /// Steps that the ledger confirmed, by the state reached.
    pub transitions: IntCounterVec,
    /// Steps that the ledger did not take, by reason.
    pub transitions_lost: IntCounterVec,
    /// Steps that wait for the ledger.
    pub unrecorded: IntGauge,
    /// Verdicts by result.
    pub verdicts: IntCounterVec,
    /// Proposals to take a directive back, by what the ledger said.
    pub undos: IntCounterVec,
    /// Records and assessments that break the contract.
    pub refused_input: IntCounterVec,
    /// Actuators that hold a lease.
    pub actuators: IntGauge,
    /// Actuators that are subscribed.
    pub subscriptions: IntGauge,
    /// Directives that are not over.
    pub open_directives: IntGauge,
    /// 1 while acting is paused.
    pub paused: IntGauge,
    /// Breakers whose instances tell of them.
    pub breakers: IntGauge,
    /// Advice given to breakers, by whose turn it is to probe.
    pub breaker_advice: IntCounterVec,
}

impl Metrics {
    /// Makes and registers them.
    ///
    /// # Errors
    /// If the registry has an Execute's metrics already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let name = |name: &str| format!("homeostat_execute_{name}");
        let counter = |text: &str, help: &str| IntCounter::new(name(text), help);
        let gauge = |text: &str, help: &str| IntGauge::new(name(text), help);
        let counters =
            |text: &str, help: &str, label: &str| IntCounterVec::new(Opts::new(name(text), help), &[label]);
        let delay = HistogramOpts::new(name("decision_to_delivery_seconds"), "From decision to sending.");
        // From a local round trip (0.5 ms) over the target (20 ms) to a long wait for approval.
        let buckets = vec![0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.5, 1.0, 5.0, 30.0, 300.0];
        let metrics = Self {
            deliveries: counter("deliveries_total", "Directives sent to actuators.")?,
            decision_to_delivery: Histogram::with_opts(delay.buckets(buckets))?,
            reports: counters("reports_total", "Reports by what they said.", "result")?,
            reports_deferred: counters("reports_deferred_total", "Reports to be repeated.", "reason")?,
            transitions: counters("transitions_total", "Steps that the ledger confirmed.", "state")?,
            transitions_lost: counters(
                "transitions_lost_total",
                "Steps that the ledger did not take.",
                "reason",
            )?,
            unrecorded: gauge("unrecorded_transitions", "Steps that wait for the ledger.")?,
            verdicts: counters("verdicts_total", "Verdicts on applied directives.", "result")?,
            undos: counters("undo_proposals_total", "Proposals to take a directive back.", "verdict")?,
            refused_input: counters("refused_input_total", "Messages that break the contract.", "from")?,
            actuators: gauge("actuators", "Actuators that hold a lease.")?,
            subscriptions: gauge("subscriptions", "Actuators that are subscribed.")?,
            open_directives: gauge("open_directives", "Directives that are not over.")?,
            paused: gauge("paused", "1 while acting is paused.")?,
            breakers: gauge("breakers", "Breakers whose instances tell of them.")?,
            breaker_advice: counters("breaker_advice_total", "Advice given to breakers.", "probing")?,
        };
        let Self {
            deliveries,
            decision_to_delivery,
            reports,
            reports_deferred,
            transitions,
            transitions_lost,
            unrecorded,
            verdicts,
            undos,
            refused_input,
            actuators,
            subscriptions,
            open_directives,
            paused,
            breakers,
            breaker_advice,
        } = metrics.clone();
        registry.register(Box::new(deliveries))?;
        registry.register(Box::new(decision_to_delivery))?;
        for counters in [
            reports,
            reports_deferred,
            transitions,
            transitions_lost,
            verdicts,
            undos,
            refused_input,
            breaker_advice,
        ] {
            registry.register(Box::new(counters))?;
        }
        for gauge in [unrecorded, actuators, subscriptions, open_directives, paused, breakers] {
            registry.register(Box::new(gauge))?;
        }
        Ok(metrics)
    }
}
