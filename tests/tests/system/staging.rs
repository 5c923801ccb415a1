//! The staging cluster as these tests use it: a child process of the same binary.

use std::{path::Path, time::Duration};
use system_tests::Process;

/// Starts `homeostat staging` against a running plane.
pub fn start(data_dir: &Path, scenario: &str, duration: Duration, autonomy: &str, seed: u64) -> Process {
    let arguments = [
        "staging",
        "--data-dir",
        &data_dir.to_string_lossy(),
        "--scenario",
        scenario,
        "--duration",
        &format!("{}s", duration.as_secs()),
        "--autonomy",
        autonomy,
        "--seed",
        &seed.to_string(),
        "--output",
        "json",
    ];
    Process::start("staging", data_dir, arguments.map(str::to_owned).into())
}
