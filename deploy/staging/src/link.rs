//! The cluster's side of the actuator API: replicas are scaled and breakers set by ordinary clients of Execute, made with
//! the SDK. Without Execute's address the cluster runs alone.

use std::collections::BTreeMap;
use std::sync::Arc;

use actuators::breaker::BreakerActuator;
use actuators::process::{Bounds, ProcessActuator, ReplicaManager, Replicas, ScaleError};
use actuators::{Actuator, RunError, Runner};
use chassis::grpc::ChannelError;
use chassis::{ClientConfig, Context, OnFailure};
use proto::model::{Generation, InvalidId, ResourceId};

use crate::actuator::Driver;
use crate::edges::EdgeBreakers;
use crate::mode::ModeActuator;
use crate::replicas::{REPLICAS_MAX, ReplicaError};
use crate::topology::{NAMESPACE, Role};

/// Why an actuator cannot be linked to Execute.
#[derive(Debug, thiserror::Error)]
pub enum LinkError {
    /// Execute's address is of no use.
    #[error("cannot use Execute's address {0}")]
    Address(String, #[source] ChannelError),
    /// A name breaks a rule.
    #[error("cannot name the actuator")]
    Name(#[source] InvalidId),
    /// Execute does not take it in.
    #[error(transparent)]
    Run(#[from] RunError),
}

/// Takes directives for one service until stopped: how many replicas there are, and how they work.
pub(crate) async fn drive(
    driver: Driver,
    role: Role,
    execute_url: &str,
    ctx: &Context,
) -> Result<(), LinkError> {
    let service = ResourceId::service(NAMESPACE, role.name()).map_err(LinkError::Name)?;
    let driver_dir = driver.dir().clone();
    let bounds = Bounds { min: 1, max: REPLICAS_MAX };
    let actuator = ProcessActuator::new(&service, role.name(), bounds, driver).map_err(LinkError::Name)?;
    let mode = ModeActuator::new(&service, driver_dir, role).map_err(LinkError::Name)?;
    let (replicas, mode) = (runner(actuator, execute_url, ctx)?, runner(mode, execute_url, ctx)?);
    tokio::try_join!(replicas.run(), mode.run())?;
    Ok(())
}

/// Takes directives for this process's breakers, in the background, for as long as the process lives.
pub(crate) fn set_breakers(
    edges: &EdgeBreakers,
    instance: &str,
    execute_url: &str,
    ctx: &Context,
) -> Result<(), LinkError> {
    let mut breakers = BTreeMap::new();
    for name in edges.names() {
        let edge =
            ResourceId::new(proto::model::ResourceKind::Edge, NAMESPACE, name).map_err(LinkError::Name)?;
        breakers.extend(edges.get(name).map(|breaker| (edge, Arc::clone(breaker))));
    }
    let actuator = BreakerActuator::new(instance, breakers, ctx.clock.clone()).map_err(LinkError::Name)?;
    let runner = runner(actuator, execute_url, ctx)?;
    // A service serves on without its breakers' actuator: they keep the last policy.
    ctx.tasks.spawn("breaker-actuator", OnFailure::Log, async move { Ok(runner.run().await?) });
    Ok(())
}

fn runner<A: Actuator>(actuator: A, execute_url: &str, ctx: &Context) -> Result<Runner<A>, LinkError> {
    let address = ClientConfig { url: execute_url.to_owned(), ..ClientConfig::loopback(0) };
    let channel = chassis::grpc::channel(&address)
        .map_err(|error| LinkError::Address(execute_url.to_owned(), error))?;
    Ok(Runner::new(channel, Arc::new(actuator), ctx.clone()))
}

impl ReplicaManager for Driver {
    async fn scale(&self, replicas: u32, generation: Generation) -> Result<Replicas, ScaleError> {
        match Driver::scale(self, replicas, generation.0).await {
            Ok(_) => Ok(ReplicaManager::observe(self).await),
            Err(error @ (ReplicaError::Stale { .. } | ReplicaError::Bounds(_))) => {
                Err(ScaleError::Refused(error.to_string()))
            }
            Err(error) => Err(ScaleError::Failed(Box::new(error))),
        }
    }

    async fn observe(&self) -> Replicas {
        seen(self)
    }

    fn generation(&self) -> Generation {
        seen(self).generation
    }
}

/// A state that cannot be read is shown as nothing running: it is what the process can vouch for.
fn seen(driver: &Driver) -> Replicas {
    match driver.observe() {
        Ok(seen) => Replicas {
            generation: Generation(seen.generation),
            wanted: seen.desired,
            running: seen.running,
            ready: seen.ready,
        },
        Err(error) => {
            tracing::warn!("the replicas cannot be looked at: {}", chassis::chain(&error));
            Replicas { generation: Generation(0), wanted: 0, running: 0, ready: 0 }
        }
    }
}
