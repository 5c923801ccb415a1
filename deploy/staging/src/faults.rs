//! Faults on command: a file of named faults that every process of the cluster follows and obeys.

use std::collections::BTreeMap;
use std::time::Duration;

use serde::{Deserialize, Serialize};
use tokio::sync::watch;

pub use crate::files::FileError;

use crate::dir::Dir;
use crate::files;

/// The name under which the load generator looks for its faults.
pub const LOAD: &str = "load";

/// What goes wrong.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(tag = "effect", rename_all = "snake_case", deny_unknown_fields)]
pub enum Effect {
    /// This share of the requests is answered 500 after the work was done.
    Errors {
        /// In (0, 1].
        ratio: f64,
    },
    /// Every request keeps its worker longer.
    Latency {
        /// By this many milliseconds.
        added_ms: u64,
    },
    /// Every request keeps its worker until the caller gives up.
    Hang,
    /// Connections are dropped without an answer; metrics stay up.
    Down,
    /// The metrics endpoint is gone; the service works.
    MetricsGone,
    /// The load generator sends this many times the load.
    Crowd {
        /// Above 0.
        factor: f64,
    },
}

/// An effect and whom it hits.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Fault {
    /// A service, or [`LOAD`].
    pub service: String,
    /// Only this replica; all of them, also later ones, if absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub instance: Option<String>,
    /// What goes wrong.
    #[serde(flatten)]
    pub effect: Effect,
}

/// Faults in force, by label.
pub type Faults = BTreeMap<String, Fault>;

/// All faults that hit one process, taken together.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Effects {
    /// Share of requests answered 500.
    pub error_ratio: f64,
    /// Time added to each request.
    pub added: Duration,
    /// Requests never end.
    pub hang: bool,
    /// Connections are dropped.
    pub down: bool,
    /// No metrics.
    pub metrics_gone: bool,
    /// Load multiplied by this.
    pub crowd: f64,
}

impl Default for Effects {
    fn default() -> Self {
        Self {
            error_ratio: 0.0,
            added: Duration::ZERO,
            hang: false,
            down: false,
            metrics_gone: false,
            crowd: 1.0,
        }
    }
}

/// What hits `instance` of `service`.
pub fn effects(faults: &Faults, service: &str, instance: &str) -> Effects {
    let mut effects = Effects::default();
    let hits = |fault: &&Fault| {
        fault.service == service && fault.instance.as_deref().is_none_or(|only| only == instance)
    };
    for fault in faults.values().filter(hits) {
        match fault.effect {
            Effect::Errors { ratio } => effects.error_ratio = effects.error_ratio.max(ratio),
            Effect::Latency { added_ms } => effects.added += Duration::from_millis(added_ms),
            Effect::Hang => effects.hang = true,
            Effect::Down => effects.down = true,
            Effect::MetricsGone => effects.metrics_gone = true,
            Effect::Crowd { factor } => effects.crowd *= factor,
        }
    }
    effects
}

/// Puts a fault in force under `label`, replacing one of the same label.
pub fn inject(dir: &Dir, label: &str, fault: Fault) -> Result<(), FileError> {
    change(dir, |faults| {
        faults.insert(label.to_owned(), fault);
    })
}

/// Ends the fault of that label, or all of them.
pub fn clear(dir: &Dir, label: Option<&str>) -> Result<(), FileError> {
    change(dir, |faults| match label {
        Some(label) => drop(faults.remove(label)),
        None => faults.clear(),
    })
}

/// The faults in force.
pub fn list(dir: &Dir) -> Result<Faults, FileError> {
    Ok(files::read_json(&dir.faults())?.unwrap_or_default())
}

fn change(dir: &Dir, edit: impl FnOnce(&mut Faults)) -> Result<(), FileError> {
    let _lock = files::lock(&dir.faults().with_extension("lock"))?;
    let mut faults = list(dir)?;
    edit(&mut faults);
    files::write_json(&dir.faults(), &faults)
}

/// What hits one process, now and later.
#[derive(Debug, Clone)]
pub(crate) struct Followed {
    faults: watch::Receiver<Faults>,
    service: String,
    instance: String,
}

impl Followed {
    pub(crate) fn new(faults: watch::Receiver<Faults>, service: &str, instance: &str) -> Self {
        Self { faults, service: service.to_owned(), instance: instance.to_owned() }
    }

    pub(crate) fn now(&self) -> Effects {
        effects(&self.faults.borrow(), &self.service, &self.instance)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fault(service: &str, instance: Option<&str>, effect: Effect) -> Fault {
        Fault { service: service.to_owned(), instance: instance.map(str::to_owned), effect }
    }

    #[test]
    fn hits_only_whom_it_names() {
        let faults = Faults::from([
            ("a".to_owned(), fault("catalog", Some("catalog-2"), Effect::Down)),
            ("b".to_owned(), fault("catalog", None, Effect::Latency { added_ms: 5 })),
        ]);
        assert!(effects(&faults, "catalog", "catalog-2").down);
        assert!(!effects(&faults, "catalog", "catalog-1").down);
        assert_eq!(effects(&faults, "catalog", "catalog-1").added, Duration::from_millis(5));
        assert_eq!(effects(&faults, "inventory", "inventory-1"), Effects::default());
    }

    #[test]
    fn injected_faults_stay_until_cleared() {
        let folder = tempfile::tempdir().unwrap();
        let dir = Dir::new(folder.path());
        inject(&dir, "one", fault("inventory", None, Effect::Hang)).unwrap();
        inject(&dir, "two", fault("inventory", None, Effect::Errors { ratio: 0.5 })).unwrap();
        clear(&dir, Some("one")).unwrap();
        assert_eq!(list(&dir).unwrap().into_keys().collect::<Vec<_>>(), ["two"]);
        clear(&dir, None).unwrap();
        assert!(list(&dir).unwrap().is_empty());
    }

    #[test]
    fn reads_what_a_person_would_write() {
        let text = r#"{"service": "catalog", "instance": "catalog-2", "effect": "errors", "ratio": 0.5}"#;
        let fault: Fault = serde_json::from_str(text).unwrap();
        assert_eq!(fault.effect, Effect::Errors { ratio: 0.5 });
    }
}
