//! The work on one delivery: observe, apply, observe, and report until Execute answers.

use std::sync::Arc;
use std::time::Duration;

use chassis::{Context, chain};
use proto::client::{Delivery, Execute, Report, ReportResult};
use proto::model::{Lease, Observation, ResourceId};
use tokio::sync::watch;
use tonic::Code;

use crate::actuator::{Actuator, ApplyOutcome};
use crate::desk::{Desk, Todo};
use crate::session::RETRY;

/// Work that takes longer is announced, so that people see that it has begun; quicker work is only reported when done.
const ANNOUNCE_AFTER: Duration = Duration::from_millis(100);

/// One answer may take as long as Execute waits for the ledger, and a bit; then it is asked again.
const ANSWER_WAIT: Duration = Duration::from_secs(10);

/// How long giving the lease back may take.
const DEREGISTER_WAIT: Duration = Duration::from_secs(1);

/// Works on deliveries.
#[derive(Debug)]
pub(crate) struct Worker<A> {
    pub execute: Execute,
    pub actuator: Arc<A>,
    pub ctx: Context,
    pub lease: watch::Receiver<Option<Lease>>,
    pub dry_run: bool,
}

impl<A> Clone for Worker<A> {
    fn clone(&self) -> Self {
        let Self { execute, actuator, ctx, lease, dry_run } = self;
        Self {
            execute: execute.clone(),
            actuator: actuator.clone(),
            ctx: ctx.clone(),
            lease: lease.clone(),
            dry_run: *dry_run,
        }
    }
}

impl<A: Actuator> Worker<A> {
    /// Decides what to do with a delivery, and does it.
    pub fn begin(self, desk: &Desk, delivery: Delivery) -> impl Future<Output = ResourceId> + use<A> {
        let directive = &delivery.directive;
        let last = self.actuator.last_generation(&directive.resource, directive.kind());
        let todo = desk.todo(directive, last);
        self.work(delivery, todo)
    }

    /// Gives the lease back, which is a courtesy: it runs out by itself.
    pub async fn deregister(&self) {
        let Some(lease) = self.lease.borrow().clone() else { return };
        match tokio::time::timeout(DEREGISTER_WAIT, self.execute.deregister(&lease)).await {
            Ok(Ok(())) => tracing::info!("deregistered"),
            Ok(Err(error)) => tracing::info!("the lease was not given back: {}", chain(&error)),
            Err(_) => tracing::info!("the lease was not given back: no answer"),
        }
    }

    /// Until Execute has answered the last word.
    async fn work(self, delivery: Delivery, todo: Todo) -> ResourceId {
        let resource = delivery.directive.resource.clone();
        let report = |result, detail, before, after| Report {
            directive_id: delivery.directive.id,
            attempt: delivery.attempt,
            generation: delivery.directive.generation,
            result,
            detail,
            before,
            after,
        };
        let last_word = match todo {
            Todo::Refuse(reason) => report(ReportResult::Refused, reason, Vec::new(), Vec::new()),
            Todo::SayAgain => {
                let after = self.actuator.observe(&resource).await;
                report(ReportResult::Applied, "it was applied before".to_owned(), Vec::new(), after)
            }
            Todo::Apply => {
                let begun = report(ReportResult::Accepted, String::new(), Vec::new(), Vec::new());
                let (result, detail, before, after) = self.apply(&delivery, begun).await;
                report(result, detail, before, after)
            }
        };
        tracing::info!(
            directive = %last_word.directive_id, %resource, generation = %last_word.generation,
            result = last_word.result.as_str_name(), "{}", last_word.detail
        );
        self.report(last_word).await;
        resource
    }

    async fn apply(
        &self,
        delivery: &Delivery,
        begun: Report,
    ) -> (ReportResult, String, Vec<Observation>, Vec<Observation>) {
        let directive = &delivery.directive;
        let before = self.actuator.observe(&directive.resource).await;
        let announce = async {
            tokio::time::sleep(ANNOUNCE_AFTER).await;
            self.report(begun).await;
            std::future::pending().await
        };
        let outcome = tokio::select! {
            outcome = self.actuator.apply(directive, self.dry_run) => outcome,
            () = announce => unreachable!("announcing never ends"),
        };
        let after = self.actuator.observe(&directive.resource).await;
        let (result, detail) = match outcome {
            ApplyOutcome::Applied { detail } if self.dry_run => (ReportResult::Simulated, detail),
            ApplyOutcome::Applied { detail } => (ReportResult::Applied, detail),
            ApplyOutcome::Refused { reason } => (ReportResult::Refused, reason),
            ApplyOutcome::Failed { reason } => (ReportResult::Failed, reason),
            ApplyOutcome::Unknown { reason } => (ReportResult::Unknown, reason),
        };
        (result, detail, before, after)
    }

    /// With whatever lease we hold, until it is answered or refused for good.
    async fn report(&self, report: Report) {
        let mut leases = self.lease.clone();
        let mut attempt = 0;
        loop {
            // The sender lives as long as the work does.
            let Ok(lease) = leases.wait_for(Option::is_some).await.map(|lease| lease.clone()) else { return };
            let Some(lease) = lease else { continue };
            let answer = tokio::time::timeout(ANSWER_WAIT, self.execute.report(&lease, report.clone())).await;
            match answer {
                Ok(Ok(_)) => return,
                // The lease went away: the next one will do.
                Ok(Err(error)) if error.code() == Some(Code::NotFound) || error.is_transient() => {
                    tracing::info!(directive = %report.directive_id, "reporting again: {}", chain(&error));
                }
                Ok(Err(error)) => {
                    tracing::error!(directive = %report.directive_id, "the report is refused: {}", chain(&error));
                    return;
                }
                Err(_) => tracing::info!(directive = %report.directive_id, "reporting again: no answer"),
            }
            let wait = RETRY.delay(attempt, self.ctx.with_ids(|ids| ids.unit_f64()));
            attempt = attempt.saturating_add(1);
            tokio::time::sleep(wait).await;
        }
    }
}
