//! Directives, their states and their transitions as a group of commands needs them: read and written in bulk.

use jiff::Timestamp;
use prost::Message;
use proto::{
    model::{Generation, Transition},
    wire,
};
use sqlx::PgConnection;
use uuid::Uuid;

use super::ledger::{CHANNEL, Feed};
use super::{decode, signed, unsigned, word};
use crate::batch::{Key, Known, Loaded, Writes};
use crate::intent::Stored;
use crate::store::Error;

/// A directive as the batch needs it, or, without an id, only the generation of a key.
struct StateRow {
    id: Option<Uuid>,
    resource: String,
    kind: String,
    generation: Option<i64>,
    state: Option<String>,
    revision: Option<i64>,
    changed_at: Option<i64>,
    actor: Option<String>,
    attempt: Option<i64>,
    detail: Option<String>,
    current: i64,
}

impl StateRow {
    fn add_to(self, loaded: &mut Loaded) -> Result<(), Error> {
        let resource = word("a directive's resource", &self.resource)?;
        let key = Key { resource, kind: word("a directive's kind", &self.kind)? };
        let current = Generation(unsigned(self.current));
        let Some(id) = self.id else {
            loaded.set_current(key, current);
            return Ok(());
        };
        let changed_at = Timestamp::from_millisecond(self.changed_at.unwrap_or_default())
            .map_err(|_| Error::Inconsistent("a directive's time of change"))?;
        let generation = Generation(unsigned(self.generation.unwrap_or_default()));
        let state = word("a directive's state", &self.state.unwrap_or_default())?;
        let known = Known {
            stored: Stored { id, generation, state },
            key,
            revision: unsigned(self.revision.unwrap_or_default()),
            changed_at,
            actor: self.actor.unwrap_or_default(),
            attempt: u32::try_from(self.attempt.unwrap_or_default()).unwrap_or(0),
            detail: self.detail.unwrap_or_default(),
        };
        loaded.add(known, current);
        Ok(())
    }
}

/// Loads these directives, and for each key its generation and what is open, in one round trip.
pub(crate) async fn load(connection: &mut PgConnection, ids: &[Uuid], keys: &[Key]) -> Result<Loaded, Error> {
    let resources: Vec<String> = keys.iter().map(|key| key.resource.to_string()).collect();
    let kinds: Vec<String> = keys.iter().map(|key| key.kind.to_string()).collect();
    let rows = sqlx::query_as!(
        StateRow,
        r#"with asked as (select * from unnest($2::text[], $3::text[]) as k (resource, kind)),
           found as (
               select d.* from directive d where d.id = any($1)
               union all
               select d.* from asked k
               join directive d on d.resource = k.resource and d.kind = k.kind and d.open and d.generation > 0
               where d.id <> all($1)
           )
           select f.id, f.resource as "resource!", f.kind as "kind!", f.generation, f.state, f.revision,
                  unix_ms(f.changed_at) as changed_at, f.actor, f.attempt, f.detail,
                  coalesce(i.generation, 0) as "current!"
           from found f left join intent i on i.resource = f.resource and i.kind = f.kind
           union all
           select null, k.resource, k.kind, null, null, null, null, null, null, null, i.generation
           from asked k join intent i on i.resource = k.resource and i.kind = k.kind"#,
        ids,
        &resources,
        &kinds,
    )
    .fetch_all(connection)
    .await
    .map_err(Error::sql("read directives"))?;
    let mut loaded = Loaded::default();
    rows.into_iter().try_for_each(|row| row.add_to(&mut loaded))?;
    Ok(loaded)
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

/// Directives as columns.
#[derive(Default)]
struct Columns {
    ids: Vec<Uuid>,
    states: Vec<String>,
    open: Vec<bool>,
    revisions: Vec<i64>,
    changed_at: Vec<i64>,
    actors: Vec<String>,
    attempts: Vec<i64>,
    details: Vec<String>,
}

impl<'a> FromIterator<&'a Known> for Columns {
    fn from_iter<I: IntoIterator<Item = &'a Known>>(rows: I) -> Self {
        let mut columns = Self::default();
        for Known { stored, key: _, revision, changed_at, actor, attempt, detail } in rows {
            columns.ids.push(stored.id);
            columns.states.push(stored.state.to_string());
            columns.open.push(crate::intent::open(stored.state));
            columns.revisions.push(signed(*revision));
            columns.changed_at.push(changed_at.as_millisecond());
            columns.actors.push(actor.clone());
            columns.attempts.push(i64::from(*attempt));
            columns.details.push(detail.clone());
        }
        columns
    }
}

/// Writes what a batch decided, and the feed, in one round trip: with a dozen statements, waiting for answers took longer than
/// the work.
pub(crate) async fn write(connection: &mut PgConnection, writes: &Writes, feed: Feed) -> Result<(), Error> {
    let Writes { inserted, moved, raised, transitions, emitted: _ } = writes;
    let new: Columns = inserted.iter().map(|(known, _)| known).collect();
    let resources: Vec<String> = inserted.iter().map(|(known, _)| known.key.resource.to_string()).collect();
    let kinds: Vec<String> = inserted.iter().map(|(known, _)| known.key.kind.to_string()).collect();
    let generations: Vec<i64> = inserted.iter().map(|(known, _)| signed(known.stored.generation.0)).collect();
    let parents: Vec<i64> = inserted.iter().map(|(_, body)| signed(body.parent_generation)).collect();
    let undo_of: Vec<Option<Uuid>> =
        inserted.iter().map(|(_, body)| Uuid::try_parse(&body.undo_of).ok()).collect();
    let created_at: Vec<i64> = inserted.iter().map(|(_, body)| body.created_at_unix_ms).collect();
    let expires_at: Vec<i64> = inserted.iter().map(|(_, body)| body.expires_at_unix_ms).collect();
    let bodies: Vec<Vec<u8>> = inserted.iter().map(|(_, body)| body.encode_to_vec()).collect();
    let raised_resources: Vec<String> = raised.keys().map(|key| key.resource.to_string()).collect();
    let raised_kinds: Vec<String> = raised.keys().map(|key| key.kind.to_string()).collect();
    let raised_to: Vec<i64> = raised.values().map(|(generation, _)| signed(generation.0)).collect();
    let raised_by: Vec<Uuid> = raised.values().map(|(_, id)| *id).collect();
    let old: Columns = moved.values().collect();
    let step_revisions: Vec<i64> = transitions.iter().map(|(revision, _)| signed(*revision)).collect();
    let step_ids: Vec<Uuid> = transitions.iter().map(|(_, step)| step.directive_id).collect();
    let step_at: Vec<i64> = transitions.iter().map(|(_, step)| step.at.as_millisecond()).collect();
    let step_from: Vec<String> = transitions.iter().map(|(_, step)| step.from.to_string()).collect();
    let step_to: Vec<String> = transitions.iter().map(|(_, step)| step.to.to_string()).collect();
    let encoded =
        |step: &Transition| <Transition as Into<wire::Transition>>::into(step.clone()).encode_to_vec();
    let step_bodies: Vec<Vec<u8>> = transitions.iter().map(|(_, step)| encoded(step)).collect();
    let done = sqlx::query!(
        r#"with
           inserted as (
               insert into directive (id, resource, kind, generation, parent_generation, undo_of, created_at,
                                      expires_at, body, state, open, revision, changed_at, actor, attempt, detail)
               select id, resource, kind, generation, parent_generation, undo_of, from_unix_ms(created_at),
                      from_unix_ms(expires_at), body, state, open, revision, from_unix_ms(changed_at), actor,
                      attempt, detail
               from unnest($1::uuid[], $2::text[], $3::text[], $4::bigint[], $5::bigint[], $6::uuid[], $7::bigint[],
                           $8::bigint[], $9::bytea[], $10::text[], $11::bool[], $12::bigint[], $13::bigint[],
                           $14::text[], $15::bigint[], $16::text[])
                    as d (id, resource, kind, generation, parent_generation, undo_of, created_at, expires_at, body,
                          state, open, revision, changed_at, actor, attempt, detail)
           ),
           seen as (
               insert into resource (id, seen_at)
               select distinct id, from_unix_ms($17::bigint) from unnest($2::text[]) as r (id)
               on conflict do nothing
           ),
           raised as (
               insert into intent (resource, kind, generation, directive_id)
               select * from unnest($18::text[], $19::text[], $20::bigint[], $21::uuid[])
               on conflict (resource, kind) do update
               set generation = excluded.generation, directive_id = excluded.directive_id
               where intent.generation < excluded.generation
               returning 1
           ),
           moved as (
               update directive d
               set state = m.state, open = m.open, revision = m.revision, changed_at = from_unix_ms(m.changed_at),
                   actor = m.actor, attempt = m.attempt, detail = m.detail
               from unnest($22::uuid[], $23::text[], $24::bool[], $25::bigint[], $26::bigint[], $27::text[],
                           $28::bigint[], $29::text[])
                    as m (id, state, open, revision, changed_at, actor, attempt, detail)
               where d.id = m.id
               returning 1
           ),
           stepped as (
               insert into transition (revision, directive_id, at, from_state, to_state, body)
               select revision, directive_id, from_unix_ms(at), from_state, to_state, body
               from unnest($30::bigint[], $31::uuid[], $32::bigint[], $33::text[], $34::text[], $35::bytea[])
                    as t (revision, directive_id, at, from_state, to_state, body)
           ),
           fed as (
               insert into change (revision, at, kind, directive_id, body)
               select $36::bigint + n - 1, from_unix_ms($17::bigint), kind, directive_id, body
               from unnest($37::text[], $38::uuid[], $39::bytea[]) with ordinality as c (kind, directive_id, body, n)
           ),
           counted as (update revision set value = $40 returning value)
           select (select count(*) from raised) as "raised!", (select count(*) from moved) as "moved!",
                  pg_notify($41, $42)::text as told
           from counted"#,
        &new.ids,
        &resources,
        &kinds,
        &generations,
        &parents,
        &undo_of as &[Option<Uuid>],
        &created_at,
        &expires_at,
        &bodies,
        &new.states,
        &new.open,
        &new.revisions,
        &new.changed_at,
        &new.actors,
        &new.attempts,
        &new.details,
        feed.at,
        &raised_resources,
        &raised_kinds,
        &raised_to,
        &raised_by,
        &old.ids,
        &old.states,
        &old.open,
        &old.revisions,
        &old.changed_at,
        &old.actors,
        &old.attempts,
        &old.details,
        &step_revisions,
        &step_ids,
        &step_at,
        &step_from,
        &step_to,
        &step_bodies,
        feed.first,
        &feed.kinds,
        &feed.directives as &[Option<Uuid>],
        &feed.bodies,
        feed.last,
        CHANNEL,
        feed.note,
    )
    .fetch_one(connection)
    .await
    .map_err(Error::sql("write the ledger"))?;
    affected(done.raised, raised.len(), "a generation that would not rise")?;
    affected(done.moved, moved.len(), "a directive that is gone")
}

fn affected(rows: i64, expected: usize, what: &'static str) -> Result<(), Error> {
    if usize::try_from(rows) == Ok(expected) { Ok(()) } else { Err(Error::Inconsistent(what)) }
}
