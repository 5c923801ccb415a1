//! Directives: proposed, moved, listed, judged.

use proto::{
    convert,
    model::{DirectiveState, Transition},
    wire,
};
use tonic::Status;
use uuid::Uuid;

use super::{LISTED_USUALLY, ROWS_MOST, Service, all, at_most, given, id, limit};
use crate::store::Error;
use crate::store::{self, record};

fn state(value: Option<DirectiveState>) -> i32 {
    value.map_or(0, i32::from)
}

impl Service {
    pub(super) async fn propose_directive(
        &self,
        request: wire::ProposeRequest,
    ) -> Result<wire::ProposeResponse, Status> {
        let directive = given(request.directive, "directive")?;
        let proposed = self.ledger.propose(directive).await?;
        Ok(wire::ProposeResponse {
            verdict: proposed.verdict.into(),
            generation: proposed.generation.0,
            state: state(proposed.state),
            revision: proposed.revision,
            detail: proposed.detail,
        })
    }

    pub(super) async fn move_directives(
        &self,
        request: wire::RecordTransitionsRequest,
    ) -> Result<wire::RecordTransitionsResponse, Status> {
        at_most("transitions", request.transitions.len(), ROWS_MOST)?;
        let moved = self.ledger.transitions(all(request.transitions)?).await?;
        let results = moved.into_iter().map(|moved| wire::TransitionResult {
            recorded: moved.recorded,
            state: state(moved.state),
            revision: moved.revision,
        });
        Ok(wire::RecordTransitionsResponse { results: results.collect() })
    }

    pub(super) async fn list_of_directives(
        &self,
        request: wire::ListDirectivesRequest,
    ) -> Result<wire::ListDirectivesResponse, Status> {
        let filter = record::Filter {
            resource: request.resource.map(|resource| given(Some(resource), "resource")).transpose()?,
            states: all(request.states)?,
            limit: limit("limit", request.limit, LISTED_USUALLY, ROWS_MOST as u32)?,
        };
        let mut moment = self.feed.store.moment().await?;
        let revision = store::change::revision(&mut moment).await?;
        let directives = record::list(&mut moment, &filter).await?;
        store::done(moment).await;
        Ok(wire::ListDirectivesResponse { directives, revision })
    }

    pub(super) async fn directive(&self, id: Uuid) -> Result<wire::DirectiveRecord, Status> {
        let mut moment = self.feed.store.moment().await?;
        let found = record::get(&mut moment, id).await?;
        store::done(moment).await;
        found.ok_or_else(|| Error::Missing(format!("directive {id}")).into())
    }

    pub(super) async fn judge_directive(
        &self,
        request: wire::ReviewDirectiveRequest,
    ) -> Result<wire::DirectiveRecord, Status> {
        let wire::ReviewDirectiveRequest { id: text, approve, reviewer, reason } = request;
        let id = id(&text, "id")?;
        if reviewer.is_empty() {
            return Err(convert::Error::new("reviewer", "", "must be given").into());
        }
        let step = Transition {
            directive_id: id,
            from: DirectiveState::AwaitingApproval,
            to: if approve { DirectiveState::Issued } else { DirectiveState::Rejected },
            at: self.ctx.clock.now(),
            actor: reviewer,
            detail: reason,
            attempt: 0,
            before: Vec::new(),
            after: Vec::new(),
        };
        let moved = self.ledger.transitions(vec![step]).await?.pop();
        match moved.map(|moved| (moved.recorded, moved.state)) {
            Some((true, _)) => self.directive(id).await,
            Some((false, Some(state))) => {
                let text =
                    format!("directive {id} is {state}: only one that awaits approval can be reviewed");
                Err(Error::Precondition(text).into())
            }
            _ => Err(Error::Missing(format!("directive {id}")).into()),
        }
    }
}
