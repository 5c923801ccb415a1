//! From a sample received to the directive at its actuator, through Analyze, Plan, Knowledge (committed) and Execute.

use super::{Figure, actuator, rig::Rig};
use anyhow::Context as _;
use chassis::Context;
use hdrhistogram::Histogram;
use proto::{
    model::{
        AutonomyLevel, DataGap, Declared, DeclaredSpec, PolicySpec, Quality, ResourceId, ReviewRule, Sample,
        SampleBatch, ScalePolicy, ServiceSpec, Shard, SignalDescriptor, SignalId, SignalKind,
    },
    wire,
};
use std::{collections::BTreeMap, time::Duration};
use tokio::sync::mpsc;

/// Services, each of which gets one flash crowd: 1 % of them is three.
const SERVICES: usize = 300;
/// Services whose crowd comes in the same tick.
const AT_ONCE: usize = 10;
/// One tick of the pretended monitor; a real one takes a second, but the path is the same.
const TICK: Duration = Duration::from_millis(250);
/// Ticks before the first crowd: capacity is learned meanwhile.
const WARM_UP_TICKS: usize = 40;
/// Ticks after the last crowd, for the last directives to arrive.
const DRAIN_TICKS: usize = 12;
/// Requests per second and service, before and in the crowd; two replicas can take 100 each.
const LOAD: f64 = 110.0;
const CROWD: f64 = 700.0;
const REPLICAS: f64 = 2.0;
const CAPACITY: f64 = 100.0;
/// Batches that Analyze has not yet acknowledged.
const WINDOW: usize = 256;
const DRAIN: Duration = Duration::from_secs(10);

/// The signals that a service is planned by.
const SIGNALS: [(&str, SignalKind, &str); 5] = [
    ("load", SignalKind::Rate, "requests_per_second"),
    ("utilisation", SignalKind::Ratio, "ratio"),
    ("ready_replicas", SignalKind::Gauge, "replicas"),
    ("bad_ratio", SignalKind::Ratio, "ratio"),
    ("error_ratio", SignalKind::Ratio, "ratio"),
];

/// p50 and p99 over all crowds; one that brought no directive fails the bench.
pub(super) async fn sample_to_directive(rig: &Rig, ctx: &Context) -> anyhow::Result<Vec<Figure>> {
    let ctx = ctx.sub();
    let services = (0..SERVICES)
        .map(|n| ResourceId::service("bench", &format!("s{n}")))
        .collect::<Result<Vec<_>, _>>()?;
    rig.clients.knowledge()?.apply(documents()?).await.context("cannot declare the services")?;
    let seen = actuator::serve(rig, &ctx).await?;
    let sent = feed(rig, &services, &ctx).await?;
    let mut histogram = Histogram::<u64>::new(3)?;
    for (service, at) in &sent {
        let arrived = seen.first_for(service).with_context(|| format!("no directive came for {service}"))?;
        let delay = arrived
            .checked_sub(*at)
            .with_context(|| format!("a directive came for {service} before its crowd"))?;
        histogram.record(u64::try_from(delay.as_micros())?)?;
    }
    ctx.stopper.stop();
    ctx.tasks.join(DRAIN).await;
    let ms = |quantile: f64| histogram.value_at_quantile(quantile) as f64 / 1_000.0;
    Ok(vec![
        Figure::at_most("sample_to_directive_p50", ms(0.5), "ms", 100.0),
        Figure::at_most("sample_to_directive_p99", ms(0.99), "ms", 100.0),
    ])
}

fn documents() -> anyhow::Result<Vec<Declared>> {
    let mut documents = Vec::new();
    for n in 0..SERVICES {
        let name = format!("s{n}");
        let service = ServiceSpec {
            instances: [("service".to_owned(), name.clone())].into(),
            total: "http_requests_total".parse()?,
            good: None,
            latency: None,
            busy_seconds: Some("busy_seconds_total".parse()?),
            workers: Some("workers".parse()?),
            ready: None,
            edges: Vec::new(),
            objective: None,
        };
        let policy = PolicySpec {
            service: name.clone(),
            autonomy: AutonomyLevel::Act,
            scale: Some(ScalePolicy {
                minimum_replicas: 1,
                maximum_replicas: 20,
                step_up_replicas: 20,
                step_down_replicas: 1,
                cooldown_up: Duration::from_secs(1),
                // No scale-in belongs to this measurement.
                cooldown_down: Duration::from_secs(3_600),
                target_utilisation_ratio: 0.7,
            }),
            breaker: None,
            blast_radius_ratio: 0.5,
            review: ReviewRule::Automatic,
        };
        for spec in [DeclaredSpec::Service(Box::new(service)), DeclaredSpec::Policy(Box::new(policy))] {
            documents.push(Declared {
                namespace: "bench".to_owned(),
                name: name.clone(),
                spec,
                version: 0,
                applied_at: None,
            });
        }
    }
    Ok(documents)
}

/// Sends ticks as a monitor does; tells when each service's first crowded sample was sent.
async fn feed(
    rig: &Rig,
    services: &[ResourceId],
    ctx: &Context,
) -> anyhow::Result<Vec<(ResourceId, Duration)>> {
    let (to_analyze, batches) = mpsc::channel::<wire::SampleBatch>(WINDOW);
    let stream = tokio_stream::wrappers::ReceiverStream::new(batches);
    let mut acks =
        rig.clients.analyze()?.raw().ingest(stream).await.context("cannot open the stream")?.into_inner();
    ctx.tasks.spawn("bench-acks", chassis::OnFailure::Log, async move {
        while acks.message().await?.is_some() {}
        Ok(())
    });
    let mut sent = Vec::new();
    let mut sequence = 0;
    let mut ticks = tokio::time::interval(TICK);
    let crowds = SERVICES / AT_ONCE;
    for tick in 0..WARM_UP_TICKS + crowds + DRAIN_TICKS {
        ticks.tick().await;
        let crowded = tick.saturating_sub(WARM_UP_TICKS).saturating_mul(AT_ONCE).min(SERVICES);
        for batch in shards(services, tick, crowded, ctx) {
            sequence += 1;
            let wire = wire::SampleBatch { sequence, ..wire::SampleBatch::from(batch) };
            let at = ctx.clock.monotonic();
            let shard = wire.shard;
            to_analyze.send(wire).await.context("Analyze closed the stream")?;
            // The services whose crowd begins in this tick, with the moment their batch was handed over.
            let new =
                services.iter().enumerate().take(crowded).skip(sent_before(tick)).map(|(_, service)| service);
            sent.extend(
                new.filter(|service| service.shard().number() == shard).map(|service| (service.clone(), at)),
            );
        }
    }
    Ok(sent)
}

/// How many services were crowded in the tick before.
fn sent_before(tick: usize) -> usize {
    tick.saturating_sub(1).saturating_sub(WARM_UP_TICKS).saturating_mul(AT_ONCE).min(SERVICES)
}

fn shards(services: &[ResourceId], tick: usize, crowded: usize, ctx: &Context) -> Vec<SampleBatch> {
    let mut batches = BTreeMap::<Shard, SampleBatch>::new();
    let at = ctx.clock.now();
    for (number, service) in services.iter().enumerate() {
        let shard = service.shard();
        let batch = batches.entry(shard).or_insert_with(|| SampleBatch {
            sequence: 0,
            shard,
            sender: "bench".to_owned(),
            descriptors: Vec::new(),
            samples: Vec::new(),
            interval: TICK,
            gaps: Vec::<DataGap>::new(),
        });
        let load = if number < crowded { CROWD } else { LOAD + ((tick * 7 + number) % 11) as f64 };
        let values = [load, (load / (REPLICAS * CAPACITY)).min(1.0), REPLICAS, 0.0, 0.0];
        for (index, ((name, kind, unit), value)) in SIGNALS.into_iter().zip(values).enumerate() {
            let handle = u32::try_from(number * SIGNALS.len() + index).unwrap_or(u32::MAX);
            if tick == 0
                && let Ok(signal) = SignalId::new(service.clone(), name)
            {
                batch.descriptors.push(SignalDescriptor {
                    handle,
                    signal,
                    kind,
                    unit: unit.to_owned(),
                    declared: true,
                });
            }
            batch.samples.push(Sample { handle, at, value: Some(value), quality: Quality::Good });
        }
    }
    batches.into_values().collect()
}
