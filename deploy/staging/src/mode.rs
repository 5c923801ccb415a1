//! How a service works: a mode that all its replicas follow, kept in a file with the generation that set it, and the actuator that
//! sets it. It is set when every serving replica says so itself.

use std::collections::BTreeMap;
use std::time::Duration;

use actuators::{Actuator, ApplyOutcome};
use breaker::Priority;
use proto::model::{
    Action, ActuatorSpec, Directive, DirectiveKind, Generation, InvalidId, Observation, ResourceId,
    ResourcePattern, ServiceMode,
};
use serde::{Deserialize, Serialize};
use tokio::sync::watch;

use crate::dir::{Dir, Endpoint};
use crate::files::{self, FileError};
use crate::topology::Role;
use crate::upstream::{self, HttpClient};

/// Where a replica says how it works.
pub const PATH: &str = "/mode";
/// The header of an answer that is refused because of the mode.
pub const HEADER: &str = "x-mode";
/// Replicas look each 100 ms; one that needs longer than this does not follow.
const FOLLOWED_WITHIN: Duration = Duration::from_secs(5);
/// How often they are asked.
const POLL: Duration = Duration::from_millis(50);

/// How the replicas of a service work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Mode {
    /// As always.
    #[default]
    Normal,
    /// Writes are refused.
    ReadOnly,
}

impl Mode {
    /// Its name, as in headers.
    pub fn name(self) -> &'static str {
        match self {
            Self::Normal => "normal",
            Self::ReadOnly => "read-only",
        }
    }
}

/// The file: a mode, and the intent that set it.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
#[serde(default)]
pub struct Standing {
    /// How it works.
    pub mode: Mode,
    /// The newest generation applied.
    pub generation: u64,
}

/// What one service's mode is, now and later.
#[derive(Debug, Clone)]
pub(crate) struct Followed(pub(crate) watch::Receiver<Standing>);

impl Followed {
    pub(crate) fn now(&self) -> Mode {
        self.0.borrow().mode
    }
}

/// Sets the mode of one service.
#[derive(Debug)]
pub struct ModeActuator {
    spec: ActuatorSpec,
    dir: Dir,
    role: Role,
    client: HttpClient,
}

impl ModeActuator {
    /// For the service that this role's replicas are.
    ///
    /// # Errors
    /// When a name breaks a rule.
    pub fn new(service: &ResourceId, dir: Dir, role: Role) -> Result<Self, InvalidId> {
        let spec = ActuatorSpec {
            name: "mode".to_owned(),
            instance: role.name().to_owned(),
            kinds: vec![DirectiveKind::SetMode],
            resources: vec![ResourcePattern::exactly(service)],
            max_in_flight: 1,
            supports_dry_run: true,
            supports_undo: true,
        };
        spec.validate()?;
        Ok(Self { spec, dir, role, client: upstream::http_client() })
    }

    fn standing(&self) -> Result<Standing, FileError> {
        Ok(files::read_json(&self.dir.mode(self.role))?.unwrap_or_default())
    }

    /// What the serving replicas say, by name; one that does not answer says nothing.
    async fn said(&self) -> BTreeMap<String, Option<Mode>> {
        let endpoints: Vec<Endpoint> =
            files::read_json(&self.dir.endpoints(self.role)).ok().flatten().unwrap_or_default();
        let ask = async |endpoint: Endpoint| {
            let asked = upstream::get(&self.client, endpoint.address, PATH, Priority::Critical);
            let answer = tokio::time::timeout(FOLLOWED_WITHIN, asked).await.ok().and_then(Result::ok);
            (endpoint.instance, answer.and_then(|answer| serde_json::from_slice(&answer.body).ok()))
        };
        futures::future::join_all(endpoints.into_iter().map(ask)).await.into_iter().collect()
    }

    /// Whether all replicas say so before time is up; if not, what they say.
    async fn followed(&self, mode: Mode, within: Duration) -> Result<usize, String> {
        let agree = async {
            loop {
                let said = self.said().await;
                if !said.is_empty() && said.values().all(|said| *said == Some(mode)) {
                    return said.len();
                }
                tokio::time::sleep(POLL).await;
            }
        };
        tokio::time::timeout(within, agree)
            .await
            .map_err(|_| format!("not every replica of {} says that it is {}", self.role, mode.name()))
    }

    async fn set(&self, wanted: Standing, within: Duration) -> ApplyOutcome {
        let before = match self.standing() {
            Ok(before) => before,
            Err(error) => return ApplyOutcome::failed(chassis::chain(&error)),
        };
        if before.generation > wanted.generation {
            return ApplyOutcome::refused(format!("generation {} stands, which is newer", before.generation));
        }
        if let Err(error) = files::write_json(&self.dir.mode(self.role), &wanted) {
            return ApplyOutcome::failed(chassis::chain(&error));
        }
        match self.followed(wanted.mode, within).await {
            Ok(replicas) => ApplyOutcome::applied(format!("{replicas} replicas are {}", wanted.mode.name())),
            // Half of them in another mode is worse than none.
            Err(reason) => match files::write_json(&self.dir.mode(self.role), &before) {
                Ok(()) => ApplyOutcome::failed(reason),
                Err(error) => ApplyOutcome::unknown(format!("{reason}, and {}", chassis::chain(&error))),
            },
        }
    }
}

impl Actuator for ModeActuator {
    fn spec(&self) -> ActuatorSpec {
        self.spec.clone()
    }

    async fn observe(&self, _: &ResourceId) -> Vec<Observation> {
        let said = self.said().await;
        let read_only = said.values().filter(|said| **said == Some(Mode::ReadOnly)).count();
        vec![Observation { name: "read_only_replicas".to_owned(), value: read_only as f64 }]
    }

    async fn apply(&self, directive: &Directive, dry_run: bool) -> ApplyOutcome {
        let mode = match directive.action {
            Action::SetMode { mode: ServiceMode::Normal } => Mode::Normal,
            Action::SetMode { mode: ServiceMode::ReadOnly } => Mode::ReadOnly,
            other => return ApplyOutcome::refused(format!("it is normal or read-only; it cannot {other}")),
        };
        if dry_run {
            return ApplyOutcome::applied(format!("would be {}", mode.name()));
        }
        let within = FOLLOWED_WITHIN.min(directive.apply_timeout * 2 / 3);
        self.set(Standing { mode, generation: directive.generation.0 }, within).await
    }

    fn last_generation(&self, _: &ResourceId, _: DirectiveKind) -> Generation {
        // A file that cannot be read says nothing, and then nothing can be set either.
        Generation(self.standing().map_or(0, |standing| standing.generation))
    }
}
