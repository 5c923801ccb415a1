//! What was refused for want of error budget, into the history of the objective whose budget it is: told once, and again when it
//! is still so after a while.

use crate::report::PlanReport;
use chassis::{Backoff, Context};
use jiff::Timestamp;
use proto::{
    model::{BudgetPolicyState, ResourceId},
    wire::{self, objectives_client::ObjectivesClient},
};
use std::{
    collections::BTreeMap,
    sync::{Arc, Mutex, PoisonError},
    time::Duration,
};
use tokio::sync::Notify;
use tonic::transport::Channel;

/// Until the same is told again.
const AGAIN: Duration = Duration::from_secs(300);
/// That wait for Knowledge; more are not told: the reports of Plan say them anyway.
const WAITING_MAX: usize = 1_000;
const RETRY: Backoff =
    Backoff { initial: Duration::from_millis(200), factor: 2.0, max: Duration::from_secs(5), jitter: 0.2 };

#[derive(Debug, Default)]
struct Waiting {
    events: Mutex<Vec<wire::ObjectiveEvent>>,
    wake: Notify,
}

/// Refusals on their way.
#[derive(Debug)]
pub(super) struct Refusals {
    told: BTreeMap<(ResourceId, String), Timestamp>,
    waiting: Arc<Waiting>,
    ctx: Context,
}

impl Refusals {
    pub(super) fn spawn(ctx: &Context, channel: Channel) -> Self {
        let waiting = Arc::<Waiting>::default();
        let (client, queue) = (ObjectivesClient::new(channel), waiting.clone());
        ctx.tasks.spawn_loop("plan.refusals", RETRY, move || {
            let (client, queue) = (client.clone(), queue.clone());
            async move { Ok(record(client, &queue).await?) }
        });
        Self { told: BTreeMap::new(), waiting, ctx: ctx.clone() }
    }

    /// Takes out of a report what an error budget refused.
    pub(super) fn note(&mut self, report: &PlanReport, policies: &[BudgetPolicyState]) {
        let now = report.at;
        for considered in &report.considered {
            let Some(veto) =
                considered.guardrails.iter().find(|verdict| verdict.vetoed && verdict.guardrail == "budget")
            else {
                continue;
            };
            let Some(policy) = policies.iter().find(|policy| veto.reason.contains(&policy.objective)) else {
                continue;
            };
            let place = (report.resource.clone(), policy.objective.clone());
            let is_news =
                self.told.get(&place).is_none_or(|told| now.duration_since(*told).unsigned_abs() >= AGAIN);
            if !is_news {
                continue;
            }
            self.told.insert(place, now);
            self.put(wire::ObjectiveEvent {
                id: self.ctx.uuid().to_string(),
                objective: policy.objective.clone(),
                at_unix_ms: now.as_millisecond(),
                kind: "risk_refused".to_owned(),
                text: format!("{}: {} is refused: {}", report.resource, considered.action, veto.reason),
                actor: "plan".to_owned(),
                until_unix_ms: 0,
            });
        }
    }

    fn put(&self, event: wire::ObjectiveEvent) {
        let mut events = self.waiting.events.lock().unwrap_or_else(PoisonError::into_inner);
        if events.len() < WAITING_MAX {
            events.push(event);
        }
        drop(events);
        self.waiting.wake.notify_one();
    }
}

/// Records what waits, again and again.
async fn record(mut client: ObjectivesClient<Channel>, waiting: &Waiting) -> Result<(), tonic::Status> {
    loop {
        let events = waiting.events.lock().unwrap_or_else(PoisonError::into_inner).clone();
        if events.is_empty() {
            waiting.wake.notified().await;
            continue;
        }
        let count = events.len();
        client.record_objective_events(wire::RecordObjectiveEventsRequest { events }).await?;
        waiting.events.lock().unwrap_or_else(PoisonError::into_inner).drain(..count);
    }
}
