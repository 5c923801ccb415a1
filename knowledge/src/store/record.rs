//! Directives with their state, as readers get them.

use std::collections::HashMap;

use chassis::grpc::MESSAGE_LIMIT_BYTES;
use proto::{
    model::{DirectiveKind, DirectiveState, Generation, ResourceId},
    wire,
};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::{decode, unsigned, word};
use crate::store::Error;

/// Directives in one answer: three quarters of the largest message, so that what surrounds them fits too.
const LISTED_BYTES: usize = MESSAGE_LIMIT_BYTES / 4 * 3;

struct RecordRow {
    body: Vec<u8>,
    state: String,
    revision: i64,
    changed_at: i64,
    detail: String,
}

impl RecordRow {
    fn record(self) -> Result<wire::DirectiveRecord, Error> {
        let state: DirectiveState = word("a directive's state", &self.state)?;
        Ok(wire::DirectiveRecord {
            directive: Some(decode("directive", &self.body)?),
            state: state.into(),
            revision: unsigned(self.revision),
            changed_at_unix_ms: self.changed_at,
            history: Vec::new(),
            detail: self.detail,
        })
    }
}

fn records(rows: Vec<RecordRow>) -> Result<Vec<wire::DirectiveRecord>, Error> {
    rows.into_iter().map(RecordRow::record).collect()
}

/// As many as fit one message, from the first on.
fn fitting(mut rows: Vec<RecordRow>) -> Vec<RecordRow> {
    let mut bytes = 0;
    let fits = |row: &&RecordRow| {
        bytes += row.body.len() + row.detail.len();
        bytes <= LISTED_BYTES
    };
    let count = rows.iter().take_while(fits).count();
    rows.truncate(count);
    rows
}

/// Which directives to list.
#[derive(Debug)]
pub(crate) struct Filter {
    pub(crate) resource: Option<ResourceId>,
    /// Empty: all.
    pub(crate) states: Vec<DirectiveState>,
    pub(crate) limit: i64,
}

/// Newest first.
pub(crate) async fn list(
    connection: &mut PgConnection,
    filter: &Filter,
) -> Result<Vec<wire::DirectiveRecord>, Error> {
    let states: Vec<String> = filter.states.iter().map(ToString::to_string).collect();
    let rows =
        match &filter.resource {
            Some(resource) => sqlx::query_as!(
                RecordRow,
                r#"select body, state, revision, unix_ms(changed_at) as "changed_at!", detail from directive
                   where resource = $1 and (cardinality($2::text[]) = 0 or state = any($2))
                   order by created_at desc, id desc limit $3"#,
                resource.to_string(),
                &states,
                filter.limit,
            )
            .fetch_all(connection)
            .await,
            None => sqlx::query_as!(
                RecordRow,
                r#"select body, state, revision, unix_ms(changed_at) as "changed_at!", detail from directive
                   where cardinality($1::text[]) = 0 or state = any($1)
                   order by created_at desc, id desc limit $2"#,
                &states,
                filter.limit,
            )
            .fetch_all(connection)
            .await,
        };
    records(fitting(rows.map_err(Error::sql("list directives"))?))
}

/// One directive with its history.
pub(crate) async fn get(
    connection: &mut PgConnection,
    id: Uuid,
) -> Result<Option<wire::DirectiveRecord>, Error> {
    let row = sqlx::query_as!(
        RecordRow,
        r#"select body, state, revision, unix_ms(changed_at) as "changed_at!", detail from directive where id = $1"#,
        id,
    )
    .fetch_optional(&mut *connection)
    .await
    .map_err(Error::sql("read a directive"))?;
    let Some(row) = row else { return Ok(None) };
    let mut record = row.record()?;
    let history =
        sqlx::query_scalar!("select body from transition where directive_id = $1 order by revision", id)
            .fetch_all(connection)
            .await
            .map_err(Error::sql("read a directive's history"))?;
    record.history = history.iter().map(|body| decode("transition", body)).collect::<Result<_, _>>()?;
    Ok(Some(record))
}

/// All that a follower must know before the feed: what is open, and the newest in effect of each (resource, kind). In order of
/// revision, so that a follower who was cut off may resume from the last one that it got.
pub(crate) async fn snapshot(connection: &mut PgConnection) -> Result<Vec<wire::DirectiveRecord>, Error> {
    let in_effect: Vec<String> =
        DirectiveState::ALL.iter().filter(|state| state.in_effect()).map(ToString::to_string).collect();
    let rows = sqlx::query_as!(
        RecordRow,
        r#"select body, state, revision, unix_ms(changed_at) as "changed_at!", detail
           from directive
           where id in (
               select id from directive where open
               union
               select newest.id
               from intent i
               cross join lateral (
                   select id from directive
                   where resource = i.resource and kind = i.kind and generation > 0 and state = any($1)
                   order by generation desc limit 1
               ) newest
           )
           order by revision"#,
        &in_effect,
    )
    .fetch_all(connection)
    .await
    .map_err(Error::sql("read the directives in effect"))?;
    records(rows)
}

/// The generations of each (resource, kind).
pub(crate) async fn generations(
    pool: &PgPool,
) -> Result<HashMap<ResourceId, Vec<(DirectiveKind, Generation)>>, Error> {
    let rows = sqlx::query!("select resource, kind, generation from intent order by resource, kind")
        .fetch_all(pool)
        .await
        .map_err(Error::sql("read generations"))?;
    let mut found: HashMap<ResourceId, Vec<(DirectiveKind, Generation)>> = HashMap::new();
    for row in rows {
        let resource = word("an intent's resource", &row.resource)?;
        let kind = word("an intent's kind", &row.kind)?;
        found.entry(resource).or_default().push((kind, Generation(unsigned(row.generation))));
    }
    Ok(found)
}
