//! What policies have earned at resources, and the evidence for it.

use prost::Message;
use proto::{
    model::{AutonomyLevel, Declared, DeclaredKind, DeclaredSpec, ResourceId, Standing, StandingEvidence},
    wire,
};
use sqlx::{PgConnection, PgPool};

use super::{model, signed};
use crate::batch::{Holder, Loaded};
use crate::store::Error;

/// Evidence that is kept of a policy at a resource: the rules look at a month at most, in which advice that is renewed every
/// five minutes at a struggling service would be 9,000; what decides is the newest few hundred. Of 500 bytes each, 1,000 are
/// half a megabyte.
const EVIDENCE_KEPT: i64 = 1_000;
/// Standings in one list: of 1 KB each they fit the largest message.
const STANDINGS_MOST: i64 = 10_000;

fn standings(bodies: &[Vec<u8>]) -> Result<Vec<Standing>, Error> {
    bodies.iter().map(|body| model::<wire::Standing, _>("standing", body)).collect()
}

/// The newest standing of each policy at each resource.
pub(crate) async fn list(pool: &PgPool) -> Result<Vec<Standing>, Error> {
    let bodies = sqlx::query_scalar!(
        "select distinct on (policy, resource) body from standing
         order by policy, resource, generation desc limit $1",
        STANDINGS_MOST,
    )
    .fetch_all(pool)
    .await
    .map_err(Error::sql("list standings"))?;
    standings(&bodies)
}

/// Loads how far each of these may go: the lowest of what its Policy declares and what it earned and is allowed. A name that is no
/// Policy's, as of a person's word or an objective's measure, is bound by its standing alone.
pub(crate) async fn load_levels(
    connection: &mut PgConnection,
    holders: Vec<Holder>,
    loaded: &mut Loaded,
) -> Result<(), Error> {
    if holders.is_empty() {
        return Ok(());
    }
    let policies: Vec<String> = holders.iter().map(|(policy, _)| policy.clone()).collect();
    let resources: Vec<String> = holders.iter().map(|(_, resource)| resource.to_string()).collect();
    let namespaces: Vec<String> =
        holders.iter().map(|(_, resource)| resource.namespace().to_owned()).collect();
    let rows = sqlx::query!(
        r#"select k.place as "place!",
                  (select s.body from standing s where s.policy = k.policy and s.resource = k.resource
                   order by s.generation desc limit 1) as standing,
                  (select d.body from declared d
                   where d.kind = $4 and d.namespace = k.namespace and d.name = k.policy) as declared
           from unnest($1::text[], $2::text[], $3::text[]) with ordinality
                as k (policy, resource, namespace, place)"#,
        &policies,
        &resources,
        &namespaces,
        DeclaredKind::Policy.to_string(),
    )
    .fetch_all(connection)
    .await
    .map_err(Error::sql("read how far policies may go"))?;
    for row in rows {
        let holder = usize::try_from(row.place - 1).ok().and_then(|place| holders.get(place));
        let holder = holder.ok_or(Error::Inconsistent("a level that nobody asked for"))?;
        if let Some(body) = row.standing {
            let standing: Standing = model::<wire::Standing, _>("standing", &body)?;
            loaded.bound(holder.clone(), standing.level(AutonomyLevel::Act));
        }
        if let Some(body) = row.declared
            && let Declared { spec: DeclaredSpec::Policy(policy), .. } =
                model::<wire::Declared, _>("declared", &body)?
        {
            loaded.bound(holder.clone(), policy.autonomy);
        }
    }
    Ok(())
}

/// Every change of one standing, newest first.
pub(crate) async fn history(
    pool: &PgPool,
    policy: &str,
    resource: &ResourceId,
    limit: i64,
) -> Result<Vec<Standing>, Error> {
    let bodies = sqlx::query_scalar!(
        "select body from standing where policy = $1 and resource = $2 order by generation desc limit $3",
        policy,
        resource.to_string(),
        limit,
    )
    .fetch_all(pool)
    .await
    .map_err(Error::sql("read the history of a standing"))?;
    standings(&bodies)
}

/// Records a change if it follows the newest one; whether it did, and the newest one now.
pub(crate) async fn record(pool: &PgPool, standing: Standing) -> Result<(bool, Option<Standing>), Error> {
    let resource = standing.resource.to_string();
    let body = wire::Standing::from(standing.clone()).encode_to_vec();
    let done = sqlx::query!(
        "insert into standing (policy, resource, generation, at, body)
         select $1, $2, $3, from_unix_ms($4::bigint), $5
         where $3 = coalesce((select max(generation) from standing where policy = $1 and resource = $2), 0) + 1
         on conflict do nothing",
        standing.policy,
        resource,
        signed(standing.generation),
        standing.at.as_millisecond(),
        body,
    )
    .execute(pool)
    .await
    .map_err(Error::sql("store a standing"))?;
    let newest = history(pool, &standing.policy, &standing.resource, 1).await?;
    Ok((done.rows_affected() == 1, newest.into_iter().next()))
}

/// Records evidence that was not told before; how many were new.
pub(crate) async fn record_evidence(pool: &PgPool, evidence: Vec<StandingEvidence>) -> Result<u64, Error> {
    let policies: Vec<String> = evidence.iter().map(|found| found.policy.clone()).collect();
    let resources: Vec<String> = evidence.iter().map(|found| found.resource.to_string()).collect();
    let sources: Vec<String> = evidence.iter().map(|found| found.source.to_string()).collect();
    let subjects: Vec<String> = evidence.iter().map(|found| found.subject.clone()).collect();
    let times: Vec<i64> = evidence.iter().map(|found| found.at.as_millisecond()).collect();
    let bodies: Vec<Vec<u8>> =
        evidence.into_iter().map(|found| wire::StandingEvidence::from(found).encode_to_vec()).collect();
    let stored = sqlx::query!(
        "insert into standing_evidence (policy, resource, source, subject, at, body)
         select policy, resource, source, subject, from_unix_ms(at), body
         from unnest($1::text[], $2::text[], $3::text[], $4::text[], $5::bigint[], $6::bytea[])
              as t (policy, resource, source, subject, at, body)
         on conflict do nothing",
        &policies,
        &resources,
        &sources,
        &subjects,
        &times,
        &bodies,
    )
    .execute(pool)
    .await
    .map_err(Error::sql("store evidence"))?
    .rows_affected();
    sqlx::query!(
        "delete from standing_evidence e
         using (select distinct policy, resource from unnest($1::text[], $2::text[]) as t (policy, resource)) k
         where e.policy = k.policy and e.resource = k.resource and e.at < (
             select at from standing_evidence n where n.policy = k.policy and n.resource = k.resource
             order by at desc offset $3 limit 1)",
        &policies,
        &resources,
        EVIDENCE_KEPT,
    )
    .execute(pool)
    .await
    .map_err(Error::sql("delete old evidence"))?;
    Ok(stored)
}

/// Evidence, newest first; no policy and no resource mean all.
pub(crate) async fn evidence(
    pool: &PgPool,
    policy: &str,
    resource: Option<&ResourceId>,
    limit: i64,
) -> Result<Vec<StandingEvidence>, Error> {
    let bodies = sqlx::query_scalar!(
        "select body from standing_evidence
         where ($1 = '' or policy = $1) and ($2 = '' or resource = $2) order by at desc, subject limit $3",
        policy,
        resource.map(ToString::to_string).unwrap_or_default(),
        limit,
    )
    .fetch_all(pool)
    .await
    .map_err(Error::sql("list evidence"))?;
    bodies.iter().map(|body| model::<wire::StandingEvidence, _>("evidence", body)).collect()
}
