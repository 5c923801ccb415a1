//! `homeostat`: one binary for every service, the staging cluster, the demo and the tools.

use clap::Parser;
use homeostat::{cli::Cli, commands};
use std::process::ExitCode;

fn main() -> ExitCode {
    match Cli::try_parse() {
        Ok(cli) => commands::dispatch(cli),
        Err(error) => {
            // Help and version are not errors; anything else is wrong usage.
            let code = if error.use_stderr() { chassis::exit::USAGE } else { chassis::exit::DONE };
            // Nothing can be done when the terminal is gone.
            drop(error.print());
            ExitCode::from(code)
        }
    }
}
