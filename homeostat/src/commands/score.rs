//! `score`: what a detector or a forecast is worth. These read files and print; the scorers themselves are pure.

mod calibration;
mod forecast;
mod labelled;
mod nab;

use crate::cli::offline::Score;

/// Runs one of the scorers.
///
/// # Errors
/// When files are missing or do not fit together.
pub fn score(command: &Score) -> anyhow::Result<u8> {
    match command {
        Score::Nab(args) => nab::run(args),
        Score::VusPr(args) => labelled::vus_pr(args),
        Score::Events(args) => labelled::events(args),
        Score::Forecast(args) => forecast::run(args),
        Score::Calibration(args) => calibration::run(args),
    }
}
