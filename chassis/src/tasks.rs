//! Supervised background work: a panic or an error is caught, logged once with its causes, and counted.
//! Nothing in this workspace spawns a task in any other way, so nothing dies unseen.

use std::collections::BTreeMap;
use std::fmt;
use std::future::Future;
use std::panic::AssertUnwindSafe;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use futures::FutureExt;
use prometheus::{IntCounterVec, Opts, Registry};
use tokio::task::AbortHandle;
use tokio::time::Instant;
use tokio_util::task::TaskTracker;

use crate::backoff::Backoff;
use crate::ids::IdGenerator;
use crate::status::chain;
use crate::stopper::Stopper;

/// What a task's failure means to the process.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum OnFailure {
    /// The process is of no use without this task: stop it, and say why.
    StopProcess,
    /// Others can do without: log and count.
    Log,
}

/// The background work of one running part. Clones share it.
#[derive(Clone)]
pub struct Tasks {
    stopper: Stopper,
    tracker: TaskTracker,
    running: Arc<Mutex<Running>>,
    ids: Arc<Mutex<IdGenerator>>,
    failures: IntCounterVec,
}

#[derive(Default)]
struct Running {
    next: u64,
    by_number: BTreeMap<u64, (&'static str, Option<AbortHandle>)>,
}

impl Tasks {
    /// Tasks whose failures stop `stopper`. Their failure counter is registered nowhere; [`crate::Context`] does that.
    #[must_use]
    pub fn new(stopper: Stopper) -> Self {
        Self::build(stopper, IdGenerator::from_entropy(), failure_counter())
    }

    pub(crate) fn registered(stopper: Stopper, ids: IdGenerator, registry: &Registry) -> Self {
        let failures = failure_counter();
        registry.register(Box::new(failures.clone())).expect("a new registry holds no other counter");
        Self::build(stopper, ids, failures)
    }

    /// Other tasks, under another stopper, counted in the same counter.
    pub(crate) fn beside(&self, stopper: Stopper, ids: IdGenerator) -> Self {
        Self::build(stopper, ids, self.failures.clone())
    }

    fn build(stopper: Stopper, ids: IdGenerator, failures: IntCounterVec) -> Self {
        let ids = Arc::new(Mutex::new(ids));
        Self { stopper, tracker: TaskTracker::new(), running: Arc::default(), ids, failures }
    }

    /// Runs `work` in the background until it ends by itself. It is not cut off by a stop: it should watch the stopper,
    /// finish what must be finished, and return.
    pub fn spawn<F>(&self, name: &'static str, on_failure: OnFailure, work: F)
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let tasks = self.clone();
        self.track(name, async move {
            let Err(reason) = outcome(work).await else { return };
            tasks.count(name);
            match on_failure {
                OnFailure::StopProcess => {
                    tracing::error!(task = name, "task failed, stopping: {reason}");
                    tasks.stopper.fail(format!("{name}: {reason}"));
                }
                OnFailure::Log => tracing::warn!(task = name, "task failed: {reason}"),
            }
        });
    }

    /// Runs what `factory` makes, again and again, until stopped: at once after the first, later after a wait that grows with
    /// each failure in a row and starts over once a run has outlived the longest wait. At a stop the run is dropped at its
    /// next await; work that must finish belongs in [`Tasks::spawn`].
    pub fn spawn_loop<M, F>(&self, name: &'static str, backoff: Backoff, mut factory: M)
    where
        M: FnMut() -> F + Send + 'static,
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let tasks = self.clone();
        self.track(name, async move {
            let stopper = tasks.stopper.clone();
            let rounds = async {
                let mut attempt = 0;
                loop {
                    let began = Instant::now();
                    // The call itself may panic too, so it happens inside the guarded future.
                    let result = outcome(async { factory().await }).await;
                    attempt = if began.elapsed() > backoff.max { 0 } else { attempt };
                    let unit = lock(&tasks.ids).unit_f64();
                    let wait = backoff.delay(attempt, unit);
                    attempt = match result {
                        Ok(()) => 0,
                        Err(reason) => {
                            tasks.count(name);
                            tracing::warn!(task = name, retry_in = ?wait, "task failed, trying again: {reason}");
                            attempt.saturating_add(1)
                        }
                    };
                    tokio::time::sleep(wait).await;
                }
            };
            tokio::select! {
                () = stopper.stopped() => {}
                () = rounds => {}
            }
        });
    }

    /// Waits until every task has ended, at most for `deadline`; then aborts the others and returns their names.
    pub async fn join(&self, deadline: Duration) -> Vec<&'static str> {
        self.tracker.close();
        if tokio::time::timeout(deadline, self.tracker.wait()).await.is_ok() {
            return Vec::new();
        }
        let left: Vec<_> = lock(&self.running).by_number.values().cloned().collect();
        left.into_iter()
            .map(|(name, abort)| {
                abort.inspect(AbortHandle::abort);
                tracing::warn!(task = name, "task did not end within {deadline:?} and was cut off");
                name
            })
            .collect()
    }

    #[expect(clippy::disallowed_methods, reason = "the one place that spawns: what runs here is supervised")]
    fn track(&self, name: &'static str, work: impl Future<Output = ()> + Send + 'static) {
        let number = lock(&self.running).start(name);
        let ends = Ends { running: self.running.clone(), number };
        let handle = tokio::spawn(self.tracker.track_future(async move {
            let _ends = ends;
            work.await;
        }));
        lock(&self.running).attach(number, handle.abort_handle());
    }

    fn count(&self, name: &str) {
        self.failures.with_label_values(&[name]).inc();
    }
}

// === impl Running ===

impl Running {
    fn start(&mut self, name: &'static str) -> u64 {
        self.next += 1;
        self.by_number.insert(self.next, (name, None));
        self.next
    }

    /// The task may have ended before its handle arrives; then there is nothing to attach to.
    fn attach(&mut self, number: u64, handle: AbortHandle) {
        if let Some((_, abort)) = self.by_number.get_mut(&number) {
            *abort = Some(handle);
        }
    }
}

/// Forgets the task when it ends, also when it is aborted.
struct Ends {
    running: Arc<Mutex<Running>>,
    number: u64,
}

impl Drop for Ends {
    fn drop(&mut self) {
        lock(&self.running).by_number.remove(&self.number);
    }
}

impl fmt::Debug for Tasks {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let names: Vec<_> = lock(&self.running).by_number.values().map(|(name, _)| *name).collect();
        f.debug_struct("Tasks").field("running", &names).finish_non_exhaustive()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

fn failure_counter() -> IntCounterVec {
    let opts =
        Opts::new("homeostat_chassis_task_failures_total", "Background tasks that ended by error or panic.");
    IntCounterVec::new(opts, &["task"]).expect("name and label are valid")
}

/// Runs the work; an error or a panic becomes the text to log.
async fn outcome(work: impl Future<Output = anyhow::Result<()>>) -> Result<(), String> {
    match crate::telemetry::quietly(AssertUnwindSafe(work).catch_unwind()).await {
        (Ok(Ok(())), _) => Ok(()),
        (Ok(Err(error)), _) => Err(chain(error.as_ref())),
        (Err(panic), place) => {
            let place = place.map(|place| format!(" at {place}")).unwrap_or_default();
            Err(format!("panicked{place}: {}", panic_text(panic.as_ref())))
        }
    }
}

fn panic_text(panic: &(dyn std::any::Any + Send)) -> &str {
    let text = panic.downcast_ref::<&str>().copied();
    text.or_else(|| panic.downcast_ref::<String>().map(String::as_str)).unwrap_or("no message")
}

#[cfg(test)]
mod tests;
