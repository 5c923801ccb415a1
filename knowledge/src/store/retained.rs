//! Deleting what is no longer kept, in small steps from the old end, so that no lock is held for long.

use sqlx::PgPool;

use super::signed;
use crate::store::Error;

/// Deletes up to `limit` changes from the old end: up to this revision, and only before the first that is not older than this
/// moment, so that no gap appears even when the clock went back.
pub(crate) async fn prune_changes(
    pool: &PgPool,
    upto: u64,
    before_unix_ms: i64,
    limit: i64,
) -> Result<u64, Error> {
    let done = sqlx::query!(
        "with oldest as (
             select revision, at < from_unix_ms($2::bigint) as old from change
             where revision <= $1 order by revision limit $3
         )
         delete from change where revision < coalesce(
             (select min(revision) from oldest where not old),
             (select max(revision) + 1 from oldest))",
        signed(upto),
        before_unix_ms,
        limit,
    )
    .execute(pool)
    .await
    .map_err(Error::sql("prune the change feed"))?;
    Ok(done.rows_affected())
}

/// Deletes up to `limit` feedback signals older than this moment.
pub(crate) async fn prune_feedback(pool: &PgPool, before_unix_ms: i64, limit: i64) -> Result<u64, Error> {
    let done = sqlx::query!(
        "delete from feedback where id in (
             select id from feedback where at < from_unix_ms($1::bigint) order by at limit $2)",
        before_unix_ms,
        limit,
    )
    .execute(pool)
    .await
    .map_err(Error::sql("prune feedback signals"))?;
    Ok(done.rows_affected())
}

/// Deletes up to `limit` outcomes older than this moment.
pub(crate) async fn prune_outcomes(pool: &PgPool, before_unix_ms: i64, limit: i64) -> Result<u64, Error> {
    let done = sqlx::query!(
        "delete from outcome where (directive_id, at, result) in (
             select directive_id, at, result from outcome where at < from_unix_ms($1::bigint) order by at limit $2)",
        before_unix_ms,
        limit,
    )
    .execute(pool)
    .await
    .map_err(Error::sql("prune outcomes"))?;
    Ok(done.rows_affected())
}

/// Deletes up to `limit` transitions older than this moment, of directives that have come to rest.
pub(crate) async fn prune_transitions(pool: &PgPool, before_unix_ms: i64, limit: i64) -> Result<u64, Error> {
    let done = sqlx::query!(
        "delete from transition where revision in (
             select t.revision
             from (select revision, directive_id, at from transition order by revision limit $2) t
             join directive d on d.id = t.directive_id
             where t.at < from_unix_ms($1::bigint) and not d.open)",
        before_unix_ms,
        limit,
    )
    .execute(pool)
    .await
    .map_err(Error::sql("prune transitions"))?;
    Ok(done.rows_affected())
}

/// Deletes up to `limit` pieces of advice older than this moment that nobody can ask the feed for any more.
pub(crate) async fn prune_advice(pool: &PgPool, before_unix_ms: i64, limit: i64) -> Result<u64, Error> {
    let done = sqlx::query!(
        "delete from directive where id in (
             select d.id from directive d
             where d.created_at < from_unix_ms($1::bigint) and d.generation = 0 and not d.open
                   and d.revision < (select coalesce(min(revision), 0) from change)
             order by d.created_at limit $2)",
        before_unix_ms,
        limit,
    )
    .execute(pool)
    .await
    .map_err(Error::sql("prune advice"))?;
    Ok(done.rows_affected())
}

/// Deletes up to `limit` spans of budgets older than this moment.
pub(crate) async fn prune_budget_spans(pool: &PgPool, before_unix_ms: i64, limit: i64) -> Result<u64, Error> {
    let done = sqlx::query!(
        "delete from budget_span where (objective, at, revision) in (
             select objective, at, revision from budget_span where at < from_unix_ms($1::bigint) limit $2)",
        before_unix_ms,
        limit,
    )
    .execute(pool)
    .await
    .map_err(Error::sql("prune budget spans"))?;
    Ok(done.rows_affected())
}

/// Deletes up to `limit` events of objectives older than this moment.
pub(crate) async fn prune_objective_events(
    pool: &PgPool,
    before_unix_ms: i64,
    limit: i64,
) -> Result<u64, Error> {
    let done = sqlx::query!(
        "delete from objective_event where id in (
             select id from objective_event where at < from_unix_ms($1::bigint) limit $2)",
        before_unix_ms,
        limit,
    )
    .execute(pool)
    .await
    .map_err(Error::sql("prune events of objectives"))?;
    Ok(done.rows_affected())
}
