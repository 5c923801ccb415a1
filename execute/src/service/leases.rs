//! Leases: granted, renewed and remembered by Knowledge, so that a restart of Execute asks nobody to register again.

use std::sync::Arc;
use std::time::Duration;

use proto::client::{Error, Registration};
use proto::model::{ActuatorSpec, Lease};

use super::shared::Shared;
use crate::registry::{ActuatorKey, Registered};

/// Why a lease cannot be used.
#[derive(Debug, thiserror::Error)]
pub(crate) enum LeaseError {
    #[error("the lease is gone: register again")]
    Gone,
    #[error(transparent)]
    Knowledge(#[from] Error),
}

/// Who holds leases, on both sides.
#[derive(Debug, Clone)]
pub(crate) struct Leases {
    shared: Arc<Shared>,
    ttl: Duration,
    /// Only one asks Knowledge for all leases at a time.
    refreshing: Arc<tokio::sync::Mutex<()>>,
}

impl Leases {
    pub(crate) fn new(shared: Arc<Shared>, ttl: Duration) -> Self {
        Self { shared, ttl, refreshing: Arc::default() }
    }

    /// Takes an actuator in. The lease is counted from before the request, so that it never ends later here than in Knowledge.
    pub(crate) async fn register(&self, spec: ActuatorSpec) -> Result<Registration, Error> {
        let ends = self.shared.clock.monotonic() + self.ttl;
        let (lease, generations) = self.shared.knowledge.grant_lease(spec.clone(), self.ttl).await?;
        let key = ActuatorKey::of(&spec);
        tracing::info!(actuator = %key, epoch = lease.epoch, "registered");
        let registered = Registered { spec, lease: lease.clone(), ends };
        self.shared.with(|engine, now| engine.granted(registered, now));
        self.shared.gauge();
        Ok(Registration { lease, ttl: self.ttl, generations })
    }

    /// Renews a lease.
    pub(crate) async fn keep_alive(&self, lease: &Lease) -> Result<Duration, LeaseError> {
        let ends = self.shared.clock.monotonic() + self.ttl;
        if !self.shared.knowledge.renew_lease(lease, self.ttl).await? {
            self.end(lease);
            return Err(LeaseError::Gone);
        }
        if self.shared.with(|engine, now| engine.registry().holder(lease, now.monotonic).is_err()) {
            // It lives in Knowledge and not here: after our restart, or after a gap in its renewals.
            self.refresh().await?;
        }
        self.shared.with(|engine, _| engine.renewed(lease, ends));
        Ok(self.ttl)
    }

    /// Gives a lease back.
    pub(crate) async fn deregister(&self, lease: &Lease) -> Result<(), Error> {
        self.shared.knowledge.release_lease(lease).await?;
        self.end(lease);
        Ok(())
    }

    /// Who holds this lease; asks Knowledge when it is not known here.
    pub(crate) async fn holder(&self, lease: &Lease) -> Result<ActuatorKey, LeaseError> {
        if let Some(key) = self.known(lease) {
            return Ok(key);
        }
        self.refresh().await?;
        self.known(lease).ok_or(LeaseError::Gone)
    }

    /// Reads all live leases from Knowledge.
    pub(crate) async fn refresh(&self) -> Result<(), Error> {
        let _only = self.refreshing.lock().await;
        let asked = self.shared.clock.monotonic();
        let actuators = self.shared.knowledge.list_actuators(true).await?;
        self.shared.with(|engine, now| {
            for record in actuators.into_iter().filter(|record| record.live) {
                let ends = asked + record.remaining;
                engine.granted(Registered { spec: record.actuator, lease: record.lease, ends }, now);
            }
        });
        self.shared.gauge();
        Ok(())
    }

    fn known(&self, lease: &Lease) -> Option<ActuatorKey> {
        self.shared.with(|engine, now| engine.registry().holder(lease, now.monotonic).ok().cloned())
    }

    fn end(&self, lease: &Lease) {
        self.shared.with(|engine, now| engine.lease_ended(lease, now));
        self.shared.gauge();
    }
}
