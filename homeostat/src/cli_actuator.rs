//! The command line of the actuators that run beside a control plane.

use clap::{Args, Subcommand, ValueEnum};
use proto::model::{ResourceKind, ResourcePattern};
use std::path::PathBuf;

/// `actuator`.
#[derive(Debug, Subcommand)]
pub enum Actuator {
    /// Takes freezes: `homeostat slo gate SERVICE` says whether one is in force, and its file says it without a control plane.
    Gate(Common),
    /// Has Monitor look at a service more often while a directive says so, and until it ends.
    Cadence(Common),
    /// Takes notifications, and posts them to a receiver of JSON or to an Alertmanager.
    Webhook {
        /// Where to post.
        #[arg(long)]
        url: String,
        /// What to post.
        #[arg(long, value_enum, default_value_t)]
        form: Form,
        /// A file with the token to post with.
        #[arg(long)]
        bearer_token_file: Option<PathBuf>,
        /// A file with a secret of 16 bytes or more that the receiver has too: each post is signed with it, HMAC-SHA256 of the
        /// body in the header x-homeostat-signature.
        #[arg(long)]
        signing_secret_file: Option<PathBuf>,
        /// For whom.
        #[command(flatten)]
        common: Common,
    },
}

/// What is posted.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub enum Form {
    /// The directive.
    #[default]
    Json,
    /// An alert for `/api/v2/alerts`.
    Alertmanager,
}

/// What every actuator is told.
#[derive(Debug, Clone, Args)]
pub struct Common {
    /// Services, as NAMESPACE/NAME; * may stand at the end of either.
    #[arg(long = "service", default_value = "*/*", value_parser = pattern)]
    pub services: Vec<ResourcePattern>,
    /// Tells this process from others of its kind, and stays the same across its restarts.
    #[arg(long, default_value = "one")]
    pub instance: String,
    /// Where it keeps its state; without it, in the data directory.
    #[arg(long)]
    pub state: Option<PathBuf>,
}

fn pattern(text: &str) -> Result<ResourcePattern, String> {
    let (namespace, name) = text.split_once('/').ok_or("NAMESPACE/NAME")?;
    ResourcePattern::new(ResourceKind::Service, namespace, name).map_err(|error| error.to_string())
}
