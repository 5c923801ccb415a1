//! The newest changes in memory, for watchers that keep up. Those that do not read from the database: memory stays bounded.

pub(crate) mod watch;

use std::collections::VecDeque;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use prost::Message;
use proto::wire;
use tokio::sync::watch as signal;

/// Changes kept: 8 s at 8,000 a second, so that a watcher may pause for that long without costing a query.
const RING_CHANGES: usize = 65_536;
/// Encoded bytes kept. Decoded they are about three times as large: 36 MiB of memory at most.
const RING_BYTES: usize = 12 * 1024 * 1024;

/// What memory has after some revision.
#[derive(Debug, PartialEq)]
pub(crate) enum Read {
    /// The next changes, without a gap.
    Changes(Vec<Arc<wire::Change>>),
    /// There is more, but not here: read the database.
    Behind,
    /// Nothing newer is known.
    UpToDate,
}

/// Shared by the writer, the tail of the feed, and all watchers.
#[derive(Debug)]
pub(crate) struct Hub {
    ring: Mutex<Ring>,
    newest: signal::Sender<u64>,
}

#[derive(Debug, Default)]
struct Ring {
    changes: VecDeque<(usize, Arc<wire::Change>)>,
    bytes: usize,
    newest: u64,
}

impl Hub {
    /// Begins after `revision`, with nothing in memory.
    pub(crate) fn new(revision: u64) -> Self {
        let ring = Ring { newest: revision, ..Ring::default() };
        Self { ring: Mutex::new(ring), newest: signal::Sender::new(revision) }
    }

    /// Adds committed changes, in order. What is known already is left out; after a gap (another instance committed in
    /// between) memory begins anew.
    pub(crate) fn publish(&self, changes: Vec<Arc<wire::Change>>) {
        let newest = {
            let mut ring = self.lock();
            changes.into_iter().for_each(|change| ring.push(change));
            ring.newest
        };
        self.newest.send_if_modified(|seen| std::mem::replace(seen, newest.max(*seen)) < newest);
    }

    /// Learns that the ledger is at least at `revision`, without its changes.
    pub(crate) fn advance(&self, revision: u64) {
        {
            let mut ring = self.lock();
            if revision <= ring.newest {
                return;
            }
            ring.clear();
            ring.newest = revision;
        }
        self.newest.send_if_modified(|seen| std::mem::replace(seen, revision.max(*seen)) < revision);
    }

    /// Up to `limit` changes after `revision`.
    pub(crate) fn after(&self, revision: u64, limit: usize) -> Read {
        let ring = self.lock();
        if revision >= ring.newest {
            return Read::UpToDate;
        }
        let Some(oldest) = ring.changes.front().map(|(_, change)| change.revision) else {
            return Read::Behind;
        };
        let Some(skip) = (revision + 1).checked_sub(oldest) else { return Read::Behind };
        let skip = usize::try_from(skip).unwrap_or(usize::MAX);
        Read::Changes(ring.changes.iter().skip(skip).take(limit).map(|(_, change)| change.clone()).collect())
    }

    /// The newest revision known.
    pub(crate) fn newest(&self) -> u64 {
        self.lock().newest
    }

    /// Tells when there is something newer.
    pub(crate) fn subscribe(&self) -> signal::Receiver<u64> {
        self.newest.subscribe()
    }

    fn lock(&self) -> MutexGuard<'_, Ring> {
        self.ring.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ring {
    fn push(&mut self, change: Arc<wire::Change>) {
        if change.revision <= self.newest {
            return;
        }
        if change.revision != self.newest + 1 {
            self.clear();
        }
        self.newest = change.revision;
        let size = change.encoded_len();
        self.bytes += size;
        self.changes.push_back((size, change));
        while self.changes.len() > RING_CHANGES || self.bytes > RING_BYTES {
            let Some((size, _)) = self.changes.pop_front() else { return };
            self.bytes -= size;
        }
    }

    fn clear(&mut self) {
        self.changes.clear();
        self.bytes = 0;
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn change(revision: u64, size: usize) -> Arc<wire::Change> {
        let pause = wire::PauseState { reason: "x".repeat(size), ..Default::default() };
        let change = Some(wire::change::Change::Pause(pause));
        Arc::new(wire::Change { revision, at_unix_ms: 0, change })
    }

    fn publish(hub: &Hub, revisions: impl IntoIterator<Item = u64>) {
        hub.publish(revisions.into_iter().map(|revision| change(revision, 0)).collect());
    }

    fn after(hub: &Hub, revision: u64) -> Option<Vec<u64>> {
        match hub.after(revision, 100) {
            Read::Changes(changes) => Some(changes.iter().map(|change| change.revision).collect()),
            Read::Behind => None,
            Read::UpToDate => Some(Vec::new()),
        }
    }

    #[test]
    fn gives_what_follows_without_gap_or_repeat() {
        let hub = Hub::new(10);
        publish(&hub, [11, 12, 13]);
        publish(&hub, [13, 14]);
        assert_eq!(after(&hub, 10), Some(vec![11, 12, 13, 14]));
        assert_eq!(after(&hub, 13), Some(vec![14]));
        assert_eq!(after(&hub, 14), Some(vec![]));
        assert_eq!(after(&hub, 9), None, "what was before the start is in the database");
    }

    #[test]
    fn a_gap_sends_watchers_to_the_database() {
        let hub = Hub::new(0);
        publish(&hub, [1, 2]);
        publish(&hub, [5]);
        assert_eq!(after(&hub, 2), None);
        assert_eq!(after(&hub, 4), Some(vec![5]));
        hub.advance(7);
        assert_eq!(after(&hub, 5), None);
        publish(&hub, [7, 8]);
        assert_eq!(after(&hub, 6), None);
        assert_eq!(after(&hub, 7), Some(vec![8]));
        hub.advance(3);
        assert_eq!(hub.newest(), 8);
    }

    #[test]
    fn memory_is_bounded_by_bytes() {
        let hub = Hub::new(0);
        for revision in 1..=100 {
            hub.publish(vec![change(revision, 1024 * 1024)]);
        }
        let held = hub.lock().bytes;
        assert!(held <= RING_BYTES && held > RING_BYTES / 2, "{held}");
        assert_eq!(after(&hub, 1), None);
        assert_eq!(after(&hub, 99), Some(vec![100]));
    }

    #[tokio::test]
    async fn waiting_watchers_are_woken() {
        let hub = Hub::new(0);
        let mut newest = hub.subscribe();
        newest.mark_unchanged();
        publish(&hub, [1]);
        newest.changed().await.unwrap();
        assert_eq!(*newest.borrow_and_update(), 1);
        hub.advance(2);
        newest.changed().await.unwrap();
        assert_eq!(*newest.borrow(), 2);
    }
}
