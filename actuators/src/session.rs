//! The connection to Execute: registration, lease and stream, each made anew when it is lost. Work goes on meanwhile.

use std::time::Duration;

use chassis::{Backoff, Context, chain};
use proto::client::{Delivery, DeliveryStream, Error, Execute, Registration};
use proto::model::{AppliedGeneration, Lease};
use tokio::sync::watch;
use tokio::time::Instant;
use tonic::Code;

use crate::actuator::Actuator;
use crate::runner::may_register_later;

/// Soon after a restart of Execute, never more than 2 s late, and spread out where there are many of us.
pub(crate) const RETRY: Backoff =
    Backoff { initial: Duration::from_millis(50), factor: 1.6, max: Duration::from_secs(2), jitter: 0.5 };

/// What comes from Execute.
#[derive(Debug)]
pub(crate) enum Incoming {
    /// Registered, and this is what the ledger had accepted by then.
    Registered(Vec<AppliedGeneration>),
    Delivery(Box<Delivery>),
    /// The last of them: from now on the lease is only held.
    Stopped,
    /// Registering again would not help.
    Refused(Error),
}

#[derive(Debug)]
struct Registered {
    lease: Lease,
    ttl: Duration,
    renew_at: Instant,
}

/// What is lost and made again.
#[derive(Debug)]
pub(crate) struct Session {
    execute: Execute,
    ctx: Context,
    lease: watch::Sender<Option<Lease>>,
    registered: Option<Registered>,
    stream: Option<DeliveryStream>,
    /// The highest revision seen.
    cursor: u64,
    attempt: u32,
    again_at: Option<Instant>,
    stopped: bool,
}

impl Session {
    pub fn new(execute: Execute, ctx: Context, lease: watch::Sender<Option<Lease>>) -> Self {
        let (registered, stream, again_at) = (None, None, None);
        Self { execute, ctx, lease, registered, stream, cursor: 0, attempt: 0, again_at, stopped: false }
    }

    /// The next thing that comes in, however often everything has to be made anew before. Not to be dropped midway: a
    /// renewal of the lease may be on its way.
    pub async fn next(&mut self, actuator: &impl Actuator) -> Incoming {
        let stopper = self.ctx.stopper.clone();
        while !self.stopped {
            let step = async {
                self.wait_to_retry().await;
                match (&self.registered, &self.stream) {
                    (None, _) => self.register(actuator).await,
                    (Some(_), None) => self.subscribe().await,
                    (Some(_), Some(_)) => self.receive().await,
                }
            };
            tokio::select! {
                step = step => {
                    if let Some(incoming) = step {
                        return incoming;
                    }
                }
                () = stopper.stopped() => {
                    self.stopped = true;
                    self.stream = None;
                    return Incoming::Stopped;
                }
            }
        }
        loop {
            renewal(self.registered.as_ref()).await;
            self.renew().await;
        }
    }

    async fn register(&mut self, actuator: &impl Actuator) -> Option<Incoming> {
        match self.execute.register(actuator.spec()).await {
            Ok(registration) => {
                tracing::info!(epoch = registration.lease.epoch, "registered");
                self.lease.send_replace(Some(registration.lease.clone()));
                let renew_at = Instant::now() + registration.ttl / 3;
                let Registration { lease, ttl, generations } = registration;
                self.registered = Some(Registered { lease, ttl, renew_at });
                self.attempt = 0;
                Some(Incoming::Registered(generations))
            }
            Err(error) if may_register_later(&error) => {
                self.later();
                None
            }
            Err(error) => Some(Incoming::Refused(error)),
        }
    }

    async fn subscribe(&mut self) -> Option<Incoming> {
        let Registered { lease, .. } = self.registered.as_ref()?;
        let lease = lease.clone();
        // The lease must not run out while Execute makes up its mind.
        let subscribed = tokio::select! {
            subscribed = self.execute.subscribe(&lease, self.cursor) => subscribed,
            () = renewal(self.registered.as_ref()) => {
                self.renew().await;
                return None;
            }
        };
        match subscribed {
            Ok(stream) => self.stream = Some(stream),
            Err(error) => self.lost(&error),
        }
        None
    }

    async fn receive(&mut self) -> Option<Incoming> {
        let stream = self.stream.as_mut()?;
        let received = tokio::select! {
            received = stream.next() => received,
            () = renewal(self.registered.as_ref()) => {
                self.renew().await;
                return None;
            }
        };
        match received {
            Ok(Some(delivery)) => {
                self.cursor = self.cursor.max(delivery.revision);
                self.attempt = 0;
                return Some(Incoming::Delivery(Box::new(delivery)));
            }
            Ok(None) => {
                self.stream = None;
                self.later();
            }
            Err(error @ Error::Answer { .. }) => tracing::error!("delivery left out: {}", chain(&error)),
            Err(error) => {
                self.stream = None;
                self.lost(&error);
            }
        }
        None
    }

    async fn renew(&mut self) {
        let Some(Registered { lease, ttl, renew_at }) = &mut self.registered else { return };
        let third = *ttl / 3;
        *renew_at = Instant::now() + third;
        match tokio::time::timeout(third, self.execute.keep_alive(lease)).await {
            Ok(Ok(renewed)) => *ttl = renewed,
            Ok(Err(error)) if error.code() == Some(Code::NotFound) => self.lost(&error),
            Ok(Err(error)) => tracing::warn!("the lease was not renewed: {}", chain(&error)),
            Err(_) => tracing::warn!("the lease was not renewed: no answer"),
        }
    }

    fn lost(&mut self, error: &Error) {
        tracing::info!("connecting anew: {}", chain(error));
        if error.code() == Some(Code::NotFound) {
            // The lease is gone: whoever reports waits for the new one.
            self.lease.send_replace(None);
            self.registered = None;
            self.stream = None;
        }
        self.later();
    }

    fn later(&mut self) {
        let wait = RETRY.delay(self.attempt, self.ctx.with_ids(|ids| ids.unit_f64()));
        self.attempt = self.attempt.saturating_add(1);
        self.again_at = Some(Instant::now() + wait);
    }

    async fn wait_to_retry(&mut self) {
        while let Some(again_at) = self.again_at {
            tokio::select! {
                () = tokio::time::sleep_until(again_at) => self.again_at = None,
                () = renewal(self.registered.as_ref()) => self.renew().await,
            }
        }
    }
}

/// When the lease is to be renewed; never while there is none.
async fn renewal(registered: Option<&Registered>) {
    match registered {
        Some(registered) => tokio::time::sleep_until(registered.renew_at).await,
        None => std::future::pending().await,
    }
}
