//! Every metric that Plan emits, registered once.

use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGaugeVec, Opts, Registry, core::Collector,
};

/// From 100 µs to about 1.6 s, doubling: a round of ten thousand resources and a slow database both fit.
fn buckets() -> Vec<f64> {
    (0..15).map(|power| 0.0001 * f64::from(1 << power)).collect()
}

/// What Plan counts and measures.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Assessments taken in.
    pub assessments: IntCounter,
    /// Time to plan what one wake-up asked for.
    pub round: Histogram,
    /// From an assessment's arrival to the ledger's answer to the proposal that it led to.
    pub assessment_to_answer: Histogram,
    /// Directives proposed, by kind.
    pub proposed: IntCounterVec,
    /// Answers to proposals, by verdict; `failed` when there was none.
    pub answers: IntCounterVec,
    /// Candidates held back, by guardrail.
    pub vetoes: IntCounterVec,
    /// Directives that the independent check stopped.
    pub faults: IntCounter,
    /// Whether Analyze and Knowledge are followed now.
    pub connected: IntGaugeVec,
}

impl Metrics {
    /// Registers them.
    ///
    /// # Errors
    /// When the registry holds them already: two instances of Plan need two registries.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let histogram = |name: &str, help: &str| -> Result<Histogram, prometheus::Error> {
            registered(registry, Histogram::with_opts(HistogramOpts::new(name, help).buckets(buckets()))?)
        };
        let counters = |name: &str, help: &str, label: &str| -> Result<IntCounterVec, prometheus::Error> {
            registered(registry, IntCounterVec::new(Opts::new(name, help), &[label])?)
        };
        let counter = |name: &str, help: &str| -> Result<IntCounter, prometheus::Error> {
            registered(registry, IntCounter::new(name, help)?)
        };
        let connected = Opts::new("homeostat_plan_connected", "Whether the peer is followed now: 1 or 0.");
        Ok(Self {
            assessments: counter("homeostat_plan_assessments_total", "Assessments taken in.")?,
            round: histogram("homeostat_plan_round_seconds", "Time to plan what one wake-up asked for.")?,
            assessment_to_answer: histogram(
                "homeostat_plan_assessment_to_answer_seconds",
                "From an assessment's arrival to the ledger's answer to the proposal that it led to.",
            )?,
            proposed: counters("homeostat_plan_directives_proposed_total", "Directives proposed.", "kind")?,
            answers: counters("homeostat_plan_propose_answers_total", "Answers to proposals.", "verdict")?,
            vetoes: counters("homeostat_plan_candidates_vetoed_total", "Candidates held back.", "reason")?,
            faults: counter(
                "homeostat_plan_check_faults_total",
                "Directives that the independent check stopped.",
            )?,
            connected: registered(registry, IntGaugeVec::new(connected, &["peer"])?)?,
        })
    }
}

fn registered<C: Collector + Clone + 'static>(
    registry: &Registry,
    collector: C,
) -> Result<C, prometheus::Error> {
    registry.register(Box::new(collector.clone()))?;
    Ok(collector)
}
