//! What policies have earned, through the API, on a real Postgres.

use super::support::{Lab, database, lab, millis, start};
use proto::client::{ProposeVerdict, Standings};
use proto::model::{
    AutonomyLevel, Declared, Directive, DirectiveState, EvidenceSource, EvidenceVerdict, Standing,
    StandingCause, StandingEvidence, yaml,
};
use sqlx::postgres::PgConnectOptions;

async fn standings(database: PgConnectOptions) -> Lab<Standings> {
    start(database, Standings::new).await
}

impl Lab<Standings> {
    fn change(&self, generation: u64, earned: AutonomyLevel) -> Standing {
        Standing {
            policy: "catalog".to_owned(),
            resource: "service:staging/catalog".parse().unwrap(),
            generation,
            earned,
            cap: None,
            cause: StandingCause::Demoted,
            reason: "it did harm".to_owned(),
            actor: "plan".to_owned(),
            at: millis(self.ctx.clock.now()),
        }
    }

    fn evidence(&self, subject: &str) -> StandingEvidence {
        StandingEvidence {
            policy: "catalog".to_owned(),
            resource: "service:staging/catalog".parse().unwrap(),
            source: EvidenceSource::Outcome,
            subject: subject.to_owned(),
            verdict: EvidenceVerdict::Harm,
            text: "more requests failed".to_owned(),
            at: millis(self.ctx.clock.now()),
        }
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_changes_at_once_one_is_refused_and_told_the_other() {
    let lab = standings(database().await).await;
    let (first, second) = (lab.change(1, AutonomyLevel::Approve), lab.change(1, AutonomyLevel::Recommend));
    assert_eq!(lab.knowledge.record(first.clone()).await.unwrap(), (true, first.clone()));
    assert_eq!(lab.knowledge.record(second).await.unwrap(), (false, first.clone()));
    let gap = lab.change(3, AutonomyLevel::Act);
    assert_eq!(lab.knowledge.record(gap).await.unwrap(), (false, first));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_change_is_listed_and_all_are_told_after_a_restart() {
    let lab = standings(database().await).await;
    let changes = [lab.change(1, AutonomyLevel::Approve), lab.change(2, AutonomyLevel::Recommend)];
    for change in changes.clone() {
        assert!(lab.knowledge.record(change).await.unwrap().0);
    }
    let edge = Standing {
        resource: "edge:staging/catalog->inventory".parse().unwrap(),
        ..lab.change(1, AutonomyLevel::Observe)
    };
    assert!(lab.knowledge.record(edge.clone()).await.unwrap().0);
    lab.ctx.stopper.stop();
    let lab = standings(lab.database.clone()).await;
    assert_eq!(lab.knowledge.list().await.unwrap(), [edge, changes[1].clone()]);
    let [older, newer] = changes;
    let resource = older.resource.clone();
    assert_eq!(lab.knowledge.history("catalog", &resource, 0).await.unwrap(), [newer, older]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_must_say_why() {
    let lab = standings(database().await).await;
    let silent = Standing {
        cause: StandingCause::Set,
        reason: " ".to_owned(),
        actor: "ann".to_owned(),
        ..lab.change(1, AutonomyLevel::Act)
    };
    let refused = lab.knowledge.record(silent).await.unwrap_err();
    assert!(chassis::chain(&refused).contains("reason"), "{}", chassis::chain(&refused));
    assert!(lab.knowledge.list().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn evidence_is_told_once_and_the_oldest_goes() {
    let lab = standings(database().await).await;
    assert_eq!(lab.knowledge.record_evidence(vec![lab.evidence("a"), lab.evidence("b")]).await.unwrap(), 2);
    assert_eq!(lab.knowledge.record_evidence(vec![lab.evidence("a")]).await.unwrap(), 0);
    let mut older = lab.evidence("old");
    older.at = jiff::Timestamp::UNIX_EPOCH;
    assert_eq!(lab.knowledge.record_evidence(vec![older]).await.unwrap(), 1);
    let many = (0..1_000).map(|n| lab.evidence(&format!("many {n}"))).collect();
    assert_eq!(lab.knowledge.record_evidence(many).await.unwrap(), 1_000);
    let found = lab.knowledge.evidence("catalog", None, 10_000).await.unwrap();
    assert!(found.iter().all(|evidence| evidence.subject != "old"), "the oldest has gone");
    assert!(found.len() >= 1_000, "{}", found.len());
    let resource = "service:staging/other".parse().unwrap();
    assert!(lab.knowledge.evidence("", Some(&resource), 0).await.unwrap().is_empty());
}

fn policy(autonomy: AutonomyLevel) -> Vec<Declared> {
    let policy = format!(
        "kind: Policy\nmetadata: {{ name: shop, namespace: staging }}\n\
         spec: {{ service: catalog, autonomy: {autonomy}, scale: {{ minimum: 1, maximum: 6 }} }}"
    );
    yaml::read(&policy).unwrap()
}

#[tokio::test(flavor = "multi_thread")]
async fn nothing_is_taken_above_the_level_that_is_declared_earned_and_allowed() {
    use AutonomyLevel::{Act, Approve, Observe, Recommend};
    let ledger = lab().await;
    // Another instance on the same database.
    let standings = self::standings(ledger.database.clone()).await;
    ledger.knowledge.apply(policy(Approve)).await.unwrap();
    let earns = |resource: &str, earned, cap| Standing {
        policy: "shop".to_owned(),
        resource: resource.parse().unwrap(),
        cap,
        ..standings.change(1, earned)
    };
    for standing in
        [earns("service:staging/poor", Recommend, None), earns("service:staging/capped", Act, Some(Observe))]
    {
        assert!(standings.knowledge.record(standing).await.unwrap().0);
    }
    for (resource, level, taken) in [
        ("service:staging/catalog", Act, false),
        ("service:staging/catalog", Approve, true),
        ("service:staging/poor", Approve, false),
        ("service:staging/poor", Recommend, true),
        ("service:staging/capped", Approve, false),
        // Its Policy is another's.
        ("service:elsewhere/catalog", Act, true),
    ] {
        let directive = Directive { autonomy: level, ..ledger.directive(resource, 0) };
        match ledger.knowledge.propose(directive).await {
            Ok(answer) => {
                assert!(taken && answer.verdict == ProposeVerdict::Accepted, "{level} at {resource}")
            }
            Err(refusal) => {
                let told = chassis::chain(&refusal);
                assert!(!taken && told.contains("policy shop may"), "{level} at {resource}: {told}");
            }
        }
    }
    assert_eq!(ledger.number("select count(*) from directive").await, 3);
}

#[tokio::test(flavor = "multi_thread")]
async fn what_a_policy_did_is_taken_back_after_it_was_demoted_for_it() {
    use DirectiveState::{Accepted, Applied, Delivered, Issued, Verifying};
    const CATALOG: &str = "service:staging/catalog";
    let ledger = lab().await;
    let standings = self::standings(ledger.database.clone()).await;
    ledger.knowledge.apply(policy(AutonomyLevel::Act)).await.unwrap();
    let harmful = ledger.directive(CATALOG, 0);
    ledger.knowledge.propose(harmful.clone()).await.unwrap();
    ledger.walk(harmful.id, &[Issued, Delivered, Accepted, Applied, Verifying]).await;
    let demoted = Standing { policy: "shop".to_owned(), ..standings.change(1, AutonomyLevel::Observe) };
    assert!(standings.knowledge.record(demoted).await.unwrap().0);
    let again = ledger.directive(CATALOG, 1);
    assert!(ledger.knowledge.propose(again.clone()).await.is_err());
    let of_nothing = Directive { undo_of: Some(again.id), ..ledger.directive(CATALOG, 1) };
    assert!(ledger.knowledge.propose(of_nothing).await.is_err(), "what was never stored is no excuse");
    let elsewhere =
        Directive { undo_of: Some(harmful.id), ..ledger.directive("service:staging/inventory", 0) };
    let of_another = Standing {
        policy: "shop".to_owned(),
        resource: elsewhere.resource.clone(),
        ..standings.change(1, AutonomyLevel::Observe)
    };
    assert!(standings.knowledge.record(of_another).await.unwrap().0);
    assert!(ledger.knowledge.propose(elsewhere).await.is_err(), "it stands at another resource");
    let undo = Directive { undo_of: Some(harmful.id), ..ledger.directive(CATALOG, 1) };
    assert_eq!(ledger.knowledge.propose(undo).await.unwrap().verdict, ProposeVerdict::Accepted);
}
