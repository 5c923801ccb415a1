//! The demo's report can be computed again from the requests that it writes down.

use std::path::Path;
use std::time::Duration;
use system_tests::{data_dir, run_command, turn};

/// DESIGN's definition, written again here and sharing no code with the product: a violating second is one in which more
/// than 1 % of the requests due in it failed or were answered later than 250 ms after their intended start.
fn recompute(csv: &Path, replicas: &Path, duration: Duration) -> serde_json::Value {
    let text = std::fs::read_to_string(csv).unwrap();
    let mut lines = text.lines();
    let header: Vec<_> = lines.next().unwrap().split(',').collect();
    let column = |name: &str| {
        header.iter().position(|field| *field == name).unwrap_or_else(|| panic!("{name} in {header:?}"))
    };
    let (intended, latency, status, degraded) =
        (column("intended_ms"), column("latency_us"), column("status"), column("degraded"));
    let seconds = usize::try_from(duration.as_secs()).unwrap();
    let mut due = vec![(0u64, 0u64); seconds];
    let (mut offered, mut within, mut failed_all, mut degraded_all) = (0u64, 0u64, 0u64, 0u64);
    for line in lines {
        let fields: Vec<_> = line.split(',').collect();
        let at: u64 = fields[intended].parse().unwrap();
        let second = usize::try_from(at / 1000).unwrap();
        if second >= seconds {
            continue;
        }
        let code: u16 = fields[status].parse().unwrap();
        let failed = !(200..400).contains(&code);
        let late = fields[latency].parse::<u64>().unwrap() > 250_000;
        offered += 1;
        within += u64::from(!failed && !late);
        failed_all += u64::from(failed);
        degraded_all += u64::from(!failed && ["true", "1"].contains(&fields[degraded]));
        due[second].0 += 1;
        due[second].1 += u64::from(failed || late);
    }
    let violating = due.iter().filter(|(all, bad)| *bad * 100 > *all).count();
    let replicas = std::fs::read_to_string(replicas).unwrap();
    let replica_seconds: u64 = replicas
        .lines()
        .skip(1)
        .map(|line| line.split(',').collect::<Vec<_>>())
        .filter(|fields| fields[0].parse::<usize>().unwrap() < seconds)
        .map(|fields| fields[2].parse::<u64>().unwrap())
        .sum();
    serde_json::json!({
        "offered": offered, "within_objective": within, "degraded": degraded_all, "failed": failed_all,
        "violating_seconds": violating, "replica_seconds": replica_seconds,
    })
}

#[test]
fn the_report_is_what_the_records_say() {
    let _turn = turn();
    let dir = data_dir();
    let records = dir.path().join("records");
    let output = run_command(&[
        "demo",
        "--data-dir",
        &dir.path().to_string_lossy(),
        "--duration",
        "60s",
        "--seed",
        "7",
        "--records",
        &records.to_string_lossy(),
        "--output",
        "json",
    ]);
    let error = String::from_utf8_lossy(&output.stderr);
    let report: serde_json::Value =
        serde_json::from_slice(&output.stdout).unwrap_or_else(|_| panic!("no report: {error}"));
    for run in ["observe", "act"] {
        let again = recompute(
            &records.join(format!("{run}.csv")),
            &records.join(format!("{run}.replicas.csv")),
            Duration::from_secs(60),
        );
        for (field, value) in again.as_object().unwrap() {
            assert_eq!(&report[run][field], value, "{run}.{field}");
        }
        assert!(report[run]["offered"].as_u64().unwrap() > 1_000, "a demo without load proves nothing");
    }
    assert_eq!(output.status.code(), Some(0), "the demo must pass: {}", report["checks"]);
    assert_eq!(report["loop_closed"], true);
}
