//! Resources that were ever seen.

use sqlx::PgPool;

use super::LedgerTx;
use crate::store::Error;

/// Listed at most: 100,000 of about 100 bytes stay below the largest message of 16 MiB.
const LISTED: i64 = 100_000;

/// Remembers that these exist.
pub(crate) async fn seen(tx: &mut LedgerTx, mut ids: Vec<String>) -> Result<(), Error> {
    ids.sort_unstable();
    ids.dedup();
    if ids.is_empty() {
        return Ok(());
    }
    let now = tx.now().as_millisecond();
    sqlx::query!(
        "insert into resource (id, seen_at) select id, from_unix_ms($2::bigint) from unnest($1::text[]) as r (id)
         on conflict do nothing",
        &ids,
        now,
    )
    .execute(tx.connection())
    .await
    .map_err(Error::sql("remember resources"))?;
    Ok(())
}

/// All of them, by their text form.
pub(crate) async fn list(pool: &PgPool) -> Result<Vec<String>, Error> {
    sqlx::query_scalar!("select id from resource order by id limit $1", LISTED)
        .fetch_all(pool)
        .await
        .map_err(Error::sql("list resources"))
}
