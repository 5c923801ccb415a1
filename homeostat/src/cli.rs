//! The command line, as DESIGN.md's contract has it.

mod checked;
pub mod offline;
#[cfg(test)]
mod tests;

use crate::output::Format;
use clap::{Args, Parser, Subcommand};
use proto::model::{AutonomyLevel, DeclaredKind, DirectiveState, ResourceId, SignalId};
use std::path::PathBuf;
use std::time::Duration;
use uuid::Uuid;

/// Keeps services within their objectives: learns what is normal, decides, acts, verifies, undoes, explains.
#[derive(Debug, Parser)]
#[command(name = "homeostat", version, max_term_width = 110)]
pub struct Cli {
    /// Where to find the services, and how to log.
    #[command(flatten)]
    pub global: Global,
    /// What to do.
    #[command(subcommand)]
    pub command: Command,
}

/// Flags that every command takes.
#[derive(Debug, Clone, Args)]
#[command(next_help_heading = "Control plane and logs")]
pub struct Global {
    /// Data directory of the `homeostat up` to talk to, or to start [default: /var/lib/homeostat as root].
    #[arg(long, global = true, env = "HOMEOSTAT_DATA_DIR")]
    pub data_dir: Option<PathBuf>,
    /// Address of Knowledge, for example http://127.0.0.1:7401.
    #[arg(long, global = true, env = "HOMEOSTAT_KNOWLEDGE_URL", hide_short_help = true)]
    pub knowledge_url: Option<String>,
    /// Address of Monitor.
    #[arg(long, global = true, env = "HOMEOSTAT_MONITOR_URL", hide_short_help = true)]
    pub monitor_url: Option<String>,
    /// Address of Analyze.
    #[arg(long, global = true, env = "HOMEOSTAT_ANALYZE_URL", hide_short_help = true)]
    pub analyze_url: Option<String>,
    /// Address of Plan.
    #[arg(long, global = true, env = "HOMEOSTAT_PLAN_URL", hide_short_help = true)]
    pub plan_url: Option<String>,
    /// Address of Execute.
    #[arg(long, global = true, env = "HOMEOSTAT_EXECUTE_URL", hide_short_help = true)]
    pub execute_url: Option<String>,
    /// PEM file of the authority that signed the services' certificates.
    #[arg(long, global = true, env = "HOMEOSTAT_CA_FILE", hide_short_help = true)]
    pub ca_file: Option<PathBuf>,
    /// PEM file of the certificate to show to services that ask for one.
    #[arg(long, global = true, env = "HOMEOSTAT_CERT_FILE", hide_short_help = true, requires = "key_file")]
    pub cert_file: Option<PathBuf>,
    /// PEM file of that certificate's key.
    #[arg(long, global = true, env = "HOMEOSTAT_KEY_FILE", hide_short_help = true, requires = "cert_file")]
    pub key_file: Option<PathBuf>,
    /// What to log, for example `info` or `plan=debug`.
    #[arg(long, global = true, env = "HOMEOSTAT_LOG", hide_short_help = true)]
    pub log: Option<String>,
    /// Write logs as JSON lines.
    #[arg(long, global = true, env = "HOMEOSTAT_LOG_JSON", hide_short_help = true)]
    pub log_json: bool,
    /// Send traces to this OTLP endpoint (gRPC), for example http://127.0.0.1:4317.
    #[arg(long, global = true, env = "HOMEOSTAT_OTLP_ENDPOINT", hide_short_help = true)]
    pub otlp_endpoint: Option<String>,
}

impl Global {
    /// Only the control plane of that data directory.
    pub fn of_data_dir(data_dir: PathBuf) -> Self {
        Self {
            data_dir: Some(data_dir),
            knowledge_url: None,
            monitor_url: None,
            analyze_url: None,
            plan_url: None,
            execute_url: None,
            ca_file: None,
            cert_file: None,
            key_file: None,
            log: None,
            log_json: false,
            otlp_endpoint: None,
        }
    }
}

/// The environment variables above; they are no settings of a service's configuration.
pub const GLOBAL_VARIABLES: [&str; 12] = [
    "HOMEOSTAT_DATA_DIR",
    "HOMEOSTAT_KNOWLEDGE_URL",
    "HOMEOSTAT_MONITOR_URL",
    "HOMEOSTAT_ANALYZE_URL",
    "HOMEOSTAT_PLAN_URL",
    "HOMEOSTAT_EXECUTE_URL",
    "HOMEOSTAT_CA_FILE",
    "HOMEOSTAT_CERT_FILE",
    "HOMEOSTAT_KEY_FILE",
    "HOMEOSTAT_LOG",
    "HOMEOSTAT_LOG_JSON",
    "HOMEOSTAT_OTLP_ENDPOINT",
];

/// How a service is configured: defaults, then the file, then HOMEOSTAT_* variables, then --set.
#[derive(Debug, Clone, Args)]
pub struct Settings {
    /// TOML file; samples stand in deploy/config.
    #[arg(long)]
    pub config: Option<PathBuf>,
    /// One setting, as `monitor.scrape_interval=1s`; may be repeated.
    #[arg(long = "set", value_name = "KEY=VALUE", value_parser = key_value)]
    pub set: Vec<(String, String)>,
    /// Print the effective configuration as TOML and stop.
    #[arg(long)]
    pub print_config: bool,
    /// Listen on other than loopback addresses without TLS.
    #[arg(long)]
    pub insecure_bind: bool,
    /// Where to serve /metrics, /healthz and /readyz over HTTP [default: 127.0.0.1:7400 for `up`, else a free port].
    #[arg(long)]
    pub metrics_listen: Option<std::net::SocketAddr>,
}

fn key_value(text: &str) -> Result<(String, String), String> {
    let (key, value) = text.split_once('=').ok_or("must be written KEY=VALUE")?;
    Ok((key.trim().to_owned(), value.to_owned()))
}

pub(crate) fn duration(text: &str) -> Result<Duration, String> {
    humantime::parse_duration(text).map_err(|error| format!("{error}; write it as 90s or 2m"))
}

/// Listings for people and programs.
#[derive(Debug, Clone, Copy, Args)]
pub struct Output {
    /// Table for people, JSON or YAML for programs.
    #[arg(long, short, value_enum, default_value = "table")]
    pub output: Format,
}

/// Commands.
#[derive(Debug, Subcommand)]
pub enum Command {
    /// The whole control plane in one process, with a private Postgres cluster unless --database-url is given.
    Up {
        /// Settings of all five services.
        #[command(flatten)]
        settings: Settings,
        /// A Postgres server that you have, instead of a private one.
        #[arg(long)]
        database_url: Option<String>,
    },
    /// Only Monitor: scrapes targets.
    Monitor(Settings),
    /// Only Analyze: judges samples.
    Analyze(Settings),
    /// Only Plan: decides.
    Plan(Settings),
    /// Only Execute: delivers and verifies.
    Execute(Settings),
    /// Only Knowledge: the ledger and the database.
    Knowledge {
        /// Its settings.
        #[command(flatten)]
        settings: Settings,
        /// A Postgres server that you have, instead of a private one.
        #[arg(long)]
        database_url: Option<String>,
    },
    /// A small real cluster on this machine, with load and faults, and its actuators.
    Staging(StagingArgs),
    /// Control plane and staging cluster together, with faults: once only watching, once acting. Ends with a report.
    Demo(DemoArgs),
    /// Replays recorded load against a policy, beside the autoscalers that people know.
    Backtest(Box<crate::backtest::args::BacktestArgs>),
    /// Declares services, policies and objectives from a YAML file.
    Apply {
        /// The file; - reads standard input.
        #[arg(long, short)]
        file: PathBuf,
        /// How to print what was applied.
        #[command(flatten)]
        output: Output,
    },
    /// Shows declared documents.
    Get {
        /// Service, Policy or SLO.
        #[arg(value_parser = checked::kind)]
        kind: DeclaredKind,
        /// NAMESPACE/NAME or NAME.
        name: Option<String>,
        /// How.
        #[command(flatten)]
        output: Output,
    },
    /// Deletes a declared document.
    Delete {
        /// Service, Policy or SLO.
        #[arg(value_parser = checked::kind)]
        kind: DeclaredKind,
        /// NAMESPACE/NAME, or NAME in `default`.
        name: String,
    },
    /// What is running and how healthy, each resource, what is forbidden now and why.
    Status(Output),
    /// What is wrong with what runs and with what was declared, and what mends it; exit code 2 when something is.
    Doctor(Output),
    /// Reviews what was learned.
    #[command(subcommand)]
    Thresholds(Thresholds),
    /// Shows the rhythms that were found: days, weeks and others.
    #[command(subcommand)]
    Seasonality(crate::cli_seasonality::Seasonality),
    /// Reviews what was decided.
    #[command(subcommand)]
    Directives(Directives),
    /// Incidents: what went wrong, what was done about it, and what of that helped.
    #[command(subcommand)]
    Incidents(crate::cli_incidents::Incidents),
    /// Policies: the level that each has earned, and why.
    #[command(subcommand)]
    Policies(crate::cli_policies::Policies),
    /// Runs an actuator that ships: a deploy gate, Monitor's cadence, or a webhook for notifications.
    #[command(subcommand)]
    Actuator(crate::cli_actuator::Actuator),
    /// Reviews who acts.
    #[command(subcommand)]
    Actuators(Actuators),
    /// Objectives: OpenSLO in and out, budgets, reports, rules for Prometheus.
    #[command(subcommand)]
    Slo(crate::cli_slo::Slo),
    /// How ready everything is, gate by gate; exit code 2 below the level asked for.
    Readiness(crate::cli_slo::ReadinessArgs),
    /// Stops all acting, at once; works with the database gone.
    Pause(Reason),
    /// Lets it act again.
    Resume(Reason),
    /// Judges series in CSV files, each row by itself and the rows before it.
    Detect(offline::DetectArgs),
    /// Forecasts a series in a CSV file, as quantiles.
    Forecast(offline::ForecastArgs),
    /// Tells what a detector or a forecast is worth, on labelled data.
    #[command(subcommand)]
    Score(offline::Score),
    /// Measures the figures of the performance table.
    Bench(BenchArgs),
    /// Circuit breakers: what they do now, your word over them, and policies played against the same calls.
    #[command(subcommand)]
    Breaker(crate::commands::breaker::BreakerCommand),
    /// One process of the staging cluster.
    #[command(hide = true, name = "staging-service")]
    StagingService {
        /// Which.
        #[command(subcommand)]
        node: staging::node::Node,
    },
}

/// Why, for the record.
#[derive(Debug, Clone, Args)]
pub struct Reason {
    /// Why, for the record.
    #[arg(long, default_value = "")]
    pub reason: String,
    /// How to print the result.
    #[command(flatten)]
    pub output: Output,
}

/// `staging`.
#[derive(Debug, Clone, Args)]
#[command(args_conflicts_with_subcommands = true)]
pub struct StagingArgs {
    /// Something else than to run the cluster.
    #[command(subcommand)]
    pub command: Option<StagingCommand>,
    /// demo, steady, flash-crowd, dependency-failure, bad-replica, metrics-gone or kills.
    #[arg(long, default_value = "steady", value_parser = checked::scenario)]
    pub scenario: String,
    /// How long; the scenario is stretched to it.
    #[arg(long, default_value = "2m", value_parser = checked::play)]
    pub duration: Duration,
    /// Varies arrivals and times; the same seed plays the same.
    #[arg(long, default_value_t = 1)]
    pub seed: u64,
    /// Directory of the cluster's files [default: staging in the data directory].
    #[arg(long)]
    pub dir: Option<PathBuf>,
    /// Replicas of each managed service at the start.
    #[arg(long, default_value_t = 2)]
    pub replicas: u32,
    /// Only the cluster: no actuator registers and nothing is declared.
    #[arg(long)]
    pub alone: bool,
    /// Write every request to DIR/records.csv.
    #[arg(long)]
    pub records: Option<PathBuf>,
    /// Declare the cluster's services with this autonomy level: observe, recommend, approve or act.
    #[arg(long, default_value = "act")]
    pub autonomy: AutonomyLevel,
    /// How to print the report.
    #[command(flatten)]
    pub output: Output,
}

/// What can be done with a staging cluster that runs.
#[derive(Debug, Clone, Subcommand)]
pub enum StagingCommand {
    /// Faults by command: something goes wrong in a running cluster until it is cleared.
    #[command(subcommand)]
    Fault(FaultCommand),
}

/// `staging fault`.
#[derive(Debug, Clone, Subcommand)]
pub enum FaultCommand {
    /// Puts a fault in force, replacing the one of the same label.
    Inject(InjectArgs),
    /// Ends one fault, or all of them.
    Clear {
        /// Which; all when none is named.
        label: Option<String>,
        /// Where the cluster runs, and how to print what is still in force.
        #[command(flatten)]
        place: FaultPlace,
    },
    /// The faults in force.
    List {
        /// Where the cluster runs, and how to print.
        #[command(flatten)]
        place: FaultPlace,
    },
}

/// Where faults are kept.
#[derive(Debug, Clone, Args)]
pub struct FaultPlace {
    /// Directory of the cluster's files [default: staging in the data directory].
    #[arg(long)]
    pub dir: Option<PathBuf>,
    /// How to print the faults in force afterwards.
    #[command(flatten)]
    pub output: Output,
}

/// `staging fault inject`.
#[derive(Debug, Clone, Args)]
pub struct InjectArgs {
    /// A name of your choice, to clear it by.
    pub label: String,
    /// gateway, catalog or inventory; not needed for a crowd.
    #[arg(long)]
    pub service: Option<String>,
    /// Only this replica (catalog-2, say); all of them, also later ones, without it.
    #[arg(long, requires = "service")]
    pub instance: Option<String>,
    /// What goes wrong.
    #[command(flatten)]
    pub effect: EffectArgs,
    /// Where the cluster runs, and how to print.
    #[command(flatten)]
    pub place: FaultPlace,
}

/// Exactly one effect.
#[derive(Debug, Clone, Args)]
#[group(required = true, multiple = false)]
pub struct EffectArgs {
    /// This share of the requests is answered 500, above 0 and at most 1.
    #[arg(long, value_name = "RATIO")]
    pub errors: Option<f64>,
    /// Every request takes this much longer.
    #[arg(long, value_name = "TIME", value_parser = duration)]
    pub latency: Option<Duration>,
    /// Every request hangs until the caller gives up.
    #[arg(long)]
    pub hang: bool,
    /// Connections are dropped without an answer; metrics stay up.
    #[arg(long)]
    pub down: bool,
    /// The metrics endpoint is gone; the service works.
    #[arg(long)]
    pub metrics_gone: bool,
    /// The load generator sends this many times the load.
    #[arg(long, value_name = "FACTOR")]
    pub crowd: Option<f64>,
}

/// `demo`.
#[derive(Debug, Clone, Args)]
pub struct DemoArgs {
    /// Length of each of the two runs.
    #[arg(long, default_value = "90s", value_parser = checked::play)]
    pub duration: Duration,
    /// Varies arrivals and times of faults; the same seed plays the same.
    #[arg(long, default_value_t = 7)]
    pub seed: u64,
    /// What is played in both runs.
    #[arg(long, default_value = "demo", value_parser = checked::scenario)]
    pub scenario: String,
    /// Write every request of both runs to DIR/observe.csv and DIR/act.csv.
    #[arg(long)]
    pub records: Option<PathBuf>,
    /// How to print the report.
    #[command(flatten)]
    pub output: Output,
}

/// `bench`.
#[derive(Debug, Clone, Args)]
pub struct BenchArgs {
    /// Which benches; all when none is named: analyze, plan, backtest, directives, latency, loop, feedback, breaker, slo.
    pub names: Vec<String>,
    /// Make `analyze` small and short, to see that it runs: its figures are not the official ones then.
    #[arg(long)]
    pub quick: bool,
    /// Let `analyze` fetch the Python libraries that it is measured beside from PyPI, once.
    #[arg(long)]
    pub peers: bool,
    /// How to print the figures.
    #[command(flatten)]
    pub output: Output,
}

/// `thresholds`.
#[derive(Debug, Subcommand)]
pub enum Thresholds {
    /// The band in force of every signal.
    List {
        /// Only signals whose text begins so.
        #[arg(default_value = "")]
        prefix: String,
        /// How.
        #[command(flatten)]
        output: Output,
    },
    /// One signal's threshold in full.
    Show {
        /// As `service:NAMESPACE/NAME#SIGNAL`.
        signal: SignalId,
        /// How.
        #[command(flatten)]
        output: Output,
    },
    /// All versions, newest first.
    History {
        /// As `service:NAMESPACE/NAME#SIGNAL`.
        signal: SignalId,
        /// How.
        #[command(flatten)]
        output: Output,
    },
    /// Puts a proposed version in force.
    Approve(ThresholdReviewArgs),
    /// Refuses a proposed version.
    Reject(ThresholdReviewArgs),
    /// Holds limits whatever is learned: those given, or those in force.
    Pin {
        /// Which.
        #[command(flatten)]
        review: ThresholdReviewArgs,
        /// Absolute lower limit.
        #[arg(long, allow_negative_numbers = true)]
        lower: Option<f64>,
        /// Absolute upper limit.
        #[arg(long, allow_negative_numbers = true)]
        upper: Option<f64>,
    },
    /// Goes back to what is learned.
    Unpin(ThresholdReviewArgs),
}

/// Which threshold, and why.
#[derive(Debug, Clone, Args)]
pub struct ThresholdReviewArgs {
    /// As `service:NAMESPACE/NAME#SIGNAL`.
    pub signal: SignalId,
    /// Which version; the newest proposal when not given.
    #[arg(long, default_value_t = 0)]
    pub generation: u64,
    /// Why, for the record.
    #[arg(long, default_value = "")]
    pub reason: String,
    /// How to print the result.
    #[command(flatten)]
    pub output: Output,
}

/// `directives`.
#[derive(Debug, Subcommand)]
pub enum Directives {
    /// Newest first.
    List {
        /// Only this resource, as `service:NAMESPACE/NAME`.
        #[arg(long)]
        resource: Option<ResourceId>,
        /// Only this state; may be repeated.
        #[arg(long)]
        state: Vec<DirectiveState>,
        /// At most so many.
        #[arg(long, default_value_t = 50)]
        limit: u32,
        /// How.
        #[command(flatten)]
        output: Output,
    },
    /// One directive with its rationale, history and outcome.
    Show {
        /// Its id, or enough of its beginning to be the only one.
        id: String,
        /// How.
        #[command(flatten)]
        output: Output,
    },
    /// Each change as it happens, until Ctrl-C.
    Watch {
        /// How; JSON writes one line per change.
        #[command(flatten)]
        output: Output,
    },
    /// Lets a waiting directive go.
    Approve(DirectiveReviewArgs),
    /// Refuses a waiting directive.
    Reject(DirectiveReviewArgs),
    /// Takes an applied directive back.
    Undo(DirectiveReviewArgs),
}

/// Which directive, and why.
#[derive(Debug, Clone, Args)]
pub struct DirectiveReviewArgs {
    /// Its id.
    pub id: Uuid,
    /// Why, for the record.
    #[arg(long, default_value = "")]
    pub reason: String,
    /// How to print the result.
    #[command(flatten)]
    pub output: Output,
}

/// `actuators`.
#[derive(Debug, Subcommand)]
pub enum Actuators {
    /// Who is registered, for what, and whether the lease is live.
    List(Output),
}
