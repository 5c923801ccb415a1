//! The command line of incidents.

use crate::cli::Output;
use clap::Subcommand;
use proto::model::ResourceId;

/// `incidents`.
#[derive(Debug, Subcommand)]
pub enum Incidents {
    /// Newest first: when each began, how long it lasted, what was done and what of that helped.
    List {
        /// Only of this service, as `service:NAMESPACE/NAME`.
        #[arg(long)]
        service: Option<ResourceId>,
        /// At most so many.
        #[arg(long, default_value_t = 50)]
        limit: usize,
        /// How.
        #[command(flatten)]
        output: Output,
    },
    /// One incident, moment by moment.
    Show {
        /// Its id, or enough of its beginning to be the only one.
        id: String,
        /// How.
        #[command(flatten)]
        output: Output,
    },
}
