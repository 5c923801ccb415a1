//! `staging`: the local cluster, declared to a running control plane and driven by its own actuators.

use super::{faults, telemetry};
use crate::{
    cli::{Global, StagingArgs, StagingCommand},
    compose,
    endpoints::{Clients, Endpoints},
    output::{self, table},
};
use anyhow::Context as _;
use chassis::{Context, run};
use proto::model::{AutonomyLevel, Declared, DeclaredSpec, yaml};
use serde::Serialize;
use staging::{
    cluster::ClusterArgs,
    replicas::Launch,
    report::Report,
    supervisor::{self, Played, TimelineEntry},
    topology::Role,
};
use std::{path::Path, process::ExitCode};

/// What the cluster declares, as people can read it in deploy/staging/services.yaml.
const SERVICES: &str = include_str!("../../../deploy/staging/services.yaml");

/// The cluster's services and policies, at one autonomy level.
///
/// # Errors
/// Never for the file that ships: a test reads it.
pub fn documents(autonomy: AutonomyLevel) -> anyhow::Result<Vec<Declared>> {
    let mut documents = yaml::read(SERVICES).context("deploy/staging/services.yaml is not valid")?;
    for document in &mut documents {
        if let DeclaredSpec::Policy(policy) = &mut document.spec {
            policy.autonomy = autonomy;
        }
    }
    Ok(documents)
}

/// The report of one play.
#[derive(Debug, Serialize)]
struct PlayReport<'a> {
    scenario: &'a str,
    seed: u64,
    #[serde(flatten)]
    report: &'a Report,
    timeline: &'a [TimelineEntry],
}

/// One process of the cluster (hidden subcommand).
pub fn node(global: &Global, node: staging::node::Node) -> ExitCode {
    run(&telemetry(global, "warn"), |ctx: Context| async move {
        staging::node::run(node, &ctx).await?;
        Ok(())
    })
}

/// What the supervisor is told for one play.
pub(crate) fn play_args(
    dir: &Path,
    execute: Option<String>,
    play: Play<'_>,
) -> anyhow::Result<supervisor::StagingArgs> {
    let Play { scenario, seed, duration, replicas, records } = play;
    let cluster = ClusterArgs {
        replicas: Role::MANAGED.map(|role| (role, replicas)).into(),
        actuators: execute.is_some(),
        execute_url: execute,
        seed,
        ..ClusterArgs::new(dir, Launch::current().context("cannot find this program")?)
    };
    Ok(supervisor::StagingArgs { cluster, scenario: scenario.to_owned(), seed, duration, records })
}

/// One play.
#[derive(Debug)]
pub(crate) struct Play<'a> {
    pub scenario: &'a str,
    pub seed: u64,
    pub duration: std::time::Duration,
    pub replicas: u32,
    pub records: Option<(std::path::PathBuf, String)>,
}

/// `homeostat staging`.
pub fn staging(global: &Global, args: StagingArgs) -> ExitCode {
    if let Some(StagingCommand::Fault(command)) = args.command {
        return faults::fault(global, command);
    }
    let global = global.clone();
    run(&telemetry(&global, "info"), |ctx: Context| async move {
        let data_dir = compose::data_dir(&global);
        let dir = args.dir.clone().unwrap_or_else(|| data_dir.join("staging"));
        let execute = if args.alone { None } else { Some(declare(&global, &data_dir, &args).await?) };
        let play = Play {
            scenario: &args.scenario,
            seed: args.seed,
            duration: args.duration,
            replicas: args.replicas,
            records: args.records.clone().map(|folder| (folder, "records".to_owned())),
        };
        let played = supervisor::run(play_args(&dir, execute, play)?, &ctx).await?;
        show(&args, &played)
    })
}

/// Applies the cluster's documents; gives Execute's address.
async fn declare(global: &Global, data_dir: &Path, args: &StagingArgs) -> anyhow::Result<String> {
    let clients = Clients::find(global)?;
    clients.knowledge()?.apply(documents(args.autonomy)?).await.with_context(|| {
        format!(
            "cannot declare the cluster's services to Knowledge at {}; start `homeostat up --data-dir {}` first, or use --alone",
            clients.endpoints.knowledge,
            data_dir.display()
        )
    })?;
    let Endpoints { execute, .. } = clients.endpoints;
    Ok(execute)
}

fn show(args: &StagingArgs, played: &Played) -> anyhow::Result<()> {
    let report = PlayReport {
        scenario: &args.scenario,
        seed: args.seed,
        report: &played.report,
        timeline: &played.timeline,
    };
    output::print(args.output.output, &report, |report| {
        let Report { offered, within_objective, degraded, failed, violating_seconds, replica_seconds } =
            report.report;
        let happened = report.timeline.iter().map(|entry| {
            [format!("{:.1}", entry.at_s), entry.kind.clone(), entry.resource.clone(), entry.text.clone()]
        });
        format!(
            "{}\n{}",
            table(["SECOND", "KIND", "RESOURCE", "WHAT"], happened),
            table(
                ["OFFERED", "WITHIN OBJECTIVE", "DEGRADED", "FAILED", "VIOLATING SECONDS", "REPLICA SECONDS"],
                [[offered, within_objective, degraded, failed, violating_seconds, replica_seconds]
                    .map(|n| n.to_string())]
            )
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shipped_documents_are_valid_and_take_the_level() {
        let documents = documents(AutonomyLevel::Observe).unwrap();
        let levels: Vec<_> = documents
            .iter()
            .filter_map(|document| match &document.spec {
                DeclaredSpec::Policy(policy) => Some(policy.autonomy),
                _ => None,
            })
            .collect();
        assert_eq!(levels, [AutonomyLevel::Observe; 2]);
    }
}
