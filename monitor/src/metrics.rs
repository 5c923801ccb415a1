//! Every metric of Monitor, registered once.

use prometheus::{
    Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};

use crate::tally::{Account, Tally};

/// Monitor's own telemetry.
#[derive(Debug, Clone)]
pub struct Metrics {
    /// Scrapes by result: `ok`, or the name of the error.
    pub scrapes: IntCounterVec,
    /// How long scrapes took.
    pub scrape_duration: Histogram,
    /// Lines, series and rows dropped, by reason.
    pub dropped: IntCounterVec,
    /// Series that restarted, were repaired, or have a growth that cannot be known, by reason.
    pub noticed: IntCounterVec,
    /// Rows given to the way to Analyze.
    pub samples: IntCounter,
    /// Rows that Analyze refused.
    pub refused: IntCounter,
    /// Rows that wait for Analyze.
    pub unsent: IntGauge,
    /// Batches that Analyze has not acknowledged.
    pub unacknowledged: IntGauge,
    /// Ticks left out because the one before took too long.
    pub ticks_skipped: IntCounter,
    /// Targets by health.
    pub targets: IntGaugeVec,
    /// Series remembered.
    pub series: IntGauge,
    /// Readings of the targets file that failed.
    pub targets_file_failures: IntCounter,
}

impl Metrics {
    /// Makes and registers them.
    ///
    /// # Errors
    /// If the registry has a Monitor's metrics already.
    pub fn register(registry: &Registry) -> Result<Self, prometheus::Error> {
        let counter = |name: &str, help: &str| IntCounter::new(format!("homeostat_monitor_{name}"), help);
        let gauge = |name: &str, help: &str| IntGauge::new(format!("homeostat_monitor_{name}"), help);
        let counters = |name: &str, help: &str, label: &str| {
            IntCounterVec::new(Opts::new(format!("homeostat_monitor_{name}"), help), &[label])
        };
        let targets = Opts::new("homeostat_monitor_targets", "Scrape targets by health.");
        // From a local answer (1 ms) to the longest timeout anyone waits for (10 s).
        let buckets = vec![0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0, 10.0];
        let duration =
            HistogramOpts::new("homeostat_monitor_scrape_duration_seconds", "How long scrapes took.");
        let metrics = Self {
            scrapes: counters("scrapes_total", "Scrapes by result.", "result")?,
            scrape_duration: Histogram::with_opts(duration.buckets(buckets))?,
            dropped: counters("dropped_total", "What was dropped, by reason.", "reason")?,
            noticed: counters(
                "noticed_total",
                "Restarts, repairs and growth that cannot be known.",
                "reason",
            )?,
            samples: counter("samples_total", "Rows for Analyze.")?,
            refused: counter("samples_refused_total", "Rows that Analyze refused.")?,
            unsent: gauge("unsent_samples", "Rows that wait for Analyze.")?,
            unacknowledged: gauge("unacknowledged_batches", "Batches that Analyze has not acknowledged.")?,
            ticks_skipped: counter(
                "ticks_skipped_total",
                "Ticks left out because the one before took too long.",
            )?,
            targets: IntGaugeVec::new(targets, &["health"])?,
            series: gauge("series", "Series remembered.")?,
            targets_file_failures: counter(
                "targets_file_failures_total",
                "Readings of the targets file that failed.",
            )?,
        };
        metrics.register_all(registry)?;
        Ok(metrics)
    }

    /// Adds what happened to one answer.
    pub fn count(&self, account: &Account) {
        let Account { dropped, noticed } = account;
        self.count_dropped(dropped);
        noticed.iter().for_each(|(reason, n)| self.noticed.with_label_values(&[reason]).inc_by(n));
    }

    /// Adds what was lost on the way out.
    pub fn count_dropped(&self, dropped: &Tally) {
        dropped.iter().for_each(|(reason, n)| self.dropped.with_label_values(&[reason]).inc_by(n));
    }

    fn register_all(&self, registry: &Registry) -> Result<(), prometheus::Error> {
        let Self {
            scrapes,
            scrape_duration,
            dropped,
            noticed,
            samples,
            refused,
            unsent,
            unacknowledged,
            ticks_skipped,
            targets,
            series,
            targets_file_failures,
        } = self.clone();
        registry.register(Box::new(scrapes))?;
        registry.register(Box::new(scrape_duration))?;
        registry.register(Box::new(dropped))?;
        registry.register(Box::new(noticed))?;
        registry.register(Box::new(samples))?;
        registry.register(Box::new(refused))?;
        registry.register(Box::new(unsent))?;
        registry.register(Box::new(unacknowledged))?;
        registry.register(Box::new(ticks_skipped))?;
        registry.register(Box::new(targets))?;
        registry.register(Box::new(series))?;
        registry.register(Box::new(targets_file_failures))
    }
}
