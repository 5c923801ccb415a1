//! Saves what was learned: the shards in turn, each once in an interval, and at the stop as much as time allows, those first that
//! were saved the longest ago. So never more than an interval is lost, and nothing where saving takes less than the stop may.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use chassis::{Context, OnFailure};
use proto::client::{Error, Knowledge};
use proto::model::Shard;
use proto::wire::Snapshot;
use tokio::sync::watch;

use super::core::Core;

/// How long saving may take at the stop; the process has 10 s in all.
const LAST_SAVE: Duration = Duration::from_secs(4);
/// Turns of an interval, four shards each: saving a million signals at once would take a minute of a core and of Knowledge.
const TURNS: u32 = 16;
/// A turn is no shorter than this.
const TURN_MIN: Duration = Duration::from_secs(1);
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
        let turns = (every.div_duration_f64(TURN_MIN) as u32).clamp(1, TURNS);
        let mut turn = 0;
        loop {
            tokio::select! {
                () = stopper.stopped() => break,
                () = tokio::time::sleep(every / turns) => {}
            }
            // Before the saved blocks are read, saving would overwrite them with less.
            if *restored.borrow() {
                let shards = core.numbers().filter(|shard| shard.number() % turns == turn);
                if let Err(error) = save(&core, &knowledge, shards, &Tally::default()).await {
                    tracing::warn!(
                        "what was learned is not saved now, but later: {}",
                        chassis::chain(&error)
                    );
                }
                turn = (turn + 1) % turns;
            }
        }
        if *restored.borrow() {
            save_last(&core, &knowledge, every, (turn, turns)).await;
        }
        Ok(())
    });
}

/// Saves what it can, beginning with the shards whose turn would be next.
async fn save_last(core: &Core, knowledge: &Knowledge, every: Duration, (turn, turns): (u32, u32)) {
    let (shards, tally) = (oldest_first(core.numbers(), (turn, turns)), Tally::default());
    let ended = tokio::time::timeout(LAST_SAVE, save(core, knowledge, shards.into_iter(), &tally)).await;
    let (saved, blocks) = (tally.saved.load(Ordering::Relaxed), tally.blocks.load(Ordering::Relaxed));
    match ended {
        Ok(Ok(())) => tracing::info!(blocks, "saved what was learned"),
        Ok(Err(error)) => tracing::warn!(
            saved,
            blocks,
            "of some blocks, what was learned since they were saved last is lost: {}",
            chassis::chain(&error)
        ),
        Err(_) => tracing::warn!(
            saved,
            blocks,
            interval_s = every.as_secs(),
            "there was no time to save all blocks: of the others, up to an interval of learning is lost"
        ),
    }
}

/// Those whose turn would be next were saved the longest ago.
fn oldest_first(shards: impl Iterator<Item = Shard>, (turn, turns): (u32, u32)) -> Vec<Shard> {
    let mut shards: Vec<Shard> = shards.collect();
    shards.sort_by_key(|shard| (shard.number() % turns + turns - turn) % turns);
    shards
}

/// How far saving has come.
#[derive(Debug, Default)]
struct Tally {
    blocks: AtomicUsize,
    saved: AtomicUsize,
}

async fn save(
    core: &Core,
    knowledge: &Knowledge,
    shards: impl Iterator<Item = Shard>,
    tally: &Tally,
) -> Result<(), Error> {
    let mut left: VecDeque<_> = shards
        .flat_map(|number| core.take_changed(number).into_iter().map(move |block| (number, block)))
        .collect();
    tally.blocks.store(left.len(), Ordering::Relaxed);
    let mut request = Request::default();
    while let Some((number, block)) = left.pop_front() {
        match core.block(number, block) {
            Ok(snapshot) if request.has_room(&snapshot) => request.push((number, block), snapshot),
            Ok(snapshot) => {
                let full = std::mem::take(&mut request);
                request.push((number, block), snapshot);
                if let Err(error) = full.send(core, knowledge, tally).await {
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
    request.send(core, knowledge, tally).await
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

    async fn send(self, core: &Core, knowledge: &Knowledge, tally: &Tally) -> Result<(), Error> {
        let Self { blocks, snapshots, bytes: _ } = self;
        if blocks.is_empty() {
            return Ok(());
        }
        let sent = knowledge.save_snapshots(snapshots).await;
        tally.saved.fetch_add(if sent.is_ok() { blocks.len() } else { 0 }, Ordering::Relaxed);
        for (number, block) in blocks {
            core.metrics.snapshot(if sent.is_ok() { "saved" } else { "failed" });
            if sent.is_err() {
                core.mark_changed(number, block);
            }
        }
        sent
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn at_the_stop_shards_go_first_that_were_saved_the_longest_ago() {
        let shards = || (0..proto::model::SHARDS).filter_map(Shard::new);
        let order: Vec<u32> =
            oldest_first(shards(), (5, 16)).iter().map(|shard| shard.number() % 16).collect();
        assert_eq!((order.len(), &order[..4], &order[60..]), (64, &[5; 4][..], &[4; 4][..]));
        assert!(order.is_sorted_by_key(|turn| (turn + 11) % 16));
        assert_eq!(oldest_first(shards(), (0, 1)), shards().collect::<Vec<_>>());
    }
}
