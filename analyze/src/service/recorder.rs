//! Threshold versions on their way to Knowledge: the newest of each signal waits, and no more of them than there is room for.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use proto::client::{Error, Knowledge};
use proto::model::Threshold;
use tokio::sync::Notify;

use crate::metrics::Metrics;

/// Versions that wait: 100,000 of about 400 bytes are 40 MB. When Knowledge is away longer, those of more signals are dropped;
/// the next version of such a signal is recorded instead.
const WAITING_MAX: usize = 100_000;
/// Versions of one request: 4,096 of at most 2.5 KiB are 10 MB, under the 16 MiB that a message may have.
const REQUEST_MAX: usize = 4_096;

/// What waits.
#[derive(Debug)]
pub struct Recorder {
    waiting: Mutex<BTreeMap<String, Threshold>>,
    wake: Notify,
    metrics: Metrics,
}

impl Recorder {
    pub(super) fn new(metrics: Metrics) -> Self {
        Self { waiting: Mutex::default(), wake: Notify::new(), metrics }
    }

    pub(super) fn push(&self, thresholds: Vec<Threshold>) {
        if thresholds.is_empty() {
            return;
        }
        let mut waiting = self.lock();
        let mut dropped = 0;
        for threshold in thresholds {
            let text = threshold.signal.to_string();
            if waiting.len() >= WAITING_MAX && !waiting.contains_key(&text) {
                dropped += 1;
                continue;
            }
            waiting.insert(text, threshold);
        }
        self.show(&waiting);
        drop(waiting);
        self.metrics.threshold("dropped", dropped);
        self.wake.notify_one();
    }

    /// Records what waits, again and again; gives each version and its answer to `answered`.
    pub(super) async fn run(
        &self,
        knowledge: &Knowledge,
        answered: impl Fn(&Threshold, &Threshold),
    ) -> Result<(), Error> {
        loop {
            let some: Vec<_> = self.lock().values().take(REQUEST_MAX).cloned().collect();
            if some.is_empty() {
                self.wake.notified().await;
                continue;
            }
            let stored = match knowledge.record_thresholds(some.clone()).await {
                Err(error) if !error.is_transient() => {
                    // The same versions would be refused again and hold up all others.
                    self.metrics.threshold("dropped", some.len() as u64);
                    self.done(&some);
                    return Err(error);
                }
                result => result?,
            };
            self.metrics.threshold("recorded", some.len() as u64);
            self.done(&some);
            some.iter().zip(&stored).for_each(|(sent, stored)| answered(sent, stored));
        }
    }

    /// Forgets what was recorded, unless a newer version came meanwhile.
    fn done(&self, recorded: &[Threshold]) {
        let mut waiting = self.lock();
        for threshold in recorded {
            let text = threshold.signal.to_string();
            if waiting.get(&text).is_some_and(|still| still.generation <= threshold.generation) {
                waiting.remove(&text);
            }
        }
        self.show(&waiting);
    }

    fn show(&self, waiting: &BTreeMap<String, Threshold>) {
        self.metrics.unrecorded.set(i64::try_from(waiting.len()).unwrap_or(i64::MAX));
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Threshold>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
