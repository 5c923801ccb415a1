//! Actuators and their leases, by the database's clock: all instances and restarts share it.

use std::time::Duration;

use prost::Message;
use proto::{
    model::{ActuatorSpec, AppliedGeneration, Lease},
    wire::{self, change::Change as Event},
};
use sqlx::{PgConnection, PgPool};
use uuid::Uuid;

use super::{LedgerTx, decode, signed, unsigned};
use crate::store::Error;

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

struct Row {
    lease_id: Uuid,
    epoch: i64,
    remaining: i64,
    registered_at: i64,
    body: Vec<u8>,
}

impl Row {
    fn record(self) -> Result<wire::ActuatorRecord, Error> {
        Ok(wire::ActuatorRecord {
            actuator: Some(decode("actuator", &self.body)?),
            lease_id: self.lease_id.to_string(),
            epoch: unsigned(self.epoch),
            live: self.remaining > 0,
            registered_at_unix_ms: self.registered_at,
            lease_remaining_ms: unsigned(self.remaining),
        })
    }
}

/// By name and instance.
pub(crate) async fn list(
    connection: &mut PgConnection,
    live_only: bool,
) -> Result<Vec<wire::ActuatorRecord>, Error> {
    let rows = sqlx::query_as!(
        Row,
        r#"select lease_id, epoch,
                  greatest(0, ceil(extract(epoch from lease_until - clock_timestamp()) * 1000))::bigint as "remaining!",
                  unix_ms(registered_at) as "registered_at!", body
           from actuator where not $1 or lease_until > clock_timestamp() order by name, instance"#,
        live_only,
    )
    .fetch_all(connection)
    .await
    .map_err(Error::sql("list actuators"))?;
    rows.into_iter().map(Row::record).collect()
}

/// What a registration gets.
#[derive(Debug)]
pub(crate) struct Granted {
    pub(crate) lease: Lease,
    pub(crate) generations: Vec<AppliedGeneration>,
}

/// Grants a lease, unless a live one of another (name, instance) serves an exclusive kind on a resource of this one. An earlier
/// lease of the same (name, instance) ends: its epoch is old.
pub(crate) async fn grant(
    tx: &mut LedgerTx,
    spec: ActuatorSpec,
    ttl: Duration,
    id: Uuid,
) -> Result<Granted, Error> {
    for other in list(tx.connection(), true).await? {
        let other = other.actuator.ok_or(Error::Inconsistent("an actuator without content"))?;
        let other =
            ActuatorSpec::try_from(other).map_err(|source| Error::Stored { what: "actuator", source })?;
        let same = (&other.name, &other.instance) == (&spec.name, &spec.instance);
        if let Some(kind) = spec.conflicts_with(&other).filter(|_| !same) {
            let text =
                format!("{}/{} already serves {kind} on a resource of this one", other.name, other.instance);
            return Err(Error::Held(text));
        }
    }
    let body = wire::ActuatorSpec::from(spec.clone());
    let at = tx.now().as_millisecond();
    let epoch = sqlx::query_scalar!(
        "insert into actuator as a (name, instance, lease_id, epoch, lease_until, registered_at, body)
         values ($1, $2, $3, 1, clock_timestamp() + $4::bigint * interval '1 millisecond',
                 from_unix_ms($5::bigint), $6)
         on conflict (name, instance) do update
         set lease_id = excluded.lease_id, epoch = a.epoch + 1, lease_until = excluded.lease_until,
             registered_at = excluded.registered_at, body = excluded.body
         returning epoch",
        spec.name,
        spec.instance,
        id,
        millis(ttl),
        at,
        body.encode_to_vec(),
    )
    .fetch_one(tx.connection())
    .await
    .map_err(Error::sql("grant a lease"))?;
    let record =
        Row { lease_id: id, epoch, remaining: millis(ttl), registered_at: at, body: body.encode_to_vec() };
    let record = record.record()?;
    tx.emit(|_| Event::Actuator(record));
    let generations = generations(tx.connection(), &spec).await?;
    Ok(Granted { lease: Lease { id: id.to_string(), epoch: unsigned(epoch) }, generations })
}

/// The last accepted generation of each (resource, kind) that the actuator serves.
async fn generations(
    connection: &mut PgConnection,
    spec: &ActuatorSpec,
) -> Result<Vec<AppliedGeneration>, Error> {
    let kinds: Vec<String> = spec.kinds.iter().map(ToString::to_string).collect();
    let rows = sqlx::query!(
        "select resource, kind, generation from intent where kind = any($1) order by resource, kind",
        &kinds,
    )
    .fetch_all(connection)
    .await
    .map_err(Error::sql("read generations"))?;
    let mut found = Vec::new();
    for row in rows {
        let resource = super::word("an intent's resource", &row.resource)?;
        let kind = super::word("an intent's kind", &row.kind)?;
        if spec.serves(&resource, kind) {
            let generation = proto::model::Generation(unsigned(row.generation));
            found.push(AppliedGeneration { resource, kind, generation });
        }
    }
    Ok(found)
}

/// Renews a lease that has not run out; tells whether it was held. Outside the ledger: it changes nothing that is watched.
pub(crate) async fn renew(pool: &PgPool, lease: &LeaseKey, ttl: Duration) -> Result<bool, Error> {
    let done = sqlx::query!(
        "update actuator set lease_until = clock_timestamp() + $3::bigint * interval '1 millisecond'
         where lease_id = $1 and epoch = $2 and lease_until > clock_timestamp()",
        lease.id,
        signed(lease.epoch),
        millis(ttl),
    )
    .execute(pool)
    .await
    .map_err(Error::sql("renew a lease"))?;
    Ok(done.rows_affected() == 1)
}

/// A lease as its holder names it.
#[derive(Debug, Clone, Copy)]
pub(crate) struct LeaseKey {
    pub(crate) id: Uuid,
    pub(crate) epoch: u64,
}

/// Ends a lease; one that is gone already stays so.
pub(crate) async fn release(tx: &mut LedgerTx, lease: LeaseKey) -> Result<(), Error> {
    let row = sqlx::query!(
        r#"update actuator set lease_until = clock_timestamp()
           where lease_id = $1 and epoch = $2 and lease_until > clock_timestamp()
           returning unix_ms(registered_at) as "registered_at!", body"#,
        lease.id,
        signed(lease.epoch),
    )
    .fetch_optional(tx.connection())
    .await
    .map_err(Error::sql("release a lease"))?;
    let Some(row) = row else { return Ok(()) };
    let registered_at = row.registered_at;
    let record =
        Row { lease_id: lease.id, epoch: signed(lease.epoch), remaining: 0, registered_at, body: row.body }
            .record()?;
    tx.emit(|_| Event::Actuator(record));
    Ok(())
}
