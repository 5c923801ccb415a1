//! The stream to Analyze: sends batches as far as the window of unacknowledged ones allows, takes acknowledgements, and
//! starts over with a new stream when the old one breaks or falls silent.

use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use proto::client::Analyze;
use proto::wire;
use tokio::sync::{Notify, mpsc};
use tokio::time::{Instant, sleep_until};
use tokio_stream::wrappers::ReceiverStream;

use crate::config::Config;
use crate::metrics::Metrics;
use crate::outbox::{Outbox, Sender, Tick};
use crate::roles::ResourceRows;
use crate::tally::Tally;

/// How long a batch may stay unacknowledged. Judging one takes milliseconds; a peer silent for this long is stuck.
const ACKNOWLEDGE_TIMEOUT: Duration = Duration::from_secs(30);

/// The outbox, and the word that there is something in it.
#[derive(Debug)]
pub(super) struct Uplink {
    outbox: Mutex<Outbox>,
    wake: Notify,
    window: usize,
    metrics: Metrics,
}

/// Why a stream ended before its time.
#[derive(Debug, thiserror::Error)]
pub(super) enum Error {
    /// It could not be opened.
    #[error("cannot open the stream of samples to Analyze")]
    Open(#[source] tonic::Status),
    /// It broke.
    #[error("the stream of samples to Analyze broke")]
    Broken(#[source] tonic::Status),
    /// Analyze closed it.
    #[error("Analyze closed the stream of samples")]
    Closed,
    /// Nothing was acknowledged for too long.
    #[error("Analyze acknowledged nothing for {}", chassis::config::duration::format(ACKNOWLEDGE_TIMEOUT))]
    Silent,
}

impl Uplink {
    pub(super) fn new(config: &Config, metrics: Metrics) -> Self {
        let sender = Sender { name: config.sender.clone() };
        let outbox = Mutex::new(Outbox::new(sender, config.limits.outbox()));
        Self { outbox, wake: Notify::new(), window: config.limits.unacknowledged_batches, metrics }
    }

    /// Puts the rows of one resource on their way.
    pub(super) fn push(&self, tick: Tick, declared: bool, rows: ResourceRows) {
        self.metrics.samples.inc_by(rows.rows.len() as u64);
        let mut dropped = Tally::default();
        let mut outbox = self.lock();
        outbox.push(tick, declared, rows, &mut dropped);
        self.metrics.unsent.set(i64::try_from(outbox.unsent_rows()).unwrap_or(i64::MAX));
        drop(outbox);
        self.metrics.count_dropped(&dropped);
        self.wake.notify_one();
    }

    /// One stream, from its opening to its end.
    pub(super) async fn session(&self, analyze: &Analyze) -> Result<(), Error> {
        // With room for a whole window, sending never waits: the window is the only brake.
        let (batches, receiver) = mpsc::channel(self.window);
        let mut dropped = Tally::default();
        self.lock().reset(&mut dropped);
        self.metrics.count_dropped(&dropped);
        let stream = analyze.raw().ingest(ReceiverStream::new(receiver)).await.map_err(Error::Open)?;
        let mut acknowledgements = stream.into_inner();
        tracing::info!("sending samples to Analyze");
        let mut deadline = Instant::now() + ACKNOWLEDGE_TIMEOUT;
        loop {
            if self.lock().wants_new_stream() {
                return Ok(());
            }
            while let Some(batch) = self.next_batch() {
                batches.try_send(batch).map_err(|_| Error::Closed)?;
            }
            if self.lock().unacknowledged() == 0 {
                deadline = Instant::now() + ACKNOWLEDGE_TIMEOUT;
            }
            tokio::select! {
                message = acknowledgements.message() => {
                    let acknowledgement = message.map_err(Error::Broken)?.ok_or(Error::Closed)?;
                    self.acknowledged(&acknowledgement);
                    deadline = Instant::now() + ACKNOWLEDGE_TIMEOUT;
                }
                () = self.wake.notified() => {}
                () = sleep_until(deadline) => return Err(Error::Silent),
            }
        }
    }

    fn next_batch(&self) -> Option<wire::SampleBatch> {
        let mut outbox = self.lock();
        let batch = outbox.next_batch().map(wire::SampleBatch::from);
        self.metrics.unsent.set(i64::try_from(outbox.unsent_rows()).unwrap_or(i64::MAX));
        self.metrics.unacknowledged.set(i64::try_from(outbox.unacknowledged()).unwrap_or(i64::MAX));
        batch
    }

    fn acknowledged(&self, acknowledgement: &wire::IngestAck) {
        let wire::IngestAck { sequence, refused, reason } = acknowledgement;
        if !self.lock().acknowledge(*sequence) {
            tracing::debug!(sequence, "Analyze acknowledged a batch that was not waited for");
        }
        if *refused > 0 {
            self.metrics.refused.inc_by(u64::from(*refused));
            tracing::debug!(sequence, refused, reason, "Analyze refused rows");
        }
    }

    fn lock(&self) -> MutexGuard<'_, Outbox> {
        self.outbox.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
