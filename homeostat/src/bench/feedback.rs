//! Durable feedback signals a second.

use super::{
    Figure,
    rig::{DRAIN, Rig, rate},
};
use chassis::Context;
use proto::model::{FeedbackLoop, FeedbackSignal, ResourceId};
use std::sync::{
    Arc,
    atomic::{AtomicU64, Ordering},
};

/// Senders at once, and signals in one request: as Execute sends them after a burst of verdicts.
const SENDERS: usize = 8;
const BATCH: usize = 2_000;

/// Counts what Knowledge said that it stored: committed, and new.
pub(super) async fn throughput(rig: &Rig, ctx: &Context) -> anyhow::Result<Vec<Figure>> {
    let ctx = ctx.sub();
    let stored = Arc::new(AtomicU64::new(0));
    let resource = ResourceId::service("bench", "feedback")?;
    for _ in 0..SENDERS {
        let (knowledge, stored, of_task, resource) =
            (rig.clients.knowledge()?, Arc::clone(&stored), ctx.clone(), resource.clone());
        ctx.tasks.spawn("bench-feedback", chassis::OnFailure::StopProcess, async move {
            while !of_task.stopper.is_stopped() {
                let batch = (0..BATCH).map(|_| signal(&of_task, &resource)).collect();
                stored.fetch_add(knowledge.record_feedback(batch).await?, Ordering::Relaxed);
            }
            Ok(())
        });
    }
    let rate = rate(|| stored.load(Ordering::Relaxed), &ctx).await;
    ctx.stopper.stop();
    ctx.tasks.join(DRAIN).await;
    Ok(vec![Figure::at_least("durable_feedback_signals", rate, "signals/s", 50_000.0)])
}

fn signal(ctx: &Context, resource: &ResourceId) -> FeedbackSignal {
    FeedbackSignal {
        id: ctx.uuid(),
        feedback_loop: FeedbackLoop::DecisionQuality,
        resource: resource.clone(),
        directive_id: None,
        name: "promise_kept_ratio".to_owned(),
        value: 1.0,
        at: ctx.clock.now(),
    }
}
