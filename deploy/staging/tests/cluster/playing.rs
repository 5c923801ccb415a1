//! Whole plays: scenario, load process, report, records.

use std::time::Duration;

use chassis::Context;
use staging::cluster::ClusterArgs;
use staging::report::{report, samples_from_csv};
use staging::supervisor::{StagingArgs, run};

use crate::kit::{folder, launch};

#[tokio::test(flavor = "multi_thread")]
async fn a_flash_crowd_on_fixed_replicas_violates_and_the_report_follows_from_the_records() {
    let (work, records) = (folder(), folder());
    let duration = Duration::from_secs(10);
    let args = StagingArgs {
        cluster: ClusterArgs::new(work.1.path(), launch()),
        scenario: "flash-crowd".to_owned(),
        seed: 3,
        duration,
        records: Some((records.1.path().to_owned(), "observe".to_owned())),
    };
    let ctx = Context::testing(1);
    let played = run(args, &ctx).await.expect("it plays");
    assert!(!ctx.stopper.is_stopped());

    // 120/s for 10 s and 360/s more for 4 s.
    assert!((2_000..3_600).contains(&played.report.offered), "{:?}", played.report);
    assert!((3..=8).contains(&played.report.violating_seconds), "{:?}", played.report);
    assert_eq!(played.report.replica_seconds, 40);
    assert_eq!(played.timeline.iter().filter(|entry| entry.kind == "load").count(), 2);

    let read = |name: &str| std::fs::read_to_string(records.1.path().join(name)).expect("written");
    let requests = staging::load::from_csv(&read("observe.csv")).expect("records");
    let samples = samples_from_csv(&read("observe.replicas.csv")).expect("samples");
    assert_eq!(report(&requests, &samples, duration.as_secs()), played.report);
}

#[tokio::test(flavor = "multi_thread")]
async fn killed_replicas_and_actuators_come_back() {
    let (_folder, dir) = folder();
    let mut cluster = ClusterArgs::new(dir.path(), launch());
    cluster.actuators = true;
    let args = StagingArgs {
        cluster,
        scenario: "kills".to_owned(),
        seed: 1,
        duration: Duration::from_secs(8),
        records: None,
    };
    let ctx = Context::testing(1);
    let played = run(args, &ctx).await.expect("it plays");
    let last = &played.samples[played.samples.len() - 2..];
    assert!(last.iter().all(|sample| sample.replicas == 2), "{last:?}");
    assert_eq!(played.timeline.iter().filter(|entry| entry.kind == "fault").count(), 6);
    // Two kills of catalog replicas and one of inventory cost only what was in flight.
    let failed = played.report.failed as f64 / played.report.offered as f64;
    assert!(failed < 0.05, "{:?}", played.report);
}
