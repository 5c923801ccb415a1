//! What is asked of Knowledge apart from recording: to take a directive back, to read one again. One at a time, repeated
//! until answered; after a crash the engine asks for the same again.

use std::sync::Arc;
use std::time::Duration;

use chassis::{Backoff, Context, chain};
use proto::client::ProposeVerdict;
use proto::model::Directive;
use tokio::sync::mpsc;
use uuid::Uuid;

use super::shared::Shared;

/// Something to ask Knowledge for.
#[derive(Debug)]
pub(super) enum Errand {
    Propose(Box<Directive>),
    Fetch(Uuid),
}

/// Soon after a restart of Knowledge, and never more than two seconds late.
const RETRY: Backoff =
    Backoff { initial: Duration::from_millis(50), factor: 2.0, max: Duration::from_secs(2), jitter: 0.2 };

/// Runs errands until stopped.
pub(super) async fn run(shared: Arc<Shared>, ctx: Context, mut errands: mpsc::UnboundedReceiver<Errand>) {
    loop {
        let errand = tokio::select! {
            errand = errands.recv() => errand,
            () = ctx.stopper.stopped() => return,
        };
        let Some(errand) = errand else { return };
        let mut attempt = 0;
        while let Err(error) = go(&shared, &errand).await {
            if !error.is_transient() {
                tracing::error!("Knowledge refuses: {}", chain(&error));
                break;
            }
            let wait = RETRY.delay(attempt, ctx.with_ids(|ids| ids.unit_f64()));
            attempt = attempt.saturating_add(1);
            tokio::select! {
                () = tokio::time::sleep(wait) => {}
                () = ctx.stopper.stopped() => return,
            }
        }
    }
}

async fn go(shared: &Shared, errand: &Errand) -> Result<(), proto::client::Error> {
    match errand {
        Errand::Fetch(id) => {
            let record = shared.knowledge.get_directive(*id).await?;
            shared.with(|engine, now| engine.ledger(record, now.wall));
        }
        Errand::Propose(directive) => {
            let answer = shared.knowledge.propose((**directive).clone()).await?;
            let (id, resource) = (directive.id, &directive.resource);
            let verdict = match answer.verdict {
                ProposeVerdict::Accepted => "accepted",
                ProposeVerdict::AlreadyStored => "already_stored",
                ProposeVerdict::StaleGeneration => "stale_generation",
                ProposeVerdict::UnderWay => "under_way",
                ProposeVerdict::Unspecified => "unspecified",
            };
            shared.metrics.undos.with_label_values(&[verdict]).inc();
            tracing::info!(directive = %id, %resource, verdict, "undo proposed: {}", directive.rationale.text);
        }
    }
    Ok(())
}
