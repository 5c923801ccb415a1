//! What Monitor follows: the declared documents in Knowledge, and the targets file.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use proto::client::{ChangeEvent, Error, Knowledge};
use tokio::sync::watch;

use crate::declarations::Declarations;
use crate::metrics::Metrics;
use crate::sensors::targets_file::TargetsFile;
use crate::target::Target;

/// How often the targets file is looked at: a new replica is scraped at most this and one interval after it is listed.
const FILE_POLL_INTERVAL: Duration = Duration::from_secs(1);

/// `None` until the first list was read: until then nobody can say which target belongs to whom.
pub(super) type DeclarationsReceiver = watch::Receiver<Option<Arc<Declarations>>>;

/// Reads the list, then takes in every change. Returns when the list must be read again.
pub(super) async fn follow_declarations(
    knowledge: &Knowledge,
    sender: &watch::Sender<Option<Arc<Declarations>>>,
) -> Result<(), Error> {
    let list = knowledge.list_declared(None, "", "").await?;
    let mut declarations = Declarations::new(list.documents);
    tracing::info!(
        services = declarations.services().count(),
        revision = list.revision,
        "read what is declared"
    );
    sender.send_replace(Some(Arc::new(declarations.clone())));
    let mut changes = knowledge.watch_changes(list.revision).await?;
    while let Some(change) = changes.next().await? {
        match change.event {
            ChangeEvent::Applied(document) => declarations.apply(*document),
            ChangeEvent::Deleted(kind, namespace, name) => declarations.delete(kind, &namespace, &name),
            ChangeEvent::Compacted => return Ok(()),
            ChangeEvent::Threshold(_)
            | ChangeEvent::Directive(_)
            | ChangeEvent::Actuator(_)
            | ChangeEvent::Pause(_) => {
                continue;
            }
        }
        sender.send_replace(Some(Arc::new(declarations.clone())));
    }
    Ok(())
}

/// Looks at the file for ever.
pub(super) async fn follow_targets_file(
    path: PathBuf,
    always: Vec<Target>,
    sender: watch::Sender<Arc<Vec<Target>>>,
    metrics: Metrics,
) {
    let mut file = TargetsFile::new(path, always);
    loop {
        match file.poll().await {
            Ok(None) => {}
            Ok(Some(targets)) => {
                tracing::info!(targets = targets.len(), "read the list of targets");
                sender.send_replace(Arc::new(targets));
            }
            Err(error) => {
                metrics.targets_file_failures.inc();
                tracing::warn!("the targets stay as they were: {}", chassis::chain(&error));
            }
        }
        tokio::time::sleep(FILE_POLL_INTERVAL).await;
    }
}
