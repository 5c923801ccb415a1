//! A writing transaction of the ledger: it holds the revision's row, so that the order of revisions is the order of commits
//! across all instances, and everything read in it is the newest there is.

use std::sync::Arc;

use jiff::Timestamp;
use prost::Message;
use proto::wire::{self, change::Change as Event};
use sqlx::{PgConnection, PgPool, Postgres, Transaction};
use uuid::Uuid;

use super::{signed, unsigned};
use crate::error::Error;

/// The channel on which other instances are told that there is something new. A hint only: they also look by themselves.
pub(crate) const CHANNEL: &str = "homeostat_change";

/// One open transaction and the changes that it will commit.
#[derive(Debug)]
pub(crate) struct LedgerTx {
    tx: Transaction<'static, Postgres>,
    now: Timestamp,
    revision: u64,
    changes: Vec<Arc<wire::Change>>,
}

/// One row of the change feed.
struct Row {
    kind: &'static str,
    directive_id: Option<Uuid>,
    body: Vec<u8>,
}

impl LedgerTx {
    /// Begins, and waits for its turn among all instances.
    pub(crate) async fn begin(pool: &PgPool, now: Timestamp) -> Result<Self, Error> {
        let failed = Error::sql("begin to write");
        let mut tx = pool.begin().await.map_err(&failed)?;
        let revision = sqlx::query_scalar!("select value from revision for update")
            .fetch_one(&mut *tx)
            .await
            .map_err(&failed)?;
        Ok(Self { tx, now, revision: unsigned(revision), changes: Vec::new() })
    }

    /// Where statements run.
    pub(crate) fn connection(&mut self) -> &mut PgConnection {
        &mut self.tx
    }

    /// When this transaction happens.
    pub(crate) fn now(&self) -> Timestamp {
        self.now
    }

    /// Adds a change, which may carry its own revision; returns that.
    pub(crate) fn emit(&mut self, event: impl FnOnce(u64) -> Event) -> u64 {
        self.revision += 1;
        let at_unix_ms = self.now.as_millisecond();
        let change = Some(event(self.revision));
        self.changes.push(Arc::new(wire::Change { revision: self.revision, at_unix_ms, change }));
        self.revision
    }

    /// The revision of the change added last, or of the ledger before it.
    pub(crate) fn revision(&self) -> u64 {
        self.revision
    }

    /// Writes the changes to the feed and commits. What comes back is durable, in order.
    pub(crate) async fn commit(mut self, sender: Uuid) -> Result<Vec<Arc<wire::Change>>, Error> {
        if !self.changes.is_empty() {
            self.write_changes(sender).await?;
        }
        self.tx.commit().await.map_err(Error::sql("commit"))?;
        Ok(self.changes)
    }

    async fn write_changes(&mut self, sender: Uuid) -> Result<(), Error> {
        let mut kinds = Vec::with_capacity(self.changes.len());
        let mut directives = Vec::with_capacity(self.changes.len());
        let mut bodies = Vec::with_capacity(self.changes.len());
        for change in &self.changes {
            let row = row(change)?;
            kinds.push(row.kind.to_owned());
            directives.push(row.directive_id);
            bodies.push(row.body);
        }
        let first = signed(self.revision + 1) - signed(self.changes.len() as u64);
        sqlx::query!(
            "insert into change (revision, at, kind, directive_id, body)
             select $1::bigint + n - 1, from_unix_ms($2::bigint), kind, directive_id, body
             from unnest($3::text[], $4::uuid[], $5::bytea[]) with ordinality as c (kind, directive_id, body, n)",
            first,
            self.now.as_millisecond(),
            &kinds,
            &directives as &[Option<Uuid>],
            &bodies,
        )
        .execute(&mut *self.tx)
        .await
        .map_err(Error::sql("write the change feed"))?;
        sqlx::query!(
            r#"with counted as (update revision set value = $1 returning value)
               select pg_notify($2, $3)::text as "told" from counted"#,
            signed(self.revision),
            CHANNEL,
            format!("{sender} {}", self.revision),
        )
        .fetch_one(&mut *self.tx)
        .await
        .map_err(Error::sql("count the revision"))?;
        Ok(())
    }
}

/// What is stored of a change: a directive's immutable part is left out and joined on reading.
fn row(change: &wire::Change) -> Result<Row, Error> {
    let kind = match &change.change {
        Some(Event::Directive(record)) => return directive_row(change, record),
        Some(Event::Applied(_)) => "applied",
        Some(Event::Deleted(_)) => "deleted",
        Some(Event::Threshold(_)) => "threshold",
        Some(Event::Actuator(_)) => "actuator",
        Some(Event::Pause(_)) => "pause",
        Some(Event::Compacted(_)) | None => return Err(Error::Inconsistent("a change without content")),
    };
    Ok(Row { kind, directive_id: None, body: change.encode_to_vec() })
}

fn directive_row(change: &wire::Change, record: &wire::DirectiveRecord) -> Result<Row, Error> {
    let id = record.directive.as_ref().and_then(|directive| Uuid::try_parse(&directive.id).ok());
    let id = id.ok_or(Error::Inconsistent("a directive without id"))?;
    let wire::DirectiveRecord { directive: _, state, revision, changed_at_unix_ms, history: _, detail } =
        record;
    let rest = wire::DirectiveRecord {
        directive: None,
        state: *state,
        revision: *revision,
        changed_at_unix_ms: *changed_at_unix_ms,
        history: Vec::new(),
        detail: detail.clone(),
    };
    let body = wire::Change {
        revision: change.revision,
        at_unix_ms: change.at_unix_ms,
        change: Some(Event::Directive(rest)),
    };
    Ok(Row { kind: "directive", directive_id: Some(id), body: body.encode_to_vec() })
}
