//! The actuator of the benches: takes every directive of its pattern, reports it as applied at once, and notes the times.

use super::rig::Rig;
use anyhow::Context as _;
use chassis::Context;
use proto::{
    client::{Delivery, Execute, Report, ReportDisposition, ReportResult},
    model::{ActuatorSpec, DirectiveKind, Lease, ResourceId, ResourceKind, ResourcePattern},
};
use std::{
    collections::HashMap,
    sync::{
        Arc, Mutex, PoisonError,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use tokio::sync::Semaphore;
use uuid::Uuid;

/// Reports under way at once: enough to fill a commit group, as a fleet of actuators would.
const REPORTS_AT_ONCE: usize = 512;
/// Directives it takes at once.
const IN_FLIGHT: u32 = 100_000;

/// What was delivered when, by the process's monotonic clock.
#[derive(Debug, Default)]
pub(super) struct Seen {
    by_id: Mutex<HashMap<Uuid, Duration>>,
    by_resource: Mutex<HashMap<ResourceId, Duration>>,
    reported: AtomicU64,
}

impl Seen {
    /// Durable reports so far.
    pub(super) fn reported(&self) -> u64 {
        self.reported.load(Ordering::Relaxed)
    }

    pub(super) fn delivered(&self) -> usize {
        lock(&self.by_id).len()
    }

    pub(super) fn at(&self, id: &Uuid) -> Option<Duration> {
        lock(&self.by_id).get(id).copied()
    }

    pub(super) fn first_for(&self, resource: &ResourceId) -> Option<Duration> {
        lock(&self.by_resource).get(resource).copied()
    }
}

fn lock<T>(mutex: &Mutex<T>) -> std::sync::MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Registers for `service:bench/*` and serves until the context stops.
pub(super) async fn serve(rig: &Rig, ctx: &Context) -> anyhow::Result<Arc<Seen>> {
    let execute = rig.clients.execute()?;
    let spec = ActuatorSpec {
        name: "bench".to_owned(),
        instance: "1".to_owned(),
        kinds: vec![DirectiveKind::Scale],
        resources: vec![ResourcePattern::new(ResourceKind::Service, "bench", "*")?],
        max_in_flight: IN_FLIGHT,
        supports_dry_run: false,
        supports_undo: true,
    };
    let registration = execute.register(spec).await.context("cannot register the actuator")?;
    let seen = Arc::new(Seen::default());
    let lease = registration.lease.clone();
    let keeper = execute.clone();
    ctx.tasks.spawn_loop("bench-keep-alive", chassis::Backoff::default(), move || {
        let (keeper, lease, pause) = (keeper.clone(), lease.clone(), registration.ttl / 3);
        async move {
            loop {
                tokio::time::sleep(pause).await;
                keeper.keep_alive(&lease).await?;
            }
        }
    });
    let mut stream = execute.subscribe(&registration.lease, 0).await.context("cannot subscribe")?;
    let (noted, lease, ctx_of_task) = (Arc::clone(&seen), registration.lease, ctx.clone());
    ctx.tasks.spawn("bench-actuator", chassis::OnFailure::Log, async move {
        let permits = Arc::new(Semaphore::new(REPORTS_AT_ONCE));
        loop {
            let delivery = tokio::select! {
                next = stream.next() => match next? { Some(delivery) => delivery, None => return Ok(()) },
                () = ctx_of_task.stopper.stopped() => return Ok(()),
            };
            let now = ctx_of_task.clock.monotonic();
            lock(&noted.by_id).entry(delivery.directive.id).or_insert(now);
            lock(&noted.by_resource).entry(delivery.directive.resource.clone()).or_insert(now);
            let permit = Arc::clone(&permits).acquire_owned().await?;
            let (execute, lease, noted) = (execute.clone(), lease.clone(), Arc::clone(&noted));
            ctx_of_task.tasks.spawn("bench-report", chassis::OnFailure::Log, async move {
                report(&execute, &lease, delivery, &noted).await?;
                drop(permit);
                Ok(())
            });
        }
    });
    Ok(seen)
}

async fn report(execute: &Execute, lease: &Lease, delivery: Delivery, noted: &Seen) -> anyhow::Result<()> {
    let answer = execute
        .report(
            lease,
            Report {
                directive_id: delivery.directive.id,
                attempt: delivery.attempt,
                generation: delivery.directive.generation,
                result: ReportResult::Applied,
                detail: String::new(),
                before: Vec::new(),
                after: Vec::new(),
            },
        )
        .await?;
    if answer.disposition == ReportDisposition::Recorded {
        noted.reported.fetch_add(1, Ordering::Relaxed);
    }
    Ok(())
}
