//! `breaker`: what breakers do now and people's word over them; and, offline, policies played against the same calls.

mod habits;
mod standing;
mod trace;

use super::offline::Usage;
use crate::cli::{Output, duration};
use crate::endpoints::Clients;
use crate::offline::progress;
use crate::output::{self, Format, table};
use breaker::sim::{
    Drill, Errors, Scenario, Until, by_name, drill, names, openings, poisson, run as play, scenarios, wilson,
};
use clap::{Args, Subcommand};
use proto::model::ResourceId;
use serde::Serialize;
use std::{ops::Range, path::PathBuf, time::Duration};

/// What can be done with breakers.
#[derive(Debug, Clone, Subcommand)]
pub enum BreakerCommand {
    /// Every breaker that an instance tells of: where it stands, its evidence, and the override in force.
    List(Output),
    /// The breakers of one edge: state, evidence, policy, override and its end, and what was set when, why, and by whom.
    Show {
        /// `edge:NAMESPACE/CALLER->CALLEE`.
        edge: ResourceId,
        /// Directives of the past.
        #[arg(long, default_value_t = 20)]
        limit: u32,
        /// How.
        #[command(flatten)]
        output: Output,
    },
    /// Has your word stand over an edge's breakers for some time; it ends by itself, also when the control plane is away.
    Override(OverrideArgs),
    /// Takes that word back.
    Clear {
        /// `edge:NAMESPACE/CALLER->CALLEE`.
        edge: ResourceId,
        /// Why; it is kept with your name.
        #[arg(long)]
        reason: String,
        /// How.
        #[command(flatten)]
        output: Output,
    },
    /// Plays faults, scenarios, normal days or recorded calls against our policy and those of others: requests and time until it
    /// opens, misses, false openings, share of the offered requests that is answered.
    Simulate(SimulateArgs),
}

/// `breaker override`.
#[derive(Debug, Clone, Args)]
pub struct OverrideArgs {
    /// `edge:NAMESPACE/CALLER->CALLEE`.
    edge: ResourceId,
    /// What it does meanwhile.
    #[arg(value_enum)]
    mode: Word,
    /// For how long, as 30m or 2h; at most 30 days.
    #[arg(long = "for", value_parser = duration)]
    span: Duration,
    /// Why; it is kept with your name.
    #[arg(long)]
    reason: String,
    /// How.
    #[command(flatten)]
    output: Output,
}

/// What a person can have a breaker do.
#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Word {
    /// Reject every call.
    ForceOpen,
    /// Admit every call and count nothing.
    Disable,
    /// Admit every call and count what would be rejected.
    MetricsOnly,
    /// Open, probe and close by evidence, whatever the policy says.
    Enforce,
}

/// The policy that learns.
const OURS: &str = "homeostat";

/// `breaker simulate`.
#[derive(Debug, Clone, Args)]
pub struct SimulateArgs {
    /// Policies to play; all when none is named.
    #[arg(long, value_delimiter = ',')]
    policies: Vec<String>,
    /// How often each fault is played, each time with another seed.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// How often each scenario is played, each time with another seed.
    #[arg(long, default_value_t = 3)]
    scenario_seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// Normal failure ratio.
    #[arg(long, default_value_t = 0.01)]
    baseline: f64,
    /// Days of normal traffic, after one of warming, in which openings are false.
    #[arg(long, default_value_t = 30.0)]
    days: f64,
    /// Recorded calls instead, as CSV: timestamp (seconds), outcome (success, failure, overload, caller_fault), and optionally
    /// latency_ms.
    #[arg(long)]
    trace: Option<PathBuf>,
    /// How to print the result.
    #[arg(long, short, value_enum, default_value = "table")]
    output: Format,
}

/// One policy under one fault, in one scenario, in normal times, or under recorded calls. What was not measured is absent.
#[derive(Debug, Default, Serialize)]
struct Row {
    policy: String,
    what: String,
    first_seed: u64,
    seeds: u64,
    requests_p50: Option<u64>,
    requests_p99: Option<u64>,
    seconds_p50: Option<f64>,
    seconds_p99: Option<f64>,
    missed: Option<u64>,
    /// Share of the seeds that missed, with its 95 % interval.
    missed_ratio: Option<[f64; 3]>,
    openings: Option<u64>,
    /// In 30 days, with the 95 % interval.
    false_openings_30d: Option<[f64; 3]>,
    /// Of the offered requests: mean, least and most of the seeds.
    answered: Option<[f64; 3]>,
    answered_in_fault: Option<f64>,
    rejected_while_healthy: Option<f64>,
    /// Hours of a day's degradation for which it was told: mean, least and most of the seeds.
    told_hours: Option<[f64; 3]>,
    /// Seeds in which the slow drift after that became the new baseline without a word in its second half.
    drift_adopted: Option<u64>,
}

#[cfg(test)]
impl SimulateArgs {
    fn of_seeds(seeds: u64) -> Self {
        Self {
            policies: Vec::new(),
            seeds,
            scenario_seeds: 1,
            seed: 0,
            baseline: 0.01,
            days: 1.0,
            trace: None,
            output: Format::Table,
        }
    }
}

/// Answers what needs no control plane; `None` for the rest.
pub fn offline(command: &BreakerCommand) -> Option<anyhow::Result<u8>> {
    match command {
        BreakerCommand::Simulate(args) => Some(simulate(args)),
        _ => None,
    }
}

/// Runs one of the commands that ask a control plane.
///
/// # Errors
/// When a service cannot be reached or refuses.
pub async fn run(clients: Clients, command: BreakerCommand) -> anyhow::Result<u8> {
    match command {
        BreakerCommand::List(output) => standing::list(&clients, output.output).await,
        BreakerCommand::Show { edge, limit, output } => {
            standing::show(&clients, &edge, limit, output.output).await
        }
        BreakerCommand::Override(OverrideArgs { edge, mode, span, reason, output }) => {
            standing::say(&clients, &edge, Some((mode, span)), &reason, output.output).await
        }
        BreakerCommand::Clear { edge, reason, output } => {
            standing::say(&clients, &edge, None, &reason, output.output).await
        }
        BreakerCommand::Simulate(args) => simulate(&args),
    }
}

fn simulate(args: &SimulateArgs) -> anyhow::Result<u8> {
    let chosen = match args.policies.is_empty() {
        true => names().map(str::to_owned).to_vec(),
        false => args.policies.clone(),
    };
    if let Some(unknown) = chosen.iter().find(|policy| by_name(policy, 0).is_none()) {
        let known = names().join(", ");
        return Err(Usage(format!("no policy is called {unknown:?}; there are {known}")).into());
    }
    let in_range = args.baseline > 0.0 && args.baseline < 0.5 && args.days > 0.0 && args.days <= 365.0;
    if !in_range || args.seeds == 0 || args.scenario_seeds == 0 {
        let text = "the baseline must be in (0, 0.5), days in (0, 365], and there must be seeds";
        return Err(Usage(text.to_owned()).into());
    }
    let rows = match &args.trace {
        Some(path) => trace::play(path, &chosen, args.seed)?,
        None => {
            let bar = progress::bar(chosen.len(), "policies");
            let played = bar.wrap_iter(chosen.iter()).flat_map(|policy| generated(policy, args)).collect();
            bar.finish_and_clear();
            played
        }
    };
    output::print(args.output, &rows, |rows| show(rows))?;
    Ok(chassis::exit::DONE)
}

fn generated(policy: &str, args: &SimulateArgs) -> Vec<Row> {
    let mut rows = Vec::new();
    for rate in [0.2, 1.0, 10.0, 100.0] {
        for fault in [1.0, 0.5, 0.2] {
            rows.push(trip(policy, rate, fault, args));
        }
    }
    rows.extend([0.2, 1.0, 10.0].into_iter().filter_map(|rate| normal(policy, rate, args)));
    let seeds = args.seed..args.seed + args.scenario_seeds;
    rows.extend(habits::in_bursts(policy, args));
    if policy == OURS {
        rows.extend(habits::learned(policy, args));
    }
    rows.extend(scenarios().iter().filter_map(|scenario| played(policy, scenario, seeds.clone())));
    rows
}

/// Requests until it opens, or for a fault short of an outage until it opens or tells.
fn trip(policy: &str, rate: f64, fault: f64, args: &SimulateArgs) -> Row {
    let until = if fault == 1.0 { Until::Opened } else { Until::Warned };
    let drill = Drill {
        rate,
        baseline: args.baseline,
        fault,
        errors: Errors::Independent,
        warm_up: 10_000f64.max(900.0 * rate) as u64,
        longest: 600f64.max(400.0 / rate),
    };
    let what = format!("{:.0} % failing at {rate}/s over {} %", fault * 100.0, args.baseline * 100.0);
    drilled(policy, what, &drill, until, args.seed, args.seeds)
}

/// The same fault with each of the seeds.
fn drilled(policy: &str, what: String, played: &Drill, until: Until, first_seed: u64, seeds: u64) -> Row {
    let mut requests = drill(policy, played, until, first_seed..first_seed + seeds);
    let missed = requests.iter().filter(|found| found.is_none()).count() as u64;
    requests.sort_by_key(|found| found.unwrap_or(u64::MAX));
    let quantile = |share: f64| *requests.get(((requests.len().max(1) - 1) as f64 * share) as usize)?;
    let (p50, p99) = (quantile(0.5), quantile(0.99));
    let (low, high) = wilson(missed, seeds);
    Row {
        policy: policy.to_owned(),
        what,
        first_seed,
        seeds,
        requests_p50: p50,
        requests_p99: p99,
        seconds_p50: p50.map(|requests| requests as f64 / played.rate),
        seconds_p99: p99.map(|requests| requests as f64 / played.rate),
        missed: Some(missed),
        missed_ratio: Some([missed as f64 / seeds as f64, low.max(0.0), high]),
        ..Row::default()
    }
}

/// Openings of normal days, all of them false.
fn normal(policy: &str, rate: f64, args: &SimulateArgs) -> Option<Row> {
    let opened = openings(policy, rate, args.baseline, Errors::Independent, args.days, args.seed)?;
    let ((low, high), month) = (poisson(opened), 30.0 / args.days);
    Some(Row {
        policy: policy.to_owned(),
        what: format!("{} days at {rate}/s over {} %", args.days, args.baseline * 100.0),
        first_seed: args.seed,
        seeds: 1,
        openings: Some(opened),
        false_openings_30d: Some([opened as f64, low, high].map(|count| count * month)),
        ..Row::default()
    })
}

fn played(policy: &str, scenario: &Scenario, seeds: Range<u64>) -> Option<Row> {
    let first_seed = seeds.start;
    let runs: Vec<_> = seeds.filter_map(|seed| play(scenario, policy, seed)).collect();
    let number = runs.len() as f64;
    let answered = runs.iter().map(|run| run.total.success());
    let mean =
        |value: &dyn Fn(&breaker::sim::ScenarioRun) -> f64| runs.iter().map(value).sum::<f64>() / number;
    (!runs.is_empty()).then(|| Row {
        policy: policy.to_owned(),
        what: scenario.name.to_owned(),
        first_seed,
        seeds: runs.len() as u64,
        answered: Some([
            mean(&|run| run.total.success()),
            answered.clone().fold(1.0, f64::min),
            answered.fold(0.0, f64::max),
        ]),
        answered_in_fault: Some(mean(&|run| run.degraded.success())),
        rejected_while_healthy: Some(mean(&|run| run.healthy.rejection())),
        ..Row::default()
    })
}

fn show(rows: &[Row]) -> String {
    let whole = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
    let seconds =
        |number: Option<f64>| number.map_or_else(|| "-".to_owned(), |number| format!("{number:.1}"));
    let share =
        |share: Option<f64>| share.map_or_else(|| "-".to_owned(), |share| format!("{:.2} %", share * 100.0));
    let within = |range: Option<[f64; 3]>, scale: f64| match range {
        None => "-".to_owned(),
        Some(range) => {
            let [value, low, high] = range.map(|value| value * scale);
            format!("{value:.2} ({low:.2}..{high:.2})")
        }
    };
    let lines = rows.iter().map(|row| {
        [
            row.policy.clone(),
            row.what.clone(),
            format!("{}+{}", row.first_seed, row.seeds),
            format!("{} / {}", whole(row.requests_p50), whole(row.requests_p99)),
            format!("{} / {}", seconds(row.seconds_p50), seconds(row.seconds_p99)),
            within(row.missed_ratio, 100.0),
            within(row.false_openings_30d, 1.0),
            within(row.answered, 100.0),
            share(row.answered_in_fault),
            share(row.rejected_while_healthy),
            within(row.told_hours, 1.0),
            row.drift_adopted.map_or_else(|| "-".to_owned(), |seeds| format!("{seeds} of {}", row.seeds)),
        ]
    });
    let header = [
        "POLICY",
        "WHAT",
        "SEEDS",
        "REQUESTS P50/P99",
        "SECONDS P50/P99",
        "MISSED %",
        "FALSE IN 30 D",
        "ANSWERED %",
        "IN THE FAULT",
        "REJECTED WHILE HEALTHY",
        "HOURS TOLD",
        "DRIFT ADOPTED",
    ];
    table(header, lines)
}
