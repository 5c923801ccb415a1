//! Wire → model → call → model → wire. Decides nothing.

mod breakers;
mod deliveries;
mod status;

use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use chassis::Context;
use chassis::grpc::until_stopped;
use futures::{Stream, StreamExt};
use proto::client::{DirectiveStream, ProposeVerdict};
use proto::convert;
use proto::model::{
    ActuatorSpec, AutonomyLevel, DirectiveRecord, DirectiveState, Generation, Lease, Observation, PauseState,
    ResourcePattern,
};
use proto::wire::{self, execute_server};
use tonic::{Request, Response, Status};
use uuid::Uuid;

use crate::engine::{Answer, ReportError};
use crate::lifecycle::{Disposition, Report, Reported};
use crate::service::leases::Leases;
use crate::service::shared::Shared;
use crate::service::switch::Switch;
use crate::undo::{self, Reason};

/// Longer details are cut: the ledger takes 8 KiB of text, and nobody reads more than a paragraph.
const DETAIL_CHARS_MAX: usize = 1_000;

/// An actuator that observes more has mistaken a report for a metrics page.
const OBSERVATIONS_MAX: usize = 100;

type Replied<T> = Result<Response<T>, Status>;
type Streamed<T> = Pin<Box<dyn Stream<Item = Result<T, Status>> + Send>>;

/// The Execute service.
#[derive(Debug)]
pub struct ExecuteRpc {
    shared: Arc<Shared>,
    leases: Leases,
    switch: Arc<Switch>,
    ctx: Context,
    report_wait: Duration,
}

impl ExecuteRpc {
    pub(crate) fn new(
        shared: Arc<Shared>,
        leases: Leases,
        switch: Arc<Switch>,
        ctx: Context,
        report_wait: Duration,
    ) -> Self {
        Self { shared, leases, switch, ctx, report_wait }
    }

    /// Takes in one report; a directive that is no longer in memory is read from the ledger first.
    async fn take_in(
        &self,
        id: Uuid,
        generation: Generation,
        report: &Report,
    ) -> Result<(Answer, u64), Status> {
        let attempt =
            || self.shared.with_number(|engine, now| engine.report(id, generation, report.clone(), now));
        let (answer, number) = match attempt() {
            (Err(ReportError::NotHere), _) => {
                let record = self.shared.knowledge.get_directive(id).await.map_err(status::knowledge)?;
                self.shared.with(|engine, now| engine.ledger(record, now.wall));
                attempt()
            }
            taken => taken,
        };
        Ok((answer.map_err(status::report)?, number))
    }

    fn pause_response((state, stored_in_knowledge): (PauseState, bool)) -> Replied<wire::PauseResponse> {
        Ok(Response::new(wire::PauseResponse { state: Some(state.into()), stored_in_knowledge }))
    }
}

#[tonic::async_trait]
impl execute_server::Execute for ExecuteRpc {
    async fn register(&self, request: Request<wire::RegisterRequest>) -> Replied<wire::RegisterResponse> {
        let spec = request
            .into_inner()
            .actuator
            .ok_or_else(|| Status::invalid_argument("actuator: must be given"))?;
        let spec = ActuatorSpec::try_from(spec)?;
        let registration = self.leases.register(spec).await.map_err(status::knowledge)?;
        Ok(Response::new(wire::RegisterResponse {
            lease_id: registration.lease.id,
            epoch: registration.lease.epoch,
            lease_ttl_ms: millis(registration.ttl),
            generations: registration.generations.into_iter().map(Into::into).collect(),
        }))
    }

    async fn keep_alive(&self, request: Request<wire::KeepAliveRequest>) -> Replied<wire::KeepAliveResponse> {
        let wire::KeepAliveRequest { lease_id, epoch } = request.into_inner();
        let ttl = self.leases.keep_alive(&Lease { id: lease_id, epoch }).await.map_err(status::lease)?;
        Ok(Response::new(wire::KeepAliveResponse { lease_ttl_ms: millis(ttl) }))
    }

    async fn deregister(
        &self,
        request: Request<wire::DeregisterRequest>,
    ) -> Replied<wire::DeregisterResponse> {
        let wire::DeregisterRequest { lease_id, epoch } = request.into_inner();
        self.leases.deregister(&Lease { id: lease_id, epoch }).await.map_err(status::knowledge)?;
        Ok(Response::new(wire::DeregisterResponse {}))
    }

    type SubscribeStream = Streamed<wire::Delivery>;

    async fn subscribe(&self, request: Request<wire::SubscribeRequest>) -> Replied<Self::SubscribeStream> {
        let wire::SubscribeRequest { lease_id, epoch, from_revision } = request.into_inner();
        let key = self.leases.holder(&Lease { id: lease_id, epoch }).await.map_err(status::lease)?;
        let deliveries = deliveries::stream(self.shared.clone(), key, epoch, from_revision);
        Ok(Response::new(until_stopped(&self.ctx.stopper, deliveries)))
    }

    async fn report(&self, request: Request<wire::ReportRequest>) -> Replied<wire::ReportResponse> {
        let request = request.into_inner();
        let id = convert::uuid(&request.directive_id, "directive_id")?;
        let lease = Lease { id: request.lease_id.clone(), epoch: request.epoch };
        let reported = reported(request.result())?;
        let generation = Generation(request.generation);
        let by = self.leases.holder(&lease).await.map_err(status::lease)?;
        let report = Report {
            by,
            attempt: request.attempt,
            reported,
            detail: request.detail.chars().take(DETAIL_CHARS_MAX).collect(),
            before: observations(request.before, "before")?,
            after: observations(request.after, "after")?,
        };
        self.shared.metrics.reports.with_label_values(&[word(reported)]).inc();
        let (answer, number) =
            self.take_in(id, generation, &report).await.inspect_err(|_| self.deferred("not_taken"))?;
        // The answer is a promise: it is given only when the ledger holds what it promises.
        tokio::select! {
            () = self.shared.durable(number) => {}
            () = tokio::time::sleep(self.report_wait) => {
                self.deferred("not_durable");
                return Err(Status::unavailable("the report is not durable yet: report again"));
            }
            () = self.ctx.stopper.stopped() => {
                self.deferred("stopping");
                return Err(Status::unavailable("the server is stopping: report again"));
            }
        }
        let (counts, state) = self
            .shared
            .with(|engine, _| (engine.remembers(id, &report), engine.state(id).unwrap_or(answer.state)));
        let disposition = match answer.disposition {
            Disposition::Recorded if counts => wire::ReportDisposition::Recorded,
            Disposition::Duplicate => wire::ReportDisposition::Duplicate,
            Disposition::Recorded | Disposition::TooLate => wire::ReportDisposition::TooLate,
        };
        Ok(Response::new(wire::ReportResponse { disposition: disposition.into(), state: state.into() }))
    }

    type WatchStream = Streamed<wire::DirectiveRecord>;

    async fn watch(&self, request: Request<wire::WatchRequest>) -> Replied<Self::WatchStream> {
        let wire::WatchRequest { from_revision, resources } = request.into_inner();
        let patterns = resources.into_iter().map(ResourcePattern::try_from).collect::<Result<Vec<_>, _>>()?;
        let snapshot = from_revision == 0;
        let stream = self
            .shared
            .knowledge
            .watch_directives(from_revision, snapshot)
            .await
            .map_err(status::knowledge)?;
        Ok(Response::new(until_stopped(&self.ctx.stopper, matching(stream, patterns))))
    }

    async fn undo(&self, request: Request<wire::UndoRequest>) -> Replied<wire::DirectiveRecord> {
        let wire::UndoRequest { directive_id, actor, reason } = request.into_inner();
        let id = convert::uuid(&directive_id, "directive_id")?;
        let record = self.shared.knowledge.get_directive(id).await.map_err(status::knowledge)?;
        if !(record.state.in_effect() || record.state == DirectiveState::Unknown) {
            let text = format!("the directive is {}: there is nothing to take back", record.state);
            return Err(Status::failed_precondition(text));
        }
        let now = self.shared.clock.now();
        let text = format!("{} asked for it: {reason}", if actor.is_empty() { "someone" } else { &actor });
        // Whoever asks for it has approved it.
        let reason = Reason { id: self.ctx.uuid(), text: &text, effects: &[], autonomy: AutonomyLevel::Act };
        let proposal = undo::directive(&record.directive, &reason, now);
        let answer = self.shared.knowledge.propose(proposal).await.map_err(status::knowledge)?;
        match answer.verdict {
            ProposeVerdict::Accepted | ProposeVerdict::AlreadyStored => {}
            _ => {
                return Err(Status::failed_precondition(format!(
                    "the ledger does not take the undo: {}",
                    answer.detail
                )));
            }
        }
        let undo = self.shared.knowledge.get_directive(reason.id).await.map_err(status::knowledge)?;
        Ok(Response::new(undo.into()))
    }

    type ObserveStream = Streamed<wire::ObserveResponse>;

    async fn observe(
        &self,
        request: Request<tonic::Streaming<wire::ObserveRequest>>,
    ) -> Replied<Self::ObserveStream> {
        self.observed(request.into_inner()).await
    }

    async fn list_breakers(
        &self,
        request: Request<wire::ListBreakersRequest>,
    ) -> Replied<wire::ListBreakersResponse> {
        self.listed(request.into_inner())
    }

    async fn override_breaker(
        &self,
        request: Request<wire::OverrideBreakerRequest>,
    ) -> Replied<wire::DirectiveRecord> {
        self.overridden(request.into_inner()).await
    }

    async fn pause(&self, request: Request<wire::PauseRequest>) -> Replied<wire::PauseResponse> {
        let wire::PauseRequest { reason, actor } = request.into_inner();
        Self::pause_response(
            self.switch.set(true, reason, actor).await.map_err(|error| status::pause(&error))?,
        )
    }

    async fn resume(&self, request: Request<wire::ResumeRequest>) -> Replied<wire::PauseResponse> {
        let wire::ResumeRequest { reason, actor } = request.into_inner();
        Self::pause_response(
            self.switch.set(false, reason, actor).await.map_err(|error| status::pause(&error))?,
        )
    }

    async fn get_pause_status(
        &self,
        _request: Request<wire::GetPauseStatusRequest>,
    ) -> Replied<wire::PauseResponse> {
        Self::pause_response(self.switch.state())
    }
}

impl ExecuteRpc {
    fn deferred(&self, reason: &str) {
        self.shared.metrics.reports_deferred.with_label_values(&[reason]).inc();
    }
}

fn matching(
    stream: DirectiveStream,
    patterns: Vec<ResourcePattern>,
) -> impl Stream<Item = Result<wire::DirectiveRecord, Status>> + Send {
    let wanted = move |record: &DirectiveRecord| {
        patterns.is_empty() || patterns.iter().any(|pattern| pattern.matches(&record.directive.resource))
    };
    let records = futures::stream::try_unfold(stream, |mut stream| async move {
        let next = stream.next().await.map_err(status::knowledge)?;
        Ok(next.map(|record| (record, stream)))
    });
    records.filter_map(move |record| {
        let passed = match record {
            Ok(record) if !wanted(&record) => None,
            record => Some(record.map(Into::into)),
        };
        std::future::ready(passed)
    })
}

fn reported(result: wire::ReportResult) -> Result<Reported, Status> {
    Ok(match result {
        wire::ReportResult::Unspecified => {
            return Err(Status::invalid_argument("result: must be a known, specified value"));
        }
        wire::ReportResult::Accepted => Reported::Accepted,
        wire::ReportResult::Applied => Reported::Applied,
        wire::ReportResult::Refused => Reported::Refused,
        wire::ReportResult::Failed => Reported::Failed,
        wire::ReportResult::Unknown => Reported::Unknown,
        wire::ReportResult::Simulated => Reported::Simulated,
    })
}

fn word(reported: Reported) -> &'static str {
    match reported {
        Reported::Accepted => "accepted",
        Reported::Applied => "applied",
        Reported::Refused => "refused",
        Reported::Failed => "failed",
        Reported::Unknown => "unknown",
        Reported::Simulated => "simulated",
    }
}

fn observations(values: Vec<wire::Observation>, field: &str) -> Result<Vec<Observation>, Status> {
    if values.len() > OBSERVATIONS_MAX {
        let text = format!("{field}: {} observations, at most {OBSERVATIONS_MAX} are taken", values.len());
        return Err(Status::invalid_argument(text));
    }
    Ok(values.into_iter().map(Observation::try_from).collect::<Result<_, _>>()?)
}

fn millis(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}
