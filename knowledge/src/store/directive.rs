//! Directives, their states and their transitions: the hot part of the ledger, read and written in bulk.

use std::collections::HashMap;

use jiff::Timestamp;
use prost::Message;
use proto::{
    model::{DirectiveKind, DirectiveState, Generation, ResourceId, Transition},
    wire,
};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::{decode, signed, unsigned, word};
use crate::batch::{Key, Known, Loaded, Writes};
use crate::error::Error;
use crate::intent::Stored;

/// A row as the batch needs it.
struct StateRow {
    id: Uuid,
    resource: String,
    kind: String,
    generation: i64,
    state: String,
    revision: i64,
    changed_at: i64,
    actor: String,
    attempt: i64,
    detail: String,
    current: i64,
}

impl StateRow {
    fn known(self) -> Result<(Known, Generation), Error> {
        let key = Key {
            resource: word("a directive's resource", &self.resource)?,
            kind: word("a directive's kind", &self.kind)?,
        };
        let state: DirectiveState = word("a directive's state", &self.state)?;
        let changed_at = Timestamp::from_millisecond(self.changed_at)
            .map_err(|_| Error::Inconsistent("a directive's time of change"))?;
        let known = Known {
            stored: Stored { id: self.id, generation: Generation(unsigned(self.generation)), state },
            key,
            revision: unsigned(self.revision),
            changed_at,
            actor: self.actor,
            attempt: u32::try_from(self.attempt).unwrap_or(0),
            detail: self.detail,
        };
        Ok((known, Generation(unsigned(self.current))))
    }
}

/// Loads these directives, and for each key its generation and what is open.
pub(crate) async fn load(connection: &mut PgConnection, ids: &[Uuid], keys: &[Key]) -> Result<Loaded, Error> {
    let mut loaded = Loaded::default();
    if !ids.is_empty() {
        let rows = sqlx::query_as!(
            StateRow,
            r#"select d.id as "id!", d.resource as "resource!", d.kind as "kind!", d.generation as "generation!", d.state as "state!",
                      d.revision as "revision!", unix_ms(d.changed_at) as "changed_at!",
                      d.actor as "actor!", d.attempt as "attempt!", d.detail as "detail!", coalesce(i.generation, 0) as "current!"
               from directive d left join intent i on i.resource = d.resource and i.kind = d.kind
               where d.id = any($1)"#,
            ids,
        )
        .fetch_all(&mut *connection)
        .await
        .map_err(Error::sql("read directives"))?;
        rows.into_iter()
            .try_for_each(|row| row.known().map(|(known, current)| loaded.add(known, current)))?;
    }
    if !keys.is_empty() {
        load_keys(connection, keys, &mut loaded).await?;
    }
    Ok(loaded)
}

async fn load_keys(connection: &mut PgConnection, keys: &[Key], loaded: &mut Loaded) -> Result<(), Error> {
    let resources: Vec<String> = keys.iter().map(|key| key.resource.to_string()).collect();
    let kinds: Vec<String> = keys.iter().map(|key| key.kind.to_string()).collect();
    let generations = sqlx::query!(
        r#"select n as "n!", i.generation as "generation!"
           from unnest($1::text[], $2::text[]) with ordinality as k (resource, kind, n)
           join intent i on i.resource = k.resource and i.kind = k.kind"#,
        &resources,
        &kinds,
    )
    .fetch_all(&mut *connection)
    .await
    .map_err(Error::sql("read generations"))?;
    for row in generations {
        let index = usize::try_from(row.n - 1).map_err(|_| Error::Inconsistent("an ordinal"))?;
        loaded.set_current(keys[index].clone(), Generation(unsigned(row.generation)));
    }
    let open = sqlx::query_as!(
        StateRow,
        r#"select d.id as "id!", d.resource as "resource!", d.kind as "kind!", d.generation as "generation!", d.state as "state!",
                      d.revision as "revision!", unix_ms(d.changed_at) as "changed_at!",
                  d.actor as "actor!", d.attempt as "attempt!", d.detail as "detail!", coalesce(i.generation, 0) as "current!"
           from unnest($1::text[], $2::text[]) as k (resource, kind)
           join directive d on d.resource = k.resource and d.kind = k.kind and d.open and d.generation > 0
           left join intent i on i.resource = d.resource and i.kind = d.kind"#,
        &resources,
        &kinds,
    )
    .fetch_all(&mut *connection)
    .await
    .map_err(Error::sql("read directives under way"))?;
    open.into_iter().try_for_each(|row| row.known().map(|(known, current)| loaded.add(known, current)))
}

/// The immutable parts of these directives.
pub(crate) async fn bodies(
    connection: &mut PgConnection,
    ids: &[Uuid],
) -> Result<Vec<(Uuid, wire::Directive)>, Error> {
    let rows = sqlx::query!("select id, body from directive where id = any($1)", ids)
        .fetch_all(connection)
        .await
        .map_err(Error::sql("read directives"))?;
    rows.into_iter().map(|row| Ok((row.id, decode("directive", &row.body)?))).collect()
}

/// Writes what a batch decided, with a fixed number of statements.
pub(crate) async fn write(connection: &mut PgConnection, writes: &Writes) -> Result<(), Error> {
    if !writes.inserted.is_empty() {
        insert(connection, writes).await?;
        raise_generations(connection, writes).await?;
    }
    if !writes.moved.is_empty() {
        update(connection, writes).await?;
    }
    if !writes.transitions.is_empty() {
        append_transitions(connection, writes).await?;
    }
    Ok(())
}

async fn insert(connection: &mut PgConnection, writes: &Writes) -> Result<(), Error> {
    let rows = || writes.inserted.iter();
    let column = |pick: fn(&(Known, wire::Directive)) -> String| rows().map(pick).collect::<Vec<String>>();
    let number = |pick: fn(&(Known, wire::Directive)) -> i64| rows().map(pick).collect::<Vec<i64>>();
    let ids: Vec<Uuid> = rows().map(|(known, _)| known.stored.id).collect();
    let undo_of: Vec<Option<Uuid>> = rows().map(|(_, body)| Uuid::try_parse(&body.undo_of).ok()).collect();
    let open: Vec<bool> = rows().map(|(known, _)| crate::intent::open(known.stored.state)).collect();
    let bodies: Vec<Vec<u8>> = rows().map(|(_, body)| body.encode_to_vec()).collect();
    sqlx::query!(
        "insert into directive (id, resource, kind, generation, parent_generation, undo_of, created_at, expires_at,
                                state, open, revision, changed_at, actor, attempt, detail, body)
         select id, resource, kind, generation, parent_generation, undo_of, from_unix_ms(created_at),
                from_unix_ms(expires_at), state, open, revision, from_unix_ms(changed_at), actor, attempt, detail, body
         from unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::uuid[], $7::bigint[],
                     $8::bigint[], $9::text[], $10::bool[], $11::bigint[], $12::bigint[], $13::text[], $14::bigint[],
                     $15::text[], $16::bytea[])
              as d (id, resource, kind, generation, parent_generation, undo_of, created_at, expires_at, state, open,
                    revision, changed_at, actor, attempt, detail, body)",
        &ids,
        &column(|(known, _)| known.key.resource.to_string()),
        &column(|(known, _)| known.key.kind.to_string()),
        &number(|(known, _)| signed(known.stored.generation.0)),
        &number(|(_, body)| signed(body.parent_generation)),
        &undo_of as &[Option<Uuid>],
        &number(|(_, body)| body.created_at_unix_ms),
        &number(|(_, body)| body.expires_at_unix_ms),
        &column(|(known, _)| known.stored.state.to_string()),
        &open,
        &number(|(known, _)| signed(known.revision)),
        &number(|(known, _)| known.changed_at.as_millisecond()),
        &column(|(known, _)| known.actor.clone()),
        &number(|(known, _)| i64::from(known.attempt)),
        &column(|(known, _)| known.detail.clone()),
        &bodies,
    )
    .execute(connection)
    .await
    .map_err(Error::sql("store directives"))?;
    Ok(())
}

async fn raise_generations(connection: &mut PgConnection, writes: &Writes) -> Result<(), Error> {
    if writes.raised.is_empty() {
        return Ok(());
    }
    let resources: Vec<String> = writes.raised.keys().map(|key| key.resource.to_string()).collect();
    let kinds: Vec<String> = writes.raised.keys().map(|key| key.kind.to_string()).collect();
    let generations: Vec<i64> = writes.raised.values().map(|(generation, _)| signed(generation.0)).collect();
    let ids: Vec<Uuid> = writes.raised.values().map(|(_, id)| *id).collect();
    let done = sqlx::query!(
        "insert into intent (resource, kind, generation, directive_id)
         select * from unnest($1::text[], $2::text[], $3::bigint[], $4::uuid[])
         on conflict (resource, kind) do update
         set generation = excluded.generation, directive_id = excluded.directive_id
         where intent.generation < excluded.generation",
        &resources,
        &kinds,
        &generations,
        &ids,
    )
    .execute(connection)
    .await
    .map_err(Error::sql("raise generations"))?;
    affected(done.rows_affected(), writes.raised.len(), "a generation that would not rise")
}

async fn update(connection: &mut PgConnection, writes: &Writes) -> Result<(), Error> {
    let rows = || writes.moved.values();
    let ids: Vec<Uuid> = rows().map(|known| known.stored.id).collect();
    let states: Vec<String> = rows().map(|known| known.stored.state.to_string()).collect();
    let open: Vec<bool> = rows().map(|known| crate::intent::open(known.stored.state)).collect();
    let revisions: Vec<i64> = rows().map(|known| signed(known.revision)).collect();
    let changed_at: Vec<i64> = rows().map(|known| known.changed_at.as_millisecond()).collect();
    let actors: Vec<String> = rows().map(|known| known.actor.clone()).collect();
    let attempts: Vec<i64> = rows().map(|known| i64::from(known.attempt)).collect();
    let details: Vec<String> = rows().map(|known| known.detail.clone()).collect();
    let done = sqlx::query!(
        "update directive d
         set state = m.state, open = m.open, revision = m.revision, changed_at = from_unix_ms(m.changed_at),
             actor = m.actor, attempt = m.attempt, detail = m.detail
         from unnest($1::uuid[], $2::text[], $3::bool[], $4::bigint[], $5::bigint[], $6::text[], $7::bigint[],
                     $8::text[])
              as m (id, state, open, revision, changed_at, actor, attempt, detail)
         where d.id = m.id",
        &ids,
        &states,
        &open,
        &revisions,
        &changed_at,
        &actors,
        &attempts,
        &details,
    )
    .execute(connection)
    .await
    .map_err(Error::sql("move directives"))?;
    affected(done.rows_affected(), ids.len(), "a directive that is gone")
}

async fn append_transitions(connection: &mut PgConnection, writes: &Writes) -> Result<(), Error> {
    let rows = || writes.transitions.iter();
    let revisions: Vec<i64> = rows().map(|(revision, _)| signed(*revision)).collect();
    let ids: Vec<Uuid> = rows().map(|(_, transition)| transition.directive_id).collect();
    let at: Vec<i64> = rows().map(|(_, transition)| transition.at.as_millisecond()).collect();
    let from: Vec<String> = rows().map(|(_, transition)| transition.from.to_string()).collect();
    let to: Vec<String> = rows().map(|(_, transition)| transition.to.to_string()).collect();
    let encoded =
        |transition: Transition| <Transition as Into<wire::Transition>>::into(transition).encode_to_vec();
    let bodies: Vec<Vec<u8>> = rows().map(|(_, transition)| encoded(transition.clone())).collect();
    sqlx::query!(
        "insert into transition (revision, directive_id, at, from_state, to_state, body)
         select revision, directive_id, from_unix_ms(at), from_state, to_state, body
         from unnest($1::bigint[], $2::uuid[], $3::bigint[], $4::text[], $5::text[], $6::bytea[])
              as t (revision, directive_id, at, from_state, to_state, body)",
        &revisions,
        &ids,
        &at,
        &from,
        &to,
        &bodies,
    )
    .execute(connection)
    .await
    .map_err(Error::sql("store transitions"))?;
    Ok(())
}

fn affected(rows: u64, expected: usize, what: &'static str) -> Result<(), Error> {
    if rows == expected as u64 { Ok(()) } else { Err(Error::Inconsistent(what)) }
}

// === reading ===

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
    records(rows.map_err(Error::sql("list directives"))?)
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
