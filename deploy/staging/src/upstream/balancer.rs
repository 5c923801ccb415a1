//! Which replica gets the next call: the less busy of two at random, none that has just refused a connection.

use std::net::SocketAddr;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

/// A replica that refuses connections is left out this long: about as long as noticing that it is back.
const EJECTION: Duration = Duration::from_secs(1);

#[derive(Debug)]
struct Replica {
    address: SocketAddr,
    in_flight: AtomicUsize,
    ejected_until_nanos: AtomicU64,
}

/// The replicas of one callee.
#[derive(Debug, Default)]
pub(crate) struct Balancer {
    replicas: Mutex<Vec<Arc<Replica>>>,
    cursor: AtomicUsize,
}

/// One call to one replica; counted as in flight until dropped.
#[derive(Debug)]
pub(crate) struct Lease(Arc<Replica>);

impl Balancer {
    /// Takes over a new list; replicas that stay keep their counts.
    pub(crate) fn update(&self, addresses: &[SocketAddr]) {
        let mut replicas = self.replicas.lock().unwrap_or_else(PoisonError::into_inner);
        let keep = |address: &SocketAddr| {
            replicas.iter().find(|replica| replica.address == *address).map(Arc::clone).unwrap_or_else(|| {
                Arc::new(Replica {
                    address: *address,
                    in_flight: AtomicUsize::new(0),
                    ejected_until_nanos: AtomicU64::new(0),
                })
            })
        };
        *replicas = addresses.iter().map(keep).collect();
    }

    /// Picks by two random numbers. If all replicas are ejected, they take turns: a refusal is better than certainty.
    pub(crate) fn pick(&self, now: Duration, first: u64, second: u64) -> Option<Lease> {
        let replicas = self.replicas.lock().unwrap_or_else(PoisonError::into_inner);
        let usable: Vec<_> = replicas.iter().filter(|replica| !replica.is_ejected(now)).collect();
        let chosen = match usable.len() {
            0 if replicas.is_empty() => return None,
            0 => &replicas[self.cursor.fetch_add(1, Ordering::Relaxed) % replicas.len()],
            1 => usable[0],
            count => {
                let a = (first % count as u64) as usize;
                // Skips `a`, so that there are two to choose from.
                let b = (a + 1 + (second % (count as u64 - 1)) as usize) % count;
                if usable[b].load() < usable[a].load() { usable[b] } else { usable[a] }
            }
        };
        Some(Lease::new(chosen))
    }
}

impl Replica {
    fn is_ejected(&self, now: Duration) -> bool {
        u128::from(self.ejected_until_nanos.load(Ordering::Relaxed)) > now.as_nanos()
    }

    fn load(&self) -> usize {
        self.in_flight.load(Ordering::Relaxed)
    }
}

impl Lease {
    fn new(replica: &Arc<Replica>) -> Self {
        replica.in_flight.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(replica))
    }

    pub(crate) fn address(&self) -> SocketAddr {
        self.0.address
    }

    /// Leaves this replica out for a while.
    pub(crate) fn eject(&self, now: Duration) {
        let until = u64::try_from((now + EJECTION).as_nanos()).unwrap_or(u64::MAX);
        self.0.ejected_until_nanos.store(until, Ordering::Relaxed);
    }
}

impl Drop for Lease {
    fn drop(&mut self) {
        self.0.in_flight.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeMap;

    const NOW: Duration = Duration::from_secs(100);

    fn addresses(count: u16) -> Vec<SocketAddr> {
        (1..=count).map(|port| SocketAddr::from(([127, 0, 0, 1], port))).collect()
    }

    fn balancer(count: u16) -> Balancer {
        let balancer = Balancer::default();
        balancer.update(&addresses(count));
        balancer
    }

    #[test]
    fn spreads_held_calls_evenly() {
        let balancer = balancer(3);
        let held: Vec<_> =
            (0..300u64).filter_map(|n| balancer.pick(NOW, n.wrapping_mul(0x9e37_79b9), n / 3)).collect();
        let mut counts = BTreeMap::<_, usize>::new();
        held.iter().for_each(|lease| *counts.entry(lease.address()).or_default() += 1);
        assert!(counts.values().all(|count| (97..=103).contains(count)), "{counts:?}");
    }

    #[test]
    fn leaves_out_an_ejected_replica_until_its_time_is_over() {
        let balancer = balancer(2);
        let lease = balancer.pick(NOW, 0, 0).unwrap();
        let ejected = lease.address();
        lease.eject(NOW);
        drop(lease);
        assert!((0..20).all(|n| balancer.pick(NOW, n, n).unwrap().address() != ejected));
        assert!((0..20).any(|n| balancer.pick(NOW + EJECTION, n, n).unwrap().address() == ejected));
    }

    #[test]
    fn tries_all_in_turn_if_all_are_ejected_and_none_if_there_are_none() {
        let balancer = balancer(2);
        (0..2).for_each(|n| balancer.pick(NOW, n, 0).unwrap().eject(NOW));
        let (a, b) = (balancer.pick(NOW, 0, 0).unwrap(), balancer.pick(NOW, 0, 0).unwrap());
        assert_ne!(a.address(), b.address());
        balancer.update(&[]);
        assert!(balancer.pick(NOW, 0, 0).is_none());
    }

    #[test]
    fn replicas_that_stay_keep_their_count() {
        let balancer = balancer(1);
        let _held = balancer.pick(NOW, 0, 0).unwrap();
        balancer.update(&addresses(2));
        let next = balancer.pick(NOW, 0, 0).unwrap();
        assert_eq!(next.address().port(), 2);
    }
}
