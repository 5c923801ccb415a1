//! Objectives over the wire: documents are checked as OpenSLO, spans as counts.

use chassis::SharedClock;
use proto::convert;
use proto::model::openslo;
use proto::wire::{self, objectives_server::Objectives};
use sqlx::PgPool;
use tonic::{Request, Status};

use super::{Answer, DOCUMENTS_MOST, LISTED_USUALLY, ROWS_MOST, at_most, id, limit, reply};
use crate::store::objective;

/// Events in one request: an objective has a handful a day.
const EVENTS_MOST: usize = 1_000;
/// Spans listed at once: more than two years of hours.
const SPANS_MOST: u32 = 20_000;
/// Longest name of an objective: a namespace, an SLO and which of its targets.
const NAME_MOST: usize = 400;

/// The service behind the wire. It writes no ledger: nothing acts on these rows but by reading them.
#[derive(Debug)]
pub(crate) struct ObjectivesRpc {
    pub(crate) pool: PgPool,
    pub(crate) clock: SharedClock,
}

fn invalid(field: &str, value: impl std::fmt::Display, rule: &str) -> Status {
    convert::Error::new(field, value, rule).into()
}

fn named(objective: &str) -> Result<(), Status> {
    if objective.is_empty() || objective.len() > NAME_MOST {
        return Err(invalid("objective", objective, "must have 1 to 400 characters"));
    }
    Ok(())
}

/// The document as it is stored: read by the specification and written in one form.
fn checked(document: &wire::ObjectiveDocument) -> Result<Vec<wire::ObjectiveDocument>, Status> {
    let read = openslo::read(&document.body)
        .map_err(|error| invalid("body", &document.name, &chassis::chain(&error)))?;
    let one = |document: &openslo::Document| {
        let body = openslo::write_one(document)
            .map_err(|error| Status::internal(format!("cannot write a document: {error}")))?;
        let (kind, name) = (document.kind().to_string(), document.metadata.name.clone());
        Ok(wire::ObjectiveDocument { kind, name, body, version: 0, applied_at_unix_ms: 0, deleted: false })
    };
    read.iter().map(one).collect()
}

/// The documents among these that refer to that one.
fn referring(bodies: &[String], kind: openslo::Kind, name: &str) -> Vec<String> {
    let documents = bodies.iter().filter_map(|body| openslo::read(body).ok()).flatten();
    documents
        .filter(|document| document.references().contains(&(kind, name)))
        .map(|document| format!("{} {}", document.kind(), document.metadata.name))
        .collect()
}

fn span(span: &wire::BudgetSpan) -> Result<(), Status> {
    named(&span.objective)?;
    let counts = span.total.is_finite() && span.total >= 0.0 && span.bad >= 0.0 && span.bad <= span.total;
    if !counts {
        return Err(invalid("total", span.total, "must be a count, and bad not above it"));
    }
    if span.width_ms == 0 || span.known_ms > span.width_ms {
        return Err(invalid("width_ms", span.width_ms, "must be above 0, and known_ms not above it"));
    }
    Ok(())
}

impl ObjectivesRpc {
    async fn import(
        &self,
        request: wire::ImportObjectivesRequest,
    ) -> Result<wire::ImportObjectivesResponse, Status> {
        at_most("documents", request.documents.len(), DOCUMENTS_MOST)?;
        let mut documents = Vec::new();
        for document in &request.documents {
            documents.extend(checked(document)?);
        }
        at_most("documents", documents.len(), DOCUMENTS_MOST)?;
        let documents = objective::import(&self.pool, documents, self.clock.now().as_millisecond()).await?;
        Ok(wire::ImportObjectivesResponse { documents })
    }

    async fn delete(
        &self,
        request: wire::DeleteObjectiveRequest,
    ) -> Result<wire::DeleteObjectiveResponse, Status> {
        let wire::DeleteObjectiveRequest { kind, name } = request;
        let known: openslo::Kind =
            kind.parse().map_err(|_| invalid("kind", &kind, "must be a kind of OpenSLO document"))?;
        let needed_by = |bodies: &[String]| referring(bodies, known, &name);
        let now_ms = self.clock.now().as_millisecond();
        match objective::delete(&self.pool, known.as_str(), &name, now_ms, needed_by).await? {
            Ok(document) => Ok(wire::DeleteObjectiveResponse { document: Some(document) }),
            Err(objective::Kept::Absent) => Err(Status::not_found(format!("there is no {known} {name}"))),
            Err(objective::Kept::Needed(names)) => {
                Err(Status::failed_precondition(format!("{known} {name} is needed by {}", names.join(", "))))
            }
        }
    }

    async fn record(&self, request: wire::RecordBudgetRequest) -> Result<wire::RecordBudgetResponse, Status> {
        at_most("spans", request.spans.len(), ROWS_MOST)?;
        request.spans.iter().try_for_each(span)?;
        objective::record(&self.pool, &request.spans, self.clock.now().as_millisecond()).await?;
        Ok(wire::RecordBudgetResponse {})
    }

    async fn spans(
        &self,
        request: wire::BudgetHistoryRequest,
    ) -> Result<wire::BudgetHistoryResponse, Status> {
        named(&request.objective)?;
        let limit = limit("limit", request.limit, SPANS_MOST, SPANS_MOST)?;
        let spans = objective::history(&self.pool, &request, limit).await?;
        Ok(wire::BudgetHistoryResponse { spans })
    }

    async fn record_all(
        &self,
        request: wire::RecordObjectiveEventsRequest,
    ) -> Result<wire::RecordObjectiveEventsResponse, Status> {
        at_most("events", request.events.len(), EVENTS_MOST)?;
        let mut events = Vec::with_capacity(request.events.len());
        for event in request.events {
            named(&event.objective)?;
            events.push((id(&event.id, "id")?, event));
        }
        objective::record_events(&self.pool, &events).await?;
        Ok(wire::RecordObjectiveEventsResponse {})
    }
}

#[tonic::async_trait]
impl Objectives for ObjectivesRpc {
    async fn import_objectives(
        &self,
        request: Request<wire::ImportObjectivesRequest>,
    ) -> Answer<wire::ImportObjectivesResponse> {
        reply(self.import(request.into_inner())).await
    }

    async fn list_objectives(
        &self,
        request: Request<wire::ListObjectivesRequest>,
    ) -> Answer<wire::ListObjectivesResponse> {
        let wire::ListObjectivesRequest { kind, name, versions, known_revision } = request.into_inner();
        reply(async {
            // Read before the documents: an import in between makes the reader ask once more, and lose nothing.
            let revision = objective::revision(&self.pool).await?;
            if revision == known_revision && revision > 0 {
                return Ok(wire::ListObjectivesResponse { documents: Vec::new(), revision });
            }
            let documents = objective::list(&self.pool, &kind, &name, versions).await?;
            Ok(wire::ListObjectivesResponse { documents, revision })
        })
        .await
    }

    async fn delete_objective(
        &self,
        request: Request<wire::DeleteObjectiveRequest>,
    ) -> Answer<wire::DeleteObjectiveResponse> {
        reply(self.delete(request.into_inner())).await
    }

    async fn record_budget(
        &self,
        request: Request<wire::RecordBudgetRequest>,
    ) -> Answer<wire::RecordBudgetResponse> {
        reply(self.record(request.into_inner())).await
    }

    async fn budget_history(
        &self,
        request: Request<wire::BudgetHistoryRequest>,
    ) -> Answer<wire::BudgetHistoryResponse> {
        reply(self.spans(request.into_inner())).await
    }

    async fn record_objective_events(
        &self,
        request: Request<wire::RecordObjectiveEventsRequest>,
    ) -> Answer<wire::RecordObjectiveEventsResponse> {
        reply(self.record_all(request.into_inner())).await
    }

    async fn list_objective_events(
        &self,
        request: Request<wire::ListObjectiveEventsRequest>,
    ) -> Answer<wire::ListObjectiveEventsResponse> {
        let wire::ListObjectiveEventsRequest { objective, limit: asked } = request.into_inner();
        reply(async {
            let limit = limit("limit", asked, LISTED_USUALLY, ROWS_MOST as u32)?;
            Ok(wire::ListObjectiveEventsResponse {
                events: objective::events(&self.pool, &objective, limit).await?,
            })
        })
        .await
    }
}
