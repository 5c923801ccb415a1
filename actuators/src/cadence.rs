//! The cadence actuator: `set_cadence` directives make Monitor look at a service more often, until a stated end. It is done when
//! Monitor is seen to look so often, and told again while it holds, should Monitor have forgotten.

use std::collections::BTreeMap;
use std::fs;
use std::io;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use chassis::SharedClock;
use jiff::Timestamp;
use proto::client::MonitorClient;
use proto::model::{
    Action, ActuatorSpec, Directive, DirectiveKind, Generation, InvalidId, Observation, ResourceId,
    ResourcePattern,
};
use proto::wire::{CadenceStatus, GetCadenceRequest, SetCadenceRequest};
use serde_json::{Value, json};
use tonic::{Code, Status};

use crate::actuator::{Actuator, ApplyOutcome};
use crate::whole;

/// A Monitor that answers later is away.
const TIMEOUT: Duration = Duration::from_secs(5);
/// A Monitor that was restarted looks as configured for this long at most.
const REPEAT: Duration = Duration::from_secs(5);
/// How often Monitor is asked whether it looks as often as told.
const POLL: Duration = Duration::from_millis(100);
/// Two looks are seen within this wherever the interval is 5 s or less.
const SEEN_WITHIN: Duration = Duration::from_secs(10);
/// Half of the way to twice as often or half as often, so that neither is taken for the other.
const TOLERANCE: f64 = 0.35;
/// What states no end holds for a day.
const HOLD_DEFAULT: Duration = Duration::from_secs(86_400);

/// Why the actuator cannot be made.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// A name breaks a rule.
    #[error(transparent)]
    Name(#[from] InvalidId),
    /// Its state cannot be read: beginning from nothing would let older intents in.
    #[error("cannot read the cadences in {}", path.display())]
    State {
        /// Which file.
        path: PathBuf,
        /// What is wrong with it.
        #[source]
        source: io::Error,
    },
}

/// What holds for one service.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
struct Held {
    /// `None`: as configured.
    interval: Option<Duration>,
    until: Timestamp,
    generation: Generation,
}

/// Tells Monitor.
#[derive(Debug)]
pub struct CadenceActuator {
    spec: ActuatorSpec,
    monitor: MonitorClient,
    path: PathBuf,
    held: Mutex<BTreeMap<ResourceId, Held>>,
    clock: SharedClock,
}

impl CadenceActuator {
    /// For these services of that Monitor, with its state in that file.
    ///
    /// # Errors
    /// When a name breaks a rule, or the file is there and cannot be read.
    pub fn open(
        instance: &str,
        services: Vec<ResourcePattern>,
        monitor: MonitorClient,
        path: PathBuf,
        clock: SharedClock,
    ) -> Result<Self, OpenError> {
        let spec = ActuatorSpec {
            name: "cadence".to_owned(),
            instance: instance.to_owned(),
            kinds: vec![DirectiveKind::SetCadence],
            resources: services,
            max_in_flight: 4,
            supports_dry_run: true,
            supports_undo: true,
        };
        spec.validate()?;
        let held = read(&path).map_err(|source| OpenError::State { path: path.clone(), source })?;
        Ok(Self { spec, monitor, path, held: Mutex::new(held), clock })
    }

    /// Tells Monitor again what holds, for ever: one that was restarted has forgotten.
    pub async fn keep(&self) {
        loop {
            let held = self.lock().clone();
            for (service, held) in held {
                let holds = held.interval.is_some() && held.until > self.clock.now();
                if holds && let Err(error) = self.tell(&service, held).await {
                    tracing::warn!(%service, "Monitor does not keep a cadence: {}", error.message());
                }
            }
            tokio::time::sleep(REPEAT).await;
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<ResourceId, Held>> {
        self.held.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn store(&self, service: &ResourceId, held: Held) -> io::Result<()> {
        let mut all = self.lock();
        let mut next = all.clone();
        next.insert(service.clone(), held);
        write(&self.path, &next)?;
        *all = next;
        Ok(())
    }

    async fn tell(&self, service: &ResourceId, held: Held) -> Result<CadenceStatus, Status> {
        let Held { interval, until, generation } = held;
        // Half a millisecond is none, and 0 would mean as configured.
        let millis = |interval: Duration| u64::try_from(interval.as_millis()).unwrap_or(u64::MAX).max(1);
        let mut request = tonic::Request::new(SetCadenceRequest {
            service: Some(service.clone().into()),
            interval_ms: interval.map_or(0, millis),
            until_unix_ms: until.as_millisecond(),
            generation: generation.0,
        });
        request.set_timeout(TIMEOUT);
        Ok(self.monitor.clone().set_cadence(request).await?.into_inner())
    }

    async fn ask(&self, service: &ResourceId) -> Result<CadenceStatus, Status> {
        let mut request = tonic::Request::new(GetCadenceRequest { service: Some(service.clone().into()) });
        request.set_timeout(TIMEOUT);
        Ok(self.monitor.clone().get_cadence(request).await?.into_inner())
    }

    /// Waits until Monitor is seen to look as often as it was told.
    async fn seen(&self, service: &ResourceId, told: &CadenceStatus, within: Duration) -> Seen {
        let look = async {
            loop {
                match self.ask(service).await {
                    Ok(status) if !status.held_back.is_empty() => return Seen::HeldBack(status.held_back),
                    Ok(status) if status.looks > told.looks && is_as_told(&status) => {
                        return Seen::Interval(Duration::from_millis(status.observed_interval_ms));
                    }
                    Ok(_) | Err(_) => tokio::time::sleep(POLL).await,
                }
            }
        };
        tokio::time::timeout(within, look).await.unwrap_or(Seen::NotYet)
    }

    /// Tells Monitor, waits until it is seen, and remembers.
    async fn make(&self, service: &ResourceId, held: Held, within: Duration) -> ApplyOutcome {
        let told = match self.tell(service, held).await {
            Ok(told) => told,
            Err(status) if matches!(status.code(), Code::FailedPrecondition | Code::InvalidArgument) => {
                return ApplyOutcome::refused(format!("Monitor says: {}", status.message()));
            }
            // Told or not, the same is told again with the next attempt, and ends by itself.
            Err(status) => return ApplyOutcome::unknown(format!("Monitor says: {}", status.message())),
        };
        let configured = Duration::from_millis(told.configured_interval_ms);
        let detail = match self.seen(service, &told, within).await {
            Seen::Interval(interval) => format!("Monitor looks at it every {} s", interval.as_secs_f64()),
            // Two looks take longer than may be waited for; Monitor's word has to do.
            Seen::NotYet if configured * 2 > within => {
                let interval = Duration::from_millis(told.interval_ms);
                format!("Monitor will look at it every {} s; that is not seen yet", interval.as_secs_f64())
            }
            Seen::NotYet if held.interval.is_none() => {
                return ApplyOutcome::unknown("Monitor was told, and is not seen to look as configured");
            }
            Seen::NotYet => return self.give_up(service, held, "Monitor is not seen to look so often").await,
            Seen::HeldBack(reason) => return self.give_up(service, held, &reason).await,
        };
        match self.store(service, held) {
            Ok(()) => ApplyOutcome::applied(detail),
            Err(error) => ApplyOutcome::unknown(format!("{detail}, but {}", chassis::chain(&error))),
        }
    }

    /// What did not work is not left to begin working later.
    async fn give_up(&self, service: &ResourceId, held: Held, reason: &str) -> ApplyOutcome {
        match self.tell(service, Held { interval: None, ..held }).await {
            Ok(_) => ApplyOutcome::failed(reason),
            Err(status) => ApplyOutcome::unknown(format!("{reason}, and {}", status.message())),
        }
    }
}

/// What Monitor is seen to do.
#[derive(Debug, PartialEq, Eq)]
enum Seen {
    Interval(Duration),
    HeldBack(String),
    NotYet,
}

fn is_as_told(status: &CadenceStatus) -> bool {
    let (told, observed) = (status.interval_ms as f64, status.observed_interval_ms as f64);
    told > 0.0 && (observed / told - 1.0).abs() <= TOLERANCE
}

impl Actuator for CadenceActuator {
    fn spec(&self) -> ActuatorSpec {
        self.spec.clone()
    }

    async fn observe(&self, resource: &ResourceId) -> Vec<Observation> {
        let status = self.ask(resource).await.ok().filter(|status| status.observed_interval_ms > 0);
        let seconds = |status: CadenceStatus| status.observed_interval_ms as f64 / 1_000.0;
        let observation = |value| Observation { name: "interval_seconds".to_owned(), value };
        status.map(seconds).map(observation).into_iter().collect()
    }

    async fn apply(&self, directive: &Directive, dry_run: bool) -> ApplyOutcome {
        let Action::SetCadence { interval, until } = directive.action else {
            return ApplyOutcome::refused(format!("a cadence can be set, not {}", directive.action));
        };
        if dry_run {
            return ApplyOutcome::applied(format!("would tell Monitor to {}", directive.action));
        }
        let day = || self.clock.now().saturating_add(HOLD_DEFAULT).unwrap_or(Timestamp::MAX);
        let held = Held { interval, until: until.unwrap_or_else(day), generation: directive.generation };
        let within = SEEN_WITHIN.min(directive.apply_timeout * 2 / 3);
        self.make(&directive.resource, held, within).await
    }

    fn last_generation(&self, resource: &ResourceId, _: DirectiveKind) -> Generation {
        self.lock().get(resource).map_or(Generation(0), |held| held.generation)
    }
}

fn read(path: &Path) -> io::Result<BTreeMap<ResourceId, Held>> {
    let bytes = match fs::read(path) {
        Ok(bytes) => bytes,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(BTreeMap::new()),
        Err(error) => return Err(error),
    };
    let all: BTreeMap<String, Value> = serde_json::from_slice(&bytes)?;
    let held = |(service, value): (&String, &Value)| {
        let interval = match &value["interval_ms"] {
            Value::Null => None,
            millis => Some(Duration::from_millis(millis.as_u64()?)),
        };
        let until = value["until"].as_str()?.parse().ok()?;
        Some((
            service.parse().ok()?,
            Held { interval, until, generation: Generation(value["generation"].as_u64()?) },
        ))
    };
    let odd = || io::Error::new(io::ErrorKind::InvalidData, "it holds no cadences");
    all.iter().map(|one| held(one).ok_or_else(odd)).collect()
}

fn write(path: &Path, all: &BTreeMap<ResourceId, Held>) -> io::Result<()> {
    let shown = |held: &Held| {
        json!({
            "interval_ms": held.interval.map(|interval| interval.as_millis()),
            "until": held.until.to_string(),
            "generation": held.generation.0,
        })
    };
    let all: BTreeMap<_, _> = all.iter().map(|(service, held)| (service.to_string(), shown(held))).collect();
    whole::write(path, &serde_json::to_vec_pretty(&all)?)
}

#[cfg(test)]
#[path = "cadence/tests.rs"]
mod tests;
