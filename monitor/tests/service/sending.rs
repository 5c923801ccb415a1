//! The way to Analyze: bounded, in order, and whole again after a loss.

use std::collections::BTreeSet;

use chassis::Context;
use chassis::testing::eventually;

use crate::analyze::Manner;
use crate::setup::{DEADLINE, Setup};
use crate::target::{FakeTarget, Manner as Answer};

async fn start(change: impl FnOnce(&mut monitor::Config)) -> (Setup, FakeTarget, String) {
    let ctx = Context::testing(1);
    let target = FakeTarget::start(&ctx, Answer::Text("level 7\n".to_owned())).await;
    let setup = Setup::start(ctx, vec![], &[("node", &target)], change).await;
    let signal = format!("host:node/{}#level", target.addr);
    setup.good(&signal).await;
    (setup, target, signal)
}

/// Breaks the stream, waits for the next one, and goes on as usual.
async fn break_stream(setup: &Setup) {
    let before = setup.analyze.with(|log| log.streams);
    setup.analyze.behave(Manner::HangUp);
    let streams = || async { setup.analyze.with(|log| (log.streams > before).then_some(())) };
    eventually(DEADLINE, "a new stream", streams).await;
    setup.analyze.behave(Manner::Acknowledge);
}

#[tokio::test(flavor = "multi_thread")]
async fn after_a_broken_stream_the_signals_are_introduced_again() {
    let (setup, _target, signal) = start(|_| {}).await;
    break_stream(&setup).await;
    break_stream(&setup).await;
    let seen = setup.analyze.rows(&signal).len();
    let more = || async { (setup.analyze.rows(&signal).len() > seen + 2).then_some(()) };
    // The fake refuses a row whose signal was not introduced on its own stream.
    eventually(DEADLINE, "rows on the new stream", more).await;
    assert_eq!(setup.metric("homeostat_monitor_dropped_total{reason=\"outbox_full\"}"), 0.0);
    setup.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_slow_analyze_is_sent_no_more_than_the_window_and_the_oldest_ticks_are_dropped() {
    let limits = |config: &mut monitor::Config| {
        (config.limits.unacknowledged_batches, config.limits.unsent_rows) = (3, 2);
    };
    let (setup, _target, signal) = start(limits).await;
    setup.analyze.behave(Manner::HoldBack);
    let dropped = || async {
        (setup.metric("homeostat_monitor_dropped_total{reason=\"outbox_full\"}") >= 2.0).then_some(())
    };
    eventually(DEADLINE, "drops are counted", dropped).await;
    assert_eq!(setup.metric("homeostat_monitor_unacknowledged_batches"), 3.0);
    assert!(setup.metric("homeostat_monitor_unsent_samples") <= 2.0);
    let held_back = setup.analyze.rows(&signal).len();
    assert_eq!(setup.analyze.with(|log| log.batches as usize), held_back);
    // A new stream frees the window: what was not acknowledged comes again, then the newest ticks.
    break_stream(&setup).await;
    let times = || setup.analyze.rows(&signal).iter().map(|row| row.at_ms).collect::<Vec<_>>();
    let newest = setup.ctx.clock.now().as_millisecond();
    eventually(DEADLINE, "new rows", || async {
        times().last().is_some_and(|at| *at > newest).then_some(())
    })
    .await;
    let distinct: BTreeSet<_> = times().into_iter().collect();
    assert!(distinct.len() > held_back);
    setup.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn what_was_not_acknowledged_is_sent_again_on_the_next_stream() {
    let (setup, _target, signal) = start(|_| {}).await;
    setup.analyze.behave(Manner::HoldBack);
    let before = setup.analyze.rows(&signal).len();
    let more = || async { (setup.analyze.rows(&signal).len() >= before + 3).then_some(()) };
    eventually(DEADLINE, "rows held back", more).await;
    let held_back = setup.analyze.rows(&signal).last().unwrap().at_ms;
    break_stream(&setup).await;
    let again = || async {
        let times: Vec<_> = setup.analyze.rows(&signal).iter().map(|row| row.at_ms).collect();
        (times.iter().filter(|at| **at == held_back).count() >= 2).then_some(())
    };
    eventually(DEADLINE, "the row comes again", again).await;
    setup.stop().await;
}
