//! The worked set of `deploy/slo`, whole, on the staging cluster: a real Prometheus scrapes its services, Analyze asks it, and every
//! objective is tracked with each of its indicators measured.

use super::staging;
use chassis::testing::eventually;
use serde_json::Value;
use std::{
    net::TcpListener,
    path::{Path, PathBuf},
    process::{Child, Command, Stdio},
    time::Duration,
};
use system_tests::{Plane, data_dir, run_command, turn};

/// The objectives that the set holds: nine, one of throughput, and three of the staging cluster itself.
const OBJECTIVES: usize = 13;
/// Slices are five minutes and one minute in the set; here a quarter of one, so that some close while the test waits.
const SLICE: &str = "timeSliceWindow: 0.25";

/// Killed when dropped.
struct Prometheus {
    child: Child,
    url: String,
}

impl Drop for Prometheus {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// Scrapes the cluster's targets and itself, every second. `None`: there is no Prometheus on this machine.
fn prometheus(dir: &Path) -> Option<Prometheus> {
    let port = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let targets = dir.join("staging/targets.json");
    let config = format!(
        "global: {{ scrape_interval: 1s }}
scrape_configs:
  - job_name: staging
    file_sd_configs: [ {{ files: [ {} ], refresh_interval: 1s }} ]
  - job_name: prometheus
    static_configs: [ {{ targets: [ '127.0.0.1:{port}' ] }} ]
",
        targets.display()
    );
    let file = dir.join("prometheus.yml");
    std::fs::write(&file, config).unwrap();
    let started = Command::new("prometheus")
        .arg(format!("--config.file={}", file.display()))
        .arg(format!("--storage.tsdb.path={}", dir.join("prometheus").display()))
        .arg(format!("--web.listen-address=127.0.0.1:{port}"))
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn();
    match started {
        Ok(child) => Some(Prometheus { child, url: format!("http://127.0.0.1:{port}") }),
        Err(error) => {
            eprintln!("skipped: prometheus cannot be run ({error}); `apt-get install prometheus`");
            None
        }
    }
}

/// The set as it stands in the repository, but for the address of the server and the width of slices.
fn worked_set(dir: &Path, server: &str) -> PathBuf {
    let from = Path::new(env!("CARGO_MANIFEST_DIR")).join("../deploy/slo");
    let to = dir.join("slo");
    std::fs::create_dir(&to).unwrap();
    for entry in std::fs::read_dir(from).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_some_and(|end| end == "yaml") {
            let text = std::fs::read_to_string(&path).unwrap();
            let text = text.replace("http://127.0.0.1:9090", server);
            let text = text.replace("timeSliceWindow: 5m", SLICE).replace("timeSliceWindow: 1m", SLICE);
            std::fs::write(to.join(path.file_name().unwrap()), text).unwrap();
        }
    }
    to
}

fn imported(plane: &Plane) -> Vec<Value> {
    let dir = plane.data_dir.to_string_lossy().into_owned();
    // Burning is exit code 2 here, and no failure.
    let output = run_command(&["slo", "status", "--output", "json", "--data-dir", &dir]);
    let all: Vec<Value> = serde_json::from_slice(&output.stdout).unwrap_or_default();
    all.into_iter().filter(|one| !one["imported"].is_null()).collect()
}

/// What is still missing before this objective can be called measured.
fn missing(one: &Value) -> Option<String> {
    let (name, own) = (one["objective"].as_str().unwrap_or_default(), &one["imported"]);
    if let Some(reason) = own["untracked"].as_str().filter(|reason| !reason.is_empty()) {
        return Some(format!("{name}: not tracked: {reason}"));
    }
    for reading in own["readings"].as_array().into_iter().flatten() {
        if reading["value"].is_null() {
            return Some(format!("{name}: {}: {}", reading["query"], reading["problem"]));
        }
    }
    if one["standing"] == "unknown" || one["budget_remaining_ratio"].is_null() {
        return Some(format!("{name}: its standing is unknown"));
    }
    let events = one["total_events"].as_f64().unwrap_or_default();
    (events <= 0.0).then(|| format!("{name}: no event or slice yet"))
}

/// What others lean on stays, with their names; what nobody needs goes, and its history stays.
fn deleting(plane: &Plane) {
    let dir = plane.data_dir.to_string_lossy().into_owned();
    let delete = |name: &str| run_command(&["slo", "delete", name, "--data-dir", &dir]);
    let needed = delete("SLI/search-quality");
    let said = String::from_utf8_lossy(&needed.stderr).into_owned();
    assert_eq!(needed.status.code(), Some(1), "{said}");
    assert!(said.contains("SLO search-relevance") && said.contains("SLO user-journey-search"), "{said}");
    assert_eq!(delete("SLO/throughput").status.code(), Some(0));
    assert_eq!(plane.json(&["slo", "list"]).as_array().map(Vec::len), Some(OBJECTIVES - 1));
    let versions = plane.json(&["slo", "history", "staging/throughput"])["versions"].clone();
    let deleted: Vec<_> = versions.as_array().unwrap().iter().map(|one| one["deleted"] == true).collect();
    assert_eq!(deleted, [true, false], "newest first");
    assert_eq!(delete("SLO/throughput").status.code(), Some(1), "it is gone");
}

#[tokio::test(flavor = "multi_thread")]
async fn every_objective_of_the_worked_set_is_measured_on_the_staging_cluster() {
    let _turn = turn();
    let dir = data_dir();
    let Some(server) = prometheus(dir.path()) else { return };
    let plane = Plane::start(dir.path(), &["analyze.prometheus.interval=1s"]).await;
    let _cluster = staging::start(dir.path(), "steady", Duration::from_secs(150), "observe", 21);
    let set = worked_set(dir.path(), &server.url);
    let listed = plane.json(&["slo", "import", &set.to_string_lossy()]);
    assert_eq!(listed.as_array().map(Vec::len), Some(OBJECTIVES));

    let mut last = Vec::new();
    let all = eventually(Duration::from_secs(100), "every objective measured", || {
        let found = imported(&plane);
        let lacking: Vec<String> = found.iter().filter_map(missing).collect();
        if lacking != last {
            eprintln!("{lacking:#?}");
            last.clone_from(&lacking);
        }
        let done = found.len() == OBJECTIVES && lacking.is_empty();
        async move { done.then_some(found) }
    })
    .await;
    let queries: usize =
        all.iter().map(|one| one["imported"]["readings"].as_array().map_or(0, Vec::len)).sum();
    assert!(queries >= 20, "the set is made of queries: {queries}");
    for one in &all {
        eprintln!(
            "{} {} left {} of {} events",
            one["objective"], one["standing"], one["budget_remaining_ratio"], one["total_events"]
        );
    }

    deleting(&plane);

    // Without its server an objective made of queries is unknown, and says why.
    drop(server);
    let silent = eventually(Duration::from_secs(30), "unknown objectives", || {
        let found = imported(&plane);
        let one = found.into_iter().find(|one| one["objective"] == "staging/dashboard-reliability");
        async move { one.filter(|one| one["standing"] == "unknown") }
    })
    .await;
    let problem = silent["imported"]["readings"][0]["problem"].as_str().unwrap_or_default();
    assert!(problem.contains("cannot be asked"), "{silent:#}");
}
