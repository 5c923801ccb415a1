//! The command line of seasons.

use crate::cli::Output;
use clap::Subcommand;
use proto::model::SignalId;

/// `seasonality`.
#[derive(Debug, Subcommand)]
pub enum Seasonality {
    /// The periods of every signal that has some.
    List {
        /// Only signals whose text begins so.
        #[arg(default_value = "")]
        prefix: String,
        /// How.
        #[command(flatten)]
        output: Output,
    },
    /// One signal's usual day and week as pictures, why they are believed, and the versions before.
    Show {
        /// As `service:NAMESPACE/NAME#SIGNAL`.
        signal: SignalId,
        /// How.
        #[command(flatten)]
        output: Output,
    },
}
