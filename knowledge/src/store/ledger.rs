//! A writing transaction of the ledger: it holds the revision's row, so that the order of revisions is the order of commits
//! across all instances, and everything read in it is the newest there is.

use std::sync::Arc;

use jiff::Timestamp;
use prost::Message;
use proto::wire::{self, change::Change as Event};
use sqlx::{PgConnection, Row as _};
use uuid::Uuid;

use super::session::Session;
use super::{signed, unsigned};
use crate::store::Error;

/// The channel on which other instances are told that there is something new. A hint only: they also look by themselves.
pub(crate) const CHANNEL: &str = "homeostat_change";

/// Begins, and takes the turn among all instances, in one round trip.
const BEGIN: &str = "begin; select value from revision for update";

/// One open transaction and the changes that it will commit. Dropped without an end, its connection is closed, and Postgres
/// rolls it back.
#[derive(Debug)]
pub(crate) struct LedgerTx {
    connection: PgConnection,
    now: Timestamp,
    before: u64,
    changes: Vec<Arc<wire::Change>>,
}

/// The changes of a transaction as columns of the feed.
#[derive(Debug)]
pub(crate) struct Feed {
    /// Revision of the first.
    pub(crate) first: i64,
    /// Revision of the last.
    pub(crate) last: i64,
    pub(crate) at: i64,
    pub(crate) kinds: Vec<String>,
    pub(crate) directives: Vec<Option<Uuid>>,
    pub(crate) bodies: Vec<Vec<u8>>,
    /// What other instances are told.
    pub(crate) note: String,
}

/// One row of the change feed.
struct Row {
    kind: &'static str,
    directive_id: Option<Uuid>,
    body: Vec<u8>,
}

impl LedgerTx {
    /// Begins when it is this one's turn. A connection that turns out to be dead is replaced.
    pub(crate) async fn begin(session: &mut Session, now: Timestamp) -> Result<Self, Error> {
        let (connection, row) = session.begin(BEGIN).await?;
        let row = row.ok_or(Error::Inconsistent("no revision"))?;
        let revision = row.try_get::<i64, _>(0).map_err(Error::sql("read the revision"))?;
        Ok(Self { connection, now, before: unsigned(revision), changes: Vec::new() })
    }

    /// Where statements run.
    pub(crate) fn connection(&mut self) -> &mut PgConnection {
        &mut self.connection
    }

    /// When this transaction happens.
    pub(crate) fn now(&self) -> Timestamp {
        self.now
    }

    /// Adds a change, which may carry its own revision; returns that.
    pub(crate) fn emit(&mut self, event: impl FnOnce(u64) -> Event) -> u64 {
        let revision = self.revision() + 1;
        let at_unix_ms = self.now.as_millisecond();
        self.changes.push(Arc::new(wire::Change { revision, at_unix_ms, change: Some(event(revision)) }));
        revision
    }

    /// The revision of the change added last, or of the ledger before it.
    pub(crate) fn revision(&self) -> u64 {
        self.before + self.changes.len() as u64
    }

    /// The changes so far as columns.
    pub(crate) fn feed(&self, sender: Uuid) -> Result<Feed, Error> {
        let rows = self.changes.iter().map(|change| row(change)).collect::<Result<Vec<Row>, Error>>()?;
        let (mut kinds, mut directives, mut bodies) = (Vec::new(), Vec::new(), Vec::new());
        for Row { kind, directive_id, body } in rows {
            kinds.push(kind.to_owned());
            directives.push(directive_id);
            bodies.push(body);
        }
        let last = self.revision();
        Ok(Feed {
            first: signed(self.before + 1),
            last: signed(last),
            at: self.now.as_millisecond(),
            kinds,
            directives,
            bodies,
            note: format!("{sender} {last}"),
        })
    }

    /// Writes the changes to the feed and commits. What comes back is durable, in order.
    pub(crate) async fn commit(
        mut self,
        sender: Uuid,
        session: &mut Session,
    ) -> Result<Vec<Arc<wire::Change>>, Error> {
        if !self.changes.is_empty() {
            let feed = self.feed(sender)?;
            write_feed(&mut self.connection, feed).await?;
        }
        self.commit_written(session).await
    }

    /// Commits where the feed has been written already.
    pub(crate) async fn commit_written(self, session: &mut Session) -> Result<Vec<Arc<wire::Change>>, Error> {
        session.commit(self.connection).await?;
        Ok(self.changes)
    }

    /// Ends without a trace.
    pub(crate) async fn rollback(self, session: &mut Session) {
        session.rollback(self.connection).await;
    }
}

async fn write_feed(connection: &mut PgConnection, feed: Feed) -> Result<(), Error> {
    let Feed { first, last, at, kinds, directives, bodies, note } = feed;
    sqlx::query!(
        r#"with fed as (
               insert into change (revision, at, kind, directive_id, body)
               select $1::bigint + n - 1, from_unix_ms($2::bigint), kind, directive_id, body
               from unnest($3::text[], $4::uuid[], $5::bytea[]) with ordinality as c (kind, directive_id, body, n)
           ),
           counted as (update revision set value = $6 returning value)
           select pg_notify($7, $8)::text as "told" from counted"#,
        first,
        at,
        &kinds,
        &directives as &[Option<Uuid>],
        &bodies,
        last,
        CHANNEL,
        note,
    )
    .fetch_one(connection)
    .await
    .map_err(Error::sql("write the change feed"))?;
    Ok(())
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
