//! What policies have earned, through the API, on a real Postgres.

use super::support::{config, database, millis};
use chassis::{ClientConfig, Context};
use proto::client::Standings;
use proto::model::{
    AutonomyLevel, EvidenceSource, EvidenceVerdict, Standing, StandingCause, StandingEvidence,
};
use sqlx::postgres::PgConnectOptions;

/// A running Knowledge, which ends with the test, and a client of its standings.
struct Lab {
    ctx: Context,
    client: Standings,
    database: PgConnectOptions,
}

impl Lab {
    async fn start() -> Self {
        Self::on(database().await).await
    }

    async fn on(database: PgConnectOptions) -> Self {
        let ctx = Context::system();
        let handle = knowledge::start(config(&database), ctx.clone()).await.unwrap();
        let channel = chassis::grpc::channel(&ClientConfig::plain(handle.addr)).unwrap();
        Self { ctx, client: Standings::new(channel), database }
    }

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

    /// The next start on the same database.
    async fn restarted(self) -> Self {
        self.ctx.stopper.stop();
        Self::on(self.database.clone()).await
    }
}

impl Drop for Lab {
    fn drop(&mut self) {
        self.ctx.stopper.stop();
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn of_two_changes_at_once_one_is_refused_and_told_the_other() {
    let lab = Lab::start().await;
    let (first, second) = (lab.change(1, AutonomyLevel::Approve), lab.change(1, AutonomyLevel::Recommend));
    assert_eq!(lab.client.record(first.clone()).await.unwrap(), (true, first.clone()));
    assert_eq!(lab.client.record(second).await.unwrap(), (false, first.clone()));
    let gap = lab.change(3, AutonomyLevel::Act);
    assert_eq!(lab.client.record(gap).await.unwrap(), (false, first));
}

#[tokio::test(flavor = "multi_thread")]
async fn the_newest_change_is_listed_and_all_are_told_after_a_restart() {
    let lab = Lab::start().await;
    let changes = [lab.change(1, AutonomyLevel::Approve), lab.change(2, AutonomyLevel::Recommend)];
    for change in changes.clone() {
        assert!(lab.client.record(change).await.unwrap().0);
    }
    let edge = Standing {
        resource: "edge:staging/catalog->inventory".parse().unwrap(),
        ..lab.change(1, AutonomyLevel::Observe)
    };
    assert!(lab.client.record(edge.clone()).await.unwrap().0);
    let lab = lab.restarted().await;
    assert_eq!(lab.client.list().await.unwrap(), [edge, changes[1].clone()]);
    let [older, newer] = changes;
    let resource = older.resource.clone();
    assert_eq!(lab.client.history("catalog", &resource, 0).await.unwrap(), [newer, older]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_person_must_say_why() {
    let lab = Lab::start().await;
    let silent = Standing {
        cause: StandingCause::Set,
        reason: " ".to_owned(),
        actor: "ann".to_owned(),
        ..lab.change(1, AutonomyLevel::Act)
    };
    let refused = lab.client.record(silent).await.unwrap_err();
    assert!(chassis::chain(&refused).contains("reason"), "{}", chassis::chain(&refused));
    assert!(lab.client.list().await.unwrap().is_empty());
}

#[tokio::test(flavor = "multi_thread")]
async fn evidence_is_told_once_and_the_oldest_goes() {
    let lab = Lab::start().await;
    assert_eq!(lab.client.record_evidence(vec![lab.evidence("a"), lab.evidence("b")]).await.unwrap(), 2);
    assert_eq!(lab.client.record_evidence(vec![lab.evidence("a")]).await.unwrap(), 0);
    let mut older = lab.evidence("old");
    older.at = jiff::Timestamp::UNIX_EPOCH;
    assert_eq!(lab.client.record_evidence(vec![older]).await.unwrap(), 1);
    let many = (0..1_000).map(|n| lab.evidence(&format!("many {n}"))).collect();
    assert_eq!(lab.client.record_evidence(many).await.unwrap(), 1_000);
    let found = lab.client.evidence("catalog", None, 10_000).await.unwrap();
    assert!(found.iter().all(|evidence| evidence.subject != "old"), "the oldest has gone");
    assert!(found.len() >= 1_000, "{}", found.len());
    let resource = "service:staging/other".parse().unwrap();
    assert!(lab.client.evidence("", Some(&resource), 0).await.unwrap().is_empty());
}
