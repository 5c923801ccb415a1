//! `Monitor.ListTargets`: the board as wire messages. Decides nothing.

use std::sync::Arc;

use proto::wire;
use tonic::{Request, Response, Status};

use crate::board::{Board, Health, TargetStatus};

/// Answers calls from the board.
#[derive(Debug, Clone)]
pub struct MonitorRpc {
    board: Arc<Board>,
}

impl MonitorRpc {
    /// Reads this board.
    #[must_use]
    pub fn new(board: Arc<Board>) -> Self {
        Self { board }
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
