//! Models of seasons on their way to Knowledge: the newest of each signal waits.

use std::collections::BTreeMap;
use std::sync::{Mutex, MutexGuard, PoisonError};

use proto::client::{Error, Seasonalities};
use proto::model::SeasonalityModel;
use tokio::sync::Notify;

use super::core::Core;

/// Models that wait: 10,000 of at most 10 KiB are 100 MB. Beyond that a signal's model is dropped; its next one is recorded.
const WAITING_MAX: usize = 10_000;
/// Models of one request: as many as Knowledge takes would be near what a message may have.
const REQUEST_MAX: usize = 200;

/// What waits.
#[derive(Debug, Default)]
pub struct Seasons {
    waiting: Mutex<BTreeMap<String, SeasonalityModel>>,
    wake: Notify,
}

impl Seasons {
    pub(super) fn push(&self, model: SeasonalityModel) {
        let (mut waiting, text) = (self.lock(), model.signal.to_string());
        if waiting.len() < WAITING_MAX || waiting.contains_key(&text) {
            waiting.insert(text, model);
            drop(waiting);
            self.wake.notify_one();
        }
    }

    /// Records what waits, again and again; gives each answer to `answered`.
    pub(super) async fn run(
        &self,
        knowledge: &Seasonalities,
        answered: impl Fn(&SeasonalityModel),
    ) -> Result<(), Error> {
        loop {
            let some: Vec<_> = self.lock().values().take(REQUEST_MAX).cloned().collect();
            if some.is_empty() {
                self.wake.notified().await;
                continue;
            }
            match knowledge.record(some.clone()).await {
                Ok(stored) => stored.iter().for_each(&answered),
                Err(error) if error.is_transient() => return Err(error),
                // The same models would be refused again and hold up all others.
                Err(error) => {
                    self.done(&some);
                    return Err(error);
                }
            }
            self.done(&some);
        }
    }

    /// What was sent leaves, unless a newer version of it has come meanwhile.
    fn done(&self, sent: &[SeasonalityModel]) {
        let mut waiting = self.lock();
        for model in sent {
            let text = model.signal.to_string();
            if waiting.get(&text) == Some(model) {
                waiting.remove(&text);
            }
        }
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<String, SeasonalityModel>> {
        self.waiting.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// Reads every model in force.
pub(super) async fn read(core: &Core, knowledge: &Seasonalities) -> Result<(), Error> {
    let mut after = String::new();
    loop {
        let page = knowledge.list("", &after, 0).await?;
        page.models.iter().for_each(|model| core.season(model, false));
        match page.models.last() {
            Some(last) if page.more => after = last.signal.to_string(),
            _ => return Ok(()),
        }
    }
}
