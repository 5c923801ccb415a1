//! Against a Monitor over a real socket that does as it is told, or does not.

use std::sync::Arc;

use chassis::{ClientConfig, Context, GrpcServer, ServerConfig};
use execute::testing::{cart, scale};
use proto::model::ResourceKind;
use proto::wire::{self, monitor_server};
use tonic::{Request, Response};

use super::*;

/// One service's cadence; each look at it is a look of the Monitor's.
#[derive(Debug, Clone, Default)]
struct FakeMonitor(Arc<Mutex<Inner>>);

#[derive(Debug, Default)]
struct Inner {
    told: Vec<SetCadenceRequest>,
    /// It looks every so many milliseconds, whatever it is told.
    stubborn: Option<u64>,
    held_back: String,
    looks: u64,
}

impl FakeMonitor {
    fn status(&self) -> CadenceStatus {
        let mut inner = self.0.lock().unwrap();
        inner.looks += 1;
        let asked = inner.told.last().map_or(0, |told| told.interval_ms);
        let interval_ms = if asked > 0 { asked } else { 1_000 };
        CadenceStatus {
            configured_interval_ms: 1_000,
            interval_ms,
            observed_interval_ms: inner.stubborn.unwrap_or(interval_ms + 20),
            looks: inner.looks,
            held_back: if asked > 0 { inner.held_back.clone() } else { String::new() },
            ..CadenceStatus::default()
        }
    }

    fn told(&self) -> Vec<(u64, u64)> {
        self.0.lock().unwrap().told.iter().map(|told| (told.interval_ms, told.generation)).collect()
    }
}

#[tonic::async_trait]
impl monitor_server::Monitor for FakeMonitor {
    async fn list_targets(
        &self,
        _: Request<wire::ListTargetsRequest>,
    ) -> Result<Response<wire::ListTargetsResponse>, Status> {
        Err(Status::unimplemented("list_targets"))
    }

    async fn set_cadence(
        &self,
        request: Request<SetCadenceRequest>,
    ) -> Result<Response<CadenceStatus>, Status> {
        let request = request.into_inner();
        let newest = self.0.lock().unwrap().told.iter().map(|told| told.generation).max();
        if newest > Some(request.generation) {
            return Err(Status::failed_precondition("a newer one was heard of"));
        }
        self.0.lock().unwrap().told.push(request);
        Ok(Response::new(self.status()))
    }

    async fn get_cadence(&self, _: Request<GetCadenceRequest>) -> Result<Response<CadenceStatus>, Status> {
        Ok(Response::new(self.status()))
    }
}

struct Scene {
    ctx: Context,
    monitor: FakeMonitor,
    client: MonitorClient,
    dir: tempfile::TempDir,
}

impl Scene {
    async fn new() -> Self {
        let (ctx, monitor) = (Context::testing(1), FakeMonitor::default());
        let server = GrpcServer::bind(&ServerConfig::default()).await.unwrap();
        let channel = chassis::grpc::channel(&ClientConfig::plain(server.local_addr())).unwrap();
        let routes = tonic::service::Routes::new(monitor_server::MonitorServer::new(monitor.clone()));
        server.serve(&ctx, "monitor", routes, proto::DESCRIPTORS, &["homeostat.v1.Monitor"]).unwrap();
        Self { ctx, monitor, client: MonitorClient::new(channel), dir: tempfile::tempdir().unwrap() }
    }

    fn actuator(&self) -> CadenceActuator {
        let all = ResourcePattern::new(ResourceKind::Service, "*", "*").unwrap();
        let path = self.dir.path().join("cadence.json");
        CadenceActuator::open("one", vec![all], self.client.clone(), path, self.ctx.clock.clone()).unwrap()
    }

    fn directive(&self, millis: u64, generation: u64) -> Directive {
        let interval = (millis > 0).then(|| Duration::from_millis(millis));
        let until = interval.map(|_| self.ctx.clock.now() + Duration::from_secs(60));
        let action = Action::SetCadence { interval, until };
        Directive { action, generation: Generation(generation), ..scale(1, 2) }
    }
}

#[tokio::test]
async fn monitor_is_told_seen_and_told_back() {
    let scene = Scene::new().await;
    let actuator = scene.actuator();
    let outcome = actuator.apply(&scene.directive(500, 7), false).await;
    assert_eq!(outcome, ApplyOutcome::applied("Monitor looks at it every 0.52 s"));
    assert_eq!(actuator.observe(&cart()).await[0].value, 0.52);
    assert_eq!(scene.actuator().last_generation(&cart(), DirectiveKind::SetCadence), Generation(7));
    let older = actuator.apply(&scene.directive(100, 6), false).await;
    assert!(matches!(older, ApplyOutcome::Refused { .. }), "{older:?}");
    let outcome = actuator.apply(&scene.directive(0, 8), false).await;
    assert_eq!(outcome, ApplyOutcome::applied("Monitor looks at it every 1.02 s"));
    assert_eq!(scene.monitor.told(), [(500, 7), (0, 8)]);
}

#[tokio::test]
async fn what_is_not_seen_has_failed_and_is_taken_back() {
    let scene = Scene::new().await;
    let actuator = scene.actuator();
    scene.monitor.0.lock().unwrap().stubborn = Some(1_000);
    let outcome = actuator.apply(&scene.directive(500, 7), false).await;
    assert_eq!(outcome, ApplyOutcome::failed("Monitor is not seen to look so often"));
    scene.monitor.0.lock().unwrap().held_back = "too many scrapes".to_owned();
    let outcome = actuator.apply(&scene.directive(500, 8), false).await;
    assert_eq!(outcome, ApplyOutcome::failed("too many scrapes"));
    assert_eq!(scene.monitor.told(), [(500, 7), (0, 7), (500, 8), (0, 8)]);
    assert_eq!(actuator.last_generation(&cart(), DirectiveKind::SetCadence), Generation(0));
}

#[tokio::test]
async fn a_dry_run_tells_nobody() {
    let scene = Scene::new().await;
    let outcome = scene.actuator().apply(&scene.directive(500, 7), true).await;
    assert!(matches!(outcome, ApplyOutcome::Applied { .. }));
    assert_eq!(scene.monitor.told(), []);
}

#[tokio::test]
async fn a_monitor_that_forgot_is_told_again_also_by_an_actuator_that_was_restarted() {
    let scene = Scene::new().await;
    scene.actuator().apply(&scene.directive(500, 7), false).await;
    scene.monitor.0.lock().unwrap().told.clear();
    let again = scene.actuator();
    let told = async {
        while scene.monitor.told().is_empty() {
            tokio::task::yield_now().await;
        }
    };
    tokio::select! {
        () = again.keep() => {}
        told = tokio::time::timeout(Duration::from_secs(20), told) => told.unwrap(),
    }
    assert_eq!(scene.monitor.told(), [(500, 7)]);
}

#[test]
fn damaged_state_is_no_empty_memory() {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("cadence.json");
    assert_eq!(read(&path).unwrap(), BTreeMap::new());
    std::fs::write(&path, r#"{"service:shop/cart": {}}"#).unwrap();
    assert!(read(&path).is_err());
}
