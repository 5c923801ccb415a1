//! Targets that answer well, hang, never end, talk nonsense or go away: what is missing is unknown, nothing else is lost.

use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use chassis::testing::eventually;
use chassis::{Clock, Context, SystemClock};
use jiff::{SignedDuration, Timestamp};
use proto::model::Quality;
use proto::wire;

use crate::analyze::Seen;
use crate::setup::{DEADLINE, REPLICA, Setup, service};
use crate::target::{FakeTarget, Manner};

fn text(body: &str) -> Manner {
    Manner::Text(body.to_owned())
}

fn drops(target: &wire::TargetStatus, reason: &str) -> u64 {
    target.drops.iter().find(|drop| drop.reason == reason).map_or(0, |drop| drop.count)
}

#[tokio::test(flavor = "multi_thread")]
async fn a_declared_service_has_the_signals_of_all_its_replicas() {
    let ctx = Context::testing(1);
    let (one, two) =
        (FakeTarget::start(&ctx, text(REPLICA)).await, FakeTarget::start(&ctx, text(REPLICA)).await);
    let setup =
        Setup::start(ctx, vec![service("catalog")], &[("catalog", &one), ("catalog", &two)], |_| {}).await;
    let load = setup.good("service:staging/catalog#load").await;
    assert!(load.declared && load.value.unwrap() > 0.0);
    let ratio = setup.good("service:staging/catalog#error_ratio").await.value.unwrap();
    assert!((ratio - 0.1).abs() < 1e-9, "9 of 10 are good: {ratio}");
    assert_eq!(setup.good("service:staging/catalog#ready_replicas").await.value, Some(2.0));
    assert_eq!(setup.good("service:staging/catalog#latency_p50_seconds").await.value, Some(0.1 * 5.0 / 9.0));
    assert!(setup.analyze.with(|log| log.rows.iter().all(|row| !row.signal.starts_with("host:"))));
    setup.stop().await;
}

/// The machine's clock, with a wall clock that someone sets.
#[derive(Debug, Default)]
struct SteppedClock {
    step_ms: AtomicI64,
}

impl Clock for SteppedClock {
    fn now(&self) -> Timestamp {
        SystemClock.now() + SignedDuration::from_millis(self.step_ms.load(Ordering::SeqCst))
    }

    fn monotonic(&self) -> Duration {
        SystemClock.monotonic()
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_step_of_the_wall_clock_does_not_bend_a_rate() {
    let clock = Arc::new(SteppedClock::default());
    let ctx = Context { clock: clock.clone(), ..Context::testing(1) };
    let target = FakeTarget::start(&ctx, text(REPLICA)).await;
    let setup = Setup::start(ctx, vec![service("catalog")], &[("catalog", &target)], |_| {}).await;
    let ready = "service:staging/catalog#ready_replicas";
    let load = "service:staging/catalog#load";
    setup.good(load).await;
    for step_ms in [3_600_000, -3_600_000] {
        clock.step_ms.store(step_ms, Ordering::SeqCst);
        let stepped_at = setup.analyze.newest(load).unwrap().at_ms;
        let far = |row: &Seen| (row.at_ms - stepped_at).abs() > 1_800_000;
        setup.row(ready, "after the step", far).await;
    }
    let rows = setup.analyze.rows(load);
    let known = rows.iter().skip_while(|row| row.value.is_none());
    assert!(known.clone().count() > 2);
    // Each answer counts 10 more, twice a second: 20 per second, give or take what a busy machine delays.
    assert!(known.clone().all(|row| row.value.is_some_and(|load| load > 5.0)), "{rows:?}");
    setup.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_is_gone_is_unknown_within_one_interval_and_the_others_lose_nothing() {
    let ctx = Context::testing(1);
    let (gone, stays) =
        (FakeTarget::start(&ctx, text("level 7\n")).await, FakeTarget::start(&ctx, text("level 7\n")).await);
    let setup = Setup::start(ctx, vec![], &[("gone", &gone), ("stays", &stays)], |_| {}).await;
    let lost = format!("host:gone/{}#level", gone.addr);
    let kept = format!("host:stays/{}#level", stays.addr);
    setup.good(&lost).await;
    setup.good(&kept).await;
    gone.disappear().await;
    let at_ms = setup.ctx.clock.now().as_millisecond();
    let unknown = setup.row(&lost, "unknown", |row| row.quality == Quality::Unknown).await;
    assert_eq!(unknown.value, None);
    setup.row(&kept, "some ticks later", |row| row.at_ms > at_ms + 1_500).await;
    let after = setup.analyze.rows(&lost).into_iter().filter(|row| row.at_ms >= at_ms);
    assert!(
        after.map(|row| row.quality).all(|quality| quality == Quality::Unknown),
        "not one tick later it is unknown"
    );
    assert!(
        setup.analyze.rows(&kept).iter().all(|row| row.value == Some(7.0) && row.quality == Quality::Good)
    );
    let state = setup.target("gone", "down", |target| target.health() == wire::TargetHealth::Down).await;
    assert!(state.last_error.starts_with("cannot reach the target"), "{}", state.last_error);
    assert!(state.last_success_unix_ms > 0);
    setup.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_lost_replica_makes_a_service_partial_and_the_last_one_unknown() {
    let ctx = Context::testing(1);
    let (one, two) =
        (FakeTarget::start(&ctx, text(REPLICA)).await, FakeTarget::start(&ctx, text(REPLICA)).await);
    let setup =
        Setup::start(ctx, vec![service("catalog")], &[("catalog", &one), ("catalog", &two)], |_| {}).await;
    let (load, ready) = ("service:staging/catalog#load", "service:staging/catalog#ready_replicas");
    setup.good(load).await;
    one.disappear().await;
    let partial = setup.row(ready, "partial", |row| row.quality == Quality::Partial).await;
    assert_eq!(partial.value, Some(1.0));
    assert!(setup.row(load, "partial", |row| row.quality == Quality::Partial).await.value.is_some());
    two.disappear().await;
    for signal in [load, ready] {
        assert_eq!(setup.row(signal, "unknown", |row| row.quality == Quality::Unknown).await.value, None);
    }
    let told = format!("service:staging/catalog: catalog/{}: cannot reach the target", one.addr);
    assert!(setup.analyze.with(|log| log.gaps.iter().any(|gap| gap.starts_with(&told))));
    setup.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_hangs_times_out_and_delays_nobody() {
    let ctx = Context::testing(1);
    let (hangs, stays) =
        (FakeTarget::start(&ctx, text("level 7\n")).await, FakeTarget::start(&ctx, text("level 7\n")).await);
    let setup = Setup::start(ctx, vec![], &[("hangs", &hangs), ("stays", &stays)], |_| {}).await;
    let lost = format!("host:hangs/{}#level", hangs.addr);
    setup.good(&lost).await;
    hangs.behave(Manner::Hang);
    setup.row(&lost, "unknown", |row| row.quality == Quality::Unknown).await;
    let state = setup.target("hangs", "down", |target| target.health() == wire::TargetHealth::Down).await;
    assert_eq!(state.last_error, "no whole answer within 450ms");
    setup.good(&format!("host:stays/{}#level", stays.addr)).await;
    hangs.behave(text("level 8\n"));
    assert_eq!(setup.good(&lost).await.value, Some(8.0));
    setup.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_answer_without_end_is_cut_and_reported() {
    let ctx = Context::testing(1);
    let endless = FakeTarget::start(&ctx, Manner::Endless).await;
    let small = |config: &mut monitor::Config| config.limits.body_bytes = 100_000;
    let setup = Setup::start(ctx, vec![], &[("endless", &endless)], small).await;
    let first = format!("host:endless/{}#first", endless.addr);
    assert_eq!(setup.good(&first).await.value, Some(1.0), "what came before the cut is used");
    let state = setup.target("endless", "cut", |target| drops(target, "body_too_long") > 0).await;
    assert_eq!((state.last_error.as_str(), state.series), ("the answer was cut short", 1));
    setup.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn nonsense_is_counted_and_the_rest_is_kept() {
    let ctx = Context::testing(1);
    let target =
        FakeTarget::start(&ctx, text("level 7\n<html>\nx{ 1\nlevel 8\ny NaN\nlevel{a=\"b\"} 9\n")).await;
    let setup = Setup::start(ctx, vec![], &[("node", &target)], |_| {}).await;
    assert_eq!(setup.good(&format!("host:node/{}#level", target.addr)).await.value, Some(7.0));
    assert_eq!(setup.good(&format!("host:node/{}#level{{a=\"b\"}}", target.addr)).await.value, Some(9.0));
    let state = setup.target("node", "up", |target| target.health() == wire::TargetHealth::Up).await;
    for reason in ["name", "labels", "duplicate", "not_a_number"] {
        assert!(drops(&state, reason) > 0, "{reason}: {:?}", state.drops);
    }
    setup.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn other_answers_than_a_good_one_are_no_data() {
    let redirect = "HTTP/1.1 302 Found\r\nLocation: http://127.0.0.1:1/\r\nContent-Length: 0\r\n\r\n";
    let cut = "HTTP/1.1 200 OK\r\nContent-Length: 1000\r\n\r\n";
    let no_eof = "HTTP/1.1 200 OK\r\nContent-Type: application/openmetrics-text\r\nConnection: close\r\n\r\n";
    for (head, body, error) in [
        (redirect, "", "the target answered 302 Found"),
        (cut, "level 7\n", "the answer broke off"),
        (no_eof, "level 7\n", "the answer was cut short"),
    ] {
        let ctx = Context::testing(1);
        let target = FakeTarget::start(&ctx, Manner::Raw(head, body.as_bytes().to_vec())).await;
        let setup = Setup::start(ctx, vec![], &[("node", &target)], |_| {}).await;
        setup.target("node", error, |target| target.last_error.starts_with(error)).await;
        setup.stop().await;
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_compressed_answer_is_read() {
    // `level 7` and a line feed, by gzip.
    const BODY: [u8; 28] = [
        0x1f, 0x8b, 0x08, 0x00, 0x00, 0x00, 0x00, 0x00, 0x02, 0x03, 0xcb, 0x49, 0x2d, 0x4b, 0xcd, 0x51, 0x30,
        0xe7, 0x02, 0x00, 0x4f, 0x58, 0x2e, 0x8e, 0x08, 0x00, 0x00, 0x00,
    ];
    let head = "HTTP/1.1 200 OK\r\nContent-Encoding: gzip\r\nConnection: close\r\n\r\n";
    let ctx = Context::testing(1);
    let target = FakeTarget::start(&ctx, Manner::Raw(head, BODY.to_vec())).await;
    let setup = Setup::start(ctx, vec![], &[("node", &target)], |_| {}).await;
    assert_eq!(setup.good(&format!("host:node/{}#level", target.addr)).await.value, Some(7.0));
    setup.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_declared_later_takes_over_its_targets() {
    let ctx = Context::testing(1);
    let target = FakeTarget::start(&ctx, text(REPLICA)).await;
    let setup = Setup::start(ctx, vec![], &[("catalog", &target)], |_| {}).await;
    setup.good(&format!("host:catalog/{}#ready", target.addr)).await;
    setup.knowledge.declare(service("catalog").into());
    setup.good("service:staging/catalog#load").await;
    setup.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn the_targets_file_is_followed_and_a_broken_one_changes_nothing() {
    let ctx = Context::testing(1);
    let (one, two) =
        (FakeTarget::start(&ctx, text("level 1\n")).await, FakeTarget::start(&ctx, text("level 2\n")).await);
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("targets.json");
    let list = |targets: &[&FakeTarget]| {
        let addresses: Vec<_> = targets.iter().map(|target| format!("\"{}\"", target.addr)).collect();
        format!(r#"[{{"targets": [{}], "labels": {{"job": "node"}}}}]"#, addresses.join(","))
    };
    let signal = |target: &FakeTarget| format!("host:node/{}#level", target.addr);
    let setup = Setup::start(ctx, vec![], &[], |config| config.targets_file = Some(path.clone())).await;
    std::fs::write(&path, list(&[&one])).unwrap();
    setup.good(&signal(&one)).await;
    let failures = || setup.metric("homeostat_monitor_targets_file_failures_total");
    let before = failures();
    std::fs::write(&path, "[{\"targets\": [").unwrap();
    let reported = || async { (failures() > before).then_some(()) };
    eventually(DEADLINE, "the broken file is reported", reported).await;
    let seen = setup.analyze.rows(&signal(&one)).len();
    let more = || async { (setup.analyze.rows(&signal(&one)).len() > seen + 2).then_some(()) };
    eventually(DEADLINE, "the target is still scraped", more).await;
    std::fs::write(&path, list(&[&two])).unwrap();
    setup.good(&signal(&two)).await;
    setup.row(&signal(&one), "a last word that it is unknown", |row| row.quality == Quality::Unknown).await;
    setup.stop().await;
}
