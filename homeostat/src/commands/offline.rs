//! The frame of the commands that work on files: no control plane, no runtime, the same exit codes.

use crate::offline::files;
use chassis::exit;
use std::process::ExitCode;

/// The command was given something that it cannot work with: exit code 64 rather than 1.
#[derive(Debug, thiserror::Error)]
#[error("{0}")]
pub struct Usage(pub String);

impl Usage {
    /// Inputs that no result can be named after are wrong usage; files that cannot be read are a failure.
    pub fn from_files(error: files::Error) -> anyhow::Error {
        match error {
            files::Error::SameName { .. } => Self(error.to_string()).into(),
            other => other.into(),
        }
    }
}

/// Runs the command; an error is printed with its causes.
pub fn run(command: impl FnOnce() -> anyhow::Result<u8>) -> ExitCode {
    ExitCode::from(command().unwrap_or_else(|error| {
        eprintln!("homeostat: {error:#}");
        if error.downcast_ref::<Usage>().is_some() { exit::USAGE } else { exit::FAILED }
    }))
}
