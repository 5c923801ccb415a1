//! The API: the board and the cadences as wire messages. Decides nothing.

use std::sync::Arc;
use std::time::Duration;

use chassis::SharedClock;
use jiff::Timestamp;
use proto::model::{Generation, ResourceId, ResourceKind};
use proto::wire;
use tokio::sync::Notify;
use tonic::{Request, Response, Status};

use crate::board::{Board, Health, TargetStatus};
use crate::cadence::{Ask, Cadences, Standing};

/// Answers calls from the board.
#[derive(Debug, Clone)]
pub struct MonitorRpc {
    board: Arc<Board>,
    cadences: Arc<Cadences>,
    asked: Arc<Notify>,
    clock: SharedClock,
}

impl MonitorRpc {
    /// Reads this board, and asks for these cadences; `asked` wakes the loop.
    #[must_use]
    pub fn new(board: Arc<Board>, cadences: Arc<Cadences>, asked: Arc<Notify>, clock: SharedClock) -> Self {
        Self { board, cadences, asked, clock }
    }
}

#[tonic::async_trait]
impl wire::monitor_server::Monitor for MonitorRpc {
    async fn list_targets(
        &self,
        _request: Request<wire::ListTargetsRequest>,
    ) -> Result<Response<wire::ListTargetsResponse>, Status> {
        let targets = self.board.list().into_iter().map(status).collect();
        Ok(Response::new(wire::ListTargetsResponse { targets }))
    }

    async fn set_cadence(
        &self,
        request: Request<wire::SetCadenceRequest>,
    ) -> Result<Response<wire::CadenceStatus>, Status> {
        let wire::SetCadenceRequest { service, interval_ms, until_unix_ms, generation } =
            request.into_inner();
        let (service, now) = (declared(service)?, self.clock.now());
        let until = Timestamp::from_millisecond(until_unix_ms)
            .map_err(|error| Status::invalid_argument(format!("until_unix_ms: {error}")))?;
        let interval = (interval_ms > 0).then(|| Duration::from_millis(interval_ms));
        let ask = Ask { interval, until, generation: Generation(generation) };
        self.cadences
            .ask(service.clone(), ask, now)
            .map_err(|refusal| Status::failed_precondition(refusal.to_string()))?;
        self.asked.notify_one();
        Ok(Response::new(standing(self.cadences.standing(&service, now))))
    }

    async fn get_cadence(
        &self,
        request: Request<wire::GetCadenceRequest>,
    ) -> Result<Response<wire::CadenceStatus>, Status> {
        let service = declared(request.into_inner().service)?;
        Ok(Response::new(standing(self.cadences.standing(&service, self.clock.now()))))
    }
}

fn declared(service: Option<wire::ResourceId>) -> Result<ResourceId, Status> {
    let service = service.ok_or_else(|| Status::invalid_argument("service must be given"))?;
    let service = ResourceId::try_from(service)?;
    if service.kind() != ResourceKind::Service {
        return Err(Status::invalid_argument("service must be a service"));
    }
    Ok(service)
}

fn standing(standing: Standing) -> wire::CadenceStatus {
    let Standing { configured, asked, generation, observed, looks, held_back } = standing;
    let millis = |duration: Duration| u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    wire::CadenceStatus {
        configured_interval_ms: millis(configured),
        interval_ms: millis(asked.map_or(configured, |(interval, _)| interval)),
        until_unix_ms: asked.map_or(0, |(_, until)| until.as_millisecond()),
        observed_interval_ms: observed.map_or(0, millis),
        looks,
        generation: generation.0,
        held_back,
    }
}

fn status(status: TargetStatus) -> wire::TargetStatus {
    let TargetStatus { target, health, last_error, last_success, last_duration, series, drops } = status;
    wire::TargetStatus {
        job: target.id.job,
        instance: target.id.instance,
        url: target.url,
        health: wire::TargetHealth::from(health).into(),
        last_error,
        last_success_unix_ms: last_success.map_or(0, |at| at.as_millisecond()),
        last_duration_ms: u64::try_from(last_duration.as_millis()).unwrap_or(u64::MAX),
        series: series as u64,
        drops: drops
            .iter()
            .map(|(reason, count)| wire::TargetDrop { reason: reason.to_owned(), count })
            .collect(),
        labels: target.labels.into_iter().collect(),
    }
}

impl From<Health> for wire::TargetHealth {
    fn from(health: Health) -> Self {
        match health {
            Health::Pending => Self::Pending,
            Health::Up => Self::Up,
            Health::Down => Self::Down,
        }
    }
}
