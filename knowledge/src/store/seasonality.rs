//! Versions of models of seasons.

use std::collections::BTreeMap;

use prost::Message;
use proto::{
    model::{SeasonalityModel, SignalId},
    wire,
};
use sqlx::{PgConnection, PgPool, Postgres, Transaction};

use super::{model, signed};
use crate::seasonality;
use crate::store::Error;

/// Versions of a signal that are kept: at one a week, as fast as a season can be seen to change, two years. Of 2 KB each they
/// are 200 KB a signal at most.
pub(crate) const VERSIONS_KEPT: i64 = 100;

/// Which models to list.
#[derive(Debug)]
pub(crate) struct Filter {
    pub(crate) prefix: String,
    /// Models on the page.
    pub(crate) models: i64,
    pub(crate) after: String,
}

/// One page of the models in force, by signal, and whether more follow.
pub(crate) async fn list(pool: &PgPool, filter: &Filter) -> Result<(Vec<SeasonalityModel>, bool), Error> {
    let mut bodies = sqlx::query_scalar!(
        "select body from seasonality
         where state = 'active' and signal > $1 and signal >= $2 and starts_with(signal, $2)
         order by signal limit $3",
        filter.after,
        filter.prefix,
        filter.models + 1,
    )
    .fetch_all(pool)
    .await
    .map_err(Error::sql("list models of seasons"))?;
    let wanted = usize::try_from(filter.models).unwrap_or(usize::MAX);
    let more = bodies.len() > wanted;
    bodies.truncate(wanted);
    Ok((models(&bodies)?, more))
}

/// Versions of one signal, newest first.
pub(crate) async fn history(
    pool: &PgPool,
    signal: &SignalId,
    limit: i64,
) -> Result<Vec<SeasonalityModel>, Error> {
    let bodies = sqlx::query_scalar!(
        "select body from seasonality where signal = $1 order by generation desc limit $2",
        signal.to_string(),
        limit,
    )
    .fetch_all(pool)
    .await
    .map_err(Error::sql("read the history of a model of seasons"))?;
    models(&bodies)
}

fn models(bodies: &[Vec<u8>]) -> Result<Vec<SeasonalityModel>, Error> {
    bodies.iter().map(|body| model::<wire::SeasonalityModel, _>("model of seasons", body)).collect()
}

/// Records what was found, all or none; returns each as stored, in the order asked.
pub(crate) async fn record(
    pool: &PgPool,
    found: Vec<SeasonalityModel>,
) -> Result<Vec<SeasonalityModel>, Error> {
    let failed = Error::sql("store models of seasons");
    let mut tx = pool.begin().await.map_err(&failed)?;
    let mut known = relevant(&mut tx, &found).await?;
    let (mut answers, mut changed) = (Vec::with_capacity(found.len()), BTreeMap::new());
    for model in found {
        let versions = known.entry(model.signal.clone()).or_default();
        let (stored, changes) = seasonality::record(versions, model);
        for version in changes {
            match versions.iter_mut().find(|other| other.generation == version.generation) {
                Some(other) => *other = version.clone(),
                None => versions.push(version.clone()),
            }
            changed.insert((version.signal.clone(), version.generation), version);
        }
        answers.push(stored);
    }
    write(&mut tx, changed.into_values().collect()).await?;
    tx.commit().await.map_err(&failed)?;
    Ok(answers)
}

/// For each signal in question: the newest version, the one in force, and the generation that was asked for. Two writers at
/// once would give out the same generation: the second one waits.
async fn relevant(
    tx: &mut Transaction<'static, Postgres>,
    found: &[SeasonalityModel],
) -> Result<BTreeMap<SignalId, Vec<SeasonalityModel>>, Error> {
    let failed = Error::sql("read models of seasons");
    sqlx::query!("lock table seasonality in exclusive mode").execute(&mut **tx).await.map_err(&failed)?;
    let signals: Vec<String> = found.iter().map(|model| model.signal.to_string()).collect();
    let generations: Vec<i64> = found.iter().map(|model| signed(model.generation)).collect();
    let bodies = sqlx::query_scalar!(
        "select s.body from seasonality s
         where (s.signal, s.generation) in (
             select signal, generation from unnest($1::text[], $2::bigint[]) as a (signal, generation)
             union
             select k.signal, v.generation
             from (select distinct signal from unnest($1::text[]) as s (signal)) k
             cross join lateral (
                 (select generation from seasonality where signal = k.signal order by generation desc limit 1)
                 union all
                 (select generation from seasonality where signal = k.signal and state = 'active')
             ) v
         )
         order by s.signal, s.generation",
        &signals,
        &generations,
    )
    .fetch_all(&mut **tx)
    .await
    .map_err(&failed)?;
    let mut known: BTreeMap<SignalId, Vec<SeasonalityModel>> = BTreeMap::new();
    for version in models(&bodies)? {
        known.entry(version.signal.clone()).or_default().push(version);
    }
    Ok(known)
}

/// Stores versions, those that leave force first, and lets the oldest of these signals go.
async fn write(connection: &mut PgConnection, mut versions: Vec<SeasonalityModel>) -> Result<(), Error> {
    if versions.is_empty() {
        return Ok(());
    }
    // No moment has two in force.
    versions.sort_by_key(SeasonalityModel::in_force);
    let signals: Vec<String> = versions.iter().map(|version| version.signal.to_string()).collect();
    let generations: Vec<i64> = versions.iter().map(|version| signed(version.generation)).collect();
    let states: Vec<String> = versions.iter().map(|version| version.state.to_string()).collect();
    let created: Vec<i64> = versions.iter().map(|version| version.created_at.as_millisecond()).collect();
    let bodies: Vec<Vec<u8>> =
        versions.into_iter().map(|version| wire::SeasonalityModel::from(version).encode_to_vec()).collect();
    sqlx::query!(
        "insert into seasonality (signal, generation, state, created_at, body)
         select signal, generation, state, from_unix_ms(created_at), body
         from unnest($1::text[], $2::bigint[], $3::text[], $4::bigint[], $5::bytea[])
              as t (signal, generation, state, created_at, body)
         on conflict (signal, generation) do update set state = excluded.state, body = excluded.body",
        &signals,
        &generations,
        &states,
        &created,
        &bodies,
    )
    .execute(&mut *connection)
    .await
    .map_err(Error::sql("store models of seasons"))?;
    sqlx::query!(
        "delete from seasonality s
         where s.signal = any($1) and s.state = 'superseded' and s.generation <= (
             select max(generation) - $2 from seasonality n where n.signal = s.signal)",
        &signals,
        VERSIONS_KEPT,
    )
    .execute(connection)
    .await
    .map_err(Error::sql("delete old models of seasons"))?;
    Ok(())
}
