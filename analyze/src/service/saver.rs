//! Saves what was learned: changed blocks at each interval, and all that is left at the stop.

use std::collections::VecDeque;
use std::sync::Arc;
use std::time::Duration;

use chassis::{Context, OnFailure};
use proto::client::{Error, Knowledge};
use proto::model::Shard;
use proto::wire::Snapshot;
use tokio::sync::watch;

use super::core::Core;

/// How long saving may take at the stop; the process has 10 s in all.
const LAST_SAVE: Duration = Duration::from_secs(4);
/// Bytes of one request, if it has more than one block: half of what a message may have.
const REQUEST_BYTES: usize = 8 * 1024 * 1024;
/// Blocks of one request: Knowledge takes no more.
const REQUEST_BLOCKS: usize = 64;

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
    let mut left: VecDeque<_> = core
        .numbers()
        .flat_map(|number| core.take_changed(number).into_iter().map(move |block| (number, block)))
        .collect();
    let mut request = Request::default();
    while let Some((number, block)) = left.pop_front() {
        match core.block(number, block) {
            Ok(snapshot) if request.has_room(&snapshot) => request.push((number, block), snapshot),
            Ok(snapshot) => {
                let full = std::mem::take(&mut request);
                request.push((number, block), snapshot);
                if let Err(error) = full.send(core, knowledge).await {
                    request
                        .blocks
                        .into_iter()
                        .chain(left)
                        .for_each(|(number, block)| core.mark_changed(number, block));
                    return Err(error);
                }
            }
            Err(error) => {
                core.mark_changed(number, block);
                core.metrics.snapshot("failed");
                tracing::warn!("a block is not saved now, but later: {}", chassis::chain(&error));
            }
        }
        // A block takes tens of milliseconds: batches go before the next.
        tokio::task::yield_now().await;
    }
    request.send(core, knowledge).await
}

/// Blocks that are sent together.
#[derive(Debug, Default)]
struct Request {
    blocks: Vec<(Shard, usize)>,
    snapshots: Vec<Snapshot>,
    bytes: usize,
}

impl Request {
    fn has_room(&self, snapshot: &Snapshot) -> bool {
        self.blocks.is_empty()
            || (self.blocks.len() < REQUEST_BLOCKS && self.bytes + snapshot.body.len() <= REQUEST_BYTES)
    }

    fn push(&mut self, block: (Shard, usize), snapshot: Snapshot) {
        self.bytes += snapshot.body.len();
        self.blocks.push(block);
        self.snapshots.push(snapshot);
    }

    async fn send(self, core: &Core, knowledge: &Knowledge) -> Result<(), Error> {
        let Self { blocks, snapshots, bytes: _ } = self;
        if blocks.is_empty() {
            return Ok(());
        }
        let sent = knowledge.save_snapshots(snapshots).await;
        for (number, block) in blocks {
            core.metrics.snapshot(if sent.is_ok() { "saved" } else { "failed" });
            if sent.is_err() {
                core.mark_changed(number, block);
            }
        }
        sent
    }
}
