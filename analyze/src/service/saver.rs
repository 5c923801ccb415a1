//! Saves what was learned: changed blocks at each interval, and all that is left at the stop.

use std::sync::Arc;
use std::time::Duration;

use chassis::{Context, OnFailure};
use proto::client::{Error, Knowledge};
use proto::wire::Snapshot;
use tokio::sync::watch;

use super::core::Core;

/// How long saving may take at the stop; the process has 10 s in all.
const LAST_SAVE: Duration = Duration::from_secs(4);
/// Bytes of one request, if it has more than one block: half of what a message may have.
const REQUEST_BYTES: usize = 8 * 1024 * 1024;

pub(super) fn spawn(
    ctx: &Context,
    core: Arc<Core>,
    knowledge: Knowledge,
    every: Duration,
    restored: watch::Receiver<bool>,
) {
    let stopper = ctx.stopper.clone();
    ctx.tasks.spawn("analyze-saver", OnFailure::StopProcess, async move {
        loop {
            tokio::select! {
                () = stopper.stopped() => break,
                () = tokio::time::sleep(every) => {}
            }
            // Before the saved blocks are read, saving would overwrite them with less.
            if *restored.borrow()
                && let Err(error) = save(&core, &knowledge).await
            {
                tracing::warn!("what was learned is not saved now, but later: {}", chassis::chain(&error));
            }
        }
        if *restored.borrow() {
            match tokio::time::timeout(LAST_SAVE, save(&core, &knowledge)).await {
                Ok(Ok(())) => tracing::info!("saved what was learned"),
                Ok(Err(error)) => {
                    tracing::warn!(
                        "what was learned since the last save is lost: {}",
                        chassis::chain(&error)
                    );
                }
                Err(_) => {
                    tracing::warn!("what was learned since the last save is lost: Knowledge did not answer")
                }
            }
        }
        Ok(())
    });
}

async fn save(core: &Core, knowledge: &Knowledge) -> Result<(), Error> {
    for number in core.numbers() {
        let mut left = core.changed(number);
        while !left.is_empty() {
            let request = take_request(&mut left);
            let blocks = request.len();
            let marks: Vec<_> = request.iter().map(|block| block.key.clone()).collect();
            if let Err(error) = knowledge.save_snapshots(request).await {
                let unsaved = marks.iter().chain(left.iter().map(|block| &block.key));
                unsaved.for_each(|key| core.mark_changed(number, key));
                core.metrics.snapshot("failed");
                return Err(error);
            }
            (0..blocks).for_each(|_| core.metrics.snapshot("saved"));
        }
    }
    Ok(())
}

/// Takes as many blocks as one request may have, at least one.
fn take_request(left: &mut Vec<Snapshot>) -> Vec<Snapshot> {
    let mut bytes = 0;
    let fits = |block: &&Snapshot| {
        bytes += block.body.len();
        bytes <= REQUEST_BYTES
    };
    let count = left.iter().take_while(fits).count().max(1);
    left.drain(..count).collect()
}
