//! The deploy gate: `freeze` directives shut it for a service, and whatever deploys asks it first. Its state and the generation
//! that made it are one file, written whole.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

use chassis::SharedClock;
use jiff::Timestamp;
use proto::model::{
    Action, ActuatorSpec, Directive, DirectiveKind, Generation, InvalidId, Observation, ResourceId,
    ResourcePattern,
};
use serde_json::{Value, json};

use crate::actuator::{Actuator, ApplyOutcome};
use crate::whole;

/// Why the gate's state cannot be kept.
#[derive(Debug, thiserror::Error)]
#[error("cannot keep the gate's state in {}", path.display())]
pub struct GateError {
    path: PathBuf,
    #[source]
    source: io::Error,
}

/// Where the gate of one service stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
struct Gate {
    /// Shut until then; `None`: open.
    until: Option<Timestamp>,
    generation: Generation,
}

/// Keeps gates.
#[derive(Debug)]
pub struct GateActuator {
    spec: ActuatorSpec,
    path: PathBuf,
    gates: Mutex<BTreeMap<String, Gate>>,
    clock: SharedClock,
}

impl GateActuator {
    /// For these services, with its state in that file. `instance` tells this process from others and stays the same across its
    /// restarts.
    ///
    /// # Errors
    /// When a name breaks a rule, or the file is there and cannot be read: beginning from nothing would open what is shut.
    pub fn open(
        instance: &str,
        services: Vec<ResourcePattern>,
        path: PathBuf,
        clock: SharedClock,
    ) -> Result<Self, OpenError> {
        let spec = ActuatorSpec {
            name: "gate".to_owned(),
            instance: instance.to_owned(),
            kinds: vec![DirectiveKind::Freeze],
            resources: services,
            max_in_flight: 1,
            supports_dry_run: true,
            supports_undo: true,
        };
        spec.validate()?;
        let gates = read(&path).map_err(|source| GateError { path: path.clone(), source })?;
        Ok(Self { spec, path, gates: Mutex::new(gates), clock })
    }

    /// Whether the service's gate is shut now.
    pub fn is_shut(&self, service: &ResourceId) -> bool {
        let until = self.lock().get(&service.to_string()).and_then(|gate| gate.until);
        until.is_some_and(|until| until > self.clock.now())
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, Gate>> {
        self.gates.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn set(&self, service: &ResourceId, gate: Gate) -> Result<(), GateError> {
        let mut gates = self.lock();
        let mut next = gates.clone();
        next.insert(service.to_string(), gate);
        write(&self.path, &next).map_err(|source| GateError { path: self.path.clone(), source })?;
        *gates = next;
        Ok(())
    }
}

/// Why a gate actuator cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A name breaks a rule.
    #[error(transparent)]
    Name(#[from] InvalidId),
    /// Its state cannot be read.
    #[error(transparent)]
    State(#[from] GateError),
}

impl Actuator for GateActuator {
    fn spec(&self) -> ActuatorSpec {
        self.spec.clone()
    }

    async fn observe(&self, resource: &ResourceId) -> Vec<Observation> {
        let value = f64::from(u8::from(self.is_shut(resource)));
        vec![Observation { name: "frozen".to_owned(), value }]
    }

    async fn apply(&self, directive: &Directive, dry_run: bool) -> ApplyOutcome {
        let Action::Freeze { scope, until } = directive.action else {
            return ApplyOutcome::refused(format!("a gate is shut or opened, not {}", directive.action));
        };
        let done = until.map_or_else(
            || format!("{scope} may go on"),
            |until| format!("{scope} are stopped until {until}"),
        );
        if dry_run {
            return ApplyOutcome::applied(format!("would be so: {done}"));
        }
        match self.set(&directive.resource, Gate { until, generation: directive.generation }) {
            Ok(()) => ApplyOutcome::applied(done),
            Err(error) => ApplyOutcome::failed(chassis::chain(&error)),
        }
    }

    fn last_generation(&self, resource: &ResourceId, _: DirectiveKind) -> Generation {
        self.lock().get(&resource.to_string()).map_or(Generation(0), |gate| gate.generation)
    }
}

fn read(path: &Path) -> io::Result<BTreeMap<String, Gate>> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(error),
    };
    let all: BTreeMap<String, Value> = serde_json::from_slice(&bytes)?;
    let gate = |value: &Value| {
        let until = match &value["until"] {
            Value::Null => None,
            until => Some(until.as_str()?.parse().ok()?),
        };
        Some(Gate { until, generation: Generation(value["generation"].as_u64()?) })
    };
    let odd = || io::Error::new(io::ErrorKind::InvalidData, "it holds no gates");
    all.iter().map(|(service, value)| Ok((service.clone(), gate(value).ok_or_else(odd)?))).collect()
}

fn write(path: &Path, gates: &BTreeMap<String, Gate>) -> io::Result<()> {
    let shown = |gate: &Gate| json!({ "until": gate.until.map(|until| until.to_string()), "generation": gate.generation.0 });
    let all: BTreeMap<_, _> = gates.iter().map(|(service, gate)| (service, shown(gate))).collect();
    whole::write(path, &serde_json::to_vec_pretty(&all)?)
}

#[cfg(test)]
mod tests {
    use chassis::Context;
    use execute::testing::scale;
    use proto::model::{FreezeScope, ResourceKind};

    use super::*;

    fn cart() -> ResourceId {
        "service:shop/cart".parse().unwrap()
    }

    fn open(path: &Path, clock: SharedClock) -> Result<GateActuator, OpenError> {
        let all = ResourcePattern::new(ResourceKind::Service, "*", "*").unwrap();
        GateActuator::open("one", vec![all], path.to_owned(), clock)
    }

    fn freeze(until: Option<Timestamp>, generation: u64) -> Directive {
        let action = Action::Freeze { scope: FreezeScope::Deployments, until };
        Directive { resource: cart(), action, generation: Generation(generation), ..scale(1, 2) }
    }

    #[tokio::test]
    async fn a_freeze_shuts_until_it_is_lifted_or_over_and_outlives_a_restart() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gates.json");
        let clock = Context::system().clock;
        let gate = open(&path, clock.clone()).unwrap();
        let hour = clock.now() + std::time::Duration::from_secs(3_600);
        assert!(!gate.is_shut(&cart()));
        gate.apply(&freeze(Some(hour), 3), true).await;
        assert!(!gate.is_shut(&cart()), "a dry run shuts nothing");
        gate.apply(&freeze(Some(hour), 3), false).await;
        let again = open(&path, clock.clone()).unwrap();
        assert!(again.is_shut(&cart()));
        assert_eq!(again.last_generation(&cart(), DirectiveKind::Freeze), Generation(3));
        assert_eq!(again.observe(&cart()).await[0].value, 1.0);
        again.apply(&freeze(None, 4), false).await;
        assert!(!again.is_shut(&cart()));
        let past = clock.now() - std::time::Duration::from_secs(1);
        again.apply(&freeze(Some(past), 5), false).await;
        assert!(!again.is_shut(&cart()), "its time is over");
    }

    #[tokio::test]
    async fn what_is_no_freeze_is_refused_and_a_damaged_file_is_no_open_gate() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("gates.json");
        let clock = Context::system().clock;
        let gate = open(&path, clock.clone()).unwrap();
        assert!(matches!(gate.apply(&scale(1, 2), false).await, ApplyOutcome::Refused { .. }));
        fs::write(&path, br#"{"service:shop/cart": {"until": "tomorrow"}}"#).unwrap();
        assert!(open(&path, clock).is_err());
    }
}
