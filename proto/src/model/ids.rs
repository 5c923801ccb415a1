//! Identities: resources, signals, generations and shards, each with one text form.

use super::text::{serde_as_text, words};
use std::{fmt, str::FromStr};

/// A value that breaks a rule: which word, the value as given, and the rule.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{key} {value:?}: {rule}")]
pub struct InvalidId {
    /// Which word or field.
    pub key: String,
    /// The value as given, cut to 200 characters.
    pub value: String,
    /// The rule that it breaks.
    pub rule: String,
}

impl InvalidId {
    /// Names the key, the value and the rule.
    pub fn new(key: impl Into<String>, value: impl fmt::Display, rule: impl Into<String>) -> Self {
        let value = value.to_string().chars().take(200).collect();
        Self { key: key.into(), value, rule: rule.into() }
    }

    /// The same finding seen from one level further out: `objective.target` becomes `spec.objective.target`.
    #[must_use]
    pub fn under(mut self, outer: &str) -> Self {
        self.key = format!("{outer}.{}", self.key);
        self
    }
}

words! {
    /// What kind of thing a resource is.
    ResourceKind {
        /// A managed service.
        Service = "service",
        /// Calls from one service to another.
        Edge = "edge",
        /// A scrape target that no Service names.
        Host = "host",
    }
}

/// A managed thing; text form `kind:namespace/name`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ResourceId {
    kind: ResourceKind,
    namespace: String,
    name: String,
}

/// Longest namespace, as a DNS label.
const NAMESPACE_LENGTH_MAX: usize = 63;
/// Longest name, as a DNS name (253) twice with `->` between, for edges.
const NAME_LENGTH_MAX: usize = 253 * 2 + 2;

impl ResourceId {
    /// Checks and builds an identity.
    ///
    /// # Errors
    /// When a part is empty, too long, or has characters that the text form needs for itself.
    pub fn new(
        kind: ResourceKind,
        namespace: impl Into<String>,
        name: impl Into<String>,
    ) -> Result<Self, InvalidId> {
        let (namespace, name) = (namespace.into(), name.into());
        check_namespace(&namespace)?;
        check_name(&name)?;
        Ok(Self { kind, namespace, name })
    }

    /// The service of that name.
    ///
    /// # Errors
    /// As [`ResourceId::new`].
    pub fn service(namespace: &str, name: &str) -> Result<Self, InvalidId> {
        Self::new(ResourceKind::Service, namespace, name)
    }

    /// The edge from one service to another.
    ///
    /// # Errors
    /// As [`ResourceId::new`].
    pub fn edge(namespace: &str, caller: &str, callee: &str) -> Result<Self, InvalidId> {
        Self::new(ResourceKind::Edge, namespace, format!("{caller}->{callee}"))
    }

    /// Its kind.
    pub fn kind(&self) -> ResourceKind {
        self.kind
    }

    /// Where it lives.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }

    /// Its name within the namespace.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Caller and callee of an edge.
    pub fn edge_ends(&self) -> Option<(&str, &str)> {
        (self.kind == ResourceKind::Edge).then(|| self.name.split_once("->")).flatten()
    }

    /// The shard that owns it: a hash of the text form (FNV-1a, 64 bit), the same on every machine and in every release.
    pub fn shard(&self) -> Shard {
        let mut hash: u64 = 0xcbf2_9ce4_8422_2325;
        for byte in self.to_string().bytes() {
            hash = (hash ^ u64::from(byte)).wrapping_mul(0x0000_0100_0000_01b3);
        }
        Shard((hash % u64::from(SHARDS)) as u32)
    }
}

fn check_namespace(text: &str) -> Result<(), InvalidId> {
    let allowed = |c: char| c.is_ascii_lowercase() || c.is_ascii_digit() || "-_.".contains(c);
    if text.is_empty() || text.len() > NAMESPACE_LENGTH_MAX || !text.chars().all(allowed) {
        return Err(InvalidId::new("namespace", text, "must be 1 to 63 of a-z 0-9 - _ ."));
    }
    Ok(())
}

fn check_name(text: &str) -> Result<(), InvalidId> {
    let allowed = |c: char| !c.is_control() && !c.is_whitespace() && !"#/".contains(c);
    if text.is_empty() || text.len() > NAME_LENGTH_MAX || !text.chars().all(allowed) {
        return Err(InvalidId::new(
            "name",
            text,
            "must be 1 to 508 printable characters without blanks, # or /",
        ));
    }
    Ok(())
}

impl fmt::Display for ResourceId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}/{}", self.kind, self.namespace, self.name)
    }
}

impl FromStr for ResourceId {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let rule = "must be written kind:namespace/name";
        let (kind, rest) = text.split_once(':').ok_or_else(|| InvalidId::new("resource", text, rule))?;
        let (namespace, name) = rest.split_once('/').ok_or_else(|| InvalidId::new("resource", text, rule))?;
        Self::new(kind.parse()?, namespace, name)
    }
}
serde_as_text!(ResourceId);

/// One measured series of a resource; text form `resource#name`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct SignalId {
    /// Whose series it is.
    pub resource: ResourceId,
    name: String,
}

/// Longest signal name: a metric name with all its labels, as admission lets through.
const SIGNAL_NAME_LENGTH_MAX: usize = 2_048;

impl SignalId {
    /// Checks and builds an identity.
    ///
    /// # Errors
    /// When the name is empty, longer than 2,048 bytes or has control characters.
    pub fn new(resource: ResourceId, name: impl Into<String>) -> Result<Self, InvalidId> {
        let name = name.into();
        if name.is_empty() || name.len() > SIGNAL_NAME_LENGTH_MAX || name.chars().any(char::is_control) {
            return Err(InvalidId::new("signal", name, "must be 1 to 2048 bytes without control characters"));
        }
        Ok(Self { resource, name })
    }

    /// The series' name within the resource.
    pub fn name(&self) -> &str {
        &self.name
    }
}

impl fmt::Display for SignalId {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}#{}", self.resource, self.name)
    }
}

impl FromStr for SignalId {
    type Err = InvalidId;
    fn from_str(text: &str) -> Result<Self, InvalidId> {
        let (resource, name) = text
            .split_once('#')
            .ok_or_else(|| InvalidId::new("signal", text, "must be written kind:namespace/name#signal"))?;
        Self::new(resource.parse()?, name)
    }
}
serde_as_text!(SignalId);

/// Counts the accepted intents of one (resource, kind). Only generations fence.
#[derive(
    Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Default, serde::Serialize, serde::Deserialize,
)]
#[serde(transparent)]
pub struct Generation(pub u64);

impl Generation {
    /// The one that follows.
    #[must_use]
    pub fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Generation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.0)
    }
}

/// Number of shards: enough to spread over 64 instances, few enough to list.
pub const SHARDS: u32 = 64;

/// Which part of the plant a resource belongs to: 0 to 63.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Shard(u32);

impl Shard {
    /// The shard of that number, if there is one.
    pub fn new(number: u32) -> Option<Self> {
        (number < SHARDS).then_some(Self(number))
    }

    /// Its number.
    pub fn number(self) -> u32 {
        self.0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_form_reads_back() {
        for text in
            ["service:staging/catalog", "edge:staging/catalog->inventory", "host:static/node@10.0.0.1:9100"]
        {
            assert_eq!(text.parse::<ResourceId>().unwrap().to_string(), text);
        }
        let signal = "service:staging/catalog#load".parse::<SignalId>().unwrap();
        assert_eq!((signal.name(), signal.resource.name()), ("load", "catalog"));
        let labelled = "host:static/n#cpu{mode=\"idle\",path=\"/a#b\"}".parse::<SignalId>().unwrap();
        assert_eq!(labelled.name(), "cpu{mode=\"idle\",path=\"/a#b\"}");
    }

    #[test]
    fn bad_text_names_the_rule() {
        for text in
            ["", "service", "service:", "service:/x", "pod:a/b", "service:A/b", "service:a/b c", "service:a/"]
        {
            assert!(text.parse::<ResourceId>().is_err(), "{text:?} must be refused");
        }
        assert!("service:a/b#".parse::<SignalId>().is_err());
    }

    #[test]
    fn shard_is_stable_across_releases() {
        // A changed hash would move every resource to another owner: these values are a promise.
        assert_eq!("service:staging/catalog".parse::<ResourceId>().unwrap().shard().number(), 39);
        assert!(Shard::new(64).is_none());
    }

    #[test]
    fn edge_knows_its_ends() {
        let edge = ResourceId::edge("staging", "catalog", "inventory").unwrap();
        assert_eq!(edge.edge_ends(), Some(("catalog", "inventory")));
    }
}
