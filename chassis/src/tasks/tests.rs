//! Tasks that fail in every way, and what their supervisor makes of it.

use std::sync::atomic::{AtomicU32, Ordering};

use super::*;
use crate::testing::eventually;

const SOON: Duration = Duration::from_secs(10);

const FAST: Backoff =
    Backoff { initial: Duration::from_millis(1), factor: 1.0, max: Duration::from_millis(1), jitter: 0.0 };

fn failures(tasks: &Tasks, name: &str) -> u64 {
    tasks.failures.with_label_values(&[name]).get()
}

#[tokio::test]
async fn error_stops_the_process_with_the_whole_chain() {
    let tasks = Tasks::new(Stopper::new());
    tasks.spawn("writer", OnFailure::StopProcess, async {
        Err(anyhow::anyhow!("disk full").context("cannot save"))
    });
    tasks.stopper.stopped().await;
    assert_eq!(tasks.stopper.failure().as_deref(), Some("writer: cannot save: disk full"));
    assert_eq!(failures(&tasks, "writer"), 1);
}

#[tokio::test]
async fn panic_is_caught_counted_and_stops_the_process() {
    let tasks = Tasks::new(Stopper::new());
    tasks.spawn("writer", OnFailure::StopProcess, async { panic!("no {}", "way") });
    tasks.stopper.stopped().await;
    let reason = tasks.stopper.failure().unwrap();
    assert!(reason.starts_with("writer: panicked") && reason.ends_with(": no way"), "{reason}");
    assert_eq!(failures(&tasks, "writer"), 1);
}

#[tokio::test]
async fn failure_that_is_only_logged_leaves_the_process_running() {
    let tasks = Tasks::new(Stopper::new());
    tasks.spawn("gossip", OnFailure::Log, async { panic!("oops") });
    tasks.spawn("gossip", OnFailure::Log, async { anyhow::bail!("oops") });
    assert!(tasks.join(SOON).await.is_empty());
    assert_eq!(failures(&tasks, "gossip"), 2);
    assert!(!tasks.stopper.is_stopped());
}

#[tokio::test]
async fn task_that_ends_well_is_no_failure() {
    let tasks = Tasks::new(Stopper::new());
    tasks.spawn("once", OnFailure::StopProcess, async { Ok(()) });
    assert!(tasks.join(SOON).await.is_empty());
    assert_eq!(failures(&tasks, "once"), 0);
    assert!(!tasks.stopper.is_stopped());
    assert_eq!(format!("{tasks:?}"), "Tasks { running: [], .. }");
}

#[tokio::test]
async fn loop_tries_again_after_errors_and_panics_until_stopped() {
    let tasks = Tasks::new(Stopper::new());
    let rounds = Arc::new(AtomicU32::new(0));
    let counted = rounds.clone();
    tasks.spawn_loop("reader", FAST, move || {
        let round = counted.fetch_add(1, Ordering::SeqCst);
        assert_ne!(round, 0, "the factory itself may panic");
        async move {
            match round {
                1 => panic!("so may its future"),
                2 => anyhow::bail!("or fail"),
                _ => Ok(()),
            }
        }
    });
    let again = || std::future::ready((rounds.load(Ordering::SeqCst) > 5).then_some(()));
    eventually(SOON, "the loop goes on", again).await;
    assert_eq!(failures(&tasks, "reader"), 3);
    tasks.stopper.stop();
    assert!(tasks.join(SOON).await.is_empty());
    let last = rounds.load(Ordering::SeqCst);
    tokio::task::yield_now().await;
    assert_eq!(rounds.load(Ordering::SeqCst), last);
}

#[tokio::test]
async fn loop_that_waits_forever_ends_at_a_stop() {
    let tasks = Tasks::new(Stopper::new());
    tasks.spawn_loop("reader", Backoff::default(), std::future::pending);
    tasks.stopper.stop();
    assert!(tasks.join(SOON).await.is_empty());
}

#[tokio::test]
async fn join_names_and_cuts_off_what_does_not_end() {
    let tasks = Tasks::new(Stopper::new());
    let held = Arc::new(());
    let holds = held.clone();
    tasks.spawn("stuck", OnFailure::StopProcess, async move {
        let _holds = holds;
        std::future::pending().await
    });
    tasks.spawn("quick", OnFailure::StopProcess, async { Ok(()) });
    assert_eq!(tasks.join(Duration::from_millis(50)).await, ["stuck"]);
    eventually(SOON, "the task is dropped", || {
        std::future::ready((Arc::strong_count(&held) == 1).then_some(()))
    })
    .await;
    assert_eq!(failures(&tasks, "stuck"), 0);
}

#[tokio::test]
async fn join_waits_for_tasks_that_tasks_spawn() {
    let tasks = Tasks::new(Stopper::new());
    let done = Arc::new(AtomicU32::new(0));
    let (inner, counted) = (tasks.clone(), done.clone());
    tasks.spawn("outer", OnFailure::Log, async move {
        tokio::task::yield_now().await;
        inner.spawn("inner", OnFailure::Log, async move {
            tokio::task::yield_now().await;
            counted.fetch_add(1, Ordering::SeqCst);
            Ok(())
        });
        Ok(())
    });
    assert!(tasks.join(SOON).await.is_empty());
    assert_eq!(done.load(Ordering::SeqCst), 1);
}
