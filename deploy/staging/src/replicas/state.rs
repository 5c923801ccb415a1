//! What is known of one service's replicas: kept in a file that survives whoever drives them.

use std::net::SocketAddr;

use serde::{Deserialize, Serialize};

use crate::dir::{Dir, Endpoint};
use crate::files::{self, FileError};
use crate::process::Identity;
use crate::topology::Role;

/// Where a replica stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Stage {
    /// Wanted, perhaps started, not serving yet.
    Starting,
    /// Serves.
    Ready,
    /// Gets no new requests and will be ended.
    Draining,
}

/// One replica.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Replica {
    /// Its name, `catalog-3`. A replica that is started again keeps it.
    pub instance: String,
    /// Number in the name.
    pub ordinal: u64,
    /// Its process, once started.
    pub process: Option<Identity>,
    /// Where it listens, once it does.
    pub address: Option<SocketAddr>,
    /// Where it stands.
    pub stage: Stage,
}

/// The whole file. The generation stands beside what it brought about, so that both are stored or neither.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    /// How many replicas are wanted.
    pub desired: u32,
    /// The newest generation accepted.
    pub generation: u64,
    /// How many there were before it.
    pub before: u32,
    /// All that are not known to have ended.
    pub replicas: Vec<Replica>,
}

impl Replica {
    pub(crate) fn is_alive(&self) -> bool {
        self.process.is_some_and(Identity::is_alive)
    }

    pub(crate) fn is_serving(&self) -> bool {
        self.stage == Stage::Ready && self.is_alive()
    }
}

impl State {
    pub(crate) fn empty() -> Self {
        Self { desired: 0, generation: 0, before: 0, replicas: Vec::new() }
    }

    /// Replicas that run and are to stay.
    pub(crate) fn running(&self) -> u32 {
        self.replicas.iter().filter(|r| r.stage != Stage::Draining && r.is_alive()).count() as u32
    }

    pub(crate) fn serving(&self) -> u32 {
        self.replicas.iter().filter(|r| r.is_serving()).count() as u32
    }

    pub(crate) fn get_mut(&mut self, instance: &str) -> Option<&mut Replica> {
        self.replicas.iter_mut().find(|replica| replica.instance == instance)
    }
}

/// Reads a service's state without driving it; `None` before anybody has.
pub fn read(dir: &Dir, role: Role) -> Result<Option<State>, FileError> {
    files::read_json(&dir.replicas(role))
}

/// Stores the state, then what follows from it: endpoints for balancers, targets for the Monitor.
pub(crate) fn publish(dir: &Dir, role: Role, state: &State) -> Result<(), FileError> {
    write_if_changed(&dir.replicas(role), state)?;
    let serving = state.replicas.iter().filter(|replica| replica.stage == Stage::Ready);
    let endpoint = |r: &Replica| Some(Endpoint { instance: r.instance.clone(), address: r.address? });
    let endpoints: Vec<Endpoint> = serving.filter_map(endpoint).collect();
    write_if_changed(&dir.endpoints(role), &endpoints)?;
    publish_targets(dir, role, state)
}

/// One entry of the targets file, in the form of Prometheus' `file_sd_configs`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
struct Target {
    targets: Vec<String>,
    labels: std::collections::BTreeMap<String, String>,
}

/// A replica that has died stays a target: that it does not answer is what the Monitor must see.
fn publish_targets(dir: &Dir, role: Role, state: &State) -> Result<(), FileError> {
    let target = |replica: &Replica| {
        let labels = [("job", role.name()), ("service", role.name()), ("instance", &replica.instance)];
        let labels = labels.map(|(name, value)| (name.to_owned(), value.to_owned())).into();
        Some(Target { targets: vec![replica.address?.to_string()], labels })
    };
    let part: Vec<Target> = state.replicas.iter().filter_map(target).collect();
    let _lock = files::lock(&dir.targets().with_extension("lock"))?;
    write_if_changed(&dir.targets_part(role), &part)?;
    let mut whole = Vec::<Target>::new();
    for role in Role::ALL {
        whole.extend(files::read_json::<Vec<Target>>(&dir.targets_part(role))?.unwrap_or_default());
    }
    write_if_changed(&dir.targets(), &whole)
}

/// Nothing is to be scraped any more: what was ended on purpose is no target that fails.
pub(crate) fn retract_targets(dir: &Dir) -> Result<(), FileError> {
    let _lock = files::lock(&dir.targets().with_extension("lock"))?;
    write_if_changed(&dir.targets(), &Vec::<Target>::new())
}

fn write_if_changed<T>(path: &std::path::Path, value: &T) -> Result<(), FileError>
where
    T: Serialize + serde::de::DeserializeOwned + PartialEq,
{
    // One that cannot be understood is replaced.
    match files::read_json::<T>(path) {
        Ok(Some(old)) if old == *value => Ok(()),
        _ => files::write_json(path, value),
    }
}
