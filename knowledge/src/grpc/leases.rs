//! Actuators' leases.

use std::time::Duration;

use proto::{convert, model::ActuatorSpec, wire};
use tonic::Status;

use super::{Service, given, id};
use crate::store::actuator::{self, LeaseKey};

/// A lease must outlast the renewals of a client that renews every third of it over a slow network.
const TTL_LEAST: Duration = Duration::from_millis(100);
/// A dead actuator blocks an exclusive resource for as long as its lease: not longer than a person would wait.
const TTL_MOST: Duration = Duration::from_secs(600);

fn ttl(millis: u64) -> Result<Duration, Status> {
    let ttl = Duration::from_millis(millis);
    if (TTL_LEAST..=TTL_MOST).contains(&ttl) {
        return Ok(ttl);
    }
    Err(convert::Error::new("ttl_ms", millis, "must be 100 to 600000").into())
}

fn key(lease_id: &str, epoch: u64) -> Result<LeaseKey, Status> {
    Ok(LeaseKey { id: id(lease_id, "lease_id")?, epoch })
}

impl Service {
    pub(super) async fn grant(
        &self,
        request: wire::GrantLeaseRequest,
    ) -> Result<wire::GrantLeaseResponse, Status> {
        let spec: ActuatorSpec = given(request.actuator, "actuator")?;
        let (ttl, lease_id) = (ttl(request.ttl_ms)?, self.ctx.uuid());
        let granted =
            self.ledger.transact(move |tx| Box::pin(actuator::grant(tx, spec, ttl, lease_id))).await?;
        Ok(wire::GrantLeaseResponse {
            lease_id: granted.lease.id,
            epoch: granted.lease.epoch,
            generations: granted.generations.into_iter().map(Into::into).collect(),
        })
    }

    pub(super) async fn renew(
        &self,
        request: wire::RenewLeaseRequest,
    ) -> Result<wire::RenewLeaseResponse, Status> {
        let lease = key(&request.lease_id, request.epoch)?;
        let held = actuator::renew(&self.feed.store.pool, &lease, ttl(request.ttl_ms)?).await?;
        Ok(wire::RenewLeaseResponse { held })
    }

    pub(super) async fn release(
        &self,
        request: wire::ReleaseLeaseRequest,
    ) -> Result<wire::ReleaseLeaseResponse, Status> {
        let lease = key(&request.lease_id, request.epoch)?;
        self.ledger.transact(move |tx| Box::pin(actuator::release(tx, lease))).await?;
        Ok(wire::ReleaseLeaseResponse {})
    }

    pub(super) async fn list_of_actuators(
        &self,
        request: wire::ListActuatorsRequest,
    ) -> Result<wire::ListActuatorsResponse, Status> {
        let mut connection = self.connection().await?;
        let actuators = actuator::list(&mut connection, request.live_only).await?;
        Ok(wire::ListActuatorsResponse { actuators })
    }
}
