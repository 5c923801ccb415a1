//! Versions of learned thresholds.

use std::collections::{BTreeMap, HashMap};

use prost::Message;
use proto::{
    model::{
        Declared, DeclaredKind, DeclaredSpec, ResourceId, ResourceKind, ReviewRule, SignalId, Threshold,
    },
    wire::{self, change::Change as Event},
};
use sqlx::PgConnection;

use super::{LedgerTx, declared, model, signed};
use crate::store::Error;
use crate::thresholds::{self, Changes, Decision, Refusal};

/// Which thresholds to list.
#[derive(Debug)]
pub(crate) struct Filter {
    pub(crate) prefix: String,
    pub(crate) current_only: bool,
    /// Signals on the page.
    pub(crate) signals: i64,
    pub(crate) after: String,
}

/// One page by signal and generation, and whether more follow.
pub(crate) async fn list(
    connection: &mut PgConnection,
    filter: &Filter,
) -> Result<(Vec<Threshold>, bool), Error> {
    let mut signals = sqlx::query_scalar!(
        "select distinct signal from threshold
         where signal > $1 and signal >= $2 and starts_with(signal, $2)
               and (not $3 or state in ('active', 'pinned', 'proposed'))
         order by signal limit $4",
        filter.after,
        filter.prefix,
        filter.current_only,
        filter.signals + 1,
    )
    .fetch_all(&mut *connection)
    .await
    .map_err(Error::sql("list thresholds"))?;
    let wanted = usize::try_from(filter.signals).unwrap_or(usize::MAX);
    let more = signals.len() > wanted;
    signals.truncate(wanted);
    let bodies = sqlx::query_scalar!(
        "select body from threshold
         where signal = any($1) and (not $2 or state in ('active', 'pinned', 'proposed'))
         order by signal, generation",
        &signals,
        filter.current_only,
    )
    .fetch_all(connection)
    .await
    .map_err(Error::sql("list thresholds"))?;
    Ok((versions(bodies)?, more))
}

/// Versions of one signal, newest first.
pub(crate) async fn history(
    connection: &mut PgConnection,
    signal: &SignalId,
    limit: i64,
) -> Result<Vec<Threshold>, Error> {
    let bodies = sqlx::query_scalar!(
        "select body from threshold where signal = $1 order by generation desc limit $2",
        signal.to_string(),
        limit,
    )
    .fetch_all(connection)
    .await
    .map_err(Error::sql("read a threshold's history"))?;
    versions(bodies)
}

fn versions(bodies: Vec<Vec<u8>>) -> Result<Vec<Threshold>, Error> {
    bodies.iter().map(|body| model::<wire::Threshold, _>("threshold", body)).collect()
}

/// Records what was learned; returns each as stored, in the order asked.
pub(crate) async fn record(tx: &mut LedgerTx, learned: Vec<Threshold>) -> Result<Vec<Threshold>, Error> {
    let rules = Rules::load(tx).await?;
    let mut known = relevant(tx, &learned).await?;
    let (mut answers, mut changed) = (Vec::with_capacity(learned.len()), Changed::default());
    for threshold in learned {
        let versions = known.entry(threshold.signal.clone()).or_default();
        let rule = rules.of(&threshold.signal.resource);
        let (stored, changes) = thresholds::record(versions, threshold, rule);
        changed.merge(versions, changes);
        answers.push(stored);
    }
    let resources: Vec<String> = known.keys().map(|signal| signal.resource.to_string()).collect();
    super::resource::seen(tx, resources).await?;
    changed.write(tx).await?;
    Ok(answers)
}

/// Carries out one person's decision.
pub(crate) async fn review(
    tx: &mut LedgerTx,
    signal: SignalId,
    decision: Decision,
) -> Result<Threshold, Error> {
    let mut versions = history(tx.connection(), &signal, i64::MAX).await?;
    versions.reverse();
    let (answer, changes) =
        thresholds::review(&versions, &decision, tx.now()).map_err(|refusal| match refusal {
            Refusal::Missing(_) => {
                Error::Missing(refusal.to_string().trim_start_matches("there is no ").to_owned())
            }
            Refusal::State(text) => Error::Precondition(text),
            Refusal::Limits => Error::Invalid(proto::convert::Error::new("lower", "", &refusal.to_string())),
        })?;
    let mut changed = Changed::default();
    changed.merge(&mut versions, changes);
    changed.write(tx).await?;
    Ok(answer)
}

/// For each signal in question: what is in force, what waits, the newest, and the generation that was asked for.
async fn relevant(
    tx: &mut LedgerTx,
    learned: &[Threshold],
) -> Result<HashMap<SignalId, Vec<Threshold>>, Error> {
    let signals: Vec<String> = learned.iter().map(|threshold| threshold.signal.to_string()).collect();
    let generations: Vec<i64> = learned.iter().map(|threshold| signed(threshold.generation)).collect();
    let bodies = sqlx::query_scalar!(
        "select t.body from threshold t
         where (t.signal, t.generation) in (
             select signal, generation from unnest($1::text[], $2::bigint[]) as a (signal, generation)
             union
             select k.signal, v.generation
             from (select distinct signal from unnest($1::text[]) as s (signal)) k
             cross join lateral (
                 (select generation from threshold where signal = k.signal order by generation desc limit 1)
                 union all
                 (select generation from threshold where signal = k.signal and state in ('active', 'pinned'))
                 union all
                 (select generation from threshold where signal = k.signal and state = 'proposed')
             ) v
         )
         order by t.signal, t.generation",
        &signals,
        &generations,
    )
    .fetch_all(tx.connection())
    .await
    .map_err(Error::sql("read thresholds"))?;
    let mut known: HashMap<SignalId, Vec<Threshold>> = HashMap::new();
    for version in versions(bodies)? {
        known.entry(version.signal.clone()).or_default().push(version);
    }
    Ok(known)
}

/// Versions to write, each as it stands at the end.
#[derive(Default)]
struct Changed {
    versions: BTreeMap<(SignalId, u64), Threshold>,
}

impl Changed {
    /// Takes the changes over, also into what is known of the signal.
    fn merge(&mut self, known: &mut Vec<Threshold>, changes: Changes) {
        for version in changes.versions {
            match known.iter_mut().find(|other| other.generation == version.generation) {
                Some(other) => *other = version.clone(),
                None => known.push(version.clone()),
            }
            self.versions.insert((version.signal.clone(), version.generation), version);
        }
    }

    async fn write(self, tx: &mut LedgerTx) -> Result<(), Error> {
        if self.versions.is_empty() {
            return Ok(());
        }
        let mut versions: Vec<Threshold> = self.versions.into_values().collect();
        // Those that leave first: no moment has two in force, nor two waiting.
        versions.sort_by_key(|version| {
            version.in_force() || version.state == proto::model::ThresholdState::Proposed
        });
        let signals: Vec<String> = versions.iter().map(|version| version.signal.to_string()).collect();
        let generations: Vec<i64> = versions.iter().map(|version| signed(version.generation)).collect();
        let states: Vec<String> = versions.iter().map(|version| version.state.to_string()).collect();
        let created: Vec<i64> = versions.iter().map(|version| version.created_at.as_millisecond()).collect();
        let wires: Vec<wire::Threshold> = versions.into_iter().map(Into::into).collect();
        let bodies: Vec<Vec<u8>> = wires.iter().map(Message::encode_to_vec).collect();
        sqlx::query!(
            "insert into threshold (signal, generation, state, created_at, body)
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
        .execute(tx.connection())
        .await
        .map_err(Error::sql("store thresholds"))?;
        for version in wires {
            tx.emit(|_| Event::Threshold(version));
        }
        Ok(())
    }
}

/// Which services want their thresholds reviewed.
struct Rules {
    required: std::collections::BTreeSet<ResourceId>,
}

impl Rules {
    async fn load(tx: &mut LedgerTx) -> Result<Self, Error> {
        let filter = declared::Filter { kind: Some(DeclaredKind::Policy), ..declared::Filter::default() };
        let policies = declared::list(tx.connection(), &filter).await?;
        let required = policies.iter().filter(|policy| requires_review(policy));
        Ok(Self { required: required.filter_map(|policy| policy.service_id().ok()).collect() })
    }

    /// An edge follows the policy of its caller.
    fn of(&self, resource: &ResourceId) -> ReviewRule {
        let service = match (resource.kind(), resource.edge_ends()) {
            (ResourceKind::Edge, Some((caller, _))) => ResourceId::service(resource.namespace(), caller).ok(),
            _ => Some(resource.clone()),
        };
        if service.is_some_and(|service| self.required.contains(&service)) {
            ReviewRule::Required
        } else {
            ReviewRule::Automatic
        }
    }
}

fn requires_review(policy: &Declared) -> bool {
    matches!(&policy.spec, DeclaredSpec::Policy(policy) if policy.review == ReviewRule::Required)
}
