//! The API: wire to model, call, model to wire. Decides nothing; checks limits.

mod declared;
mod directives;
mod leases;
mod objectives;
mod outcomes;
mod seasonality;
mod snapshots;
mod standing;
mod status;
mod thresholds;

use std::pin::Pin;
use std::time::Duration;

use chassis::Context;
use chassis::grpc::until_stopped;
use futures::Stream;
use proto::{
    convert,
    model::ResourceId,
    wire::{self, knowledge_server::Knowledge},
};
use tonic::{Request, Response, Status};
use uuid::Uuid;

pub(crate) use objectives::ObjectivesRpc;
pub(crate) use seasonality::SeasonalitiesRpc;
pub(crate) use standing::StandingsRpc;

use crate::hub::watch::Feed;
use crate::store;
use crate::store::Error;
use crate::writer::lane::Lane;
use crate::writer::{Bulk, Ledger};

/// Documents in one Apply: a large plant's services, policies and objectives.
const DOCUMENTS_MOST: usize = 1_000;
/// Rows in one request: of about 1 KB they fit the largest message of 16 MiB.
const ROWS_MOST: usize = 10_000;
/// Rows listed when the caller does not say.
const LISTED_USUALLY: u32 = 100;

/// The service behind the wire.
#[derive(Debug)]
pub(crate) struct Service {
    pub(crate) feed: Feed,
    pub(crate) ledger: Lane<Ledger>,
    pub(crate) bulk: Lane<Bulk>,
    pub(crate) ctx: Context,
}

type Answer<T> = Result<Response<T>, Status>;
type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// No call waits longer for the database: a lane gives up after 10 s, and a list of 10,000 rows takes less than one.
const ANSWER_DEADLINE: Duration = Duration::from_secs(15);

/// The answer to a call, in bounded time.
async fn reply<T>(work: impl Future<Output = Result<T, Status>>) -> Answer<T> {
    match tokio::time::timeout(ANSWER_DEADLINE, work).await {
        Ok(answer) => answer.map(Response::new),
        Err(_) => Err(Error::Slow.into()),
    }
}

/// Refuses a request with too many parts.
fn at_most(field: &str, count: usize, most: usize) -> Result<(), Status> {
    if count <= most {
        return Ok(());
    }
    Err(convert::Error::new(field, count, &format!("must have at most {most} elements")).into())
}

/// The number of rows to list: 0 means the usual number.
fn limit(field: &str, asked: u32, usual: u32, most: u32) -> Result<i64, Status> {
    match asked {
        0 => Ok(i64::from(usual)),
        asked if asked <= most => Ok(i64::from(asked)),
        asked => {
            Err(convert::Error::new(field, asked, &format!("must be 1 to {most}, or 0 for {usual}")).into())
        }
    }
}

/// A part that must be given.
fn given<W, M>(value: Option<W>, field: &str) -> Result<M, Status>
where
    M: TryFrom<W, Error = convert::Error>,
{
    let value = value.ok_or_else(|| convert::Error::new(field, "", "must be given"))?;
    Ok(M::try_from(value)?)
}

/// Every element as a value; the first bad one is named by the conversion.
fn all<W, M>(values: Vec<W>) -> Result<Vec<M>, Status>
where
    M: TryFrom<W, Error = convert::Error>,
{
    values.into_iter().map(|value| M::try_from(value).map_err(Status::from)).collect()
}

fn id(text: &str, field: &str) -> Result<Uuid, Status> {
    Ok(convert::uuid(text, field)?)
}

/// Empty means all.
fn optional_id(text: &str, field: &str) -> Result<Option<Uuid>, Status> {
    if text.is_empty() { Ok(None) } else { id(text, field).map(Some) }
}

#[tonic::async_trait]
impl Knowledge for Service {
    async fn apply(&self, request: Request<wire::ApplyRequest>) -> Answer<wire::ApplyResponse> {
        reply(self.apply_documents(request.into_inner())).await
    }

    async fn list_declared(
        &self,
        request: Request<wire::ListDeclaredRequest>,
    ) -> Answer<wire::ListDeclaredResponse> {
        reply(self.list_documents(request.into_inner())).await
    }

    async fn delete_declared(
        &self,
        request: Request<wire::DeleteDeclaredRequest>,
    ) -> Answer<wire::DeleteDeclaredResponse> {
        reply(self.delete_document(request.into_inner())).await
    }

    async fn record_thresholds(
        &self,
        request: Request<wire::RecordThresholdsRequest>,
    ) -> Answer<wire::RecordThresholdsResponse> {
        reply(self.record_learned(request.into_inner())).await
    }

    async fn list_thresholds(
        &self,
        request: Request<wire::ListThresholdsRequest>,
    ) -> Answer<wire::ListThresholdsResponse> {
        reply(self.list_learned(request.into_inner())).await
    }

    async fn threshold_history(
        &self,
        request: Request<wire::ThresholdHistoryRequest>,
    ) -> Answer<wire::ThresholdHistoryResponse> {
        reply(self.history_of_learned(request.into_inner())).await
    }

    async fn review_threshold(
        &self,
        request: Request<wire::ReviewThresholdRequest>,
    ) -> Answer<wire::ReviewThresholdResponse> {
        reply(self.review_learned(request.into_inner())).await
    }

    async fn save_snapshots(
        &self,
        request: Request<wire::SaveSnapshotsRequest>,
    ) -> Answer<wire::SaveSnapshotsResponse> {
        reply(self.store_snapshots(request.into_inner())).await
    }

    type LoadSnapshotsStream = Streamed<wire::Snapshot>;

    async fn load_snapshots(
        &self,
        request: Request<wire::LoadSnapshotsRequest>,
    ) -> Answer<Self::LoadSnapshotsStream> {
        let snapshots = self.stored_snapshots(request.into_inner().key_prefix);
        Ok(Response::new(until_stopped(&self.ctx.stopper, snapshots)))
    }

    async fn propose(&self, request: Request<wire::ProposeRequest>) -> Answer<wire::ProposeResponse> {
        reply(self.propose_directive(request.into_inner())).await
    }

    async fn record_transitions(
        &self,
        request: Request<wire::RecordTransitionsRequest>,
    ) -> Answer<wire::RecordTransitionsResponse> {
        reply(self.move_directives(request.into_inner())).await
    }

    async fn list_directives(
        &self,
        request: Request<wire::ListDirectivesRequest>,
    ) -> Answer<wire::ListDirectivesResponse> {
        reply(self.list_of_directives(request.into_inner())).await
    }

    async fn get_directive(
        &self,
        request: Request<wire::GetDirectiveRequest>,
    ) -> Answer<wire::DirectiveRecord> {
        let id = id(&request.into_inner().id, "id")?;
        reply(self.directive(id)).await
    }

    async fn review_directive(
        &self,
        request: Request<wire::ReviewDirectiveRequest>,
    ) -> Answer<wire::DirectiveRecord> {
        reply(self.judge_directive(request.into_inner())).await
    }

    type WatchDirectivesStream = Streamed<wire::DirectiveRecord>;

    async fn watch_directives(
        &self,
        request: Request<wire::WatchDirectivesRequest>,
    ) -> Answer<Self::WatchDirectivesStream> {
        let wire::WatchDirectivesRequest { from_revision, snapshot } = request.into_inner();
        let (backlog, revision) =
            if snapshot { self.feed.snapshot().await? } else { (Vec::new(), from_revision) };
        let records = self.feed.directives(backlog, revision);
        Ok(Response::new(until_stopped(&self.ctx.stopper, records)))
    }

    async fn grant_lease(
        &self,
        request: Request<wire::GrantLeaseRequest>,
    ) -> Answer<wire::GrantLeaseResponse> {
        reply(self.grant(request.into_inner())).await
    }

    async fn renew_lease(
        &self,
        request: Request<wire::RenewLeaseRequest>,
    ) -> Answer<wire::RenewLeaseResponse> {
        reply(self.renew(request.into_inner())).await
    }

    async fn release_lease(
        &self,
        request: Request<wire::ReleaseLeaseRequest>,
    ) -> Answer<wire::ReleaseLeaseResponse> {
        reply(self.release(request.into_inner())).await
    }

    async fn list_actuators(
        &self,
        request: Request<wire::ListActuatorsRequest>,
    ) -> Answer<wire::ListActuatorsResponse> {
        reply(self.list_of_actuators(request.into_inner())).await
    }

    async fn record_outcomes(
        &self,
        request: Request<wire::RecordOutcomesRequest>,
    ) -> Answer<wire::RecordOutcomesResponse> {
        reply(self.store_outcomes(request.into_inner())).await
    }

    async fn list_outcomes(
        &self,
        request: Request<wire::ListOutcomesRequest>,
    ) -> Answer<wire::ListOutcomesResponse> {
        reply(self.list_of_outcomes(request.into_inner())).await
    }

    async fn record_feedback(
        &self,
        request: Request<wire::RecordFeedbackRequest>,
    ) -> Answer<wire::RecordFeedbackResponse> {
        reply(self.store_feedback(request.into_inner())).await
    }

    async fn list_feedback(
        &self,
        request: Request<wire::ListFeedbackRequest>,
    ) -> Answer<wire::ListFeedbackResponse> {
        reply(self.list_of_feedback(request.into_inner())).await
    }

    async fn set_pause(&self, request: Request<wire::SetPauseRequest>) -> Answer<wire::PauseState> {
        reply(self.merge_pause(request.into_inner())).await
    }

    async fn get_pause(&self, _: Request<wire::GetPauseRequest>) -> Answer<wire::PauseState> {
        reply(self.pause()).await
    }

    type WatchChangesStream = Streamed<wire::Change>;

    async fn watch_changes(
        &self,
        request: Request<wire::WatchChangesRequest>,
    ) -> Answer<Self::WatchChangesStream> {
        let changes = self.feed.changes(request.into_inner().from_revision);
        Ok(Response::new(until_stopped(&self.ctx.stopper, changes)))
    }

    async fn list_resources(
        &self,
        _: Request<wire::ListResourcesRequest>,
    ) -> Answer<wire::ListResourcesResponse> {
        reply(self.list_of_resources()).await
    }
}

impl Service {
    async fn connection(&self) -> Result<sqlx::pool::PoolConnection<sqlx::Postgres>, Error> {
        self.feed.store.pool.acquire().await.map_err(Error::sql("reach the database"))
    }
}

fn resource(text: &str) -> Result<ResourceId, Error> {
    store::word("a resource", text)
}
