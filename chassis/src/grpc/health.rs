//! The standard health service, and the handle by which a service says that it is ready.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;

use futures::{Stream, StreamExt};
use tokio::sync::watch;
use tokio_stream::wrappers::WatchStream;
use tonic::{Request, Response, Status};
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_server::{Health as HealthRpc, HealthServer};
use tonic_health::pb::{HealthCheckRequest, HealthCheckResponse};

use crate::stopper::Stopper;

/// Which services of one server are ready. All start as not serving; the empty name, which asks for the server as a
/// whole, is serving when all of them are. Clones share it.
#[derive(Debug, Clone)]
pub struct Health {
    state: Arc<watch::Sender<State>>,
}

#[derive(Debug, Clone, Default)]
struct State {
    serving: BTreeMap<String, bool>,
    stopping: bool,
}

impl Health {
    pub(crate) fn new(services: &[&str]) -> Self {
        let serving = services.iter().map(|name| ((*name).to_owned(), false)).collect();
        Self { state: Arc::new(watch::Sender::new(State { serving, stopping: false })) }
    }

    /// Says whether one service takes calls; its full name is that of the protocol file, `homeostat.v1.Knowledge`.
    pub fn set_serving(&self, name: &str, serving: bool) {
        self.state.send_modify(|state| {
            state.serving.insert(name.to_owned(), serving);
        });
    }

    /// Says whether all services of this server take calls.
    pub fn set_all_serving(&self, serving: bool) {
        self.state.send_modify(|state| state.serving.values_mut().for_each(|value| *value = serving));
    }

    /// The services that do not take calls now.
    #[must_use]
    pub fn not_serving(&self) -> Vec<String> {
        let state = self.state.borrow();
        let down = state.serving.iter().filter(|(_, serving)| state.stopping || !**serving);
        down.map(|(name, _)| name.clone()).collect()
    }

    pub(crate) fn set_stopping(&self) {
        self.state.send_modify(|state| state.stopping = true);
    }

    pub(crate) fn rpc(&self, stopper: Stopper) -> HealthServer<impl HealthRpc> {
        HealthServer::new(Rpc { health: self.clone(), stopper })
    }
}

impl State {
    fn status(&self, name: &str) -> Option<ServingStatus> {
        let serving = match name {
            "" => self.serving.values().all(|serving| *serving),
            name => *self.serving.get(name)?,
        };
        Some(if serving && !self.stopping { ServingStatus::Serving } else { ServingStatus::NotServing })
    }
}

struct Rpc {
    health: Health,
    stopper: Stopper,
}

#[tonic::async_trait]
impl HealthRpc for Rpc {
    async fn check(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<HealthCheckResponse>, Status> {
        let name = request.into_inner().service;
        let status = self.health.state.borrow().status(&name);
        let status = status.ok_or_else(|| Status::not_found(format!("this server has no service {name}")))?;
        Ok(Response::new(response(status)))
    }

    type WatchStream = Pin<Box<dyn Stream<Item = Result<HealthCheckResponse, Status>> + Send>>;

    /// The present status, then each change; a name that is not known yet may become so.
    async fn watch(
        &self,
        request: Request<HealthCheckRequest>,
    ) -> Result<Response<Self::WatchStream>, Status> {
        let name = request.into_inner().service;
        let mut last = None;
        let changes = WatchStream::new(self.health.state.subscribe()).filter_map(move |state| {
            let status = state.status(&name).unwrap_or(ServingStatus::ServiceUnknown);
            let changed = last.replace(status) != Some(status);
            std::future::ready(changed.then(|| Ok(response(status))))
        });
        Ok(Response::new(Box::pin(super::until_stopped(&self.stopper, changes))))
    }
}

fn response(status: ServingStatus) -> HealthCheckResponse {
    HealthCheckResponse { status: status.into() }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn server_is_serving_only_when_all_its_services_are() {
        let health = Health::new(&["a", "b"]);
        let overall = |health: &Health| health.state.borrow().status("");
        assert_eq!(overall(&health), Some(ServingStatus::NotServing));
        health.set_serving("a", true);
        assert_eq!(overall(&health), Some(ServingStatus::NotServing));
        assert_eq!(health.not_serving(), ["b"]);
        health.set_serving("b", true);
        assert_eq!(overall(&health), Some(ServingStatus::Serving));
        health.set_stopping();
        assert_eq!(overall(&health), Some(ServingStatus::NotServing));
        assert_eq!(health.not_serving(), ["a", "b"]);
    }

    #[test]
    fn unknown_name_has_no_status() {
        assert_eq!(Health::new(&["a"]).state.borrow().status("b"), None);
    }
}
