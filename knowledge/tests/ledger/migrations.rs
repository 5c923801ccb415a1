//! A schema that this program does not know is refused, and nothing is written to it.

use super::support::{config, database, lab, on};
use chassis::Context;
use knowledge::StartError;
use sqlx::Connection;

async fn refusal(lab: super::support::Lab, sql: &'static str) -> String {
    sqlx::query(sql).execute(&mut lab.sql().await).await.unwrap();
    let error = knowledge::start(config(&lab.database), Context::system()).await.unwrap_err();
    assert!(matches!(error, StartError::Schema(_)), "{error:?}");
    error.to_string()
}

#[tokio::test]
async fn newer_schema_is_refused() {
    let sql = "insert into _sqlx_migrations values (29991231000000, 'from the future', now(), true, '', 0)";
    let text = refusal(lab().await, sql).await;
    assert!(text.contains("29991231000000") && text.contains("newer release"), "{text}");
}

#[tokio::test]
async fn schema_of_somebody_else_is_refused() {
    let sql = "update _sqlx_migrations set checksum = 'x' where version = (select min(version) from _sqlx_migrations)";
    let text = refusal(lab().await, sql).await;
    assert!(text.contains("something else"), "{text}");
}

#[tokio::test]
async fn instances_that_start_together_bring_one_database_up_to_date() {
    let database = database().await;
    let labs = futures::future::join_all((0..3).map(|_| on(database.clone()))).await;
    assert_eq!(labs[0].number("select count(*) - count(distinct version) from _sqlx_migrations").await, 0);
    for (generation, lab) in labs.iter().enumerate() {
        let directive = lab.directive("service:staging/catalog", 0);
        let answer = lab.knowledge.propose(directive).await.unwrap();
        assert_eq!(answer.generation.0, 1, "proposal {generation} sees the others'");
    }
}

#[tokio::test]
async fn database_that_is_away_is_a_clear_error() {
    let mut config = config(&database().await);
    config.database_url = Some("postgres://nobody@127.0.0.1:1/none".to_owned());
    let error = knowledge::start(config, Context::system()).await.unwrap_err();
    assert_eq!(error.to_string(), "cannot connect to the database");
}

#[tokio::test]
async fn words_in_the_schema_are_those_of_the_model() {
    // The partial indexes and queries name states; a renamed word would silently match nothing.
    let lab = lab().await;
    let mut connection = lab.sql().await;
    let sql =
        "select indexdef from pg_indexes where indexname in ('threshold_in_force', 'threshold_waiting')";
    let definitions: Vec<String> = sqlx::query_scalar(sql).fetch_all(&mut connection).await.unwrap();
    connection.close().await.unwrap();
    use proto::model::ThresholdState;
    for state in [ThresholdState::Active, ThresholdState::Pinned, ThresholdState::Proposed] {
        assert!(
            definitions.iter().any(|text| text.contains(&format!("'{state}'"))),
            "{state}: {definitions:?}"
        );
    }
}
