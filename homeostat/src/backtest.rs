//! `backtest`: what a policy would have done to a recorded load, beside the autoscalers that people know. Virtual time, no
//! randomness: a given trace gives the same answer on every machine. Ours runs Analyze's learners and Plan's core as in production,
//! sees what they would have seen, and knows nothing of the model.

pub mod args;
pub mod bounds;
pub mod compare;
pub mod crane;
pub mod fixed;
pub mod hpa;
pub mod html;
pub mod kpa;
pub mod load;
pub mod ours;
pub mod prometheus;
pub mod replay;
pub mod report;
pub mod seasonal;
pub mod service;
pub mod trace;

use anyhow::{Context as _, bail, ensure};
use args::{BacktestArgs, Format};
use chassis::exit;
use load::{Load, Scaling};
use proto::model::{DeclaredSpec, Objective, PolicySpec, yaml};
use replay::Plant;
use report::Report;
use service::Service;
use std::{io::Write as _, process::ExitCode, time::Duration};
use trace::Trace;

/// The budget's window: four weeks, in which every day of the week counts alike.
const WINDOW: Duration = Duration::from_secs(28 * 86_400);

/// `homeostat backtest`.
pub fn backtest(args: &BacktestArgs) -> ExitCode {
    match run(args) {
        Ok(()) => ExitCode::from(exit::DONE),
        Err(error) => {
            eprintln!("homeostat: {error:#}");
            ExitCode::from(exit::USAGE)
        }
    }
}

fn run(args: &BacktestArgs) -> anyhow::Result<()> {
    let report = report(args)?;
    let text = match args.output {
        Format::Table => report.table(),
        Format::Json => serde_json::to_string_pretty(&report)?,
        Format::Html => html::page(&report),
    };
    let mut out = std::io::stdout().lock();
    writeln!(out, "{}", text.trim_end())?;
    Ok(out.flush()?)
}

/// Reads the trace and replays every policy over it.
///
/// # Errors
/// When the trace or the settings are of no use.
pub fn report(args: &BacktestArgs) -> anyhow::Result<Report> {
    let trace = trace(args)?;
    ensure!(args.scale.is_finite() && args.scale > 0.0, "--scale must be above 0");
    ensure!(args.slo > 0.0 && args.slo < 100.0, "--slo is a percentage above 0 and below 100");
    ensure!(args.service_rate.is_finite() && args.service_rate > 0.0, "--service-rate must be above 0");
    ensure!((1..=1_000).contains(&args.workers), "--workers must be 1 to 1000");
    ensure!(!args.objective.is_zero(), "--objective must be above 0");
    let scaling = if args.no_scale { Scaling::Own(args.scale) } else { Scaling::Model(args.scale) };
    let load = Load::of(&trace, scaling);
    // What Prometheus did not know, an autoscaler that asks it would not have known either.
    let load = if args.from_prometheus.is_some() { load.seen_as(&trace) } else { load };
    let policy = policy(args)?;
    let scale = policy.scale.context("the policy does not scale, so there is nothing to replay")?;
    let service =
        Service { rate: args.service_rate, workers: args.workers, objective_s: args.objective.as_secs_f64() };
    let plant = Plant {
        service,
        start_up_s: u32::try_from(args.start_up.as_secs()).context("--start-up is too long")?,
        minimum: scale.minimum_replicas,
        maximum: scale.maximum_replicas,
        blind: args.drop_metrics,
    };
    let objective =
        Objective { target_ratio: args.slo / 100.0, latency_bound: Some(args.objective), window: WINDOW };
    let settings = ours::Settings {
        name: "homeostat".to_owned(),
        policy,
        objective,
        sheds: !args.no_shed,
        holds_when_blind: false,
        reports: args.decisions,
    };
    compare::run(args, &trace, &load, &plant, &settings)
}

fn trace(args: &BacktestArgs) -> anyhow::Result<Trace> {
    let BacktestArgs { trace, from_prometheus, query, from, to, step, .. } = args;
    if let (Some(url), Some(query), Some(from), Some(to)) = (from_prometheus, query, from, to) {
        let (url, query) = (url.clone(), query.clone());
        let rows = prometheus::Source { url, query, from: *from, to: *to, step: *step }.fetch()?;
        return Trace::of(rows).context("what Prometheus knows is no usable trace");
    }
    let file = trace.as_ref().context("give --trace FILE or --from-prometheus URL")?;
    let text =
        std::fs::read_to_string(file).with_context(|| format!("cannot read the trace {}", file.display()))?;
    Trace::parse(&text).with_context(|| format!("{} is no usable trace", file.display()))
}

fn policy(args: &BacktestArgs) -> anyhow::Result<PolicySpec> {
    let Some(file) = &args.policy else { return Ok(ours::default_policy()) };
    let text = std::fs::read_to_string(file)
        .with_context(|| format!("cannot read the policy {}", file.display()))?;
    let documents = yaml::read(&text).with_context(|| format!("{} is no policy", file.display()))?;
    let mut policies = documents.into_iter().filter_map(|document| match document.spec {
        DeclaredSpec::Policy(policy) => Some(*policy),
        DeclaredSpec::Service(_) | DeclaredSpec::Slo(_) => None,
    });
    match (policies.next(), policies.next()) {
        (Some(policy), None) => Ok(policy),
        (None, _) => bail!("{} declares no Policy", file.display()),
        (Some(_), Some(_)) => {
            bail!("{} declares more than one Policy; give the one to replay", file.display())
        }
    }
}

#[cfg(test)]
mod tests;
