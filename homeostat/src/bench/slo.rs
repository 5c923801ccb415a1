//! Objectives: a tick of ten thousand of them with full windows and a policy each, and a year of one's history read back from
//! Knowledge into its window.

use super::{Figure, rig::Rig};
use analyze::slo::{
    events::Sums,
    live::{Live, LiveSpan},
    objective::{ObjectiveSpec, resolve},
};
use anyhow::Context as _;
use chassis::Context;
use jiff::Timestamp;
use proto::{
    model::{Assessment, Capacity, DataQuality, Quality, ResourceId, SignalGlance, openslo},
    wire::{self, objectives_client::ObjectivesClient},
};
use std::time::Duration;

/// Objectives of a tick.
const OBJECTIVES: usize = 10_000;
/// Ticks that are measured; the slowest counts.
const TICKS: i64 = 12;
/// Hours of the window that each objective remembers at the start: 28 days.
const HOURS: i64 = 672;
/// Hours of a year.
const YEAR_HOURS: i64 = 8_760;
/// Spans of one request.
const REQUEST: usize = 1_000;
const HOUR: Duration = Duration::from_secs(3_600);
const INTERVAL: Duration = Duration::from_secs(15);

/// Both figures.
pub(super) async fn objectives(rig: &Rig, ctx: &Context) -> anyhow::Result<Vec<Figure>> {
    let tick = tick(ctx)?;
    let year = year(rig, ctx).await?;
    Ok(vec![
        Figure::at_most("slo_tick_10000_objectives", tick.as_secs_f64() * 1e3, "ms", 100.0),
        Figure::at_most("slo_rebuild_year", year.as_secs_f64(), "s", 5.0),
    ])
}

fn spec(window: &str) -> anyhow::Result<ObjectiveSpec> {
    let policy =
        r#"{"steps":[{"at":0.5,"measures":["notify"]},{"at":0.8,"measures":["freeze-deployments"]}]}"#;
    let text = format!(
        "apiVersion: openslo/v1
kind: SLO
metadata:
  name: requests
  annotations:
    homeostat.io/namespace: bench
    homeostat.io/error-budget-policy: '{policy}'
spec:
  service: service
  indicator:
    metadata:
      name: bad
      annotations:
        homeostat.io/weight-signal: load
    spec:
      ratioMetric:
        rawType: failure
        raw:
          metricSource:
            type: Homeostat
            spec:
              signal: bad_ratio
  timeWindow:
    - duration: {window}
      isRolling: true
  budgetingMethod: Occurrences
  objectives:
    - target: 0.999
"
    );
    let found = resolve(&openslo::read(&text)?).map_err(|wrong| anyhow::anyhow!("{wrong:?}"))?;
    found.into_iter().next().context("the document holds an objective")
}

/// An hour that used up a tenth of what it may: each differs, so that no two buckets are alike.
fn span(from: Timestamp, hour: i64) -> LiveSpan {
    let total = 36_000.0 * (1.0 + 0.9 * (hour as f64 * std::f64::consts::TAU / 24.0).sin());
    let sums = Sums { total, bad: total * 1e-4 * ((hour % 7) as f64 / 6.0), known_s: 3_600.0 };
    LiveSpan { from, width: HOUR, sums, incomplete: false }
}

fn seen(resource: &ResourceId, at: Timestamp, number: usize, tick: i64) -> Assessment {
    let glance = |name: &str, value: f64| SignalGlance::plain(name, Some(value), at);
    let bad = if (number as i64 + tick) % 97 == 0 { 0.02 } else { 0.0 };
    let data = DataQuality {
        quality: Quality::Good,
        reason: String::new(),
        since: at,
        sources_expected: 1,
        sources_seen: 1,
        last_good: Some(at),
    };
    Assessment {
        shard: resource.shard(),
        resource: resource.clone(),
        at,
        sequence: 1,
        signals: vec![glance("load", 100.0 + number as f64 % 50.0), glance("bad_ratio", bad)],
        symptoms: Vec::new(),
        objective: None,
        capacity: Capacity::default(),
        outlook: None,
        data,
        interval: INTERVAL,
        budget_policies: Vec::new(),
    }
}

/// How long the slowest tick takes in which every objective takes in an assessment, judges its alerts and its policy.
fn tick(ctx: &Context) -> anyhow::Result<Duration> {
    let spec = spec("28d")?;
    let now = ctx.clock.now();
    let begin = now.checked_sub(HOUR * u32::try_from(HOURS)?)?;
    let mut spans = Vec::new();
    for hour in 0..HOURS {
        spans.push(span(begin.checked_add(HOUR * u32::try_from(hour)?)?, hour));
    }
    let mut lives = Vec::with_capacity(OBJECTIVES);
    for number in 0..OBJECTIVES {
        let resource = ResourceId::service("bench", &format!("s{number}"))?;
        let mut live =
            Live::new(ObjectiveSpec { id: format!("bench/o{number}"), ..spec.clone() }, resource, INTERVAL);
        live.remember(&spans);
        lives.push(live);
    }
    let mut slowest = Duration::ZERO;
    for tick in 1..=TICKS {
        let at = now.checked_add(INTERVAL * u32::try_from(tick)?)?;
        let assessments: Vec<_> =
            lives.iter().enumerate().map(|(number, live)| seen(live.about(), at, number, tick)).collect();
        let began = ctx.clock.monotonic();
        for (live, seen) in lives.iter_mut().zip(&assessments) {
            std::hint::black_box(live.observe(seen));
            std::hint::black_box(live.policy_state());
        }
        let took = ctx.clock.monotonic().saturating_sub(began);
        slowest = slowest.max(took);
    }
    Ok(slowest)
}

/// How long it takes to read a year of hours from Knowledge and to have an objective over a year know them.
async fn year(rig: &Rig, ctx: &Context) -> anyhow::Result<Duration> {
    let objective = "bench/requests".to_owned();
    let now = ctx.clock.now();
    let begin = now.checked_sub(HOUR * u32::try_from(YEAR_HOURS)?)?;
    let channel = rig.clients.channel(&rig.clients.endpoints.knowledge)?;
    let mut client =
        ObjectivesClient::new(channel).max_decoding_message_size(proto::client::MESSAGE_LIMIT_BYTES);
    let mut rows = Vec::new();
    for hour in 0..YEAR_HOURS {
        let span = span(begin.checked_add(HOUR * u32::try_from(hour)?)?, hour);
        rows.push(wire::BudgetSpan {
            objective: objective.clone(),
            from_unix_ms: span.from.as_millisecond(),
            width_ms: 3_600_000,
            total: span.sums.total,
            bad: span.sums.bad,
            known_ms: 3_600_000,
            incomplete: false,
        });
    }
    for some in rows.chunks(REQUEST) {
        client.record_budget(wire::RecordBudgetRequest { spans: some.to_vec() }).await?;
    }
    let spec = ObjectiveSpec { id: objective.clone(), ..spec("365d")? };
    let began = ctx.clock.monotonic();
    let request = wire::BudgetHistoryRequest {
        objective,
        from_unix_ms: begin.as_millisecond(),
        to_unix_ms: now.as_millisecond(),
        limit: 0,
        replaced: false,
    };
    let told = client.budget_history(request).await?.into_inner().spans;
    let back = |span: &wire::BudgetSpan| {
        Some(LiveSpan {
            from: Timestamp::from_millisecond(span.from_unix_ms).ok()?,
            width: Duration::from_millis(span.width_ms),
            sums: Sums { total: span.total, bad: span.bad, known_s: span.known_ms as f64 / 1e3 },
            incomplete: span.incomplete,
        })
    };
    let spans: Vec<LiveSpan> = told.iter().filter_map(back).collect();
    let mut live = Live::new(spec, ResourceId::service("bench", "service")?, INTERVAL);
    live.remember(&spans);
    let took = ctx.clock.monotonic().saturating_sub(began);
    let expect: f64 = rows.iter().map(|row| row.total).sum();
    live.observe(&seen(live.about(), now, 0, 1));
    let found = live.tracked(now).state.total_events;
    anyhow::ensure!((found / expect - 1.0).abs() < 0.01, "{found} events were rebuilt of {expect}");
    Ok(took)
}
