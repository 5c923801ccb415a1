//! What is normal on each edge, kept by Knowledge, so that a new instance starts with what is known.

use std::sync::Arc;
use std::time::Duration;

use chassis::{Stopper, chain};
use proto::client::Error;
use proto::model::{BreakerBaseline, BreakerKey};
use proto::wire;
use serde::{Deserialize, Serialize};

use super::shared::Shared;
use crate::fleet::Stored;
use crate::overrule;

/// What is learned is looked at so often; each edge is saved once a minute.
const LOOK_INTERVAL: Duration = Duration::from_secs(1);
/// An instance waits so long for what Knowledge knows, and is told later otherwise.
const ANSWER_WAIT: Duration = Duration::from_secs(1);
/// Directives of an edge that are looked through for a person's last word.
const LOOKED_THROUGH: u32 = 200;

/// A baseline as Knowledge keeps it: a snapshot's body.
#[derive(Debug, Serialize, Deserialize)]
struct Kept {
    failure_ratio: f64,
    numbers: Vec<f64>,
}

/// Where a key's baseline lies.
fn place(key: &BreakerKey) -> String {
    format!("breaker/{}/{}", key.edge, key.method)
}

/// Saves what was learned, now and then, until stopped.
pub(super) async fn keep(shared: Arc<Shared>, stopper: Stopper) {
    loop {
        tokio::select! {
            () = tokio::time::sleep(LOOK_INTERVAL) => {}
            () = stopper.stopped() => return,
        }
        let learned = shared.fleet().to_save(shared.clock.monotonic());
        if learned.is_empty() {
            continue;
        }
        let at_unix_ms = shared.clock.now().as_millisecond();
        let snapshots = learned.iter().filter_map(|(key, baseline)| {
            let BreakerBaseline { format, numbers, failure_ratio } = baseline.clone();
            let body = serde_json::to_vec(&Kept { failure_ratio, numbers }).ok()?;
            Some(wire::Snapshot { key: place(key), format, body, at_unix_ms })
        });
        if let Err(error) = shared.knowledge.save_snapshots(snapshots.collect()).await {
            tracing::info!("baselines are saved later: {}", chain(&error));
            let mut fleet = shared.fleet();
            learned.iter().for_each(|(key, _)| fleet.not_saved(key));
        }
    }
}

/// Tells the fleet what Knowledge knows of a key.
pub(crate) async fn fetch(shared: &Shared, key: &BreakerKey) {
    match tokio::time::timeout(ANSWER_WAIT, stored(shared, key)).await {
        Ok(Ok(stored)) => shared.fleet().stored(key, stored),
        Ok(Err(error)) => tracing::info!(%key, "nothing is known yet: {}", chain(&error)),
        Err(_) => tracing::info!(%key, "nothing is known yet: Knowledge does not answer"),
    }
}

async fn stored(shared: &Shared, key: &BreakerKey) -> Result<Stored, Error> {
    let place = place(key);
    let snapshots = shared.knowledge.load_snapshots(&place).await?;
    let found = snapshots.into_iter().find(|snapshot| snapshot.key == place && key.host.is_empty());
    let baseline = found.and_then(|snapshot| {
        let Kept { failure_ratio, numbers } = serde_json::from_slice(&snapshot.body).ok()?;
        let wire = wire::BreakerBaseline { format: snapshot.format, numbers, failure_ratio };
        BreakerBaseline::try_from(wire).ok()
    });
    let records =
        shared.knowledge.list_directives(Some(key.edge.clone()), &[], LOOKED_THROUGH).await?.directives;
    Ok(Stored { baseline, told: overrule::last_word(&records) })
}
