//! Breakers: their evidence, the fleet's advice, and people's overrides.

use std::sync::Arc;
use std::time::Duration;

use chassis::grpc::until_stopped;
use futures::future::join_all;
use futures::{Stream, stream};
use proto::client::ProposeVerdict;
use proto::model::{
    BreakerMode, BreakerOverride, BreakerReport, DirectiveKind, DirectiveRecord, Lease, ResourceId,
};
use proto::wire;
use tonic::{Response, Status, Streaming};

use super::{ExecuteRpc, Replied, Streamed, status};
use crate::moment::later;
use crate::overrule::{self, LONGEST, Wish};
use crate::registry::ActuatorKey;
use crate::service::baselines;
use crate::service::leases::Leases;
use crate::service::shared::Shared;

/// Breakers of one instance: one per outgoing edge, method and host.
const REPORTS_MAX: usize = 1_000;
/// Longest reason: a paragraph.
const REASON_CHARS_MAX: usize = 1_000;
/// Directives of an edge that are looked through for its setting.
const LOOKED_THROUGH: u32 = 200;
/// How often a person's word is planned again when the ledger moved on meanwhile.
const ATTEMPTS: u32 = 5;

/// One instance's conversation.
struct Conversation {
    shared: Arc<Shared>,
    leases: Leases,
    lease: Lease,
    /// The first word, which named the lease.
    first: Option<wire::ObserveRequest>,
    words: Streaming<wire::ObserveRequest>,
}

impl Conversation {
    async fn next(&mut self) -> Result<Option<wire::ObserveResponse>, Status> {
        let word = match self.first.take() {
            Some(first) => Some(first),
            None => self.words.message().await?,
        };
        let Some(word) = word else { return Ok(None) };
        let key = self.leases.holder(&self.lease).await.map_err(status::lease)?;
        if word.breakers.len() > REPORTS_MAX {
            let text = format!("breakers: {} reports, at most {REPORTS_MAX} are taken", word.breakers.len());
            return Err(Status::invalid_argument(text));
        }
        let reports =
            word.breakers.into_iter().map(BreakerReport::try_from).collect::<Result<Vec<_>, _>>()?;
        self.check(&key, &reports)?;
        let unknown = self.shared.fleet().unknown(&reports, self.shared.clock.monotonic());
        join_all(unknown.iter().map(|key| baselines::fetch(&self.shared, key))).await;
        let advice = self.shared.fleet().tell(&key, reports, self.shared.now());
        for one in &advice {
            self.shared.metrics.breaker_advice.with_label_values(&[one.probing.as_str()]).inc();
        }
        Ok(Some(wire::ObserveResponse { breakers: advice.into_iter().map(Into::into).collect() }))
    }

    /// Nobody testifies on edges that are not its own.
    fn check(&self, key: &ActuatorKey, reports: &[BreakerReport]) -> Result<(), Status> {
        let stranger = self.shared.with(|engine, _| {
            let spec = engine.registry().spec(key)?;
            let edges = reports.iter().map(|report| &report.key.edge);
            edges.into_iter().find(|edge| !spec.serves(edge, DirectiveKind::SetBreaker)).cloned()
        });
        match stranger {
            None => Ok(()),
            Some(edge) => Err(Status::permission_denied(format!("{key} is not registered for {edge}"))),
        }
    }
}

impl ExecuteRpc {
    pub(super) async fn observed(
        &self,
        mut words: Streaming<wire::ObserveRequest>,
    ) -> Replied<Streamed<wire::ObserveResponse>> {
        let first = words.message().await?.ok_or_else(|| Status::invalid_argument("nothing was said"))?;
        let lease = Lease { id: first.lease_id.clone(), epoch: first.epoch };
        self.leases.holder(&lease).await.map_err(status::lease)?;
        let (shared, leases) = (self.shared.clone(), self.leases.clone());
        let conversation = Conversation { shared, leases, lease, first: Some(first), words };
        Ok(Response::new(until_stopped(&self.ctx.stopper, answers(conversation))))
    }

    pub(super) fn listed(&self, request: wire::ListBreakersRequest) -> Replied<wire::ListBreakersResponse> {
        let edge = request.edge.map(ResourceId::try_from).transpose()?;
        let records = self.shared.fleet().list(edge.as_ref(), self.shared.clock.monotonic());
        let breakers = records.into_iter().map(Into::into).collect();
        Ok(Response::new(wire::ListBreakersResponse { breakers }))
    }

    pub(super) async fn overridden(
        &self,
        request: wire::OverrideBreakerRequest,
    ) -> Replied<wire::DirectiveRecord> {
        let wish = self.wish(request)?;
        for _ in 0..ATTEMPTS {
            if let Some(record) = self.propose(&wish).await? {
                return Ok(Response::new(record.into()));
            }
        }
        Err(Status::aborted("others change this breaker all the time: try again"))
    }

    fn wish(&self, request: wire::OverrideBreakerRequest) -> Result<Wish, Status> {
        let wire::OverrideBreakerRequest { edge, mode, for_ms, actor, reason } = request;
        let edge =
            ResourceId::try_from(edge.ok_or_else(|| Status::invalid_argument("edge: must be given"))?)?;
        let span = Duration::from_millis(for_ms);
        let told = match mode {
            0 => BreakerOverride::Cleared,
            _ if span.is_zero() || span > LONGEST => {
                return Err(Status::invalid_argument("for_ms: must be above 0 and at most 30 days"));
            }
            mode => BreakerOverride::Set {
                mode: BreakerMode::try_from(mode)?,
                until: later(self.shared.clock.now(), span),
            },
        };
        let reason: String = reason.chars().take(REASON_CHARS_MAX).collect();
        let actor = if actor.is_empty() { "someone".to_owned() } else { actor };
        Ok(Wish { id: self.ctx.uuid(), edge, told, actor, reason })
    }

    /// `None`: the ledger has moved on.
    async fn propose(&self, wish: &Wish) -> Result<Option<DirectiveRecord>, Status> {
        let knowledge = &self.shared.knowledge;
        let list = knowledge.list_directives(Some(wish.edge.clone()), &[], LOOKED_THROUGH).await;
        let (setting, newest) = overrule::current(&list.map_err(status::knowledge)?.directives);
        let known = setting.or_else(|| self.shared.fleet().policy(&wish.edge));
        let current = known.ok_or_else(|| {
            let text = format!("no breaker on {} is known: no instance tells of one", wish.edge);
            Status::failed_precondition(text)
        })?;
        let directive = overrule::directive(wish, &current, newest, self.shared.clock.now());
        let answer = knowledge.propose(directive).await.map_err(status::knowledge)?;
        match answer.verdict {
            ProposeVerdict::Accepted | ProposeVerdict::AlreadyStored => {
                knowledge.get_directive(wish.id).await.map(Some).map_err(status::knowledge)
            }
            ProposeVerdict::StaleGeneration => Ok(None),
            ProposeVerdict::UnderWay | ProposeVerdict::Unspecified => {
                Err(Status::failed_precondition(format!("the ledger does not take it: {}", answer.detail)))
            }
        }
    }
}

fn answers(conversation: Conversation) -> impl Stream<Item = Result<wire::ObserveResponse, Status>> + Send {
    stream::try_unfold(conversation, |mut conversation| async move {
        let answer = conversation.next().await?;
        Ok(answer.map(|answer| (answer, conversation)))
    })
}
