//! Learner snapshots: saved a few at a time, loaded one by one.

use futures::{Stream, stream};
use proto::{convert, wire};
use tonic::Status;

use super::{Service, at_most};
use crate::store::snapshot;

/// Snapshots in one request: each is megabytes.
const SNAPSHOTS_MOST: usize = 64;

impl Service {
    pub(super) async fn store_snapshots(
        &self,
        request: wire::SaveSnapshotsRequest,
    ) -> Result<wire::SaveSnapshotsResponse, Status> {
        at_most("snapshots", request.snapshots.len(), SNAPSHOTS_MOST)?;
        if request.snapshots.iter().any(|snapshot| snapshot.key.is_empty()) {
            return Err(convert::Error::new("snapshots.key", "", "must be given").into());
        }
        snapshot::save(&self.feed.store.pool, request.snapshots).await?;
        Ok(wire::SaveSnapshotsResponse {})
    }

    /// Only one is in memory at a time, however many there are.
    pub(super) fn stored_snapshots(
        &self,
        prefix: String,
    ) -> impl Stream<Item = Result<wire::Snapshot, Status>> + Send + use<> {
        let start = (self.feed.store.pool.clone(), prefix, None::<String>);
        stream::try_unfold(start, |(pool, prefix, after)| async move {
            let next = snapshot::next(&pool, &prefix, after.as_deref()).await?;
            Ok(next.map(|snapshot| (snapshot.clone(), (pool, prefix, Some(snapshot.key)))))
        })
    }
}
