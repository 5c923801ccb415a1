//! Every metric of Analyze, registered once.

use chassis::metrics::register;
use prometheus::{Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, Opts, Registry};
use proto::model::SymptomKind;

use crate::engine::Judged;
use crate::symptom::Transition;

/// Analyze's own telemetry.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Rows judged, or taken as unknown.
    pub samples: IntCounter,
    /// Rows refused, by reason.
    pub refused: IntCounterVec,
    /// How long batches took.
    pub batch_duration: Histogram,
    /// Streams of samples that are open.
    pub ingest_streams: IntGauge,
    /// Assessments made.
    pub assessments: IntCounter,
    /// Symptoms that opened, were resolved or were dismissed, by kind.
    pub symptoms: IntCounterVec,
    /// Symptoms that are open now.
    pub open_symptoms: IntGauge,
    /// Signals held.
    pub signals: IntGauge,
    /// Threshold versions by what became of them: `promoted`, `discarded`, `recorded`, `reviewed`, `dropped`.
    pub thresholds: IntCounterVec,
    /// Threshold versions that wait for Knowledge.
    pub unrecorded: IntGauge,
    /// Blocks by what became of them: `saved`, `restored`, `unknown_format`, `damaged`, `failed`.
    pub snapshots: IntCounterVec,
}

impl Metrics {
    /// Makes and registers them.
    ///
    /// # Errors
    /// Never for these names; the library checks them.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str| IntCounter::new(format!("homeostat_analyze_{name}"), help);
        let gauge = |name: &str, help: &str| IntGauge::new(format!("homeostat_analyze_{name}"), help);
        let counters = |name: &str, help: &str, labels: &[&str]| {
            IntCounterVec::new(Opts::new(format!("homeostat_analyze_{name}"), help), labels)
        };
        // From a few rows (20 us) to a full batch on a busy machine (0.3 s).
        let buckets = vec![2e-5, 5e-5, 1e-4, 2e-4, 5e-4, 1e-3, 2e-3, 5e-3, 1e-2, 3e-2, 0.1, 0.3];
        let duration =
            HistogramOpts::new("homeostat_analyze_batch_duration_seconds", "How long batches took to judge.");
        Ok(Self {
            samples: register(registry, counter("samples_total", "Rows judged or taken as unknown.")?),
            refused: register(
                registry,
                counters("samples_refused_total", "Rows refused, by reason.", &["reason"])?,
            ),
            batch_duration: register(registry, Histogram::with_opts(duration.buckets(buckets))?),
            ingest_streams: register(registry, gauge("ingest_streams", "Open streams of samples.")?),
            assessments: register(registry, counter("assessments_total", "Assessments made.")?),
            symptoms: register(
                registry,
                counters("symptoms_total", "Symptoms by kind and event.", &["kind", "event"])?,
            ),
            open_symptoms: register(registry, gauge("open_symptoms", "Symptoms that are open now.")?),
            signals: register(registry, gauge("signals", "Signals held.")?),
            thresholds: register(
                registry,
                counters("thresholds_total", "Threshold versions by event.", &["event"])?,
            ),
            unrecorded: register(
                registry,
                gauge("unrecorded_thresholds", "Threshold versions that wait for Knowledge.")?,
            ),
            snapshots: register(
                registry,
                counters("snapshots_total", "Snapshot blocks by event.", &["event"])?,
            ),
        })
    }

    /// Counts what came of one batch, or of waiting.
    pub fn count(&self, judged: &Judged) {
        self.samples.inc_by(u64::from(judged.accepted));
        for (refusal, rows) in &judged.refused {
            self.refused.with_label_values(&[refusal.as_str()]).inc_by(u64::from(*rows));
        }
        self.assessments.inc_by(judged.assessments.len() as u64);
        self.threshold("promoted", judged.thresholds.len() as u64);
        self.threshold("discarded", judged.discarded);
        for (kind, transition) in &judged.transitions {
            self.symptoms.with_label_values(&[SymptomKind::as_str(*kind), event(*transition)]).inc();
        }
    }

    /// Counts threshold versions.
    pub fn threshold(&self, event: &str, versions: u64) {
        if versions > 0 {
            self.thresholds.with_label_values(&[event]).inc_by(versions);
        }
    }

    /// Counts snapshot blocks.
    pub fn snapshot(&self, event: &str) {
        self.snapshots.with_label_values(&[event]).inc();
    }
}

fn event(transition: Transition) -> &'static str {
    match transition {
        Transition::Opened => "opened",
        Transition::Resolved => "resolved",
        Transition::Dismissed => "dismissed",
    }
}
