//! What people declared, with every version.

use prost::Message;
use proto::{
    model::{Declared, DeclaredKind, DeclaredSpec, ResourceId},
    wire::{self, change::Change as Event},
};
use sqlx::PgConnection;

use super::{LedgerTx, model, signed, unsigned};
use crate::store::Error;

/// Which documents; none and empty mean all.
#[derive(Debug, Default)]
pub(crate) struct Filter {
    pub(crate) kind: Option<DeclaredKind>,
    pub(crate) namespace: String,
    pub(crate) name: String,
}

/// By kind, namespace and name.
pub(crate) async fn list(connection: &mut PgConnection, filter: &Filter) -> Result<Vec<Declared>, Error> {
    let kind = filter.kind.map(|kind| kind.to_string()).unwrap_or_default();
    let bodies = sqlx::query_scalar!(
        "select body from declared
         where ($1 = '' or kind = $1) and ($2 = '' or namespace = $2) and ($3 = '' or name = $3)
         order by kind, namespace, name",
        kind,
        filter.namespace,
        filter.name,
    )
    .fetch_all(connection)
    .await
    .map_err(Error::sql("list declared documents"))?;
    bodies.iter().map(|body| model::<wire::Declared, _>("declared", body)).collect()
}

/// Stores documents, all or none. One whose content is what is stored keeps its version.
pub(crate) async fn apply(tx: &mut LedgerTx, documents: Vec<Declared>) -> Result<Vec<Declared>, Error> {
    let mut applied = Vec::with_capacity(documents.len());
    let mut resources = Vec::new();
    for document in documents {
        resources.extend(named(&document).into_iter().map(|resource| resource.to_string()));
        applied.push(apply_one(tx, document).await?);
    }
    super::resource::seen(tx, resources).await?;
    Ok(applied)
}

async fn apply_one(tx: &mut LedgerTx, document: Declared) -> Result<Declared, Error> {
    let kind = document.kind();
    let same =
        Filter { kind: Some(kind), namespace: document.namespace.clone(), name: document.name.clone() };
    if let Some(stored) = list(tx.connection(), &same).await?.pop()
        && stored.spec == document.spec
    {
        return Ok(stored);
    }
    let version = newest_version(tx, kind, &document.namespace, &document.name).await? + 1;
    let applied = Declared { version, applied_at: Some(tx.now()), ..document };
    let body = wire::Declared::from(applied.clone());
    let at = tx.now().as_millisecond();
    sqlx::query!(
        "with kept as (
             insert into declared_version (kind, namespace, name, version, at, body)
             values ($1, $2, $3, $4, from_unix_ms($5::bigint), $6)
         )
         insert into declared (kind, namespace, name, version, applied_at, body)
         values ($1, $2, $3, $4, from_unix_ms($5::bigint), $6)
         on conflict (kind, namespace, name) do update
         set version = excluded.version, applied_at = excluded.applied_at, body = excluded.body",
        kind.to_string(),
        applied.namespace,
        applied.name,
        signed(version),
        at,
        body.encode_to_vec(),
    )
    .execute(tx.connection())
    .await
    .map_err(Error::sql("store a declared document"))?;
    tx.emit(|_| Event::Applied(body));
    Ok(applied)
}

async fn newest_version(
    tx: &mut LedgerTx,
    kind: DeclaredKind,
    namespace: &str,
    name: &str,
) -> Result<u64, Error> {
    let version = sqlx::query_scalar!(
        "select max(version) from declared_version where kind = $1 and namespace = $2 and name = $3",
        kind.to_string(),
        namespace,
        name,
    )
    .fetch_one(tx.connection())
    .await
    .map_err(Error::sql("read the versions of a document"))?;
    Ok(version.map_or(0, unsigned))
}

/// Deletes one document; tells whether it was there.
pub(crate) async fn delete(
    tx: &mut LedgerTx,
    kind: DeclaredKind,
    namespace: String,
    name: String,
) -> Result<bool, Error> {
    let version = newest_version(tx, kind, &namespace, &name).await? + 1;
    let at = tx.now().as_millisecond();
    let gone = sqlx::query!(
        "with gone as (
             delete from declared where kind = $1 and namespace = $2 and name = $3
             returning kind, namespace, name
         )
         insert into declared_version (kind, namespace, name, version, at, body)
         select kind, namespace, name, $4, from_unix_ms($5::bigint), null from gone",
        kind.to_string(),
        namespace,
        name,
        signed(version),
        at,
    )
    .execute(tx.connection())
    .await
    .map_err(Error::sql("delete a declared document"))?;
    let deleted = gone.rows_affected() > 0;
    if deleted {
        tx.emit(|_| Event::Deleted(wire::DeletedDocument { kind: kind.into(), namespace, name }));
    }
    Ok(deleted)
}

/// The resources that a document declares: a service and its edges.
pub(crate) fn named(document: &Declared) -> Vec<ResourceId> {
    let DeclaredSpec::Service(service) = &document.spec else { return Vec::new() };
    let own = ResourceId::service(&document.namespace, &document.name);
    let edges =
        service.edges.iter().map(|edge| ResourceId::edge(&document.namespace, &document.name, &edge.callee));
    // A document that passed validation names valid resources only.
    std::iter::once(own).chain(edges).filter_map(Result::ok).collect()
}
