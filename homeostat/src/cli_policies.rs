//! The command line of policies and what they have earned.

use crate::cli::Output;
use clap::{Args, Subcommand};
use proto::model::{AutonomyLevel, ResourceId};
use std::path::PathBuf;

/// `policies`.
#[derive(Debug, Subcommand)]
pub enum Policies {
    /// Every policy at every resource: the level in force, and what was declared, earned and allowed.
    List {
        /// How.
        #[command(flatten)]
        output: Output,
    },
    /// One policy: its levels, what the next one needs, and every change with its reason.
    Show {
        /// Which.
        #[command(flatten)]
        which: Which,
        /// How.
        #[command(flatten)]
        output: Output,
    },
    /// Caps the level, whatever is declared and earned; exit code 2 when that level is not in force afterwards.
    SetLevel {
        /// Which.
        #[command(flatten)]
        which: Which,
        /// At most: observe, recommend, approve, act.
        level: AutonomyLevel,
        /// Where it stands from now on below that: vouched for by you, or to be earned anew. Without it, what was earned stays.
        #[arg(long, value_name = "LEVEL")]
        from: Option<AutonomyLevel>,
        /// Why; for the record.
        #[arg(long, value_parser = clap::builder::NonEmptyStringValueParser::new())]
        reason: String,
        /// How.
        #[command(flatten)]
        output: Output,
    },
    /// Backtests, advice against what happened, verified outcomes: newest first.
    Evidence {
        /// Which.
        #[command(flatten)]
        which: Which,
        /// Records what `homeostat backtest --output json` found first; - reads standard input.
        #[arg(long, value_name = "FILE")]
        backtest: Option<PathBuf>,
        /// At most so many.
        #[arg(long, default_value_t = 50)]
        limit: u32,
        /// How.
        #[command(flatten)]
        output: Output,
    },
}

/// A policy, everywhere or at one resource.
#[derive(Debug, Clone, Args)]
pub struct Which {
    /// NAMESPACE/NAME, or NAME where only one namespace has it.
    pub policy: String,
    /// Only at this resource; else at its service and every edge whose breaker it sets.
    #[arg(long)]
    pub resource: Option<ResourceId>,
}
