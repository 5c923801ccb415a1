//! The command line of objectives and readiness.

use crate::cli::{Output, duration};
use clap::{Args, Subcommand};
use std::path::PathBuf;
use std::time::Duration;

/// Files of OpenSLO documents.
#[derive(Debug, Clone, Args)]
pub struct Files {
    /// Files or directories of openslo/v1 documents; - reads standard input.
    pub files: Vec<PathBuf>,
}

/// `slo`.
#[derive(Debug, Subcommand)]
pub enum Slo {
    /// Stores OpenSLO documents, all or none.
    Import {
        /// Which.
        #[command(flatten)]
        files: Files,
        /// How to print what was imported.
        #[command(flatten)]
        output: Output,
    },
    /// Takes an imported document out of force; its versions stay in the history. Refused while others refer to it, or while
    /// measures of its error-budget policy are in force.
    Delete {
        /// Which: `SLO/name`, `SLI/name`, `AlertPolicy/name`, ...
        document: String,
        /// How.
        #[command(flatten)]
        output: Output,
    },
    /// Every objective.
    List {
        /// How.
        #[command(flatten)]
        output: Output,
    },
    /// How each service stands against its objective now.
    Status {
        /// How.
        #[command(flatten)]
        output: Output,
    },
    /// What happened to an objective: spans of its budget, alerts, measures, versions.
    History {
        /// The objective, as `slo list` or `slo status` names it.
        objective: String,
        /// At most so many spans and events.
        #[arg(long, default_value_t = 50)]
        limit: u32,
        /// How.
        #[command(flatten)]
        output: Output,
    },
    /// Whether deployments of a service are frozen: exit code 2 while they are, so that a pipeline can ask before it deploys.
    Gate {
        /// The service, as NAMESPACE/NAME.
        service: String,
        /// How.
        #[command(flatten)]
        output: Output,
    },
    /// Approves the reset of an objective's error-budget policy, as one of its reset criteria may ask.
    Approve(Word),
    /// Records that the review which a reset criterion asks for was held.
    Review(Word),
    /// Whether objectives were kept over a time, and each violation with its begin and end.
    Report {
        /// Only this one.
        objective: Option<String>,
        /// Over which time until now.
        #[arg(long, default_value = "24h", value_parser = duration)]
        window: Duration,
        /// How.
        #[command(flatten)]
        output: Output,
    },
    /// Finds alerts that cannot fire, targets that cannot be reached, windows without data; exit code 2 if any.
    Lint {
        /// Which; what is imported when none is given.
        #[command(flatten)]
        files: Files,
        /// How often the sources are asked.
        #[arg(long, default_value = "60s", value_parser = duration)]
        scrape: Duration,
        /// How.
        #[command(flatten)]
        output: Output,
    },
    /// Writes the documents as openslo/v1.
    Export {
        /// Which; what is imported when none is given.
        #[command(flatten)]
        files: Files,
    },
    /// Tries alerts and budgets on made-up services: false alerts while one is well, how soon a failing one is seen, beside the
    /// standard rules; exit code 2 when a figure is not met.
    Simulate {
        /// Varies the events; the same seed plays the same.
        #[arg(long, default_value_t = 1)]
        seed: u64,
        /// Runs per line.
        #[arg(long, default_value_t = 40)]
        runs: u64,
        /// How.
        #[command(flatten)]
        output: Output,
    },
    /// Writes recording and alerting rules for Prometheus.
    Rules {
        /// Which; what is imported when none is given.
        #[command(flatten)]
        files: Files,
    },
}

/// What a person says about an objective.
#[derive(Debug, Clone, Args)]
pub struct Word {
    /// The objective, as `slo list` names it.
    pub objective: String,
    /// Why; it is kept with the name of whoever said it.
    #[arg(long)]
    pub reason: String,
    /// For how long it holds; without it, for good.
    #[arg(long = "for", value_parser = duration)]
    pub holds: Option<Duration>,
    /// How.
    #[command(flatten)]
    pub output: Output,
}

/// `readiness`.
#[derive(Debug, Clone, Args)]
pub struct ReadinessArgs {
    /// PRODUCTION_READY, NEAR_PRODUCTION, STAGING_READY or DEVELOPMENT; below it the exit code is 2.
    #[arg(long, default_value = "PRODUCTION_READY", value_parser = level)]
    pub at_least: analyze::slo::gates::Level,
    /// How.
    #[command(flatten)]
    pub output: Output,
}

fn level(text: &str) -> Result<analyze::slo::gates::Level, String> {
    analyze::slo::gates::Level::parse(text)
        .ok_or_else(|| "PRODUCTION_READY, NEAR_PRODUCTION, STAGING_READY or DEVELOPMENT".to_owned())
}
