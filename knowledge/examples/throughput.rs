//! How much the ledger takes: whole directive lives and feedback signals, over gRPC, on a private Postgres with fsync on.
//! `cargo run --release -p knowledge --example throughput [seconds]`

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use chassis::{ClientConfig, Context, ServerConfig};
use jiff::Timestamp;
use knowledge::Config;
use proto::client::{Knowledge, ProposeVerdict};
use proto::model::{
    Action, Alternative, AutonomyLevel, Counterfactual, CounterfactualPoint, Directive, DirectiveState,
    Evidence, ExpectedEffect, FeedbackLoop, FeedbackSignal, Generation, GuardrailVerdict, Preconditions,
    Rationale, Threshold, ThresholdState, Transition,
};

type Failure = Box<dyn std::error::Error + Send + Sync>;

/// Lives at once, each of its own resource: what 256 services in motion would do.
const LIVES: usize = 256;
/// Connections that share them.
const CONNECTIONS: usize = 4;
/// Feedback requests at once, and signals in each.
const SENDERS: usize = 8;
const SIGNALS: usize = 1_000;
/// Thresholds in one request: the most that is taken.
const REQUEST: usize = 10_000;

#[tokio::main]
async fn main() -> Result<(), Failure> {
    let seconds = std::env::args().nth(1).map_or(Ok(5), |text| text.parse())?;
    let duration = Duration::from_secs(seconds);
    let ctx = Context::system();
    let data_dir = std::env::temp_dir().join(format!("homeostat-throughput-{}", std::process::id()));
    let config =
        Config { server: ServerConfig::loopback(0), data_dir: data_dir.clone(), ..Config::default() };
    let handle = knowledge::start(config, ctx.clone()).await?;
    let connect =
        || Ok::<_, Failure>(Knowledge::new(chassis::grpc::channel(&ClientConfig::plain(handle.addr))?));
    let clients = (0..CONNECTIONS).map(|_| connect()).collect::<Result<Vec<_>, _>>()?;
    let follower = follow(&ctx, connect()?);
    lives(&ctx, &clients, duration).await?;
    groups(&ctx);
    println!("changes seen by one follower: {}", follower.load(Ordering::Relaxed));
    paced(&ctx, &clients, duration).await?;
    feedback(&ctx, &clients, duration).await?;
    thresholds(&ctx, &clients[0]).await?;
    ctx.stopper.stop();
    ctx.tasks.join(Duration::from_secs(20)).await;
    std::fs::remove_dir_all(data_dir)?;
    Ok(())
}

/// How large the groups were, and how long each took.
fn groups(ctx: &Context) {
    for family in ctx.metrics.gather() {
        if family.name().starts_with("homeostat_knowledge_group_")
            && family.name() != "homeostat_knowledge_group_failures_total"
        {
            let histogram = family.get_metric()[family.get_metric().len() - 1].get_histogram();
            let count = histogram.get_sample_count();
            println!(
                "{}: {count} groups, mean {:.4}",
                family.name(),
                histogram.get_sample_sum() / count as f64
            );
        }
    }
}

/// What Execute does: follows the directives.
fn follow(ctx: &Context, knowledge: Knowledge) -> Arc<AtomicU64> {
    let seen = Arc::new(AtomicU64::new(0));
    let counter = seen.clone();
    ctx.tasks.spawn("follower", chassis::OnFailure::Log, async move {
        let mut stream = knowledge.watch_directives(0, true).await?;
        while let Ok(Some(_)) = stream.next().await {
            counter.fetch_add(1, Ordering::Relaxed);
        }
        Ok(())
    });
    seen
}

async fn lives(ctx: &Context, clients: &[Knowledge], duration: Duration) -> Result<(), Failure> {
    let began = ctx.clock.monotonic();
    let one = async |n: usize| {
        let (knowledge, mut generation, mut count) = (&clients[n % clients.len()], 0, 0_u64);
        while ctx.clock.monotonic() - began < duration {
            generation = live(ctx, knowledge, &format!("service:bench/s{n}"), generation).await?.0;
            count += 1;
        }
        Ok::<_, Failure>(count)
    };
    let counts = futures::future::try_join_all((0..LIVES).map(one)).await?;
    let took = (ctx.clock.monotonic() - began).as_secs_f64();
    let lives = counts.iter().sum::<u64>() as f64;
    println!("directive lives: {:.0} /s (proposal and 3 transitions each, {LIVES} at once)", lives / took);
    Ok(())
}

/// A proposal, then what Execute records of it; returns the generation and how long the proposal took.
async fn live(
    ctx: &Context,
    knowledge: &Knowledge,
    resource: &str,
    generation: u64,
) -> Result<(u64, Duration), Failure> {
    use DirectiveState::{Applied, Delivered, Issued, Verified};
    let directive = directive(ctx, resource, generation)?;
    let id = directive.id;
    let began = ctx.clock.monotonic();
    let answer = knowledge.propose(directive).await?;
    let took = ctx.clock.monotonic() - began;
    if answer.verdict != ProposeVerdict::Accepted {
        return Err(format!("{answer:?}").into());
    }
    for (from, to) in [(Issued, Delivered), (Delivered, Applied), (Applied, Verified)] {
        let step = Transition {
            directive_id: id,
            from,
            to,
            at: ctx.clock.now(),
            actor: "execute".to_owned(),
            detail: String::new(),
            attempt: 1,
            before: Vec::new(),
            after: Vec::new(),
        };
        knowledge.record_transitions(vec![step]).await?;
    }
    Ok((answer.generation.0, took))
}

/// 500 proposals a second: how long until each is durable.
async fn paced(ctx: &Context, clients: &[Knowledge], duration: Duration) -> Result<(), Failure> {
    let began = ctx.clock.monotonic();
    let each = Duration::from_millis(2);
    let count = (duration.as_millis() / each.as_millis()) as u32;
    let proposal = async |n: u32| {
        let due = each * n;
        tokio::time::sleep((began + due).saturating_sub(ctx.clock.monotonic())).await;
        let knowledge = &clients[n as usize % clients.len()];
        Ok::<_, Failure>(live(ctx, knowledge, &format!("service:paced/s{n}"), 0).await?.1)
    };
    let mut took = futures::future::try_join_all((0..count).map(proposal)).await?;
    took.sort_unstable();
    let at = |share: f64| took[((took.len() - 1) as f64 * share) as usize];
    println!("proposal durable at 500 lives /s: median {:?}, p99 {:?}", at(0.5), at(0.99));
    Ok(())
}

async fn feedback(ctx: &Context, clients: &[Knowledge], duration: Duration) -> Result<(), Failure> {
    let began = ctx.clock.monotonic();
    let one = async |n: usize| {
        let (knowledge, mut stored) = (&clients[n % clients.len()], 0);
        while ctx.clock.monotonic() - began < duration {
            let signals = (0..SIGNALS).map(|n| signal(ctx, n)).collect::<Result<_, Failure>>()?;
            stored += knowledge.record_feedback(signals).await?;
        }
        Ok::<_, Failure>(stored)
    };
    let stored = futures::future::try_join_all((0..SENDERS).map(one)).await?;
    let took = (ctx.clock.monotonic() - began).as_secs_f64();
    println!("feedback signals: {:.0} /s", stored.iter().sum::<u64>() as f64 / took);
    Ok(())
}

/// What relearning brings: a new version for each of many signals, in the largest requests.
async fn thresholds(ctx: &Context, knowledge: &Knowledge) -> Result<(), Failure> {
    for generation in 1..=3 {
        let versions = (0..REQUEST).map(|n| threshold(ctx, n, generation)).collect::<Result<_, Failure>>()?;
        let began = ctx.clock.monotonic();
        knowledge.record_thresholds(versions).await?;
        let took = (ctx.clock.monotonic() - began).as_secs_f64();
        println!("thresholds, version {generation} of {REQUEST} signals: {:.0} /s", REQUEST as f64 / took);
    }
    Ok(())
}

fn threshold(ctx: &Context, n: usize, generation: u64) -> Result<Threshold, Failure> {
    Ok(Threshold {
        signal: format!("host:bench/node{}#metric_{n}{{mode=\"idle\"}}", n % 100).parse()?,
        generation,
        state: ThresholdState::Learning,
        method: "quantile+exponential-tail".to_owned(),
        residual_lower: -1.0,
        residual_upper: 1.0,
        level: 10.0,
        scale: 1.0,
        samples: 10_000,
        coverage_ratio: 0.9999,
        false_alarm_probability: 1e-6,
        evidence_from: None,
        evidence_to: None,
        created_at: ctx.clock.now(),
        pinned_lower: None,
        pinned_upper: None,
        reviewed_by: String::new(),
        reason: String::new(),
    })
}

fn signal(ctx: &Context, n: usize) -> Result<FeedbackSignal, Failure> {
    Ok(FeedbackSignal {
        id: ctx.uuid(),
        feedback_loop: FeedbackLoop::PerformanceAdaptation,
        resource: format!("service:bench/s{}", n % LIVES).parse()?,
        directive_id: Some(ctx.uuid()),
        name: "decision_to_applied_seconds".to_owned(),
        value: n as f64,
        at: ctx.clock.now(),
    })
}

/// As large as Plan makes them: evidence, guardrails, alternatives and a counterfactual.
fn directive(ctx: &Context, resource: &str, parent: u64) -> Result<Directive, Failure> {
    let now: Timestamp = ctx.clock.now();
    let evidence = |signal: &str| Evidence {
        signal: signal.to_owned(),
        value: Some(0.93),
        lower: Some(0.0),
        upper: Some(0.7),
        text: "above what two replicas can take".to_owned(),
    };
    let guardrails =
        ["bounds", "step", "cooldown", "blast_radius", "data_quality", "concurrency", "pause", "autonomy"];
    let point = |n: u64| CounterfactualPoint { after: Duration::from_secs(n), q10: 0.7, q50: 0.9, q90: 1.4 };
    Ok(Directive {
        id: ctx.uuid(),
        resource: resource.parse()?,
        action: Action::Scale { replicas: 3 },
        undo: Action::Scale { replicas: 2 },
        parent_generation: Generation(parent),
        generation: Generation(0),
        policy: "bench".to_owned(),
        autonomy: AutonomyLevel::Act,
        created_at: now,
        expires_at: now.checked_add(Duration::from_secs(60))?,
        apply_timeout: Duration::from_secs(10),
        verify_window: Duration::from_secs(30),
        preconditions: Preconditions {
            max_evidence_age: Duration::from_secs(30),
            requires_known_data: false,
        },
        expected: vec![ExpectedEffect {
            resource: None,
            signal: "utilisation".to_owned(),
            lower: 0.0,
            upper: 0.7,
            breach_is_harm: false,
        }],
        counterfactual: vec![Counterfactual {
            resource: None,
            signal: "utilisation".to_owned(),
            method: "persistence".to_owned(),
            points: (0..6).map(point).collect(),
        }],
        rationale: Rationale {
            text: "load grows past what two replicas can take within the look-ahead".to_owned(),
            evidence: vec![evidence("load"), evidence("utilisation")],
            rejected: vec![Alternative {
                action: "wait".to_owned(),
                reason: "the budget would burn".to_owned(),
                cost: None,
            }],
            guardrails: guardrails
                .map(|name| GuardrailVerdict {
                    guardrail: name.to_owned(),
                    vetoed: false,
                    reason: String::new(),
                })
                .to_vec(),
            symptom_ids: vec!["saturation-1".to_owned()],
            ..Rationale::default()
        },
        blast_radius_ratio: 0.5,
        reduces: false,
        undo_of: None,
        quorum_ratio: 1.0,
    })
}
