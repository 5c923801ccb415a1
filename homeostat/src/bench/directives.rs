//! Durable directives: how many a second, and how quickly one reaches its actuator.

use super::{
    Figure,
    actuator::{self, Seen},
    rig::{DRAIN, MEASURED, Rig, WARM_UP, directive, rate},
};
use chassis::Context;
use hdrhistogram::Histogram;
use proto::client::{Knowledge, ProposeVerdict};
use std::{
    sync::{
        Arc,
        atomic::{AtomicU64, Ordering},
    },
    time::Duration,
};
use uuid::Uuid;

/// Proposals under way at once: four for each of 64 shards. Fewer would measure waiting, not throughput.
const PROPOSERS: u64 = 256;
/// DESIGN: decision to actuator is measured at this rate.
const RATE_PER_SECOND: u64 = 500;

/// As many as go through: each is proposed, committed, delivered, reported, and its report committed.
pub(super) async fn throughput(rig: &Rig, ctx: &Context) -> anyhow::Result<Vec<Figure>> {
    let ctx = ctx.sub();
    let seen = actuator::serve(rig, &ctx).await?;
    let numbers = Arc::new(AtomicU64::new(0));
    let knowledge = rig.clients.knowledge()?;
    for _ in 0..PROPOSERS {
        let (knowledge, numbers, of_task) = (knowledge.clone(), Arc::clone(&numbers), ctx.clone());
        ctx.tasks.spawn("bench-proposer", chassis::OnFailure::StopProcess, async move {
            while !of_task.stopper.is_stopped() {
                let number = numbers.fetch_add(1, Ordering::Relaxed);
                propose(&knowledge, of_task.uuid(), number, &of_task).await?;
            }
            Ok(())
        });
    }
    let rate = rate(|| seen.reported(), &ctx).await;
    ctx.stopper.stop();
    ctx.tasks.join(DRAIN).await;
    Ok(vec![Figure::at_least("durable_directives", rate, "directives/s", 2_000.0)])
}

async fn propose(knowledge: &Knowledge, id: Uuid, number: u64, ctx: &Context) -> anyhow::Result<()> {
    let answer = knowledge.propose(directive(id, number, ctx.clock.now())?).await?;
    anyhow::ensure!(
        answer.verdict == ProposeVerdict::Accepted,
        "directive {number} was not accepted: {}",
        answer.detail
    );
    Ok(())
}

/// Open loop at 500 a second: decisions do not wait for one another.
pub(super) async fn latency(rig: &Rig, ctx: &Context) -> anyhow::Result<Vec<Figure>> {
    let ctx = ctx.sub();
    let seen = actuator::serve(rig, &ctx).await?;
    let knowledge = rig.clients.knowledge()?;
    let mut decided = Vec::new();
    let total = RATE_PER_SECOND * (WARM_UP + MEASURED).as_secs();
    let mut ticks = tokio::time::interval(Duration::from_micros(1_000_000 / RATE_PER_SECOND));
    for number in 0..total {
        ticks.tick().await;
        let (id, at) = (ctx.uuid(), ctx.clock.monotonic());
        if number >= RATE_PER_SECOND * WARM_UP.as_secs() {
            decided.push((id, at));
        }
        let (knowledge, of_task) = (knowledge.clone(), ctx.clone());
        ctx.tasks.spawn("bench-proposer", chassis::OnFailure::StopProcess, async move {
            propose(&knowledge, id, number, &of_task).await
        });
    }
    let waited = ctx.clock.monotonic();
    while seen.delivered() < usize::try_from(total)? && ctx.clock.monotonic() - waited < DRAIN {
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    let histogram = delays(&decided, &seen)?;
    ctx.stopper.stop();
    ctx.tasks.join(DRAIN).await;
    let ms = |quantile: f64| histogram.value_at_quantile(quantile) as f64 / 1_000.0;
    Ok(vec![
        Figure::at_most("decision_to_actuator_p50_at_500_per_s", ms(0.5), "ms", 20.0),
        Figure::at_most("decision_to_actuator_p99_at_500_per_s", ms(0.99), "ms", 20.0),
    ])
}

/// A directive that never arrived fails the bench: a percentile of the survivors would be a lie.
fn delays(decided: &[(Uuid, Duration)], seen: &Seen) -> anyhow::Result<Histogram<u64>> {
    let mut histogram = Histogram::<u64>::new(3)?;
    for (id, at) in decided {
        let arrived =
            seen.at(id).ok_or_else(|| anyhow::anyhow!("directive {id} did not arrive within {DRAIN:?}"))?;
        histogram.record(u64::try_from(arrived.saturating_sub(*at).as_micros())?)?;
    }
    Ok(histogram)
}
