//! Runs an actuator: registers it, holds its lease, takes its deliveries in order, and reports until it is answered.

use std::sync::Arc;
use std::time::Duration;

use chassis::{Context, chain};
use futures::StreamExt;
use futures::stream::{self, FuturesUnordered};
use proto::client::{Error, Execute};
use tokio::sync::watch;
use tonic::Code;
use tonic::transport::Channel;

use crate::actuator::Actuator;
use crate::desk::Desk;
use crate::observe::Observer;
use crate::report::Worker;
use crate::session::{Incoming, Session};

/// What has begun is finished within this at a stop, or delivered again to whoever comes next.
const FINISH_WAIT: Duration = Duration::from_secs(8);

/// Why an actuator ended before it was stopped.
#[derive(Debug, thiserror::Error)]
pub enum RunError {
    /// What it registers breaks a rule; trying again would not help.
    #[error("Execute does not take {actuator} in")]
    Registration {
        /// Name and instance.
        actuator: String,
        /// What Execute said.
        #[source]
        source: Error,
    },
}

/// Runs one actuator against one Execute.
#[derive(Debug)]
pub struct Runner<A> {
    execute: Execute,
    actuator: Arc<A>,
    ctx: Context,
    dry_run: bool,
}

impl<A: Actuator> Runner<A> {
    /// Over a channel, which need not be connected yet.
    pub fn new(channel: Channel, actuator: Arc<A>, ctx: Context) -> Self {
        Self { execute: Execute::new(channel), actuator, ctx, dry_run: false }
    }

    /// Whether to simulate: everything is asked of the actuator with `dry_run`, and reported as simulated.
    #[must_use]
    pub fn dry_run(self, dry_run: bool) -> Self {
        Self { dry_run, ..self }
    }

    /// Until the context stops: then what is being applied is finished and reported, and the lease is given back.
    ///
    /// # Errors
    /// When Execute refuses the registration for good. A conflict with another actuator is waited out.
    pub async fn run(self) -> Result<(), RunError> {
        let Self { execute, actuator, ctx, dry_run } = self;
        let (lease, leased) = watch::channel(None);
        let observer = Observer {
            execute: execute.clone(),
            actuator: actuator.clone(),
            ctx: ctx.clone(),
            lease: leased.clone(),
        };
        let session = Session::new(execute.clone(), ctx.clone(), lease);
        let worker = Worker { execute, actuator: actuator.clone(), ctx, lease: leased, dry_run };
        let mut desk = Desk::default();
        let mut work = FuturesUnordered::new();
        // As a stream it is polled, never dropped midway, however often work ends meanwhile.
        let incoming = stream::unfold(session, |mut session| async {
            let incoming = session.next(&*actuator).await;
            Some((incoming, session))
        });
        tokio::pin!(incoming);
        let observing = observer.run();
        tokio::pin!(observing);
        loop {
            let begins = tokio::select! {
                never = &mut observing => match never {},
                Some(next) = incoming.next() => match next {
                    Incoming::Registered(generations) => {
                        desk.registered(generations);
                        None
                    }
                    Incoming::Delivery(delivery) => desk.add(*delivery),
                    Incoming::Stopped => break,
                    Incoming::Refused(source) => return Err(refused(&*actuator, source)),
                },
                Some(resource) = work.next() => desk.done(&resource),
            };
            work.extend(begins.map(|delivery| worker.clone().begin(&desk, delivery)));
        }
        // What has begun is finished; what waits is delivered again to whoever comes next.
        let finish = async { while work.next().await.is_some() {} };
        tokio::select! {
            ended = tokio::time::timeout(FINISH_WAIT, finish) => {
                if ended.is_err() {
                    tracing::warn!("work did not end within {FINISH_WAIT:?}");
                }
            }
            // Holds the lease meanwhile.
            _ = incoming.next() => {}
        }
        worker.deregister().await;
        Ok(())
    }
}

fn refused(actuator: &impl Actuator, source: Error) -> RunError {
    let spec = actuator.spec();
    RunError::Registration { actuator: format!("{}/{}", spec.name, spec.instance), source }
}

/// Whether registering again may work: another actuator's lease runs out, Execute comes back.
pub(crate) fn may_register_later(error: &Error) -> bool {
    let later = error.is_transient() || error.code() == Some(Code::AlreadyExists);
    if later {
        tracing::warn!("not registered, trying again: {}", chain(error));
    }
    later
}
