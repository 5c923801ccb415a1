//! The newest assessment of each resource, and who waits for newer ones. A slow reader skips to the newest of each resource.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use proto::model::{Assessment, ResourceId};
use tokio::sync::watch;

/// Published assessments.
#[derive(Debug)]
pub struct Board {
    posted: Mutex<Posted>,
    version: watch::Sender<u64>,
}

#[derive(Debug, Default)]
struct Posted {
    version: u64,
    by_version: BTreeMap<u64, Arc<Assessment>>,
    by_resource: BTreeMap<ResourceId, u64>,
}

impl Default for Board {
    fn default() -> Self {
        Self { posted: Mutex::default(), version: watch::Sender::new(0) }
    }
}

impl Board {
    /// Shows these to everyone.
    pub fn post(&self, assessments: Vec<Assessment>) {
        if assessments.is_empty() {
            return;
        }
        let mut posted = self.lock();
        for assessment in assessments {
            posted.version += 1;
            let version = posted.version;
            if let Some(older) = posted.by_resource.insert(assessment.resource.clone(), version) {
                posted.by_version.remove(&older);
            }
            posted.by_version.insert(version, Arc::new(assessment));
        }
        self.version.send_replace(posted.version);
    }

    /// Takes a resource down: it is no longer declared.
    pub fn remove(&self, resource: &ResourceId) {
        let mut posted = self.lock();
        if let Some(version) = posted.by_resource.remove(resource) {
            posted.by_version.remove(&version);
        }
    }

    /// The newest assessment of a resource.
    #[must_use]
    pub fn newest(&self, resource: &ResourceId) -> Option<Arc<Assessment>> {
        let posted = self.lock();
        posted.by_version.get(posted.by_resource.get(resource)?).cloned()
    }

    /// A reader who has seen nothing yet. No resources: all of them.
    #[must_use]
    pub fn reader(self: &Arc<Self>, resources: BTreeSet<ResourceId>) -> Reader {
        Reader { board: self.clone(), resources, seen: 0, changes: self.version.subscribe() }
    }

    fn lock(&self) -> MutexGuard<'_, Posted> {
        self.posted.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads on from what it has seen.
#[derive(Debug)]
pub struct Reader {
    board: Arc<Board>,
    resources: BTreeSet<ResourceId>,
    seen: u64,
    changes: watch::Receiver<u64>,
}

impl Reader {
    /// The oldest assessment that it has not seen and that is still the newest of its resource; waits for one.
    pub async fn next(&mut self) -> Arc<Assessment> {
        loop {
            self.changes.borrow_and_update();
            if let Some(assessment) = self.unseen() {
                return assessment;
            }
            if self.changes.changed().await.is_err() {
                // The board lives as long as its readers, which hold it.
                std::future::pending::<()>().await;
            }
        }
    }

    fn unseen(&mut self) -> Option<Arc<Assessment>> {
        let posted = self.board.lock();
        let wanted = |resource: &ResourceId| self.resources.is_empty() || self.resources.contains(resource);
        let found =
            posted.by_version.range(self.seen + 1..).find(|(_, assessment)| wanted(&assessment.resource));
        self.seen = found.map_or(posted.version, |(version, _)| *version);
        found.map(|(_, assessment)| assessment.clone())
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use jiff::Timestamp;
    use proto::model::{Capacity, DataQuality, Quality};

    use super::*;

    fn assessment(resource: &str, sequence: u64) -> Assessment {
        let resource: ResourceId = resource.parse().unwrap();
        let data = DataQuality {
            quality: Quality::Good,
            reason: String::new(),
            since: Timestamp::UNIX_EPOCH,
            sources_expected: 1,
            sources_seen: 1,
            last_good: None,
        };
        Assessment {
            shard: resource.shard(),
            resource,
            at: Timestamp::UNIX_EPOCH,
            sequence,
            signals: Vec::new(),
            symptoms: Vec::new(),
            objective: None,
            capacity: Capacity::default(),
            outlook: None,
            budget_policies: Vec::new(),
            data,
            interval: Duration::from_secs(1),
        }
    }

    async fn all_waiting(reader: &mut Reader) -> Vec<(String, u64)> {
        let mut seen = Vec::new();
        while let Ok(next) = tokio::time::timeout(Duration::ZERO, reader.next()).await {
            seen.push((next.resource.name().to_owned(), next.sequence));
        }
        seen
    }

    #[tokio::test]
    async fn slow_reader_skips_to_the_newest_of_each_resource() {
        let board = Arc::new(Board::default());
        let mut reader = board.reader(BTreeSet::new());
        for sequence in 1..=100 {
            board.post(vec![assessment("service:a/x", sequence), assessment("service:a/y", sequence)]);
        }
        board.post(vec![assessment("service:a/x", 101)]);
        assert_eq!(all_waiting(&mut reader).await, [("y".to_owned(), 100), ("x".to_owned(), 101)]);
        assert_eq!(all_waiting(&mut reader).await, []);
        board.post(vec![assessment("service:a/y", 101)]);
        assert_eq!(all_waiting(&mut reader).await, [("y".to_owned(), 101)]);
        board.remove(&"service:a/x".parse().unwrap());
        assert_eq!(all_waiting(&mut board.reader(BTreeSet::new())).await, [("y".to_owned(), 101)]);
    }

    #[tokio::test]
    async fn waiting_reader_is_woken() {
        let board = Arc::new(Board::default());
        let mut reader = board.reader(BTreeSet::from(["service:a/y".parse().unwrap()]));
        let post = async {
            tokio::task::yield_now().await;
            board.post(vec![assessment("service:a/x", 1)]);
            tokio::task::yield_now().await;
            board.post(vec![assessment("service:a/y", 7)]);
        };
        let (next, ()) = tokio::join!(reader.next(), post);
        assert_eq!(next.sequence, 7);
    }
}
