//! Learned thresholds through the API; the rules themselves are tested beside them.

use super::support::{Lab, lab, millis};
use proto::client::{ChangeEvent, ThresholdDecision};
use proto::model::{Threshold, ThresholdReview, ThresholdState, yaml};

use ThresholdState::{Active, Pinned, Proposed, Superseded};

const LOAD: &str = "service:staging/catalog#load";

fn learned(lab: &Lab, signal: &str, generation: u64) -> Threshold {
    Threshold {
        signal: signal.parse().unwrap(),
        generation,
        state: ThresholdState::Learning,
        method: "quantile+exponential-tail".to_owned(),
        residual_lower: -1.0 - generation as f64,
        residual_upper: 1.0 + generation as f64,
        level: 10.0,
        scale: 1.0,
        samples: 1_000,
        coverage_ratio: 0.999,
        false_alarm_probability: 1e-5,
        evidence_from: None,
        evidence_to: None,
        created_at: millis(lab.ctx.clock.now()),
        pinned_lower: None,
        pinned_upper: None,
        reviewed_by: String::new(),
        reason: String::new(),
    }
}

fn decision(review: ThresholdReview) -> ThresholdDecision {
    ThresholdDecision {
        signal: LOAD.parse().unwrap(),
        review,
        generation: 0,
        lower: None,
        upper: None,
        reviewer: "ada".to_owned(),
        reason: "known peak".to_owned(),
    }
}

async fn states(lab: &Lab) -> Vec<(u64, ThresholdState)> {
    let mut history = lab.knowledge.threshold_history(LOAD.parse().unwrap(), 0).await.unwrap();
    history.reverse();
    history.into_iter().map(|version| (version.generation, version.state)).collect()
}

#[tokio::test]
async fn recording_is_idempotent_and_keeps_every_version() {
    let lab = lab().await;
    let first = learned(&lab, LOAD, 1);
    let stored = lab.knowledge.record_thresholds(vec![first.clone()]).await.unwrap();
    assert_eq!(stored, [Threshold { state: Active, ..first.clone() }]);
    assert_eq!(lab.knowledge.record_thresholds(vec![first]).await.unwrap(), stored);
    let both = vec![learned(&lab, LOAD, 2), learned(&lab, LOAD, 3)];
    lab.knowledge.record_thresholds(both).await.unwrap();
    assert_eq!(states(&lab).await, [(1, Superseded), (2, Superseded), (3, Active)]);
}

#[tokio::test]
async fn policy_that_requires_review_holds_a_new_version_back_until_it_is_approved() {
    let lab = lab().await;
    let policy = "kind: Policy\nmetadata: { name: p, namespace: staging }\n\
                  spec: { service: catalog, autonomy: observe, review: required }";
    lab.knowledge.apply(yaml::read(policy).unwrap()).await.unwrap();
    let edge = "edge:staging/catalog->inventory#load";
    for generation in 1..=2 {
        let both = vec![learned(&lab, LOAD, generation), learned(&lab, edge, generation)];
        lab.knowledge.record_thresholds(both).await.unwrap();
    }
    assert_eq!(states(&lab).await, [(1, Active), (2, Proposed)]);
    let page = lab.knowledge.list_thresholds("edge:", true, "").await.unwrap();
    let edge_states: Vec<_> = page.thresholds.iter().map(|version| version.state).collect();
    assert_eq!(edge_states, [Active, Proposed], "an edge follows its caller's policy");
    let approved = lab.knowledge.review_threshold(decision(ThresholdReview::Approve)).await.unwrap();
    assert_eq!((approved.generation, approved.state, approved.reviewed_by.as_str()), (2, Active, "ada"));
    assert_eq!(states(&lab).await, [(1, Superseded), (2, Active)]);
    let again = lab.knowledge.review_threshold(decision(ThresholdReview::Approve)).await.unwrap_err();
    assert_eq!(again.code(), Some(tonic::Code::NotFound));
}

#[tokio::test]
async fn pinned_limits_stay_in_force_whatever_is_learned_until_unpinned() {
    let lab = lab().await;
    lab.knowledge.record_thresholds(vec![learned(&lab, LOAD, 1)]).await.unwrap();
    let numbers = ThresholdDecision { lower: Some(5.0), upper: Some(50.0), ..decision(ThresholdReview::Pin) };
    let pinned = lab.knowledge.review_threshold(numbers).await.unwrap();
    assert_eq!((pinned.generation, pinned.band(10.0)), (2, (5.0, 50.0)));
    lab.knowledge.record_thresholds(vec![learned(&lab, LOAD, 3)]).await.unwrap();
    assert_eq!(states(&lab).await, [(1, Superseded), (2, Pinned), (3, Superseded)]);
    let back = lab.knowledge.review_threshold(decision(ThresholdReview::Unpin)).await.unwrap();
    assert_eq!((back.generation, back.state), (3, Active));
    assert_eq!(states(&lab).await, [(1, Superseded), (2, Superseded), (3, Active)]);
    let half = ThresholdDecision { lower: Some(5.0), ..decision(ThresholdReview::Pin) };
    let refused = lab.knowledge.review_threshold(half).await.unwrap_err();
    assert_eq!(refused.code(), Some(tonic::Code::InvalidArgument));
}

#[tokio::test]
async fn pages_hold_whole_signals_and_follow_one_another() {
    let lab = lab().await;
    let signals: Vec<String> = (0..5).map(|n| format!("service:staging/s{n}#load")).collect();
    for generation in 1..=2 {
        let versions = signals.iter().map(|signal| learned(&lab, signal, generation)).collect();
        lab.knowledge.record_thresholds(versions).await.unwrap();
    }
    let page = |after: String| {
        let request = proto::wire::ListThresholdsRequest {
            signal_prefix: "service:staging/".to_owned(),
            current_only: false,
            page_size: 2,
            after_signal: after,
        };
        let mut client = lab.knowledge.raw();
        async move { client.list_thresholds(request).await.unwrap().into_inner() }
    };
    let (mut seen, mut after) = (Vec::new(), String::new());
    loop {
        let reply = page(after).await;
        let versions: Vec<Threshold> =
            reply.thresholds.into_iter().map(|version| version.try_into().unwrap()).collect();
        after = versions.last().unwrap().signal.to_string();
        seen.extend(versions.into_iter().map(|version| (version.signal.to_string(), version.generation)));
        if !reply.more {
            break;
        }
    }
    let expect: Vec<_> = signals.into_iter().flat_map(|signal| [(signal.clone(), 1), (signal, 2)]).collect();
    assert_eq!(seen, expect);
}

#[tokio::test]
async fn every_version_that_changed_is_in_the_feed() {
    let lab = lab().await;
    lab.knowledge.record_thresholds(vec![learned(&lab, LOAD, 1)]).await.unwrap();
    lab.knowledge.record_thresholds(vec![learned(&lab, LOAD, 2)]).await.unwrap();
    let mut changes = lab.knowledge.watch_changes(0).await.unwrap();
    for expect in [(1, Active), (1, Superseded), (2, Active)] {
        let change = changes.next().await.unwrap().unwrap();
        let ChangeEvent::Threshold(version) = change.event else { panic!("{change:?}") };
        assert_eq!((version.generation, version.state), expect);
    }
}
