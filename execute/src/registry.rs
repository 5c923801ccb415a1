//! Which actuators are there: what they serve, the leases they hold, their epochs. Knowledge grants the leases and
//! outlives us; this is what Execute remembers of them, by the monotonic clock.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use proto::model::{ActuatorSpec, DirectiveKind, Lease, ResourceId};

/// One instance of an actuator, across its registrations. Text form: `name/instance`.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct ActuatorKey {
    text: Arc<str>,
}

impl ActuatorKey {
    /// The instance that a spec names.
    pub fn of(spec: &ActuatorSpec) -> Self {
        // Neither part may hold a `/`, so that the text is unambiguous.
        Self { text: format!("{}/{}", spec.name, spec.instance).into() }
    }
}

impl fmt::Display for ActuatorKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.text)
    }
}

/// An actuator that holds a lease.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Registered {
    /// What it serves.
    pub spec: ActuatorSpec,
    /// Its newest lease.
    pub lease: Lease,
    /// When the lease runs out, by the monotonic clock.
    pub ends: Duration,
}

/// Why a lease gives no right.
#[derive(Debug, Clone, Copy, PartialEq, Eq, thiserror::Error)]
pub enum LeaseError {
    /// It ran out, was given back, or a newer registration of the same instance replaced it.
    #[error("the lease is gone: register again")]
    Gone,
}

/// More routes are not remembered at once: 64 bytes each keep them below 8 MiB; then they are found anew.
const ROUTES_MAX: usize = 100_000;

/// The actuators that hold leases.
#[derive(Debug, Default)]
pub struct Registry {
    actuators: BTreeMap<ActuatorKey, Registered>,
    by_lease: HashMap<String, ActuatorKey>,
    routes: HashMap<(ResourceId, DirectiveKind), Arc<[ActuatorKey]>>,
}

impl Registry {
    /// Takes in a lease that Knowledge granted. A newer epoch of the same instance fences the older one; an epoch that
    /// is itself older is refused with `None`.
    pub fn granted(&mut self, registered: Registered, now: Duration) -> Option<ActuatorKey> {
        let key = ActuatorKey::of(&registered.spec);
        if registered.ends <= now {
            return None;
        }
        if let Some(known) = self.actuators.get(&key) {
            if known.lease.epoch > registered.lease.epoch {
                return None;
            }
            self.by_lease.remove(&known.lease.id);
        }
        self.by_lease.insert(registered.lease.id.clone(), key.clone());
        let before = self.actuators.insert(key.clone(), registered);
        let same = |before: &Registered| self.actuators.get(&key).is_some_and(|now| now.spec == before.spec);
        if !before.as_ref().is_some_and(same) {
            self.routes.clear();
        }
        Some(key)
    }

    /// A lease was renewed until `ends`.
    pub fn renewed(&mut self, lease: &Lease, ends: Duration) {
        if let Some(registered) = self.by_lease.get(&lease.id).and_then(|key| self.actuators.get_mut(key))
            && registered.lease == *lease
        {
            registered.ends = registered.ends.max(ends);
        }
    }

    /// A lease was given back, or Knowledge holds it no longer. Tells whose it was.
    pub fn ended(&mut self, lease: &Lease) -> Option<ActuatorKey> {
        let key = self.by_lease.get(&lease.id)?.clone();
        if self.actuators.get(&key).is_some_and(|registered| registered.lease == *lease) {
            self.remove(&key);
            return Some(key);
        }
        None
    }

    /// Removes the actuators whose leases ran out.
    pub fn sweep(&mut self, now: Duration) -> Vec<ActuatorKey> {
        let over: Vec<_> =
            self.actuators.iter().filter(|(_, one)| one.ends <= now).map(|(key, _)| key.clone()).collect();
        over.iter().for_each(|key| self.remove(key));
        over
    }

    /// When the next lease runs out.
    pub fn next_end(&self) -> Option<Duration> {
        self.actuators.values().map(|one| one.ends).min()
    }

    /// Who holds the lease.
    ///
    /// # Errors
    /// When nobody holds it any longer.
    pub fn holder(&self, lease: &Lease, now: Duration) -> Result<&ActuatorKey, LeaseError> {
        let key = self.by_lease.get(&lease.id).ok_or(LeaseError::Gone)?;
        match self.actuators.get(key) {
            Some(registered) if registered.lease == *lease && registered.ends > now => Ok(key),
            _ => Err(LeaseError::Gone),
        }
    }

    /// The actuator, if its lease of that epoch has not run out.
    pub fn live(&self, key: &ActuatorKey, epoch: u64, now: Duration) -> Option<&Registered> {
        self.actuators.get(key).filter(|one| one.lease.epoch == epoch && one.ends > now)
    }

    /// What the actuator serves.
    pub fn spec(&self, key: &ActuatorKey) -> Option<&ActuatorSpec> {
        self.actuators.get(key).map(|one| &one.spec)
    }

    /// The instances that serve this kind of directive on this resource, in order. For an exclusive kind at most one counts:
    /// Knowledge refuses a second, and where a lease is just changing hands, the first in order is taken.
    pub fn serving(&mut self, resource: &ResourceId, kind: DirectiveKind) -> Arc<[ActuatorKey]> {
        let wanted = (resource.clone(), kind);
        if let Some(found) = self.routes.get(&wanted) {
            return found.clone();
        }
        let serves = |one: &Registered| one.spec.serves(resource, kind);
        let matching = self.actuators.iter().filter(|(_, one)| serves(one)).map(|(key, _)| key.clone());
        let limit = if kind.exclusive() { 1 } else { usize::MAX };
        let found: Arc<[ActuatorKey]> = matching.take(limit).collect();
        if self.routes.len() >= ROUTES_MAX {
            self.routes.clear();
        }
        self.routes.insert(wanted, found.clone());
        found
    }

    /// How many hold a lease.
    pub fn len(&self) -> usize {
        self.actuators.len()
    }

    /// Whether nobody holds a lease.
    pub fn is_empty(&self) -> bool {
        self.actuators.is_empty()
    }

    /// All instances, in order.
    pub fn keys(&self) -> BTreeSet<ActuatorKey> {
        self.actuators.keys().cloned().collect()
    }

    fn remove(&mut self, key: &ActuatorKey) {
        if let Some(registered) = self.actuators.remove(key) {
            self.by_lease.remove(&registered.lease.id);
            self.routes.clear();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proto::model::{ResourceKind, ResourcePattern};

    const SECOND: Duration = Duration::from_secs(1);

    fn registered(name: &str, instance: &str, epoch: u64, ends: u64) -> Registered {
        let spec = ActuatorSpec {
            name: name.to_owned(),
            instance: instance.to_owned(),
            kinds: vec![DirectiveKind::Scale, DirectiveKind::SetBreaker],
            resources: vec![
                ResourcePattern::new(ResourceKind::Service, "shop", "*").unwrap(),
                ResourcePattern::new(ResourceKind::Edge, "shop", "*").unwrap(),
            ],
            max_in_flight: 1,
            supports_dry_run: false,
            supports_undo: true,
        };
        let lease = Lease { id: format!("{name}-{instance}-{epoch}"), epoch };
        Registered { spec, lease, ends: SECOND * u32::try_from(ends).unwrap() }
    }

    #[test]
    fn newer_registration_fences_the_older_epoch() {
        let mut registry = Registry::default();
        let (old, new) = (registered("a", "1", 1, 10), registered("a", "1", 2, 10));
        registry.granted(old.clone(), Duration::ZERO).unwrap();
        let key = registry.granted(new.clone(), Duration::ZERO).unwrap();
        assert_eq!(registry.holder(&old.lease, Duration::ZERO), Err(LeaseError::Gone));
        assert_eq!(registry.holder(&new.lease, Duration::ZERO), Ok(&key));
        assert!(registry.granted(old.clone(), Duration::ZERO).is_none(), "the older epoch came late");
        assert!(registry.ended(&old.lease).is_none(), "the older holder cannot give back what it lost");
        assert_eq!(registry.len(), 1);
    }

    #[test]
    fn lease_ends_by_time_and_renewal_moves_the_end() {
        let mut registry = Registry::default();
        let one = registered("a", "1", 1, 10);
        registry.granted(one.clone(), Duration::ZERO).unwrap();
        assert!(registry.holder(&one.lease, 9 * SECOND).is_ok());
        assert!(registry.holder(&one.lease, 10 * SECOND).is_err());
        registry.renewed(&one.lease, 20 * SECOND);
        assert!(registry.holder(&one.lease, 10 * SECOND).is_ok());
        assert!(registry.sweep(19 * SECOND).is_empty());
        assert_eq!(registry.sweep(20 * SECOND).len(), 1);
        assert!(registry.is_empty());
    }

    #[test]
    fn exclusive_kinds_have_one_route_and_replicated_ones_have_all() {
        let mut registry = Registry::default();
        let service: ResourceId = "service:shop/cart".parse().unwrap();
        let edge: ResourceId = "edge:shop/cart->stock".parse().unwrap();
        assert!(registry.serving(&service, DirectiveKind::Scale).is_empty());
        registry.granted(registered("b", "1", 1, 10), Duration::ZERO).unwrap();
        registry.granted(registered("a", "2", 1, 10), Duration::ZERO).unwrap();
        let texts = |keys: Arc<[ActuatorKey]>| keys.iter().map(ToString::to_string).collect::<Vec<_>>();
        assert_eq!(texts(registry.serving(&service, DirectiveKind::Scale)), ["a/2"]);
        assert_eq!(texts(registry.serving(&edge, DirectiveKind::SetBreaker)), ["a/2", "b/1"]);
        registry.sweep(10 * SECOND);
        assert!(registry.serving(&edge, DirectiveKind::SetBreaker).is_empty(), "routes follow the leases");
    }
}
