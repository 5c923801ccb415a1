//! The tail of the feed: follows what other instances commit, and tells whether the database answers.

use std::sync::Arc;
use std::time::Duration;

use chassis::{Context, Health, OnFailure};
use sqlx::postgres::PgListener;
use uuid::Uuid;

use crate::hub::Hub;
use crate::metrics::Metrics;
use crate::store::{self, Error, Store};

/// How often the tail looks for what other instances committed, should their notification be lost.
const LOOK_EVERY: Duration = Duration::from_secs(1);
/// A database that takes longer for one row does not answer.
const LOOK_DEADLINE: Duration = Duration::from_secs(5);

/// Follows what other instances commit, and tells whether the database answers.
pub(super) struct Tail {
    pub(super) store: Store,
    pub(super) hub: Arc<Hub>,
    pub(super) metrics: Metrics,
    pub(super) sender: Uuid,
}

impl Tail {
    /// Runs until stopped.
    pub(super) fn spawn(self, ctx: &Context, health: Health) {
        let stopper = ctx.stopper.clone();
        ctx.tasks.spawn("knowledge-tail", OnFailure::StopProcess, async move {
            let rounds = async {
                loop {
                    self.follow(&health).await;
                    tokio::time::sleep(LOOK_EVERY).await;
                }
            };
            tokio::select! {
                () = stopper.stopped() => {}
                () = rounds => {}
            }
            Ok(())
        });
    }

    /// Listens and looks, until the database is away.
    async fn follow(&self, health: &Health) {
        let mut listener = match self.listen().await {
            Ok(listener) => listener,
            Err(error) => return self.report(health, &Err(Error::sql("listen for changes")(error))),
        };
        loop {
            let looked = store::within(LOOK_DEADLINE, self.look()).await;
            let failed = looked.is_err();
            self.report(health, &looked);
            if failed {
                return;
            }
            // Our own notifications say nothing new; the hub has their changes already.
            let other = async {
                loop {
                    match listener.recv().await {
                        Ok(note) if note.payload().starts_with(&self.sender.to_string()) => {}
                        Ok(_) => return true,
                        Err(_) => return false,
                    }
                }
            };
            match tokio::time::timeout(LOOK_EVERY, other).await {
                Ok(true) | Err(_) => {}
                Ok(false) => return,
            }
        }
    }

    async fn listen(&self) -> Result<PgListener, sqlx::Error> {
        let mut listener = PgListener::connect_with(&self.store.pool).await?;
        listener.listen(store::ledger::CHANNEL).await?;
        Ok(listener)
    }

    async fn look(&self) -> Result<(), Error> {
        let mut connection = self.store.pool.acquire().await.map_err(Error::sql("look for changes"))?;
        let revision = store::change::revision(&mut connection).await?;
        self.hub.advance(revision);
        self.metrics.revision.set(store::signed(self.hub.newest()));
        Ok(())
    }

    fn report(&self, health: &Health, looked: &Result<(), Error>) {
        let reachable = looked.is_ok();
        let before = self.metrics.reachable.get() == 1;
        self.metrics.reachable.set(i64::from(reachable));
        health.set_all_serving(reachable);
        match looked {
            Ok(()) if !before => tracing::info!("the database answers again"),
            Err(error) if before => tracing::error!("the database is away: {}", chassis::chain(error)),
            _ => {}
        }
    }
}
