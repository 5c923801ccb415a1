//! Objectives: their documents by version, the spans of their budgets, the events of their lives.

use proto::wire;
use sqlx::PgPool;
use uuid::Uuid;

use super::{signed, unsigned};
use crate::store::Error;

/// Stores documents, all or none. One whose content is what is stored keeps its version.
pub(crate) async fn import(
    pool: &PgPool,
    documents: Vec<wire::ObjectiveDocument>,
    now_ms: i64,
) -> Result<Vec<wire::ObjectiveDocument>, Error> {
    let failed = Error::sql("store objectives");
    let mut tx = pool.begin().await.map_err(&failed)?;
    // Two imports at once would give out the same version.
    sqlx::query!("lock table objective_document in exclusive mode")
        .execute(&mut *tx)
        .await
        .map_err(&failed)?;
    let mut stored = Vec::with_capacity(documents.len());
    for document in documents {
        let newest = sqlx::query!(
            r#"select version, body, deleted, unix_ms(at) as "at!" from objective_document
               where kind = $1 and name = $2 order by version desc limit 1"#,
            document.kind,
            document.name,
        )
        .fetch_optional(&mut *tx)
        .await
        .map_err(&failed)?;
        let version = match newest {
            Some(newest) if newest.body == document.body && !newest.deleted => {
                let (version, applied_at_unix_ms) = (unsigned(newest.version), newest.at);
                stored.push(wire::ObjectiveDocument { version, applied_at_unix_ms, ..document });
                continue;
            }
            newest => newest.map_or(0, |newest| newest.version) + 1,
        };
        sqlx::query!(
            "insert into objective_document (kind, name, version, at, body)
             values ($1, $2, $3, from_unix_ms($4::bigint), $5)",
            document.kind,
            document.name,
            version,
            now_ms,
            document.body,
        )
        .execute(&mut *tx)
        .await
        .map_err(&failed)?;
        let version = unsigned(version);
        stored.push(wire::ObjectiveDocument { version, applied_at_unix_ms: now_ms, ..document });
    }
    tx.commit().await.map_err(&failed)?;
    Ok(stored)
}

/// Why a document was not deleted.
#[derive(Debug)]
pub(crate) enum Kept {
    /// There is none of that name.
    Absent,
    /// These refer to it.
    Needed(Vec<String>),
}

/// Takes a document out of force, unless another one in force refers to it: `needed_by` says which of these bodies do.
pub(crate) async fn delete(
    pool: &PgPool,
    kind: &str,
    name: &str,
    now_ms: i64,
    needed_by: impl Fn(&[String]) -> Vec<String>,
) -> Result<Result<wire::ObjectiveDocument, Kept>, Error> {
    let failed = Error::sql("delete an objective");
    let mut tx = pool.begin().await.map_err(&failed)?;
    // Nothing that refers to it may come in meanwhile.
    sqlx::query!("lock table objective_document in exclusive mode")
        .execute(&mut *tx)
        .await
        .map_err(&failed)?;
    let rows = sqlx::query!(
        r#"select kind, name, version, body from objective_document o
           where not deleted
             and version = (select max(version) from objective_document n where n.kind = o.kind and n.name = o.name)"#,
    )
    .fetch_all(&mut *tx)
    .await
    .map_err(&failed)?;
    let (of_it, others): (Vec<_>, Vec<_>) =
        rows.into_iter().partition(|row| row.kind == kind && row.name == name);
    let Some(newest) = of_it.into_iter().next() else { return Ok(Err(Kept::Absent)) };
    let bodies: Vec<String> = others.into_iter().map(|row| row.body).collect();
    let needed = needed_by(&bodies);
    if !needed.is_empty() {
        return Ok(Err(Kept::Needed(needed)));
    }
    let version = newest.version + 1;
    sqlx::query!(
        "insert into objective_document (kind, name, version, at, body, deleted)
         values ($1, $2, $3, from_unix_ms($4::bigint), $5, true)",
        kind,
        name,
        version,
        now_ms,
        newest.body,
    )
    .execute(&mut *tx)
    .await
    .map_err(&failed)?;
    tx.commit().await.map_err(&failed)?;
    Ok(Ok(wire::ObjectiveDocument {
        kind: newest.kind,
        name: newest.name,
        body: newest.body,
        version: unsigned(version),
        applied_at_unix_ms: now_ms,
        deleted: true,
    }))
}

/// How many versions were ever imported.
pub(crate) async fn revision(pool: &PgPool) -> Result<u64, Error> {
    let count = sqlx::query_scalar!(r#"select count(*) as "count!" from objective_document"#)
        .fetch_one(pool)
        .await
        .map_err(Error::sql("count the versions of objectives"))?;
    Ok(unsigned(count))
}

/// By kind and name; the newest version of each that is in force, or all versions that ever were.
pub(crate) async fn list(
    pool: &PgPool,
    kind: &str,
    name: &str,
    versions: bool,
) -> Result<Vec<wire::ObjectiveDocument>, Error> {
    let rows = sqlx::query!(
        r#"select kind, name, version, body, deleted, unix_ms(at) as "at!" from objective_document o
           where ($1 = '' or kind = $1) and ($2 = '' or name = $2)
             and ($3 or not deleted and version = (select max(version) from objective_document n where n.kind = o.kind and n.name = o.name))
           order by kind, name, version desc"#,
        kind,
        name,
        versions,
    )
    .fetch_all(pool)
    .await
    .map_err(Error::sql("list objectives"))?;
    Ok(rows
        .into_iter()
        .map(|row| wire::ObjectiveDocument {
            kind: row.kind,
            name: row.name,
            body: row.body,
            version: unsigned(row.version),
            applied_at_unix_ms: row.at,
            deleted: row.deleted,
        })
        .collect())
}

/// Stores spans with one statement. One that says what is stored changes nothing; another one is its next revision.
pub(crate) async fn record(pool: &PgPool, spans: &[wire::BudgetSpan], now_ms: i64) -> Result<(), Error> {
    let objectives: Vec<String> = spans.iter().map(|span| span.objective.clone()).collect();
    let at: Vec<i64> = spans.iter().map(|span| span.from_unix_ms).collect();
    let widths: Vec<i64> = spans.iter().map(|span| signed(span.width_ms)).collect();
    let totals: Vec<f64> = spans.iter().map(|span| span.total).collect();
    let bad: Vec<f64> = spans.iter().map(|span| span.bad).collect();
    let known: Vec<i64> = spans.iter().map(|span| signed(span.known_ms)).collect();
    let incomplete: Vec<bool> = spans.iter().map(|span| span.incomplete).collect();
    sqlx::query!(
        "insert into budget_span (objective, at, width_ms, revision, total, bad, known_ms, incomplete, told_at)
         select s.objective, from_unix_ms(s.at), s.width_ms, coalesce(n.revision, 0) + 1, s.total, s.bad, s.known_ms,
                s.incomplete, from_unix_ms($8::bigint)
         from unnest($1::text[], $2::bigint[], $3::bigint[], $4::float8[], $5::float8[], $6::bigint[], $7::bool[])
              as s (objective, at, width_ms, total, bad, known_ms, incomplete)
         left join lateral (
             select revision, width_ms, total, bad, known_ms, incomplete from budget_span b
             where b.objective = s.objective and b.at = from_unix_ms(s.at) order by revision desc limit 1
         ) n on true
         where n.revision is null
            or (n.width_ms, n.total, n.bad, n.known_ms, n.incomplete)
               is distinct from (s.width_ms, s.total, s.bad, s.known_ms, s.incomplete)
         on conflict do nothing",
        &objectives,
        &at,
        &widths,
        &totals,
        &bad,
        &known,
        &incomplete,
        now_ms,
    )
    .execute(pool)
    .await
    .map_err(Error::sql("store budget spans"))?;
    Ok(())
}

/// Spans that begin in a time, in order; the newest revision of each, or all.
pub(crate) async fn history(
    pool: &PgPool,
    request: &wire::BudgetHistoryRequest,
    limit: i64,
) -> Result<Vec<wire::BudgetSpan>, Error> {
    let rows = sqlx::query!(
        r#"select objective, unix_ms(at) as "at!", width_ms, total, bad, known_ms, incomplete from budget_span b
           where objective = $1 and at >= from_unix_ms($2::bigint) and at < from_unix_ms($3::bigint)
             and ($5 or revision = (select max(revision) from budget_span n where n.objective = b.objective and n.at = b.at))
           order by at, revision limit $4"#,
        request.objective,
        request.from_unix_ms,
        request.to_unix_ms,
        limit,
        request.replaced,
    )
    .fetch_all(pool)
    .await
    .map_err(Error::sql("read budget spans"))?;
    Ok(rows
        .into_iter()
        .map(|row| wire::BudgetSpan {
            objective: row.objective,
            from_unix_ms: row.at,
            width_ms: unsigned(row.width_ms),
            total: row.total,
            bad: row.bad,
            known_ms: unsigned(row.known_ms),
            incomplete: row.incomplete,
        })
        .collect())
}

/// Stores events, each once.
pub(crate) async fn record_events(
    pool: &PgPool,
    events: &[(Uuid, wire::ObjectiveEvent)],
) -> Result<(), Error> {
    let ids: Vec<Uuid> = events.iter().map(|(id, _)| *id).collect();
    let text = |field: fn(&wire::ObjectiveEvent) -> &String| -> Vec<String> {
        events.iter().map(|(_, event)| field(event).clone()).collect()
    };
    let at: Vec<i64> = events.iter().map(|(_, event)| event.at_unix_ms).collect();
    let until: Vec<i64> = events.iter().map(|(_, event)| event.until_unix_ms).collect();
    sqlx::query!(
        "insert into objective_event (id, objective, at, kind, text, actor, until)
         select id, objective, from_unix_ms(at), kind, text, actor, case when until > 0 then from_unix_ms(until) end
         from unnest($1::uuid[], $2::text[], $3::bigint[], $4::text[], $5::text[], $6::text[], $7::bigint[])
              as e (id, objective, at, kind, text, actor, until)
         on conflict do nothing",
        &ids,
        &text(|event| &event.objective),
        &at,
        &text(|event| &event.kind),
        &text(|event| &event.text),
        &text(|event| &event.actor),
        &until,
    )
    .execute(pool)
    .await
    .map_err(Error::sql("store events of objectives"))?;
    Ok(())
}

/// Newest first; of one objective or of all.
pub(crate) async fn events(
    pool: &PgPool,
    objective: &str,
    limit: i64,
) -> Result<Vec<wire::ObjectiveEvent>, Error> {
    let rows = sqlx::query!(
        r#"select id, objective, unix_ms(at) as "at!", kind, text, actor, unix_ms(until) as until from objective_event
           where ($1 = '' or objective = $1) order by at desc, id limit $2"#,
        objective,
        limit,
    )
    .fetch_all(pool)
    .await
    .map_err(Error::sql("list events of objectives"))?;
    Ok(rows
        .into_iter()
        .map(|row| wire::ObjectiveEvent {
            id: row.id.to_string(),
            objective: row.objective,
            at_unix_ms: row.at,
            kind: row.kind,
            text: row.text,
            actor: row.actor,
            until_unix_ms: row.until.unwrap_or(0),
        })
        .collect())
}
