//! Knowledge away: nothing is acknowledged that could be forgotten, and nothing is forgotten that was acknowledged.

use std::time::Duration;

use chassis::testing::eventually;
use execute::testing::{Fault, Stage, When, actuator, id, scale};
use proto::client::{Report, ReportDisposition, ReportResult};
use proto::model::{DirectiveState, Generation};
use tonic::Code;

use super::{SOON, dated, reaches};

fn applied(attempt: u32) -> Report {
    Report {
        directive_id: id(1),
        attempt,
        generation: Generation(1),
        result: ReportResult::Applied,
        detail: String::new(),
        before: Vec::new(),
        after: Vec::new(),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn report_is_answered_only_when_it_is_durable() {
    let dir = tempfile::tempdir().unwrap();
    let mut stage = Stage::start(1, dir.path()).await;
    stage.config.report_wait = Duration::from_millis(300);
    stage.stop().await;
    stage.run().await;
    let client = stage.client();
    let lease = client.register(actuator("a", "1")).await.unwrap().lease;
    let mut stream = client.subscribe(&lease, 0).await.unwrap();
    stage.knowledge.propose(dated(&stage, 1, 0, scale(1, 2)));
    tokio::time::timeout(SOON, stream.next()).await.unwrap().unwrap().unwrap();
    reaches(&stage.knowledge, id(1), DirectiveState::Delivered).await;
    stage.knowledge.set_down(true);
    let deferred = client.report(&lease, applied(1)).await.unwrap_err();
    assert_eq!(deferred.code(), Some(Code::Unavailable));
    assert_eq!(stage.knowledge.state(id(1)), Some(DirectiveState::Delivered));
    stage.knowledge.set_down(false);
    let answered = || async { client.report(&lease, applied(1)).await.ok() };
    let answer = eventually(SOON, "the report is answered", answered).await;
    assert_eq!(answer.disposition, ReportDisposition::Duplicate, "it was taken in before");
    assert_eq!(stage.knowledge.state(id(1)), Some(DirectiveState::Verifying));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn report_that_a_crash_swallowed_counts_when_it_comes_again() {
    let dir = tempfile::tempdir().unwrap();
    let mut stage = Stage::start(2, dir.path()).await;
    let client = stage.client();
    let lease = client.register(actuator("a", "1")).await.unwrap().lease;
    let mut stream = client.subscribe(&lease, 0).await.unwrap();
    stage.knowledge.propose(dated(&stage, 1, 0, scale(1, 2)));
    tokio::time::timeout(SOON, stream.next()).await.unwrap().unwrap().unwrap();
    reaches(&stage.knowledge, id(1), DirectiveState::Delivered).await;
    stage.knowledge.set_latency(Duration::from_secs(3_600));
    let before = stage.knowledge.calls("RecordTransitions");
    let being_written = || async { (stage.knowledge.calls("RecordTransitions") > before).then_some(()) };
    tokio::select! {
        answer = client.report(&lease, applied(1)) => panic!("answered before it was durable: {answer:?}"),
        () = eventually(SOON, "the report is being written", being_written) => {}
    }
    stage.crash().await;
    stage.knowledge.set_latency(Duration::ZERO);
    stage.run().await;
    let client = stage.client();
    let answered = || async { client.report(&lease, applied(1)).await.ok() };
    let answer = eventually(SOON, "the report is answered", answered).await;
    assert_eq!(answer.disposition, ReportDisposition::Recorded);
    assert_eq!(stage.knowledge.state(id(1)), Some(DirectiveState::Verifying));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lost_compare_and_set_is_told_to_the_actuator() {
    let dir = tempfile::tempdir().unwrap();
    let stage = Stage::start(3, dir.path()).await;
    let client = stage.client();
    let lease = client.register(actuator("a", "1")).await.unwrap().lease;
    let mut stream = client.subscribe(&lease, 0).await.unwrap();
    // The ledger moves on before Execute's next group of steps arrives, and Execute does not hear of it in time.
    stage.knowledge.fail_next(Fault { call: "RecordTransitions", when: When::Before, skip: 0 });
    stage.knowledge.propose(dated(&stage, 1, 0, scale(1, 2)));
    tokio::time::timeout(SOON, stream.next()).await.unwrap().unwrap().unwrap();
    let record = stage.knowledge.directive(id(1)).unwrap();
    stage.knowledge.step(proto::model::Transition {
        directive_id: id(1),
        from: record.state,
        to: DirectiveState::Failed,
        at: stage.ctx.clock.now(),
        actor: "someone".to_owned(),
        detail: String::new(),
        attempt: 0,
        before: Vec::new(),
        after: Vec::new(),
    });
    let answer = client.report(&lease, applied(1)).await.unwrap();
    assert_eq!(
        (answer.disposition, answer.state),
        (ReportDisposition::TooLate, Some(DirectiveState::Failed))
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn directive_of_another_generation_or_none_is_not_reported_on() {
    let dir = tempfile::tempdir().unwrap();
    let stage = Stage::start(4, dir.path()).await;
    let client = stage.client();
    let lease = client.register(actuator("a", "1")).await.unwrap().lease;
    let missing = client.report(&lease, applied(1)).await.unwrap_err();
    assert_eq!(missing.code(), Some(Code::NotFound));
    stage.knowledge.propose(dated(&stage, 1, 0, scale(1, 2)));
    let other = Report { generation: Generation(9), ..applied(1) };
    let answer = client.report(&lease, other).await.unwrap();
    assert_eq!(answer.disposition, ReportDisposition::TooLate);
    let unspecified = Report { result: ReportResult::Unspecified, ..applied(1) };
    assert_eq!(client.report(&lease, unspecified).await.unwrap_err().code(), Some(Code::InvalidArgument));
}
