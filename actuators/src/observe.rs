//! Evidence up, advice down: what the breakers of a process see, told to Execute as long as there is a lease. Nothing waits for
//! it: advice that does not come runs out, and each breaker is by itself.

use std::sync::Arc;
use std::time::Duration;

use chassis::{Context, chain};
use proto::client::{Error, Execute, Observing};
use proto::model::{BreakerPhase, BreakerReport, BreakerVerdict, DirectiveKind, Lease};
use tokio::sync::watch;
use tonic::Code;

use crate::actuator::Actuator;
use crate::session::RETRY;

/// How often a process in trouble tells: probes are invited in turns of seconds.
const BUSY: Duration = Duration::from_millis(250);
/// How often the others do: well within the time for which a word counts.
const CALM: Duration = Duration::from_secs(1);
/// An answer takes microseconds; a connection that takes so long is made anew.
const ANSWER_WAIT: Duration = Duration::from_secs(3);
/// An Execute that does not know these words is asked again after so long: it may be replaced by a newer one.
const UNKNOWN_WAIT: Duration = Duration::from_secs(60);

/// Tells, and hands on what is advised.
#[derive(Debug)]
pub(crate) struct Observer<A> {
    pub execute: Execute,
    pub actuator: Arc<A>,
    pub ctx: Context,
    pub lease: watch::Receiver<Option<Lease>>,
}

impl<A: Actuator> Observer<A> {
    /// Never returns.
    pub async fn run(mut self) -> std::convert::Infallible {
        if !self.actuator.spec().kinds.contains(&DirectiveKind::SetBreaker) {
            std::future::pending::<()>().await;
        }
        let mut attempt = 0;
        loop {
            // Without a lease there is nobody to tell.
            let lease = self.lease.wait_for(Option::is_some).await.ok().and_then(|lease| lease.clone());
            let Some(lease) = lease else { std::future::pending().await };
            let ended = match tokio::time::timeout(ANSWER_WAIT, self.execute.observe(&lease)).await {
                Ok(Ok(observing)) => {
                    attempt = 0;
                    self.converse(observing).await
                }
                Ok(Err(error)) => Some(error),
                Err(_) => None,
            };
            if let Some(error) = &ended {
                tracing::debug!("breakers are by themselves: {}", chain(error));
            }
            let wait = match ended.as_ref().and_then(Error::code) {
                Some(Code::Unimplemented) => UNKNOWN_WAIT,
                _ => RETRY.delay(attempt, self.ctx.with_ids(|ids| ids.unit_f64())),
            };
            attempt = attempt.saturating_add(1);
            tokio::time::sleep(wait).await;
        }
    }

    /// Until it breaks off; tells why, if that is known.
    async fn converse(&self, mut observing: Observing) -> Option<Error> {
        loop {
            let reports = self.actuator.evidence();
            let interval = if reports.iter().all(is_calm) { CALM } else { BUSY };
            match tokio::time::timeout(ANSWER_WAIT, observing.tell(reports)).await {
                Ok(Ok(Some(advice))) => self.actuator.advised(advice),
                Ok(Ok(None)) | Err(_) => return None,
                Ok(Err(error)) => return Some(error),
            }
            tokio::time::sleep(interval).await;
        }
    }
}

fn is_calm(report: &BreakerReport) -> bool {
    let quiet = report.phase == BreakerPhase::Closed && report.verdict == BreakerVerdict::Nominal;
    // One failure is no trouble; half of what it takes to open is.
    quiet && report.outage_score < 0.25 * report.outage_threshold
}
