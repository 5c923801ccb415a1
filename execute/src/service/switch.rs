//! The kill switch: effective in the engine first, then in the file, then in Knowledge when it can be reached.

use std::sync::Arc;
use std::time::Duration;

use chassis::chain;
use proto::client::Error;
use proto::model::PauseState;
use tokio::sync::{Mutex, Notify, watch};

use super::shared::Shared;
use crate::pause::{PauseError, PauseFile, switched};

/// How often Knowledge's memory is compared with ours: well below the 10 s within which a pause must hold everywhere.
const COMPARE_INTERVAL: Duration = Duration::from_secs(2);

/// How long Knowledge may take to confirm before the caller is told that it has not.
const CONFIRM_WAIT: Duration = Duration::from_millis(500);

/// The switch.
#[derive(Debug)]
pub(crate) struct Switch {
    shared: Arc<Shared>,
    file: PauseFile,
    /// One change at a time; never held while Knowledge is asked.
    changing: Mutex<()>,
    changed: Notify,
    /// The highest counter that Knowledge is known to hold.
    stored: watch::Sender<Option<u64>>,
}

impl Switch {
    pub(crate) fn new(shared: Arc<Shared>, file: PauseFile) -> Self {
        Self {
            shared,
            file,
            changing: Mutex::default(),
            changed: Notify::new(),
            stored: watch::Sender::new(None),
        }
    }

    /// How it stands, and whether Knowledge holds it too.
    pub(crate) fn state(&self) -> (PauseState, bool) {
        let state = self.shared.with(|engine, _| engine.pause().clone());
        let stored = self.stored.borrow().is_some_and(|counter| counter >= state.counter);
        (state, stored)
    }

    /// Pulls it. A pause holds even when the file cannot be written; letting go does not.
    pub(crate) async fn set(
        &self,
        paused: bool,
        reason: String,
        actor: String,
    ) -> Result<(PauseState, bool), PauseError> {
        let changing = self.changing.lock().await;
        let now = self.shared.clock.now();
        let next = switched(&self.state().0, paused, reason, actor, now);
        if paused {
            self.apply(&next);
        }
        self.file.store(&next)?;
        self.apply(&next);
        drop(changing);
        tracing::warn!(paused, counter = next.counter, actor = next.actor, "switched: {}", next.reason);
        self.changed.notify_one();
        let mut stored = self.stored.subscribe();
        let confirmed = stored.wait_for(|held| held.is_some_and(|held| held >= next.counter));
        let _ = tokio::time::timeout(CONFIRM_WAIT, confirmed).await;
        Ok(self.state())
    }

    /// Keeps Knowledge's memory and ours the same, until Knowledge cannot be reached.
    pub(crate) async fn follow(&self) -> Result<(), Error> {
        loop {
            let remote = self.shared.knowledge.get_pause().await?;
            self.merge(&remote).await;
            let local = self.state().0;
            let held =
                if same(&local, &remote) { remote } else { self.shared.knowledge.set_pause(&local).await? };
            self.merge(&held).await;
            self.stored.send_replace(Some(held.counter));
            tokio::select! {
                () = tokio::time::sleep(COMPARE_INTERVAL) => {}
                () = self.changed.notified() => {}
            }
        }
    }

    async fn merge(&self, remote: &PauseState) {
        let _changing = self.changing.lock().await;
        let local = self.state().0;
        let merged = local.clone().merge(remote.clone());
        if same(&local, &merged) {
            return;
        }
        tracing::warn!(
            paused = merged.paused,
            counter = merged.counter,
            "switched elsewhere: {}",
            merged.reason
        );
        self.apply(&merged);
        if let Err(error) = self.file.store(&merged) {
            tracing::error!("{}", chain(&error));
        }
    }

    fn apply(&self, state: &PauseState) {
        self.shared.with(|engine, _| engine.set_pause(state.clone()));
        self.shared.gauge();
    }
}

fn same(one: &PauseState, other: &PauseState) -> bool {
    (one.paused, one.counter) == (other.paused, other.counter)
}
