//! Actuators: what they serve, and the leases that they hold.

use super::{
    directive::DirectiveKind,
    ids::{Generation, InvalidId, ResourceId, ResourceKind},
};
use jiff::Timestamp;
use serde::Serialize;
use std::{fmt, time::Duration};

/// Which resources an actuator serves; a trailing `*` matches any rest.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize)]
pub struct ResourcePattern {
    kind: ResourceKind,
    namespace: String,
    name: String,
}

impl ResourcePattern {
    /// Checks and builds a pattern.
    ///
    /// # Errors
    /// When a part is empty (it would mean everything without saying so) or has `*` elsewhere than at its end.
    pub fn new(kind: ResourceKind, namespace: &str, name: &str) -> Result<Self, InvalidId> {
        for (key, text) in [("namespace", namespace), ("name", name)] {
            if text.is_empty() || text.strip_suffix('*').unwrap_or(text).contains('*') {
                return Err(InvalidId::new(key, text, "must not be empty, and * may stand only at its end"));
            }
        }
        // The fixed part must be able to match something.
        let probe = |text: &str| text.replace('*', "x");
        ResourceId::new(kind, probe(namespace), probe(name))?;
        Ok(Self { kind, namespace: namespace.to_owned(), name: name.to_owned() })
    }

    /// The pattern for exactly one resource.
    pub fn exactly(resource: &ResourceId) -> Self {
        Self {
            kind: resource.kind(),
            namespace: resource.namespace().to_owned(),
            name: resource.name().to_owned(),
        }
    }

    /// Its resource kind.
    pub fn kind(&self) -> ResourceKind {
        self.kind
    }
    /// Namespace or prefix with `*`.
    pub fn namespace(&self) -> &str {
        &self.namespace
    }
    /// Name or prefix with `*`.
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Whether it covers the resource.
    pub fn matches(&self, resource: &ResourceId) -> bool {
        self.kind == resource.kind()
            && part_matches(&self.namespace, resource.namespace())
            && part_matches(&self.name, resource.name())
    }

    /// Whether some resource could match both.
    pub fn overlaps(&self, other: &Self) -> bool {
        self.kind == other.kind
            && parts_overlap(&self.namespace, &other.namespace)
            && parts_overlap(&self.name, &other.name)
    }
}

impl fmt::Display for ResourcePattern {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}/{}", self.kind, self.namespace, self.name)
    }
}

fn part_matches(pattern: &str, text: &str) -> bool {
    match pattern.strip_suffix('*') {
        Some(prefix) => text.starts_with(prefix),
        None => pattern == text,
    }
}

fn parts_overlap(one: &str, other: &str) -> bool {
    match (one.strip_suffix('*'), other.strip_suffix('*')) {
        (Some(a), Some(b)) => a.starts_with(b) || b.starts_with(a),
        (Some(prefix), None) => other.starts_with(prefix),
        (None, Some(prefix)) => one.starts_with(prefix),
        (None, None) => one == other,
    }
}

/// What an actuator registers.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct ActuatorSpec {
    /// Stable name.
    pub name: String,
    /// Which instance; stable across its restarts.
    pub instance: String,
    /// Kinds of directive it takes; never empty.
    pub kinds: Vec<DirectiveKind>,
    /// Resources it serves; never empty.
    pub resources: Vec<ResourcePattern>,
    /// Directives it takes at once; at least 1.
    pub max_in_flight: u32,
    /// Whether it can simulate.
    pub supports_dry_run: bool,
    /// Whether it can take a change back.
    pub supports_undo: bool,
}

impl ActuatorSpec {
    /// Checks what the types do not.
    ///
    /// # Errors
    /// Names the first field that breaks a rule.
    pub fn validate(&self) -> Result<(), InvalidId> {
        /// As long as any name here may be.
        const TEXT_LENGTH_MAX: usize = 253;
        for (key, text) in [("actuator.name", &self.name), ("actuator.instance", &self.instance)] {
            if text.is_empty()
                || text.len() > TEXT_LENGTH_MAX
                || text.chars().any(|c| c.is_control() || c == '/')
            {
                return Err(InvalidId::new(key, text, "must be 1 to 253 printable characters without /"));
            }
        }
        if self.kinds.is_empty() {
            return Err(InvalidId::new("actuator.kinds", "[]", "must name at least one kind"));
        }
        if self.resources.is_empty() {
            return Err(InvalidId::new(
                "actuator.resources",
                "[]",
                "must name at least one resource (empty would mean everything)",
            ));
        }
        if self.max_in_flight == 0 {
            return Err(InvalidId::new("actuator.max_in_flight", 0, "must be at least 1"));
        }
        Ok(())
    }

    /// Whether it serves this kind of directive on this resource.
    pub fn serves(&self, resource: &ResourceId, kind: DirectiveKind) -> bool {
        self.kinds.contains(&kind) && self.resources.iter().any(|pattern| pattern.matches(resource))
    }

    /// The exclusive kind for which both could be asked about the same resource, if any.
    pub fn conflicts_with(&self, other: &Self) -> Option<DirectiveKind> {
        let overlap = || self.resources.iter().any(|a| other.resources.iter().any(|b| a.overlaps(b)));
        self.kinds
            .iter()
            .copied()
            .find(|kind| kind.exclusive() && other.kinds.contains(kind))
            .filter(|_| overlap())
    }
}

/// A lease that was granted. It elects; only generations fence.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Lease {
    /// Unguessable.
    pub id: String,
    /// Counts the registrations of this (name, instance).
    pub epoch: u64,
}

/// The last generation accepted for a resource and kind.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct AppliedGeneration {
    /// Which resource.
    pub resource: ResourceId,
    /// Which kind.
    pub kind: DirectiveKind,
    /// Which generation.
    pub generation: Generation,
}

/// An actuator as Knowledge holds it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ActuatorRecord {
    /// What it registered.
    pub actuator: ActuatorSpec,
    /// Its newest lease.
    pub lease: Lease,
    /// Whether the lease has not run out.
    pub live: bool,
    /// When it registered.
    pub registered_at: Timestamp,
    /// Left of the lease.
    #[serde(skip)]
    pub remaining: Duration,
}

#[cfg(test)]
mod tests {
    use super::*;

    fn pattern(text: &str) -> Result<ResourcePattern, InvalidId> {
        let (kind, rest) = text.split_once(':').unwrap();
        let (namespace, name) = rest.split_once('/').unwrap();
        ResourcePattern::new(kind.parse()?, namespace, name)
    }

    #[test]
    fn empty_patterns_are_refused() {
        for text in ["service:/a", "service:a/", "service:a/b*c", "service:**/a"] {
            assert!(pattern(text).is_err(), "{text}");
        }
    }

    #[test]
    fn overlap_is_found_whenever_a_resource_matches_both() {
        let patterns: Vec<_> =
            ["service:a/*", "service:a/x", "service:a/x*", "service:*/y", "service:b/y", "edge:a/*"]
                .iter()
                .map(|text| pattern(text).unwrap())
                .collect();
        let resources: Vec<ResourceId> =
            ["service:a/x", "service:a/xy", "service:a/y", "service:b/y", "edge:a/x"]
                .iter()
                .map(|t| t.parse().unwrap())
                .collect();
        for a in &patterns {
            for b in &patterns {
                let shared = resources.iter().any(|r| a.matches(r) && b.matches(r));
                assert!(!shared || a.overlaps(b), "{a} and {b} share a resource");
                assert_eq!(a.overlaps(b), b.overlaps(a));
            }
        }
        assert!(!pattern("service:a/x").unwrap().overlaps(&pattern("service:b/*").unwrap()));
    }
}
