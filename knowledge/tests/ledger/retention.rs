//! What is no longer kept is deleted from the old end, and only that.

use super::support::{config, lab};
use chassis::Context;
use chassis::testing::eventually;
use knowledge::retention::Retention;
use proto::model::{DirectiveState, FeedbackLoop, FeedbackSignal};
use std::time::Duration;

use DirectiveState::{Issued, Refused};

#[tokio::test]
async fn old_rows_are_deleted_and_counted_and_the_rest_stays() {
    let lab = lab().await;
    let names = (0..600).map(|n| format!("service:staging/s{n}"));
    let directives: Vec<_> = names.map(|name| lab.directive(&name, 0)).collect();
    futures::future::try_join_all(directives.iter().map(|d| lab.knowledge.propose(d.clone()))).await.unwrap();
    for directive in &directives[..500] {
        lab.walk(directive.id, &[Issued, Refused]).await;
    }
    let signal = |at: &str| FeedbackSignal {
        id: lab.ctx.uuid(),
        feedback_loop: FeedbackLoop::MetricsLearning,
        resource: "service:staging/catalog".parse().unwrap(),
        directive_id: None,
        name: "coverage_ratio".to_owned(),
        value: 1.0,
        at: at.parse().unwrap(),
    };
    let now = lab.ctx.clock.now().to_string();
    lab.knowledge.record_feedback(vec![signal("2020-01-01T00:00:00Z"), signal(&now)]).await.unwrap();
    sqlx::query("update transition set at = at - interval '1 year' where revision <= 700")
        .execute(&mut lab.sql().await)
        .await
        .unwrap();

    for (day, objective) in [("2020-01-01", "shop/old"), (now.as_str(), "shop/new")] {
        let span = format!(
            "insert into budget_span values ('{objective}', '{day}', 3600000, 1, 10, 1, 3600000, false, now())"
        );
        let event = format!(
            "insert into objective_event values (gen_random_uuid(), '{objective}', '{day}', 'reset', '', '')"
        );
        for row in [span, event] {
            sqlx::query(sqlx::AssertSqlSafe(row)).execute(&mut lab.sql().await).await.unwrap();
        }
    }
    let keep = Retention { changes: 1_000, changes_age: Duration::ZERO, ..Retention::default() };
    let ctx = Context::system();
    let pruned = knowledge::Config { retention: keep, ..config(&lab.database) };
    knowledge::start(pruned, ctx.clone()).await.unwrap();
    eventually(Duration::from_secs(20), "old rows are deleted", || async {
        let left = [
            lab.number("select count(*) from change").await,
            lab.number("select count(*) from feedback").await,
            lab.number("select count(*) from transition").await,
            lab.number("select count(*) from budget_span").await,
            lab.number("select count(*) from objective_event").await,
        ];
        (left == [1_000, 1, 400, 1, 1]).then_some(())
    })
    .await;
    assert_eq!(lab.number("select min(revision) from change").await, 101, "from the old end, without a gap");
    assert_eq!(lab.number("select count(*) from directive").await, 600);
    let text = chassis::metrics::text(&ctx.metrics);
    assert!(text.contains(r#"homeostat_knowledge_pruned_rows_total{table="change"} 100"#), "{text}");
    ctx.stopper.stop();
}
