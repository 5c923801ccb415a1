//! Wire to model, a call to the core, model to wire. Decides nothing.

use std::collections::BTreeSet;
use std::pin::Pin;
use std::sync::Arc;

use chassis::Stopper;
use chassis::grpc::until_stopped;
use futures::{Stream, stream};
use prometheus::IntGauge;
use proto::model::{ResourceId, SampleBatch};
use proto::wire;
use tonic::{Request, Response, Status, Streaming};

use crate::engine::Dictionary;
use crate::service::core::{Core, Verdict};

/// Signals of a page, when the caller does not say.
const PAGE_SIZE: u32 = 1_000;
/// Most signals of a page: 10,000 of about 0.5 KiB are 5 MB; of the longest names, 30 MB do not fit, so that ends earlier.
const PAGE_SIZE_MAX: u32 = 10_000;
/// Bytes of a page, estimated: three quarters of what a message may have.
const PAGE_BYTES: usize = 12 * 1024 * 1024;
/// Bytes of a listed signal beside its names.
const SIGNAL_BYTES: usize = 256;

/// Answers calls from the core.
#[derive(Debug, Clone)]
pub struct AnalyzeRpc {
    core: Arc<Core>,
    stopper: Stopper,
}

impl AnalyzeRpc {
    /// Speaks for this core.
    #[must_use]
    pub fn new(core: Arc<Core>, stopper: Stopper) -> Self {
        Self { core, stopper }
    }
}

type Answers<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

#[tonic::async_trait]
impl wire::analyze_server::Analyze for AnalyzeRpc {
    type IngestStream = Answers<wire::IngestAck>;

    async fn ingest(
        &self,
        request: Request<Streaming<wire::SampleBatch>>,
    ) -> Result<Response<Self::IngestStream>, Status> {
        let open = OpenStream::count(&self.core.metrics.ingest_streams);
        let ingest = Some(Ingest {
            core: self.core.clone(),
            batches: request.into_inner(),
            dictionary: Dictionary::default(),
            _open: open,
        });
        let answers = stream::unfold(ingest, |ingest| async move {
            let mut ingest = ingest?;
            let batch = match ingest.batches.message().await {
                Ok(batch) => batch?,
                Err(status) => return Some((Err(status), None)),
            };
            let (answer, outdated) = ingest.judge(batch);
            Some((Ok(answer), (!outdated).then_some(ingest)))
        });
        Ok(Response::new(until_stopped(&self.stopper, answers)))
    }

    type WatchAssessmentsStream = Answers<wire::Assessment>;

    async fn watch_assessments(
        &self,
        request: Request<wire::WatchAssessmentsRequest>,
    ) -> Result<Response<Self::WatchAssessmentsStream>, Status> {
        let resources = request.into_inner().resources;
        let resources: BTreeSet<_> =
            resources.into_iter().map(ResourceId::try_from).collect::<Result<_, _>>()?;
        let reader = self.core.board.reader(resources);
        let assessments = stream::unfold(reader, |mut reader| async move {
            let assessment = reader.next().await;
            Some((Ok(wire::Assessment::from((*assessment).clone())), reader))
        });
        Ok(Response::new(until_stopped(&self.stopper, assessments)))
    }

    async fn list_signals(
        &self,
        request: Request<wire::ListSignalsRequest>,
    ) -> Result<Response<wire::ListSignalsResponse>, Status> {
        let wire::ListSignalsRequest { signal_prefix, page_size, after_signal } = request.into_inner();
        let page_size = match page_size {
            0 => PAGE_SIZE,
            1..=PAGE_SIZE_MAX => page_size,
            _ => {
                return Err(Status::invalid_argument(format!(
                    "page_size {page_size}: must be 1 to {PAGE_SIZE_MAX}"
                )));
            }
        } as usize;
        let mut listed = self.core.list(&signal_prefix, &after_signal, page_size + 1);
        let mut bytes = 0;
        let fits = |signal: &&proto::model::LearnedSignal| {
            bytes += SIGNAL_BYTES + 2 * signal.signal.name().len() + signal.signal.resource.name().len();
            bytes <= PAGE_BYTES
        };
        let count = listed.iter().take(page_size).take_while(fits).count();
        let more = listed.len() > count;
        listed.truncate(count);
        let signals = listed.into_iter().map(wire::LearnedSignal::from).collect();
        Ok(Response::new(wire::ListSignalsResponse { signals, more }))
    }

    async fn list_objective_states(
        &self,
        _: Request<wire::ListObjectiveStatesRequest>,
    ) -> Result<Response<wire::ListObjectiveStatesResponse>, Status> {
        let objectives = self.core.objectives().into_iter().map(Into::into).collect();
        Ok(Response::new(wire::ListObjectiveStatesResponse { objectives }))
    }
}

/// One stream of samples.
struct Ingest {
    core: Arc<Core>,
    batches: Streaming<wire::SampleBatch>,
    dictionary: Dictionary,
    _open: OpenStream,
}

impl Ingest {
    fn judge(&mut self, batch: wire::SampleBatch) -> (wire::IngestAck, bool) {
        let (sequence, rows) = (batch.sequence, u32::try_from(batch.handles.len()).unwrap_or(u32::MAX));
        match SampleBatch::try_from(batch) {
            Ok(batch) => {
                let Verdict { refused, reason, outdated } = self.core.ingest(&mut self.dictionary, batch);
                (wire::IngestAck { sequence, refused, reason: reason.to_owned() }, outdated)
            }
            // Closing the stream would only have the same batch sent again.
            Err(error) => {
                self.core.metrics.refused.with_label_values(&["broken_batch"]).inc_by(u64::from(rows));
                (wire::IngestAck { sequence, refused: rows, reason: error.to_string() }, false)
            }
        }
    }
}

/// Counts a stream for as long as it lives.
#[derive(Debug)]
struct OpenStream(IntGauge);

impl OpenStream {
    fn count(gauge: &IntGauge) -> Self {
        gauge.inc();
        Self(gauge.clone())
    }
}

impl Drop for OpenStream {
    fn drop(&mut self) {
        self.0.dec();
    }
}
