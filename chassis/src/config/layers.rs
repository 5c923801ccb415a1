//! Merging the layers: each later one overrides the earlier ones key by key, and every value remembers where it came from.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::error::masked;
use super::problem::Problem;
use super::source::Source;
use super::tree::{Node, Origin};
use super::{ConfigError, Invalid, Validate};

/// Where settings come from, beside the defaults in code; later fields win.
#[derive(Debug, Clone, Default)]
pub struct Layers {
    /// A TOML file.
    pub file: Option<PathBuf>,
    /// What the names of our environment variables start with, as `HOMEOSTAT_`.
    pub env_prefix: &'static str,
    /// The environment; only names with the prefix are read. `HOMEOSTAT_MONITOR__SCRAPE_INTERVAL` sets
    /// `monitor.scrape_interval`: two underscores separate. Remove variables that are no settings before.
    pub env: BTreeMap<String, String>,
    /// Dotted keys and their values, in the order of the command line.
    pub flags: Vec<(String, String)>,
}

/// Reads all layers over the defaults of `T`, refuses unknown keys, and validates the result.
///
/// Text from the environment and from flags is read as the type that the setting has. Tables merge key by key; lists are
/// replaced whole, and in the environment or a flag are written `a,b` or as TOML.
///
/// # Errors
/// The first thing that is wrong, with the layer it came from.
pub fn load<T: DeserializeOwned + Serialize + Default + Validate>(layers: &Layers) -> Result<T, ConfigError> {
    let Layers { file, env_prefix, env, flags } = layers;
    let defaults = toml::Table::try_from(T::default())
        .map_err(|error| ConfigError::Defaults { message: error.to_string() })?;
    let mut tree = Node::from_table(defaults, &Origin::Defaults);
    if let Some(path) = file {
        tree.merge(Node::from_table(read(path)?, &Origin::File(path.clone())));
    }
    for (name, value) in env.iter().filter(|(name, value)| !is_service_link(name, value)) {
        if let Some(key) =
            name.strip_prefix(env_prefix).filter(|key| !env_prefix.is_empty() && !key.is_empty())
        {
            let key = key.to_lowercase().replace("__", ".");
            tree.set(&key, value, Origin::Variable(name.clone())).map_err(refusal)?;
        }
    }
    for (key, value) in flags {
        tree.set(key, value, Origin::Flag(key.clone())).map_err(refusal)?;
    }
    let origins = tree.clone();
    let settings = T::deserialize(Source::root(tree)).map_err(refusal)?;
    settings.validate().map_err(|invalid| {
        let origin = origins.origin_of(&invalid.key).to_string();
        ConfigError::Invalid { invalid, origin }
    })?;
    Ok(settings)
}

/// The effective settings as TOML, for `--print-config`. Passwords in URLs are masked.
#[must_use]
pub fn print<T: Serialize>(settings: &T) -> String {
    let masked = toml::Value::try_from(settings).map(mask);
    masked
        .and_then(|value| toml::to_string_pretty(&value))
        .unwrap_or_else(|error| format!("# cannot be shown: {error}\n"))
}

/// The process environment, for [`Layers`]. Variables that are no Unicode are left out: no setting can be.
#[must_use]
pub fn environment() -> BTreeMap<String, String> {
    std::env::vars_os()
        .filter_map(|(name, value)| Some((name.into_string().ok()?, value.into_string().ok()?)))
        .collect()
}

fn read(path: &Path) -> Result<toml::Table, ConfigError> {
    let text = std::fs::read_to_string(path)
        .map_err(|source| ConfigError::Read { path: path.to_owned(), source })?;
    text.parse().map_err(|error: toml::de::Error| {
        let before = error.span().and_then(|span| text.get(..span.start)).unwrap_or_default();
        let line = before.matches('\n').count() + 1;
        let column = before.chars().rev().take_while(|c| *c != '\n').count() + 1;
        ConfigError::Syntax {
            path: path.to_owned(),
            line,
            column,
            message: error.message().trim().replace('\n', ", "),
        }
    })
}

fn refusal(problem: Problem) -> ConfigError {
    let Problem { key, value, rule, origin, .. } = problem;
    let origin = origin.unwrap_or(Origin::Defaults).to_string();
    ConfigError::Invalid { invalid: Invalid::new(key.unwrap_or_default(), value, rule), origin }
}

/// Kubernetes describes each Service to every pod in variables named after it: a Service called `homeostat-monitor`
/// gives `HOMEOSTAT_MONITOR_PORT=tcp://10.0.0.1:7402` and more. They are no settings of ours.
fn is_service_link(name: &str, value: &str) -> bool {
    let address = value.starts_with("tcp://") || value.starts_with("udp://") || value.starts_with("sctp://");
    name.ends_with("_SERVICE_HOST")
        || name.contains("_SERVICE_PORT")
        || (name.ends_with("_PORT") && address)
        || ["_TCP", "_UDP", "_SCTP"].iter().any(|protocol| {
            name.split_once("_PORT_").is_some_and(|(_, rest)| {
                rest.starts_with(|c: char| c.is_ascii_digit()) && rest.contains(protocol)
            })
        })
}

fn mask(value: toml::Value) -> toml::Value {
    match value {
        toml::Value::String(text) => toml::Value::String(masked(&text)),
        toml::Value::Array(items) => toml::Value::Array(items.into_iter().map(mask).collect()),
        toml::Value::Table(table) => {
            toml::Value::Table(table.into_iter().map(|(key, value)| (key, mask(value))).collect())
        }
        other => other,
    }
}

#[cfg(test)]
mod tests;
