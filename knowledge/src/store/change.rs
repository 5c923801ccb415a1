//! The change feed, read back.

use std::sync::Arc;

use proto::wire::{self, change::Change as Event};
use sqlx::{PgConnection, PgPool};

use super::{decode, signed, unsigned};
use crate::store::Error;

/// The ledger's revision now.
pub(crate) async fn revision(connection: &mut PgConnection) -> Result<u64, Error> {
    let value = sqlx::query_scalar!("select value from revision")
        .fetch_one(connection)
        .await
        .map_err(Error::sql("read the revision"))?;
    Ok(unsigned(value))
}

/// The oldest revision that is kept; none when the feed is empty.
pub(crate) async fn oldest(connection: &mut PgConnection) -> Result<Option<u64>, Error> {
    let oldest = sqlx::query_scalar!("select min(revision) from change")
        .fetch_one(connection)
        .await
        .map_err(Error::sql("read the oldest change"))?;
    Ok(oldest.map(unsigned))
}

/// Up to `limit` changes after a revision, oldest first. Whether they follow without a gap is the caller's to check: what was
/// pruned is not there.
pub(crate) async fn after(pool: &PgPool, revision: u64, limit: i64) -> Result<Vec<Arc<wire::Change>>, Error> {
    let rows = sqlx::query!(
        r#"select c.body as "body!", d.body as "directive?"
           from change c left join directive d on d.id = c.directive_id
           where c.revision > $1 order by c.revision limit $2"#,
        signed(revision),
        limit,
    )
    .fetch_all(pool)
    .await
    .map_err(Error::sql("read the change feed"))?;
    rows.into_iter().map(|row| whole(&row.body, row.directive.as_deref()).map(Arc::new)).collect()
}

fn whole(body: &[u8], directive: Option<&[u8]>) -> Result<wire::Change, Error> {
    let mut change: wire::Change = decode("change", body)?;
    if let Some(Event::Directive(record)) = &mut change.change {
        let bytes = directive.ok_or(Error::Inconsistent("a change names a directive that is not kept"))?;
        record.directive = Some(decode("directive", bytes)?);
    }
    Ok(change)
}
