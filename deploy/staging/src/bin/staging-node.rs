//! One process of the staging cluster: what `homeostat staging-service` does, without the rest of homeostat.

use std::process::ExitCode;

use chassis::TelemetryConfig;
use clap::Parser;
use staging::node::{self, Node};

#[derive(Parser)]
struct Line {
    #[command(subcommand)]
    command: Command,
}

#[derive(clap::Subcommand)]
enum Command {
    #[command(subcommand)]
    StagingService(Node),
}

fn main() -> ExitCode {
    let Command::StagingService(node) = Line::parse().command;
    chassis::run(&TelemetryConfig::default(), |ctx| async move { Ok(node::run(node, &ctx).await?) })
}
