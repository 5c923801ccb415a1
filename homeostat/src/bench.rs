//! `bench`: figures of DESIGN's performance table, measured here and now on the real services over real sockets and a real
//! Postgres with fsync on. Each stands beside its target, met or not.

mod actuator;
mod allocations;
mod analyze;
mod backtest;
mod breaker;
mod directives;
mod feedback;
mod looping;
mod peers;
mod plan;
mod rig;
mod slo;
mod timed;

use crate::{
    cli::{BenchArgs, Global},
    commands, compose,
    output::{self, table},
};
use anyhow::Context as _;
use chassis::{Context, exit, run};
use rig::Rig;
use serde::Serialize;
use std::{collections::BTreeMap, process::ExitCode};

/// One measured figure.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Figure {
    /// What.
    pub name: String,
    /// How much.
    pub value: f64,
    /// Of what.
    pub unit: String,
    /// What DESIGN asks for.
    pub target: f64,
    /// Whether it is reached.
    pub met: bool,
    /// The same measured of others, in this run.
    pub peers: BTreeMap<String, f64>,
    /// What must be known of it; empty when nothing.
    #[serde(skip_serializing_if = "String::is_empty")]
    pub note: String,
}

impl Figure {
    fn at_least(name: &str, value: f64, unit: &str, target: f64) -> Self {
        Self {
            name: name.to_owned(),
            value,
            unit: unit.to_owned(),
            target,
            met: value >= target,
            peers: BTreeMap::new(),
            note: String::new(),
        }
    }

    fn at_most(name: &str, value: f64, unit: &str, target: f64) -> Self {
        Self { met: value <= target, ..Self::at_least(name, value, unit, target) }
    }
}

/// Benches by name.
const NAMES: [&str; 9] =
    ["analyze", "plan", "backtest", "directives", "latency", "loop", "feedback", "breaker", "slo"];

/// `homeostat bench`.
pub fn bench(global: &Global, args: BenchArgs) -> ExitCode {
    if let Some(unknown) = args.names.iter().find(|name| !NAMES.contains(&name.as_str())) {
        eprintln!("homeostat: no bench is called {unknown:?}; there are {}", NAMES.join(", "));
        return ExitCode::from(exit::USAGE);
    }
    if cfg!(debug_assertions) {
        eprintln!("homeostat: this is not a release build; the figures say nothing about the product");
    }
    let global = global.clone();
    run(&commands::telemetry(&global, "error"), |ctx: Context| async move {
        let dir = compose::data_dir(&global).join("bench");
        let wanted = |name: &str| args.names.is_empty() || args.names.iter().any(|given| given == name);
        let mut figures = Vec::new();
        for name in NAMES.into_iter().filter(|name| wanted(name)) {
            eprintln!("homeostat: bench {name} ...");
            if name == "analyze" {
                // First, and without the other services: it measures the memory of this process.
                let (wish, cache) = (
                    analyze::Wish { quick: args.quick, peers: args.peers },
                    compose::data_dir(&global).join("peers"),
                );
                figures.extend(analyze::group(&dir, &cache, wish, &ctx).await?);
                continue;
            }
            if name == "plan" {
                figures.extend(plan::planning(&ctx)?);
                continue;
            }
            if name == "backtest" {
                figures.extend(backtest::a_year(&dir, &ctx)?);
                continue;
            }
            if name == "breaker" {
                // It needs no services.
                figures.extend(breaker::decision(&ctx)?);
                continue;
            }
            let rig = Rig::start(&dir, &ctx).await?;
            let measured = match name {
                "directives" => directives::throughput(&rig, &ctx).await,
                "latency" => directives::latency(&rig, &ctx).await,
                "slo" => slo::objectives(&rig, &ctx).await,
                "loop" => looping::sample_to_directive(&rig, &ctx).await,
                _ => feedback::throughput(&rig, &ctx).await,
            };
            rig.stop().await;
            let mut measured = measured.with_context(|| format!("bench {name} did not end"))?;
            // After ours has stopped: each has the machine to itself.
            let peers = match name {
                "directives" => peers::directives(&dir, &ctx).await?,
                "feedback" => peers::feedback(&dir, &ctx).await?,
                _ => BTreeMap::new(),
            };
            measured.iter_mut().for_each(|figure| figure.peers.clone_from(&peers));
            figures.extend(measured);
        }
        output::print(args.output.output, &figures, |figures| {
            let rows = figures.iter().map(|figure| {
                let met = if figure.met { "met" } else { "NOT MET" };
                let peers = figure.peers.iter().map(|(name, value)| format!("{name} {value:.1}"));
                let notes = Some(figure.note.clone()).filter(|note| !note.is_empty());
                let beside: Vec<_> = peers.chain(notes).collect();
                [
                    figure.name.clone(),
                    format!("{:.2} {}", figure.value, figure.unit),
                    figure.target.to_string(),
                    met.to_owned(),
                    beside.join(", "),
                ]
            });
            table(["FIGURE", "MEASURED", "TARGET", "", "PEERS, NOTES"], rows)
        })?;
        Ok(if figures.iter().all(|figure| figure.met) { exit::DONE } else { exit::NEGATIVE })
    })
}
