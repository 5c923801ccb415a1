//! A lane as a stream: each poll asks the engine anew, so that what goes out was checked at that very moment and nothing
//! waits in a buffer while acting is paused.

use std::sync::Arc;

use futures::{Stream, stream};
use proto::wire;
use tokio::sync::Notify;
use tonic::Status;

use crate::engine::{Closed, Next};
use crate::registry::ActuatorKey;
use crate::service::shared::Shared;

struct Subscription {
    shared: Arc<Shared>,
    key: ActuatorKey,
    number: u64,
    bell: Arc<Notify>,
}

impl Drop for Subscription {
    fn drop(&mut self) {
        self.shared.unsubscribe(&self.key, self.number, &self.bell);
    }
}

/// The deliveries of one actuator, until its lease is gone or it subscribes again.
pub(super) fn stream(
    shared: Arc<Shared>,
    key: ActuatorKey,
    epoch: u64,
    cursor: u64,
) -> impl Stream<Item = Result<wire::Delivery, Status>> + Send {
    let (number, bell) = shared.subscribe(&key, epoch, cursor);
    tracing::info!(actuator = %key, epoch, cursor, "subscribed");
    let subscription = Subscription { shared, key, number, bell };
    stream::try_unfold(subscription, |subscription| async move {
        loop {
            // The bell keeps one ring, so that none is lost between asking and waiting.
            match subscription.shared.next_delivery(&subscription.key, subscription.number) {
                Next::Delivery(delivery) => return Ok(Some(((*delivery).into(), subscription))),
                Next::Wait => subscription.bell.notified().await,
                Next::Closed(Closed::Replaced) => {
                    return Err(Status::aborted("the same actuator subscribed again"));
                }
                Next::Closed(Closed::LeaseGone) => {
                    return Err(Status::not_found("the lease is gone: register again"));
                }
            }
        }
    })
}
