//! What policies earned and why, on its way to Knowledge: evidence once, changes of level one after the other.

use super::feeds::{Event, Update};
use crate::autonomy::rebase;
use chassis::{Backoff, Context};
use proto::{
    client::{self, Standings},
    model::{Standing, StandingCause, StandingEvidence},
};
use std::{
    collections::VecDeque,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::sync::{Notify, mpsc};

/// Evidence in one request, as Knowledge takes it.
const BATCH_MAX: usize = 1_000;
/// That waits while Knowledge is away; more is found again after a restart, from the ledger.
const WAITING_MAX: usize = 10_000;
const RETRY: Backoff =
    Backoff { initial: Duration::from_millis(100), factor: 2.0, max: Duration::from_secs(2), jitter: 0.2 };

#[derive(Debug, Default)]
struct Queues {
    evidence: VecDeque<StandingEvidence>,
    changes: VecDeque<Standing>,
}

#[derive(Debug, Default)]
struct Waiting {
    queues: Mutex<Queues>,
    wake: Notify,
}

impl Waiting {
    fn with<T>(&self, work: impl FnOnce(&mut Queues) -> T) -> T {
        work(&mut self.queues.lock().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Standings on their way.
#[derive(Debug)]
pub(super) struct Earned {
    waiting: Arc<Waiting>,
}

impl Earned {
    pub(super) fn spawn(ctx: &Context, client: Standings, events: mpsc::Sender<Event>) -> Self {
        let waiting = Arc::<Waiting>::default();
        let queue = waiting.clone();
        ctx.tasks.spawn_loop("plan.earned", RETRY, move || {
            let (client, queue, events) = (client.clone(), queue.clone(), events.clone());
            async move { Ok(record(&client, &queue, &events).await?) }
        });
        Self { waiting }
    }

    /// Evidence and changes to be recorded.
    pub(super) fn put(&self, evidence: Vec<StandingEvidence>, changes: Vec<Standing>) {
        if evidence.is_empty() && changes.is_empty() {
            return;
        }
        for change in &changes {
            let Standing { policy, resource, earned, cause, reason, .. } = change;
            match cause {
                StandingCause::Demoted => tracing::warn!(%resource, policy, "demoted to {earned}: {reason}"),
                StandingCause::Promoted | StandingCause::Set => {
                    tracing::info!(%resource, policy, "{cause} to {earned}: {reason}");
                }
            }
        }
        self.waiting.with(|queues| {
            let room = WAITING_MAX.saturating_sub(queues.evidence.len());
            queues.evidence.extend(evidence.into_iter().take(room));
            queues.changes.extend(changes);
        });
        self.waiting.wake.notify_one();
    }
}

/// Records what waits, again and again. What was not answered is told once more: both calls can bear that.
async fn record(
    client: &Standings,
    waiting: &Waiting,
    events: &mpsc::Sender<Event>,
) -> Result<(), client::Error> {
    loop {
        let (evidence, change) = waiting.with(|queues| {
            let evidence: Vec<_> = queues.evidence.iter().take(BATCH_MAX).cloned().collect();
            (evidence, queues.changes.front().cloned())
        });
        if !evidence.is_empty() {
            let count = evidence.len();
            client.record_evidence(evidence).await?;
            waiting.with(|queues| drop(queues.evidence.drain(..count)));
            continue;
        }
        let Some(change) = change else {
            waiting.wake.notified().await;
            continue;
        };
        let (recorded, newest) = client.record(change.clone()).await?;
        let told_before =
            (newest.cause, &newest.reason, newest.at) == (change.cause, &change.reason, change.at);
        let again = if recorded || told_before { None } else { rebase(change, &newest) };
        let settled = again.is_none();
        waiting.with(|queues| {
            queues.changes.pop_front();
            queues.changes.extend(again);
        });
        if settled && events.send(Event::Knowledge(Update::Standing(newest))).await.is_err() {
            // The loop has ended, and so does this.
            return Ok(());
        }
    }
}
