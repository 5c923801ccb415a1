//! Every metric that Knowledge emits.

use prometheus::{
    Histogram, HistogramOpts, HistogramVec, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

/// 250 µs, a commit without a disk flush, doubled 14 times to 4 s, just below what a lane gives up at.
fn seconds_buckets() -> Vec<f64> {
    (0..15).map(|n| 0.000_25 * f64::from(1_u32 << n)).collect()
}

/// 1 to 512 commands: the most in a group.
fn command_buckets() -> Vec<f64> {
    (0..10).map(|n| f64::from(1_u32 << n)).collect()
}

/// All of them. Clones share the counters.
#[derive(Debug, Clone)]
pub(crate) struct Metrics {
    group_seconds: HistogramVec,
    group_commands: HistogramVec,
    group_failures: IntCounterVec,
    groups_split: IntCounterVec,
    queued: IntGaugeVec,
    pub(crate) proposals: IntCounterVec,
    pub(crate) transitions: IntCounterVec,
    pub(crate) feedback: IntCounterVec,
    pub(crate) revision: IntGauge,
    pub(crate) watchers: IntGauge,
    pub(crate) watch_reads: IntCounterVec,
    pub(crate) pruned: IntCounterVec,
    pub(crate) reachable: IntGauge,
}

/// Those of one lane.
#[derive(Debug, Clone)]
pub(crate) struct LaneMetrics {
    pub(crate) seconds: Histogram,
    pub(crate) commands: Histogram,
    pub(crate) failures: IntCounter,
    pub(crate) split: IntCounter,
    pub(crate) queued: IntGauge,
}

impl Metrics {
    /// Registers them.
    pub(crate) fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str, label: &str| {
            let counter = IntCounterVec::new(Opts::new(name, help), &[label])?;
            registry.register(Box::new(counter.clone()))?;
            Ok::<_, prometheus::Error>(counter)
        };
        let gauge = |name: &str, help: &str| {
            let gauge = IntGauge::new(name, help)?;
            registry.register(Box::new(gauge.clone()))?;
            Ok::<_, prometheus::Error>(gauge)
        };
        let histogram = |name: &str, help: &str, buckets: Vec<f64>| {
            let histogram = HistogramVec::new(HistogramOpts::new(name, help).buckets(buckets), &["lane"])?;
            registry.register(Box::new(histogram.clone()))?;
            Ok::<_, prometheus::Error>(histogram)
        };
        let queued = IntGaugeVec::new(
            Opts::new("homeostat_knowledge_queued_commands", "Commands that wait for a lane."),
            &["lane"],
        )?;
        registry.register(Box::new(queued.clone()))?;
        Ok(Self {
            group_seconds: histogram(
                "homeostat_knowledge_group_seconds",
                "Time of one group of commands, commit included.",
                seconds_buckets(),
            )?,
            group_commands: histogram(
                "homeostat_knowledge_group_commands",
                "Commands committed as one group.",
                command_buckets(),
            )?,
            group_failures: counter(
                "homeostat_knowledge_group_failures_total",
                "Groups that were not committed.",
                "lane",
            )?,
            groups_split: counter(
                "homeostat_knowledge_groups_split_total",
                "Groups that were tried command by command after one failed.",
                "lane",
            )?,
            queued,
            proposals: counter(
                "homeostat_knowledge_proposals_total",
                "Proposals by verdict: accepted, already_stored, stale_generation, under_way.",
                "verdict",
            )?,
            transitions: counter(
                "homeostat_knowledge_transitions_total",
                "Transitions by result: recorded, refused.",
                "result",
            )?,
            feedback: counter(
                "homeostat_knowledge_feedback_signals_total",
                "Feedback signals by result: stored, repeated.",
                "result",
            )?,
            revision: gauge("homeostat_knowledge_ledger_revision", "Newest revision seen.")?,
            watchers: gauge("homeostat_knowledge_watchers_count", "Open watches.")?,
            watch_reads: counter(
                "homeostat_knowledge_watch_changes_total",
                "Changes handed to watchers, by where they were read: memory, database.",
                "source",
            )?,
            pruned: counter(
                "homeostat_knowledge_pruned_rows_total",
                "Rows deleted by age, by table.",
                "table",
            )?,
            reachable: gauge("homeostat_knowledge_database_reachable", "1 while the database answers.")?,
        })
    }

    /// Those of the lane of this name.
    pub(crate) fn lane(&self, name: &'static str) -> LaneMetrics {
        LaneMetrics {
            seconds: self.group_seconds.with_label_values(&[name]),
            commands: self.group_commands.with_label_values(&[name]),
            failures: self.group_failures.with_label_values(&[name]),
            split: self.groups_split.with_label_values(&[name]),
            queued: self.queued.with_label_values(&[name]),
        }
    }
}
