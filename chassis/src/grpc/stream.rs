//! Response streams that end when the server stops, so that a watcher does not hold up the drain.

use std::pin::Pin;

use futures::{Stream, StreamExt, stream};
use tonic::Status;

use crate::stopper::Stopper;

/// The stream, until `stopper` stops; then `UNAVAILABLE`, which tells the client to connect again elsewhere or later.
pub fn until_stopped<T, S>(
    stopper: &Stopper,
    items: S,
) -> Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>
where
    T: Send + 'static,
    S: Stream<Item = Result<T, Status>> + Send + 'static,
{
    let (waiting, asking) = (stopper.clone(), stopper.clone());
    let stopped = async move { waiting.stopped().await };
    // The last item is made only if the stream was cut, not if it ended by itself.
    let last = stream::once(async move {
        asking.is_stopped().then(|| Err(Status::unavailable("the server is stopping")))
    });
    Box::pin(items.take_until(Box::pin(stopped)).chain(last.filter_map(std::future::ready)))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn endless_stream_ends_with_unavailable_at_a_stop() {
        let stopper = Stopper::new();
        let endless = stream::iter([Ok(1)]).chain(stream::pending());
        let mut stream = until_stopped(&stopper, endless);
        assert_eq!(stream.next().await.unwrap().unwrap(), 1);
        stopper.stop();
        let status: Status = stream.next().await.unwrap().unwrap_err();
        assert_eq!(status.code(), tonic::Code::Unavailable);
        assert!(stream.next().await.is_none());
    }

    #[tokio::test]
    async fn finite_stream_ends_as_itself() {
        let stream = until_stopped(&Stopper::new(), stream::iter([Ok(1), Ok(2)]));
        let items: Vec<i32> = stream.map(|item: Result<i32, Status>| item.unwrap()).collect().await;
        assert_eq!(items, [1, 2]);
    }
}
