//! `breaker`: plays policies against the same calls, offline.

use super::offline::Usage;
use crate::output::{self, Format, table};
use breaker::sim::{Drill, Errors, Until, by_name, drill, names, run, scenarios};
use clap::{Args, Subcommand};
use serde::Serialize;

/// What can be done with breakers offline.
#[derive(Debug, Clone, Subcommand)]
pub enum BreakerCommand {
    /// Plays faults and scenarios against our policy and those of others: requests until it opens, misses, answers.
    Simulate(SimulateArgs),
}

/// `breaker simulate`.
#[derive(Debug, Clone, Args)]
pub struct SimulateArgs {
    /// Policies to play; all when none is named.
    #[arg(long, value_delimiter = ',')]
    policies: Vec<String>,
    /// How often each fault is played, each time with another seed.
    #[arg(long, default_value_t = 100)]
    seeds: u64,
    /// The first seed.
    #[arg(long, default_value_t = 0)]
    seed: u64,
    /// How to print the result.
    #[arg(long, short, value_enum, default_value = "table")]
    output: Format,
}

/// One policy under one fault, or in one scenario.
#[derive(Debug, Serialize)]
struct Row {
    policy: String,
    what: String,
    seeds: u64,
    requests_p50: Option<u64>,
    requests_p99: Option<u64>,
    missed: Option<u64>,
    answered: Option<f64>,
    rejected_while_healthy: Option<f64>,
}

/// Runs the command.
///
/// # Errors
/// When a policy is not known or the result cannot be printed.
pub fn breaker(command: BreakerCommand) -> anyhow::Result<u8> {
    let BreakerCommand::Simulate(SimulateArgs { policies, seeds, seed, output }) = command;
    let policies = if policies.is_empty() { names().map(str::to_owned).to_vec() } else { policies };
    if let Some(unknown) = policies.iter().find(|policy| by_name(policy, 0).is_none()) {
        let known = names().join(", ");
        return Err(Usage(format!("no policy is called {unknown:?}; there are {known}")).into());
    }
    let mut rows = Vec::new();
    for policy in &policies {
        for rate in [0.2, 1.0, 10.0, 100.0] {
            for fault in [1.0, 0.5, 0.2] {
                rows.push(trip(policy, rate, fault, seed..seed + seeds));
            }
        }
        rows.extend(scenarios().iter().filter_map(|scenario| {
            let played = run(scenario, policy, seed)?;
            Some(Row {
                policy: policy.clone(),
                what: scenario.name.to_owned(),
                seeds: 1,
                requests_p50: None,
                requests_p99: None,
                missed: None,
                answered: Some(played.total.success()),
                rejected_while_healthy: Some(played.healthy.rejection()),
            })
        }));
    }
    output::print(output, &rows, |rows| {
        let whole = |number: Option<u64>| number.map_or_else(|| "-".to_owned(), |number| number.to_string());
        let share = |share: Option<f64>| {
            share.map_or_else(|| "-".to_owned(), |share| format!("{:.2} %", share * 100.0))
        };
        let rows = rows.iter().map(|row| {
            [
                row.policy.clone(),
                row.what.clone(),
                whole(row.requests_p50),
                whole(row.requests_p99),
                whole(row.missed),
                share(row.answered),
                share(row.rejected_while_healthy),
            ]
        });
        table(
            ["POLICY", "FAULT OR SCENARIO", "P50", "P99", "MISSED", "ANSWERED", "REJECTED WHILE HEALTHY"],
            rows,
        )
    })?;
    Ok(chassis::exit::DONE)
}

/// Requests until it opens, or for a fault short of an outage until it opens or tells.
fn trip(policy: &str, rate: f64, fault: f64, seeds: std::ops::Range<u64>) -> Row {
    let until = if fault == 1.0 { Until::Opened } else { Until::Warned };
    let warm_up = 10_000f64.max(900.0 * rate) as u64;
    let played = Drill {
        rate,
        baseline: 0.01,
        fault,
        errors: Errors::Independent,
        warm_up,
        longest: 600f64.max(400.0 / rate),
    };
    let number = seeds.end - seeds.start;
    let mut requests = drill(policy, &played, until, seeds);
    let missed = requests.iter().filter(|found| found.is_none()).count() as u64;
    requests.sort_by_key(|found| found.unwrap_or(u64::MAX));
    let quantile = |share: f64| *requests.get(((requests.len().max(1) - 1) as f64 * share) as usize)?;
    Row {
        policy: policy.to_owned(),
        what: format!("{:.0} % failing at {rate}/s over 1 %", fault * 100.0),
        seeds: number,
        requests_p50: quantile(0.5),
        requests_p99: quantile(0.99),
        missed: Some(missed),
        answered: None,
        rejected_while_healthy: None,
    }
}
