//! Saved learner state. Outside the ledger: blocks of megabytes must not stand before a directive.

use proto::wire;
use sqlx::PgPool;

use super::unsigned;
use crate::store::Error;

/// Stores all or none.
pub(crate) async fn save(pool: &PgPool, snapshots: Vec<wire::Snapshot>) -> Result<(), Error> {
    let failed = Error::sql("store snapshots");
    let mut tx = pool.begin().await.map_err(&failed)?;
    for snapshot in snapshots {
        sqlx::query!(
            "insert into snapshot (key, format, at, body) values ($1, $2, from_unix_ms($3::bigint), $4)
             on conflict (key) do update set format = excluded.format, at = excluded.at, body = excluded.body",
            snapshot.key,
            i64::from(snapshot.format),
            snapshot.at_unix_ms,
            snapshot.body,
        )
        .execute(&mut *tx)
        .await
        .map_err(&failed)?;
    }
    tx.commit().await.map_err(&failed)
}

/// The next snapshot by key after `after`, whose key has this prefix.
pub(crate) async fn next(
    pool: &PgPool,
    prefix: &str,
    after: Option<&str>,
) -> Result<Option<wire::Snapshot>, Error> {
    let row = sqlx::query!(
        r#"select key, format, unix_ms(at) as "at!", body from snapshot
           where key >= $1 and starts_with(key, $1) and ($2::text is null or key > $2)
           order by key limit 1"#,
        prefix,
        after,
    )
    .fetch_optional(pool)
    .await
    .map_err(Error::sql("read snapshots"))?;
    Ok(row.map(|row| wire::Snapshot {
        key: row.key,
        format: u32::try_from(unsigned(row.format)).unwrap_or(u32::MAX),
        body: row.body,
        at_unix_ms: row.at,
    }))
}
