//! Plan's own API: reports to the wire. Decides nothing.

use crate::{
    operating::{Operating, Tuning},
    report::{Considered, PlanReport},
    service::Reports,
};
use proto::wire::{self, plan_server::Plan};
use tonic::{Request, Response, Status};

/// Answers from the newest reports.
#[derive(Debug)]
pub(crate) struct Server {
    pub(crate) reports: Reports,
}

#[tonic::async_trait]
impl Plan for Server {
    async fn list_reports(
        &self,
        _: Request<wire::ListReportsRequest>,
    ) -> Result<Response<wire::ListReportsResponse>, Status> {
        let reports = self.reports.all().into_iter().map(to_wire).collect();
        Ok(Response::new(wire::ListReportsResponse { reports }))
    }
}

fn to_wire(report: PlanReport) -> wire::PlanReport {
    let PlanReport {
        resource,
        at,
        policy,
        autonomy,
        text,
        considered,
        directive_id,
        reductions_forbidden,
        asked,
        operating,
    } = report;
    wire::PlanReport {
        resource: Some(resource.into()),
        at_unix_ms: at.as_millisecond(),
        policy,
        autonomy: autonomy.into(),
        text,
        considered: considered.into_iter().map(considered_to_wire).collect(),
        directive_id: directive_id.map(|id| id.to_string()).unwrap_or_default(),
        reductions_forbidden: reductions_forbidden.is_some(),
        reductions_reason: reductions_forbidden.unwrap_or_default(),
        operating: operating.map(|operating| operating_to_wire(&operating)),
        asked: asked.into_iter().map(Into::into).collect(),
    }
}

fn operating_to_wire(operating: &Operating) -> wire::OperatingState {
    let millis = |span: std::time::Duration| u64::try_from(span.as_millis()).unwrap_or(u64::MAX);
    let Tuning { cadence, look_ahead, sensitivity } = operating.tuning();
    wire::OperatingState {
        state: operating.state().to_string(),
        since_unix_ms: operating.since().map_or(0, jiff::Timestamp::as_millisecond),
        reason: operating.reason(),
        cadence_ms: millis(cadence),
        look_ahead_ms: millis(look_ahead),
        sensitivity_factor: sensitivity,
    }
}

fn considered_to_wire(considered: Considered) -> wire::Considered {
    let Considered { action, choice, reason, guardrails, cost } = considered;
    wire::Considered {
        action,
        verdict: choice.to_string(),
        reason,
        guardrails: guardrails.into_iter().map(Into::into).collect(),
        cost: cost.map(Into::into),
    }
}
