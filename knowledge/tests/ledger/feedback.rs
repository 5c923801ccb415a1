//! Feedback signals, outcomes and snapshots.

use super::support::{Lab, lab, millis};
use jiff::Timestamp;
use proto::model::{FeedbackLoop, FeedbackSignal, Outcome, OutcomeResult};
use proto::wire::Snapshot;
use std::time::Duration;

fn signals(lab: &Lab, count: usize) -> Vec<FeedbackSignal> {
    let (directive, now) = (lab.ctx.uuid(), lab.ctx.clock.now().as_millisecond());
    let one = |n: usize| FeedbackSignal {
        id: lab.ctx.uuid(),
        feedback_loop: FeedbackLoop::DecisionQuality,
        resource: "service:staging/catalog".parse().unwrap(),
        directive_id: Some(directive),
        name: "promise_error_ratio".to_owned(),
        value: n as f64,
        at: Timestamp::from_millisecond(now + n as i64).unwrap(),
    };
    (0..count).map(one).collect()
}

#[tokio::test]
async fn signal_is_stored_once_and_each_request_is_told_what_was_new() {
    let lab = lab().await;
    let sent = signals(&lab, 100);
    assert_eq!(lab.knowledge.record_feedback(sent.clone()).await.unwrap(), 100);
    let (repeat, more) = tokio::join!(
        lab.knowledge.record_feedback(sent[..40].to_vec()),
        lab.knowledge.record_feedback([&sent[50..], &signals(&lab, 7)].concat()),
    );
    assert_eq!((repeat.unwrap(), more.unwrap()), (0, 7));
    let newest = lab.knowledge.list_feedback(sent[0].directive_id, 2).await.unwrap();
    assert_eq!(newest, [sent[99].clone(), sent[98].clone()]);
    assert_eq!(lab.knowledge.list_feedback(None, 10_000).await.unwrap().len(), 107);
    assert_eq!(lab.number("select value from revision").await, 0, "feedback is not in the change feed");
}

#[tokio::test]
async fn too_many_signals_are_refused_whole() {
    let lab = lab().await;
    let refused = lab.knowledge.record_feedback(signals(&lab, 10_001)).await.unwrap_err();
    assert_eq!(refused.code(), Some(tonic::Code::InvalidArgument));
    assert!(lab.knowledge.list_feedback(None, 0).await.unwrap().is_empty());
}

#[tokio::test]
async fn bad_signal_does_not_take_other_requests_down() {
    let lab = lab().await;
    let bad = FeedbackSignal { name: "\0".to_owned(), ..signals(&lab, 1).remove(0) };
    let good = (0..20).map(|_| lab.knowledge.record_feedback(signals(&lab, 10)));
    let (bad, good) =
        tokio::join!(lab.knowledge.record_feedback(vec![bad]), futures::future::try_join_all(good));
    assert_eq!(bad.unwrap_err().code(), Some(tonic::Code::InvalidArgument));
    assert_eq!(good.unwrap(), [10; 20]);
}

#[tokio::test]
async fn outcome_is_stored_once_and_read_back() {
    let lab = lab().await;
    let outcome = Outcome {
        directive_id: lab.ctx.uuid(),
        result: OutcomeResult::Verified,
        text: "latency fell as promised".to_owned(),
        effects: Vec::new(),
        at: millis(lab.ctx.clock.now()),
        decided_to_applied: Duration::from_millis(1_200),
        applied_to_verdict: Duration::from_secs(30),
    };
    for _ in 0..2 {
        lab.knowledge.record_outcomes(vec![outcome.clone()]).await.unwrap();
    }
    assert_eq!(lab.knowledge.list_outcomes(Some(outcome.directive_id), 0).await.unwrap(), [outcome]);
    assert!(lab.knowledge.list_outcomes(Some(lab.ctx.uuid()), 0).await.unwrap().is_empty());
}

#[tokio::test]
async fn snapshot_replaces_the_one_under_its_key_and_is_found_by_prefix() {
    let lab = lab().await;
    let snapshot = |key: &str, byte: u8| Snapshot {
        key: key.into(),
        format: 1,
        body: vec![byte; 3_000_000],
        at_unix_ms: 7,
    };
    let keys = ["analyze/1/0", "analyze/1/1", "analyze/10/0", "analyze/1%/0"];
    for key in keys {
        lab.knowledge.save_snapshots(vec![snapshot(key, 1)]).await.unwrap();
    }
    lab.knowledge.save_snapshots(vec![snapshot("analyze/1/1", 2)]).await.unwrap();
    let loaded = lab.knowledge.load_snapshots("analyze/1/").await.unwrap();
    assert_eq!(loaded, [snapshot("analyze/1/0", 1), snapshot("analyze/1/1", 2)]);
    assert_eq!(lab.knowledge.load_snapshots("").await.unwrap().len(), 4);
}
