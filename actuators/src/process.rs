//! The process actuator: `scale` directives for services whose replicas are processes of this machine. Whoever starts and
//! ends the processes implements [`ReplicaManager`]; it keeps the generation with the number.

use std::future::Future;

use proto::model::{
    Action, ActuatorSpec, Directive, DirectiveKind, Generation, InvalidId, Observation, ResourceId,
    ResourcePattern,
};

use crate::actuator::{Actuator, ApplyOutcome};

/// What there is to see of a service's replicas.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Replicas {
    /// The generation that stands.
    pub generation: Generation,
    /// How many are wanted.
    pub wanted: u32,
    /// How many run.
    pub running: u32,
    /// How many of them serve.
    pub ready: u32,
}

/// Why a change of scale did not come about.
#[derive(Debug, thiserror::Error)]
pub enum ScaleError {
    /// Nothing has changed, on purpose: a newer generation stands, or the number is out of bounds.
    #[error("refused: {0}")]
    Refused(String),
    /// It was tried and did not work.
    #[error("the replicas could not be changed")]
    Failed(#[source] Box<dyn std::error::Error + Send + Sync>),
}

/// Starts and ends the replicas of one service.
pub trait ReplicaManager: Send + Sync + 'static {
    /// Makes it `replicas`, and keeps `generation` with the number. The same generation again changes nothing; an older one
    /// is refused.
    fn scale(
        &self,
        replicas: u32,
        generation: Generation,
    ) -> impl Future<Output = Result<Replicas, ScaleError>> + Send;

    /// What there is to see.
    fn observe(&self) -> impl Future<Output = Replicas> + Send;

    /// The generation that stands, without waiting.
    fn generation(&self) -> Generation;
}

/// Bounds that the actuator keeps, whatever it is told.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Bounds {
    /// At least so many.
    pub min: u32,
    /// At most so many.
    pub max: u32,
}

/// Scales one service.
#[derive(Debug)]
pub struct ProcessActuator<M> {
    spec: ActuatorSpec,
    bounds: Bounds,
    manager: M,
}

impl<M: ReplicaManager> ProcessActuator<M> {
    /// For this service. `instance` tells this process from others and stays the same across its restarts.
    ///
    /// # Errors
    /// When a name breaks a rule.
    pub fn new(service: &ResourceId, instance: &str, bounds: Bounds, manager: M) -> Result<Self, InvalidId> {
        let spec = ActuatorSpec {
            name: "process".to_owned(),
            instance: instance.to_owned(),
            kinds: vec![DirectiveKind::Scale],
            resources: vec![ResourcePattern::exactly(service)],
            max_in_flight: 1,
            supports_dry_run: true,
            supports_undo: true,
        };
        spec.validate()?;
        Ok(Self { spec, bounds, manager })
    }

    /// What it drives.
    pub fn manager(&self) -> &M {
        &self.manager
    }
}

impl<M: ReplicaManager> Actuator for ProcessActuator<M> {
    fn spec(&self) -> ActuatorSpec {
        self.spec.clone()
    }

    async fn observe(&self, _: &ResourceId) -> Vec<Observation> {
        observations(self.manager.observe().await)
    }

    async fn apply(&self, directive: &Directive, dry_run: bool) -> ApplyOutcome {
        let Action::Scale { replicas } = directive.action else {
            return ApplyOutcome::refused(format!(
                "only the number of replicas can be set, not {}",
                directive.action
            ));
        };
        let Bounds { min, max } = self.bounds;
        if !(min..=max).contains(&replicas) {
            return ApplyOutcome::refused(format!("{replicas} replicas are not within {min} to {max}"));
        }
        if dry_run {
            return ApplyOutcome::applied(format!("would be {replicas} replicas"));
        }
        match self.manager.scale(replicas, directive.generation).await {
            Ok(now) => ApplyOutcome::applied(format!("{} of {} replicas serve", now.ready, now.wanted)),
            Err(ScaleError::Refused(reason)) => ApplyOutcome::refused(reason),
            Err(error @ ScaleError::Failed(_)) => ApplyOutcome::failed(chassis::chain(&error)),
        }
    }

    fn last_generation(&self, _: &ResourceId, _: DirectiveKind) -> Generation {
        self.manager.generation()
    }
}

fn observations(replicas: Replicas) -> Vec<Observation> {
    let Replicas { generation: _, wanted, running, ready } = replicas;
    [("wanted_replicas", wanted), ("running_replicas", running), ("ready_replicas", ready)]
        .map(|(name, value)| Observation { name: name.to_owned(), value: f64::from(value) })
        .into()
}

#[cfg(test)]
mod tests;
