//! The calls of the stand-in: wire → model → store → wire.

use std::time::Duration;

use futures::{StreamExt, stream};
use proto::convert;
use proto::model::{
    ActuatorSpec, Directive, DirectiveRecord, FeedbackSignal, Lease, Outcome, PauseState, ResourceId,
    Transition,
};
use proto::wire::{self, knowledge_server};
use tonic::{Request, Response, Status};

use super::super::store::Store;
use super::{FakeKnowledge, Replied, Streamed, tail};

/// What the services under test never ask for.
fn not_here<T>() -> Replied<T> {
    Err(Status::unimplemented("not in the stand-in"))
}

fn models<W: Clone, M: TryFrom<W, Error = convert::Error>>(values: &[W]) -> Result<Vec<M>, Status> {
    Ok(values.iter().cloned().map(M::try_from).collect::<Result<_, _>>()?)
}

fn given<W: Clone>(value: &Option<W>) -> Result<W, Status> {
    value.clone().ok_or_else(|| Status::invalid_argument("must be given"))
}

#[tonic::async_trait]
impl knowledge_server::Knowledge for FakeKnowledge {
    async fn propose(&self, request: Request<wire::ProposeRequest>) -> Replied<wire::ProposeResponse> {
        let directive = Directive::try_from(given(&request.into_inner().directive)?)?;
        let now = self.clock.now();
        self.serve("Propose", |store| {
            let (verdict, record) = store.propose(directive.clone(), now);
            Ok(wire::ProposeResponse {
                verdict: verdict.into(),
                generation: record.as_ref().map_or(0, |record| record.directive.generation.0),
                state: record.as_ref().map_or(0, |record| record.state.into()),
                revision: store.revision,
                detail: String::new(),
            })
        })
        .await
    }

    async fn record_transitions(
        &self,
        request: Request<wire::RecordTransitionsRequest>,
    ) -> Replied<wire::RecordTransitionsResponse> {
        let steps: Vec<Transition> = models(&request.into_inner().transitions)?;
        self.serve("RecordTransitions", |store| {
            let one = |step: &Transition| {
                let (recorded, state, revision) = store.step(step.clone());
                wire::TransitionResult { recorded, state: state.map_or(0, Into::into), revision }
            };
            Ok(wire::RecordTransitionsResponse { results: steps.iter().map(one).collect() })
        })
        .await
    }

    async fn get_directive(
        &self,
        request: Request<wire::GetDirectiveRequest>,
    ) -> Replied<wire::DirectiveRecord> {
        let id = convert::uuid(&request.into_inner().id, "id")?;
        let found = |store: &mut Store| store.directives.get(&id).cloned().map(Into::into);
        self.serve("GetDirective", |store| found(store).ok_or_else(|| Status::not_found("no such directive")))
            .await
    }

    type WatchDirectivesStream = Streamed<wire::DirectiveRecord>;

    async fn watch_directives(
        &self,
        request: Request<wire::WatchDirectivesRequest>,
    ) -> Replied<Self::WatchDirectivesStream> {
        let request = request.into_inner();
        let snapshot = request.snapshot;
        let (first, from) = self
            .serve("WatchDirectives", |store| {
                let first = if snapshot { store.snapshot() } else { Vec::new() };
                Ok((first, if snapshot { store.revision } else { request.from_revision }))
            })
            .await?
            .into_inner();
        let first = stream::iter(first.into_iter().map(|record| Ok(record.into())));
        let fake = self.this.upgrade().ok_or_else(|| Status::unavailable("away"))?;
        Ok(Response::new(Box::pin(first.chain(tail(fake, from)))))
    }

    async fn grant_lease(
        &self,
        request: Request<wire::GrantLeaseRequest>,
    ) -> Replied<wire::GrantLeaseResponse> {
        let request = request.into_inner();
        let spec = ActuatorSpec::try_from(given(&request.actuator)?)?;
        let (ttl, now) = (Duration::from_millis(request.ttl_ms), self.wall());
        self.serve("GrantLease", |store| {
            let lease = store
                .grant(spec.clone(), ttl, now)
                .map_err(|other| Status::already_exists(format!("{other} serves it")))?;
            let generations = store.generations(&spec).into_iter().map(Into::into).collect();
            Ok(wire::GrantLeaseResponse { lease_id: lease.id, epoch: lease.epoch, generations })
        })
        .await
    }

    async fn renew_lease(
        &self,
        request: Request<wire::RenewLeaseRequest>,
    ) -> Replied<wire::RenewLeaseResponse> {
        let wire::RenewLeaseRequest { lease_id, epoch, ttl_ms } = request.into_inner();
        let (lease, now) = (Lease { id: lease_id, epoch }, self.clock.monotonic());
        let ttl = Duration::from_millis(ttl_ms);
        self.serve("RenewLease", |store| Ok(wire::RenewLeaseResponse { held: store.renew(&lease, ttl, now) }))
            .await
    }

    async fn release_lease(
        &self,
        request: Request<wire::ReleaseLeaseRequest>,
    ) -> Replied<wire::ReleaseLeaseResponse> {
        let wire::ReleaseLeaseRequest { lease_id, epoch } = request.into_inner();
        let lease = Lease { id: lease_id, epoch };
        self.serve("ReleaseLease", |store| {
            store.release(&lease);
            Ok(wire::ReleaseLeaseResponse {})
        })
        .await
    }

    async fn list_actuators(
        &self,
        request: Request<wire::ListActuatorsRequest>,
    ) -> Replied<wire::ListActuatorsResponse> {
        let (live_only, now) = (request.into_inner().live_only, self.clock.monotonic());
        self.serve("ListActuators", |store| {
            let actuators = store.actuators(now).into_iter().filter(|one| one.live || !live_only);
            Ok(wire::ListActuatorsResponse { actuators: actuators.map(Into::into).collect() })
        })
        .await
    }

    async fn record_outcomes(
        &self,
        request: Request<wire::RecordOutcomesRequest>,
    ) -> Replied<wire::RecordOutcomesResponse> {
        let outcomes: Vec<Outcome> = models(&request.into_inner().outcomes)?;
        self.serve("RecordOutcomes", |store| {
            for outcome in &outcomes {
                let key = |one: &Outcome| (one.directive_id, one.at, one.result);
                if !store.outcomes.iter().any(|known| key(known) == key(outcome)) {
                    store.outcomes.push(outcome.clone());
                }
            }
            Ok(wire::RecordOutcomesResponse {})
        })
        .await
    }

    async fn record_feedback(
        &self,
        request: Request<wire::RecordFeedbackRequest>,
    ) -> Replied<wire::RecordFeedbackResponse> {
        let signals: Vec<FeedbackSignal> = models(&request.into_inner().signals)?;
        self.serve("RecordFeedback", |store| {
            let before = store.feedback.len();
            for signal in &signals {
                store.feedback.entry(signal.id).or_insert_with(|| signal.clone());
            }
            Ok(wire::RecordFeedbackResponse { stored: (store.feedback.len() - before) as u64 })
        })
        .await
    }

    async fn set_pause(&self, request: Request<wire::SetPauseRequest>) -> Replied<wire::PauseState> {
        let wire::SetPauseRequest { paused, counter, reason, actor } = request.into_inner();
        let state = PauseState { paused, counter, reason, actor, at: self.clock.now() };
        self.serve("SetPause", |store| {
            store.pause = store.pause.clone().merge(state.clone());
            Ok(store.pause.clone().into())
        })
        .await
    }

    async fn get_pause(&self, _: Request<wire::GetPauseRequest>) -> Replied<wire::PauseState> {
        self.serve("GetPause", |store| Ok(store.pause.clone().into())).await
    }

    async fn apply(&self, _: Request<wire::ApplyRequest>) -> Replied<wire::ApplyResponse> {
        not_here()
    }
    async fn list_declared(
        &self,
        _: Request<wire::ListDeclaredRequest>,
    ) -> Replied<wire::ListDeclaredResponse> {
        not_here()
    }
    async fn delete_declared(
        &self,
        _: Request<wire::DeleteDeclaredRequest>,
    ) -> Replied<wire::DeleteDeclaredResponse> {
        not_here()
    }
    async fn record_thresholds(
        &self,
        _: Request<wire::RecordThresholdsRequest>,
    ) -> Replied<wire::RecordThresholdsResponse> {
        not_here()
    }
    async fn list_thresholds(
        &self,
        _: Request<wire::ListThresholdsRequest>,
    ) -> Replied<wire::ListThresholdsResponse> {
        not_here()
    }
    async fn threshold_history(
        &self,
        _: Request<wire::ThresholdHistoryRequest>,
    ) -> Replied<wire::ThresholdHistoryResponse> {
        not_here()
    }
    async fn review_threshold(
        &self,
        _: Request<wire::ReviewThresholdRequest>,
    ) -> Replied<wire::ReviewThresholdResponse> {
        not_here()
    }
    async fn save_snapshots(
        &self,
        request: Request<wire::SaveSnapshotsRequest>,
    ) -> Replied<wire::SaveSnapshotsResponse> {
        let snapshots = request.into_inner().snapshots;
        self.serve("SaveSnapshots", |store| {
            let named = snapshots.iter().map(|one| (one.key.clone(), one.clone()));
            store.snapshots.extend(named);
            Ok(wire::SaveSnapshotsResponse {})
        })
        .await
    }
    type LoadSnapshotsStream = Streamed<wire::Snapshot>;
    async fn load_snapshots(
        &self,
        request: Request<wire::LoadSnapshotsRequest>,
    ) -> Replied<Self::LoadSnapshotsStream> {
        let prefix = request.into_inner().key_prefix;
        let found = self
            .serve("LoadSnapshots", |store| {
                let matching = store.snapshots.values().filter(|one| one.key.starts_with(&prefix));
                Ok(matching.cloned().map(Ok).collect::<Vec<_>>())
            })
            .await?;
        Ok(Response::new(Box::pin(stream::iter(found.into_inner()))))
    }
    async fn list_directives(
        &self,
        request: Request<wire::ListDirectivesRequest>,
    ) -> Replied<wire::ListDirectivesResponse> {
        let wanted = request.into_inner().resource.map(ResourceId::try_from).transpose()?;
        self.serve("ListDirectives", |store| {
            let fits = |record: &&DirectiveRecord| {
                wanted.as_ref().is_none_or(|wanted| record.directive.resource == *wanted)
            };
            let mut found: Vec<_> = store.directives.values().filter(fits).cloned().collect();
            found.sort_by_key(|record| std::cmp::Reverse(record.revision));
            let directives = found.into_iter().map(Into::into).collect();
            Ok(wire::ListDirectivesResponse { directives, revision: store.revision })
        })
        .await
    }
    async fn review_directive(
        &self,
        _: Request<wire::ReviewDirectiveRequest>,
    ) -> Replied<wire::DirectiveRecord> {
        not_here()
    }
    async fn list_outcomes(
        &self,
        _: Request<wire::ListOutcomesRequest>,
    ) -> Replied<wire::ListOutcomesResponse> {
        not_here()
    }
    async fn list_feedback(
        &self,
        _: Request<wire::ListFeedbackRequest>,
    ) -> Replied<wire::ListFeedbackResponse> {
        not_here()
    }
    type WatchChangesStream = Streamed<wire::Change>;
    async fn watch_changes(
        &self,
        _: Request<wire::WatchChangesRequest>,
    ) -> Replied<Self::WatchChangesStream> {
        not_here()
    }
    async fn list_resources(
        &self,
        _: Request<wire::ListResourcesRequest>,
    ) -> Replied<wire::ListResourcesResponse> {
        not_here()
    }
}
