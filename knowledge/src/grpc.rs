//! The API: wire to model, call, model to wire. Decides nothing; checks limits.

mod declared;
mod directives;
mod leases;
mod outcomes;
mod thresholds;

use std::pin::Pin;

use chassis::Context;
use chassis::grpc::until_stopped;
use futures::{Stream, stream};
use proto::{
    convert,
    model::ResourceId,
    wire::{self, knowledge_server::Knowledge},
};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::error::Error;
use crate::lane::Lane;
use crate::store;
use crate::watch::Feed;
use crate::writer::{Bulk, Ledger};

/// Documents in one Apply: a large plant's services, policies and objectives.
const DOCUMENTS_MOST: usize = 1_000;
/// Rows in one request: of about 1 KB they fit the largest message of 16 MiB.
const ROWS_MOST: usize = 10_000;
/// Snapshots in one request: each is megabytes.
const SNAPSHOTS_MOST: usize = 64;
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
        self.apply_documents(request.into_inner()).await.map(Response::new)
    }

    async fn list_declared(
        &self,
        request: Request<wire::ListDeclaredRequest>,
    ) -> Answer<wire::ListDeclaredResponse> {
        self.list_documents(request.into_inner()).await.map(Response::new)
    }

    async fn delete_declared(
        &self,
        request: Request<wire::DeleteDeclaredRequest>,
    ) -> Answer<wire::DeleteDeclaredResponse> {
        self.delete_document(request.into_inner()).await.map(Response::new)
    }

    async fn record_thresholds(
        &self,
        request: Request<wire::RecordThresholdsRequest>,
    ) -> Answer<wire::RecordThresholdsResponse> {
        self.record_learned(request.into_inner()).await.map(Response::new)
    }

    async fn list_thresholds(
        &self,
        request: Request<wire::ListThresholdsRequest>,
    ) -> Answer<wire::ListThresholdsResponse> {
        self.list_learned(request.into_inner()).await.map(Response::new)
    }

    async fn threshold_history(
        &self,
        request: Request<wire::ThresholdHistoryRequest>,
    ) -> Answer<wire::ThresholdHistoryResponse> {
        self.history_of_learned(request.into_inner()).await.map(Response::new)
    }

    async fn review_threshold(
        &self,
        request: Request<wire::ReviewThresholdRequest>,
    ) -> Answer<wire::ReviewThresholdResponse> {
        self.review_learned(request.into_inner()).await.map(Response::new)
    }

    async fn save_snapshots(
        &self,
        request: Request<wire::SaveSnapshotsRequest>,
    ) -> Answer<wire::SaveSnapshotsResponse> {
        let snapshots = request.into_inner().snapshots;
        at_most("snapshots", snapshots.len(), SNAPSHOTS_MOST)?;
        if snapshots.iter().any(|snapshot| snapshot.key.is_empty()) {
            return Err(convert::Error::new("snapshots.key", "", "must be given").into());
        }
        store::snapshot::save(&self.feed.store.pool, snapshots).await?;
        Ok(Response::new(wire::SaveSnapshotsResponse {}))
    }

    type LoadSnapshotsStream = Streamed<wire::Snapshot>;

    async fn load_snapshots(
        &self,
        request: Request<wire::LoadSnapshotsRequest>,
    ) -> Answer<Self::LoadSnapshotsStream> {
        let prefix = request.into_inner().key_prefix;
        let pool = self.feed.store.pool.clone();
        let snapshots =
            stream::try_unfold((pool, prefix, None::<String>), |(pool, prefix, after)| async move {
                let next = store::snapshot::next(&pool, &prefix, after.as_deref()).await?;
                Ok::<_, Status>(next.map(|snapshot| (snapshot.clone(), (pool, prefix, Some(snapshot.key)))))
            });
        Ok(Response::new(until_stopped(&self.ctx.stopper, snapshots)))
    }

    async fn propose(&self, request: Request<wire::ProposeRequest>) -> Answer<wire::ProposeResponse> {
        self.propose_directive(request.into_inner()).await.map(Response::new)
    }

    async fn record_transitions(
        &self,
        request: Request<wire::RecordTransitionsRequest>,
    ) -> Answer<wire::RecordTransitionsResponse> {
        self.move_directives(request.into_inner()).await.map(Response::new)
    }

    async fn list_directives(
        &self,
        request: Request<wire::ListDirectivesRequest>,
    ) -> Answer<wire::ListDirectivesResponse> {
        self.list_of_directives(request.into_inner()).await.map(Response::new)
    }

    async fn get_directive(
        &self,
        request: Request<wire::GetDirectiveRequest>,
    ) -> Answer<wire::DirectiveRecord> {
        let id = id(&request.into_inner().id, "id")?;
        self.directive(id).await.map(Response::new)
    }

    async fn review_directive(
        &self,
        request: Request<wire::ReviewDirectiveRequest>,
    ) -> Answer<wire::DirectiveRecord> {
        self.judge_directive(request.into_inner()).await.map(Response::new)
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
        self.grant(request.into_inner()).await.map(Response::new)
    }

    async fn renew_lease(
        &self,
        request: Request<wire::RenewLeaseRequest>,
    ) -> Answer<wire::RenewLeaseResponse> {
        self.renew(request.into_inner()).await.map(Response::new)
    }

    async fn release_lease(
        &self,
        request: Request<wire::ReleaseLeaseRequest>,
    ) -> Answer<wire::ReleaseLeaseResponse> {
        self.release(request.into_inner()).await.map(Response::new)
    }

    async fn list_actuators(
        &self,
        request: Request<wire::ListActuatorsRequest>,
    ) -> Answer<wire::ListActuatorsResponse> {
        let mut connection = self.connection().await?;
        let actuators = store::actuator::list(&mut connection, request.into_inner().live_only).await?;
        Ok(Response::new(wire::ListActuatorsResponse { actuators }))
    }

    async fn record_outcomes(
        &self,
        request: Request<wire::RecordOutcomesRequest>,
    ) -> Answer<wire::RecordOutcomesResponse> {
        self.store_outcomes(request.into_inner()).await.map(Response::new)
    }

    async fn list_outcomes(
        &self,
        request: Request<wire::ListOutcomesRequest>,
    ) -> Answer<wire::ListOutcomesResponse> {
        self.list_of_outcomes(request.into_inner()).await.map(Response::new)
    }

    async fn record_feedback(
        &self,
        request: Request<wire::RecordFeedbackRequest>,
    ) -> Answer<wire::RecordFeedbackResponse> {
        self.store_feedback(request.into_inner()).await.map(Response::new)
    }

    async fn list_feedback(
        &self,
        request: Request<wire::ListFeedbackRequest>,
    ) -> Answer<wire::ListFeedbackResponse> {
        self.list_of_feedback(request.into_inner()).await.map(Response::new)
    }

    async fn set_pause(&self, request: Request<wire::SetPauseRequest>) -> Answer<wire::PauseState> {
        self.merge_pause(request.into_inner()).await.map(Response::new)
    }

    async fn get_pause(&self, _: Request<wire::GetPauseRequest>) -> Answer<wire::PauseState> {
        let mut connection = self.connection().await?;
        let state = store::pause::get(&mut connection).await?;
        let state = state.unwrap_or_else(|| proto::model::PauseState::never(self.ctx.clock.now()));
        Ok(Response::new(state.into()))
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
        self.list_of_resources().await.map(Response::new)
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
