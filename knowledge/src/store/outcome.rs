//! Verdicts on applied directives.

use prost::Message;
use proto::{model::Outcome, wire};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::decode;
use crate::store::Error;

/// Stores verdicts; the same one again changes nothing.
pub(crate) async fn insert(connection: &mut PgConnection, outcomes: &[&Outcome]) -> Result<(), Error> {
    let (mut ids, mut at, mut results, mut bodies) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for outcome in outcomes {
        ids.push(outcome.directive_id);
        at.push(outcome.at.as_millisecond());
        results.push(outcome.result.to_string());
        bodies.push(wire::Outcome::from(Outcome::clone(outcome)).encode_to_vec());
    }
    if ids.is_empty() {
        return Ok(());
    }
    sqlx::query!(
        "insert into outcome (directive_id, at, result, body)
         select directive_id, from_unix_ms(at), result, body
         from unnest($1::uuid[], $2::bigint[], $3::text[], $4::bytea[]) as o (directive_id, at, result, body)
         on conflict do nothing",
        &ids,
        &at,
        &results,
        &bodies,
    )
    .execute(connection)
    .await
    .map_err(Error::sql("store outcomes"))?;
    Ok(())
}

/// Newest first; of one directive or of all.
pub(crate) async fn list(
    pool: &PgPool,
    directive: Option<Uuid>,
    limit: i64,
) -> Result<Vec<wire::Outcome>, Error> {
    let bodies = match directive {
        Some(directive) => {
            sqlx::query_scalar!(
                "select body from outcome where directive_id = $1 order by at desc limit $2",
                directive,
                limit,
            )
            .fetch_all(pool)
            .await
        }
        None => {
            sqlx::query_scalar!("select body from outcome order by at desc limit $1", limit)
                .fetch_all(pool)
                .await
        }
    };
    bodies.map_err(Error::sql("list outcomes"))?.iter().map(|body| decode("outcome", body)).collect()
}
