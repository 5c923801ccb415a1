//! Directives: generations, compare-and-set, repeats, many callers at once.

use super::support::{lab, resource};
use proto::client::{ProposeVerdict, Review};
use proto::model::{AutonomyLevel, Directive, DirectiveState, Generation};

use std::time::Duration;

use DirectiveState::{
    Accepted, Applied, AwaitingApproval, Delivered, Expired, Issued, Proposed, Rejected, Verified, Verifying,
};

const CATALOG: &str = "service:staging/catalog";

#[tokio::test]
async fn accepted_directive_gets_the_next_generation_and_is_read_back_whole() {
    let lab = lab().await;
    let directive = lab.directive(CATALOG, 0);
    let answer = lab.knowledge.propose(directive.clone()).await.unwrap();
    assert_eq!(
        (answer.verdict, answer.generation, answer.state),
        (ProposeVerdict::Accepted, Generation(1), Some(Issued))
    );
    lab.walk(directive.id, &[Issued, Delivered, Accepted, Applied, Verifying, Verified]).await;
    let record = lab.knowledge.get_directive(directive.id).await.unwrap();
    assert_eq!(record.directive, Directive { generation: Generation(1), ..directive });
    assert_eq!(record.state, Verified);
    let states: Vec<_> = record.history.iter().map(|step| step.to).collect();
    assert_eq!(states, [Delivered, Accepted, Applied, Verifying, Verified]);
    assert_eq!(record.revision, answer.revision + 5);
}

#[tokio::test]
async fn proposing_the_same_id_again_tells_what_is_stored() {
    let lab = lab().await;
    let directive = lab.directive(CATALOG, 0);
    lab.knowledge.propose(directive.clone()).await.unwrap();
    lab.walk(directive.id, &[Issued, Delivered]).await;
    let again = lab.knowledge.propose(directive).await.unwrap();
    assert_eq!(
        (again.verdict, again.generation, again.state),
        (ProposeVerdict::AlreadyStored, Generation(1), Some(Delivered))
    );
    assert_eq!(lab.number("select count(*) from directive").await, 1);
}

#[tokio::test]
async fn stale_and_crossing_proposals_are_refused() {
    let lab = lab().await;
    let first = lab.directive(CATALOG, 0);
    lab.knowledge.propose(first.clone()).await.unwrap();
    let crossing = lab.knowledge.propose(lab.directive(CATALOG, 1)).await.unwrap();
    assert_eq!((crossing.verdict, crossing.generation), (ProposeVerdict::UnderWay, Generation(1)));
    assert!(crossing.detail.contains(&first.id.to_string()), "{}", crossing.detail);
    let stale = lab.knowledge.propose(lab.directive(CATALOG, 0)).await.unwrap();
    assert_eq!(
        (stale.verdict, stale.generation, stale.state),
        (ProposeVerdict::StaleGeneration, Generation(1), None)
    );
    lab.walk(first.id, &[Issued, Applied, Verified]).await;
    let next = lab.knowledge.propose(lab.directive(CATALOG, 1)).await.unwrap();
    assert_eq!((next.verdict, next.generation), (ProposeVerdict::Accepted, Generation(2)));
}

#[tokio::test]
async fn advice_consumes_no_generation_and_is_never_issued() {
    let lab = lab().await;
    for autonomy in [AutonomyLevel::Observe, AutonomyLevel::Recommend] {
        let advice = Directive { autonomy, ..lab.directive(CATALOG, 7) };
        let answer = lab.knowledge.propose(advice.clone()).await.unwrap();
        assert_eq!(
            (answer.verdict, answer.generation, answer.state),
            (ProposeVerdict::Accepted, Generation(0), Some(Proposed))
        );
        for to in [Issued, AwaitingApproval] {
            let answers =
                lab.knowledge.record_transitions(vec![lab.step(advice.id, Proposed, to)]).await.unwrap();
            assert!(!answers[0].recorded, "advice went to {to}");
        }
        lab.walk(advice.id, &[Proposed, Expired]).await;
    }
    assert_eq!(lab.number("select count(*) from intent").await, 0);
}

#[tokio::test]
async fn undo_is_taken_while_what_it_takes_back_is_under_way() {
    let lab = lab().await;
    let first = lab.directive(CATALOG, 0);
    lab.knowledge.propose(first.clone()).await.unwrap();
    let undo = Directive { undo_of: Some(first.id), ..lab.directive(CATALOG, 1) };
    let early = lab.knowledge.propose(undo.clone()).await.unwrap();
    assert_eq!(early.verdict, ProposeVerdict::UnderWay, "nothing was applied yet");
    lab.walk(first.id, &[Issued, Applied, Verifying]).await;
    let taken = lab.knowledge.propose(undo.clone()).await.unwrap();
    assert_eq!((taken.verdict, taken.generation), (ProposeVerdict::Accepted, Generation(2)));
    let second = Directive { undo_of: Some(first.id), ..lab.directive(CATALOG, 2) };
    assert_eq!(lab.knowledge.propose(second).await.unwrap().verdict, ProposeVerdict::UnderWay);
}

#[tokio::test]
async fn transition_is_compared_and_a_repeated_one_is_recognised() {
    let lab = lab().await;
    let directive = lab.directive(CATALOG, 0);
    lab.knowledge.propose(directive.clone()).await.unwrap();
    let delivered = lab.step(directive.id, Issued, Delivered);
    let first = lab.knowledge.record_transitions(vec![delivered.clone()]).await.unwrap();
    let again = lab.knowledge.record_transitions(vec![delivered.clone()]).await.unwrap();
    assert_eq!(first, again, "a repeat is answered as the first was");
    let other = proto::model::Transition { attempt: 2, ..delivered };
    let lost = lab.knowledge.record_transitions(vec![other]).await.unwrap();
    assert_eq!((lost[0].recorded, lost[0].state), (false, Some(Delivered)));
    let unknown = lab.step(lab.ctx.uuid(), Issued, Delivered);
    let missing = lab.knowledge.record_transitions(vec![unknown]).await.unwrap();
    assert_eq!((missing[0].recorded, missing[0].state), (false, None));
    assert_eq!(lab.number("select count(*) from transition").await, 1);
}

#[tokio::test]
async fn late_report_does_not_reopen_what_a_newer_directive_replaced() {
    use DirectiveState::Unknown;
    let lab = lab().await;
    let first = lab.directive(CATALOG, 0);
    lab.knowledge.propose(first.clone()).await.unwrap();
    lab.walk(first.id, &[Issued, Delivered, Unknown]).await;
    lab.knowledge.propose(lab.directive(CATALOG, 1)).await.unwrap();
    let late = lab.knowledge.record_transitions(vec![lab.step(first.id, Unknown, Applied)]).await.unwrap();
    assert_eq!((late[0].recorded, late[0].state), (false, Some(Unknown)));
}

#[tokio::test]
async fn person_approves_or_rejects_what_awaits_approval() {
    let lab = lab().await;
    let review = |id, approve| Review { id, approve, reviewer: "ada".into(), reason: "quiet hour".into() };
    for (approve, expect) in [(true, Issued), (false, Rejected)] {
        let name = format!("service:staging/{expect}");
        let directive = Directive { autonomy: AutonomyLevel::Approve, ..lab.directive(&name, 0) };
        let answer = lab.knowledge.propose(directive.clone()).await.unwrap();
        assert_eq!((answer.state, answer.generation), (Some(AwaitingApproval), Generation(1)));
        let record = lab.knowledge.review_directive(review(directive.id, approve)).await.unwrap();
        assert_eq!((record.state, record.detail.as_str()), (expect, "quiet hour"));
        assert_eq!(record.history[0].actor, "ada");
        let again = lab.knowledge.review_directive(review(directive.id, !approve)).await.unwrap_err();
        assert_eq!(again.code(), Some(tonic::Code::FailedPrecondition));
    }
    let nobody = lab.knowledge.review_directive(review(lab.ctx.uuid(), true)).await.unwrap_err();
    assert_eq!(nobody.code(), Some(tonic::Code::NotFound));
}

#[tokio::test]
async fn list_is_newest_first_and_filtered() {
    let lab = lab().await;
    let (a, b) = (lab.directive(CATALOG, 0), lab.directive("service:staging/inventory", 0));
    let b = Directive { created_at: a.created_at + Duration::from_millis(1), ..b };
    for directive in [&a, &b] {
        lab.knowledge.propose(directive.clone()).await.unwrap();
    }
    lab.walk(b.id, &[Issued, Delivered]).await;
    let ids = |list: proto::client::DirectiveList| {
        list.directives.iter().map(|r| r.directive.id).collect::<Vec<_>>()
    };
    assert_eq!(ids(lab.knowledge.list_directives(None, &[], 0).await.unwrap()), [b.id, a.id]);
    assert_eq!(ids(lab.knowledge.list_directives(None, &[], 1).await.unwrap()), [b.id]);
    assert_eq!(ids(lab.knowledge.list_directives(None, &[Issued], 0).await.unwrap()), [a.id]);
    assert_eq!(ids(lab.knowledge.list_directives(Some(resource(CATALOG)), &[], 0).await.unwrap()), [a.id]);
    assert_eq!(lab.knowledge.list_directives(None, &[], 0).await.unwrap().revision, 3);
    let too_many = lab.knowledge.list_directives(None, &[], 10_001).await.unwrap_err();
    assert_eq!(too_many.code(), Some(tonic::Code::InvalidArgument));
}

#[tokio::test]
async fn of_many_at_once_exactly_one_wins_each_generation_across_two_instances() {
    let lab = lab().await;
    let other = super::support::on(lab.database.clone()).await;
    for generation in 0..5 {
        let proposals = (0..40).map(|n| {
            let knowledge = if n % 2 == 0 { &lab.knowledge } else { &other.knowledge };
            knowledge.propose(lab.directive(CATALOG, generation))
        });
        let answers = futures::future::try_join_all(proposals).await.unwrap();
        let won: Vec<_> =
            answers.iter().filter(|answer| answer.verdict == ProposeVerdict::Accepted).collect();
        assert_eq!(won.len(), 1);
        assert_eq!(won[0].generation, Generation(generation + 1));
        assert!(answers.iter().all(|answer| answer.generation == Generation(generation + 1)
            || answer.verdict == ProposeVerdict::StaleGeneration));
        let list = lab.knowledge.list_directives(None, &[Issued], 0).await.unwrap();
        lab.walk(list.directives[0].directive.id, &[Issued, Applied, Verified]).await;
    }
    let gaps = "select max(revision) - count(*) from change";
    assert_eq!(lab.number(gaps).await, 0, "revisions are given out without gaps");
}

#[tokio::test]
async fn bad_row_in_a_group_does_not_take_the_others_down() {
    let lab = lab().await;
    let bad = lab.directive("service:staging/bad", 0);
    lab.knowledge.propose(bad.clone()).await.unwrap();
    // Postgres takes no NUL in a text; the rest of the group is committed all the same.
    let refused = async {
        let detail = "\0".to_owned();
        let step = proto::model::Transition { detail, ..lab.step(bad.id, Issued, Delivered) };
        lab.knowledge.record_transitions(vec![step]).await
    };
    let others = (0..100).map(|n| lab.knowledge.propose(lab.directive(&format!("service:staging/s{n}"), 0)));
    let (refused, others) = tokio::join!(refused, futures::future::try_join_all(others));
    assert_eq!(refused.unwrap_err().code(), Some(tonic::Code::InvalidArgument));
    assert!(others.unwrap().iter().all(|answer| answer.verdict == ProposeVerdict::Accepted));
    assert_eq!(lab.knowledge.get_directive(bad.id).await.unwrap().state, Issued);
}
