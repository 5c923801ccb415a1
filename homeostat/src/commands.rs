//! What each command does. Long-running ones go through the chassis; the others are short conversations over gRPC.

pub mod actuator;
pub mod breaker;
pub mod declare;
pub mod detect;
pub mod directives;
pub mod doctor;
pub mod faults;
pub mod forecast;
pub mod incidents;
pub mod offline;
pub mod pause;
pub mod policies;
pub mod readiness;
pub mod score;
pub mod seasonality;
pub mod services;
pub mod slo;
mod slo_delete;
mod slo_gate;
pub mod slo_history;
mod slo_story;
mod slo_word;
pub mod staging;
pub mod status;
pub mod thresholds;

use crate::{
    cli::{Actuators, Cli, Command, Global},
    endpoints::Clients,
};
use chassis::{Context, TelemetryConfig, exit, run, telemetry::LogFormat};
use std::{future::Future, process::ExitCode};

/// Runs the command and gives the exit code.
pub fn dispatch(cli: Cli) -> ExitCode {
    let Cli { global, command } = cli;
    match command {
        Command::Up { settings, database_url } => services::up(&global, &settings, database_url),
        Command::Knowledge { settings, database_url } => {
            services::knowledge(&global, &settings, database_url)
        }
        Command::Monitor(settings) => services::monitor(&global, &settings),
        Command::Analyze(settings) => services::analyze(&global, &settings),
        Command::Plan(settings) => services::plan(&global, &settings),
        Command::Execute(settings) => services::execute(&global, &settings),
        Command::Staging(args) => staging::staging(&global, args),
        Command::StagingService { node } => staging::node(&global, node),
        Command::Demo(args) => crate::demo::demo(&global, args),
        Command::Detect(args) => offline::run(|| detect::detect(&args)),
        Command::Forecast(args) => offline::run(|| forecast::forecast(&args)),
        Command::Score(command) => offline::run(|| score::score(&command)),
        Command::Backtest(args) => crate::backtest::backtest(&args),
        Command::Breaker(command) => match breaker::offline(&command) {
            Some(result) => offline::run(|| result),
            None => ask(&global, |clients| breaker::run(clients, command)),
        },
        Command::Bench(args) => crate::bench::bench(&global, args),
        Command::Apply { file, output } => {
            ask(&global, |clients| declare::apply(clients, file, output.output))
        }
        Command::Get { kind, name, output } => {
            ask(&global, |clients| declare::get(clients, kind, name, output.output))
        }
        Command::Delete { kind, name } => ask(&global, |clients| declare::delete(clients, kind, name)),
        Command::Status(output) => ask(&global, |clients| status::status(clients, output.output)),
        Command::Doctor(output) => ask(&global, |clients| doctor::doctor(clients, output.output)),
        Command::Thresholds(command) => ask(&global, |clients| thresholds::run(clients, command)),
        Command::Seasonality(command) => ask(&global, |clients| seasonality::run(clients, command)),
        Command::Directives(command) => ask(&global, |clients| directives::run(clients, command)),
        Command::Incidents(command) => ask(&global, |clients| incidents::run(clients, command)),
        Command::Policies(command) => ask(&global, |clients| policies::run(clients, command)),
        Command::Actuator(command) => actuator::actuator(&global, command),
        Command::Actuators(Actuators::List(output)) => {
            ask(&global, |clients| status::actuators(clients, output.output))
        }
        Command::Slo(command) => match slo::offline(&command) {
            Some(result) => offline::run(|| result),
            None => ask(&global, |clients| slo::run(clients, command)),
        },
        Command::Readiness(args) => ask(&global, |clients| readiness::readiness(clients, args)),
        Command::Pause(reason) => ask(&global, |clients| pause::pause(clients, reason)),
        Command::Resume(reason) => ask(&global, |clients| pause::resume(clients, reason)),
    }
}

/// How a process logs: services at `info`, conversations only warnings, on standard error in both cases.
pub fn telemetry(global: &Global, default_filter: &str) -> TelemetryConfig {
    TelemetryConfig {
        log_format: if global.log_json { LogFormat::Json } else { LogFormat::Human },
        log_filter: global.log.clone().unwrap_or_else(|| default_filter.to_owned()),
        otlp_endpoint: global.otlp_endpoint.clone(),
    }
}

/// A short conversation with a running control plane.
fn ask<F, W>(global: &Global, conversation: F) -> ExitCode
where
    F: FnOnce(Clients) -> W,
    W: Future<Output = anyhow::Result<u8>>,
{
    let clients = match Clients::find(global) {
        Ok(clients) => clients,
        Err(error) => {
            eprintln!("homeostat: {error:#}");
            return ExitCode::from(exit::FAILED);
        }
    };
    let hint = clients.endpoints.knowledge.clone();
    run(&telemetry(global, "warn"), |ctx: Context| async move {
        tokio::select! {
            result = conversation(clients) => result.map_err(|error| explain(error, &hint)),
            () = ctx.stopper.stopped() => Ok(exit::DONE),
        }
    })
}

/// Adds what to do next when nothing answers.
fn explain(error: anyhow::Error, knowledge: &str) -> anyhow::Error {
    let away = error.chain().any(|cause| {
        cause
            .downcast_ref::<proto::client::Error>()
            .is_some_and(|error| error.code() == Some(tonic::Code::Unavailable))
    });
    if away {
        error.context(format!(
            "no control plane answers (Knowledge is expected at {knowledge}); start one with `homeostat up`, or point to one with --data-dir or --knowledge-url"
        ))
    } else {
        error
    }
}

/// Who a person is, for the record.
pub(crate) fn person() -> String {
    chassis::config::environment()
        .remove("USER")
        .filter(|name| !name.is_empty())
        .unwrap_or_else(|| "operator".to_owned())
}
