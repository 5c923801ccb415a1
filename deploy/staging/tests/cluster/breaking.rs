//! The breaker on the edge from catalog to inventory, faults, and what a hung dependency does to its callers.

use std::net::SocketAddr;
use std::path::Path;
use std::time::Duration;

use breaker::{Mode, Policy, State};
use chassis::Context;
use staging::dir::{Dir, Endpoint};
use staging::edges::default_policy;
use staging::faults::{self, Effect, Fault};
use staging::load::Record;
use staging::service::{self, Handle, ServiceArgs};
use staging::topology::Role;

use crate::kit::{DEADLINE, folder, load, scrape, succeeded, value};

const EDGE: &str = "catalog->inventory";

/// The three services in this process, on real sockets, so that the test holds the breakers.
struct Services {
    catalog: Handle,
    inventory: SocketAddr,
    ctx: Context,
}

async fn services(dir: &Dir) -> Services {
    let ctx = Context::testing(5);
    let inventory = one(dir, Role::Inventory, &ctx).await;
    let catalog = one(dir, Role::Catalog, &ctx).await;
    one(dir, Role::Gateway, &ctx).await;
    let services = Services { catalog, inventory: inventory.address, ctx };
    chassis::testing::eventually(DEADLINE, "the first answer", || async {
        let records = load(dir, 20.0, 1).await;
        (succeeded(&records) == records.len()).then_some(())
    })
    .await;
    services
}

async fn one(dir: &Dir, role: Role, ctx: &Context) -> Handle {
    let args = ServiceArgs {
        name: format!("{role}-1"),
        listen: SocketAddr::from(([127, 0, 0, 1], 0)),
        data_dir: dir.path().to_owned(),
        workers: None,
        queue: None,
        service_time_ms: (role != Role::Gateway).then_some(5),
        upstream_timeout_ms: None,
        start_up_ms: 0,
        seed: 1,
        owner_pid: None,
        execute_url: None,
        breaker: Default::default(),
        breaker_limit: false,
    };
    let ctx = Context { metrics: Default::default(), ..ctx.sub() };
    let handle = service::start(role, args, &ctx).await.expect("a free port");
    publish(&dir.endpoints(role), &[Endpoint { instance: format!("{role}-1"), address: handle.address }]);
    handle
}

fn publish(path: &Path, endpoints: &[Endpoint]) {
    std::fs::create_dir_all(path.parent().expect("in a folder")).expect("writable");
    std::fs::write(path, serde_json::to_vec(endpoints).expect("JSON")).expect("writable");
}

fn inject(dir: &Dir, effect: Effect) {
    let fault = Fault { service: "inventory".to_owned(), instance: None, effect };
    faults::inject(dir, "test", fault).expect("writable");
}

impl Services {
    fn enforce(&self, policy: Policy, generation: u64) {
        let policy = Policy { mode: Mode::Enforce, ..policy };
        let now = self.ctx.clock.monotonic();
        self.catalog.edges.set_policy(EDGE, policy, generation, now).expect("newer");
    }

    fn state(&self) -> State {
        self.catalog.edges.snapshot(EDGE, self.ctx.clock.monotonic()).expect("the edge is there").state
    }
}

fn degraded(records: &[Record]) -> usize {
    records.iter().filter(|record| record.degraded && record.status == 200).count()
}

#[tokio::test(flavor = "multi_thread")]
async fn an_enforcing_breaker_degrades_answers_while_inventory_is_down_and_heals_after() {
    let (_folder, dir) = folder();
    let services = services(&dir).await;
    inject(&dir, Effect::Down);
    let watched = load(&dir, 100.0, 2).await;
    assert_eq!(degraded(&watched), 0, "metrics-only rejects nothing");
    assert!(succeeded(&watched) < watched.len() / 4, "{} of {}", succeeded(&watched), watched.len());
    let metrics = scrape(services.catalog.address).await.expect("metrics");
    assert!(value(&metrics, "breaker_would_reject_total", &["catalog"]) > 20.0);
    assert_eq!(value(&metrics, "breaker_state", &["METRICS_ONLY"]), 1.0);
    assert!(value(&metrics, "upstream_requests_total", &[r#"outcome="failure""#]) > 20.0);

    services.enforce(default_policy(), 1);
    let enforced = load(&dir, 100.0, 2).await;
    assert!(degraded(&enforced) > enforced.len() * 8 / 10, "{} of {}", degraded(&enforced), enforced.len());
    let metrics = scrape(services.catalog.address).await.expect("metrics");
    assert!(value(&metrics, "upstream_requests_total", &[r#"outcome="rejected""#]) > 100.0);
    assert!(value(&metrics, "responses_degraded_total", &[]) > 100.0);

    faults::clear(&dir, None).expect("writable");
    let mut rounds = 0;
    while services.state() != State::Closed {
        rounds += 1;
        assert!(rounds < 20, "it does not close");
        load(&dir, 50.0, 1).await;
    }
    let healed = load(&dir, 50.0, 1).await;
    assert_eq!((succeeded(&healed), degraded(&healed)), (healed.len(), 0));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_hung_dependency_takes_its_callers_along_unless_a_breaker_rejects() {
    let (_folder, dir) = folder();
    let services = services(&dir).await;
    inject(&dir, Effect::Hang);
    let cascading = load(&dir, 100.0, 2).await;
    assert!(succeeded(&cascading) < cascading.len() / 4, "{} of {}", succeeded(&cascading), cascading.len());
    let open_long = Policy { open_wait: Duration::from_secs(20), ..default_policy() };
    services.enforce(open_long, 1);
    // Calls admitted before hold their workers for up to 2 s.
    let mut rounds = 0;
    loop {
        let records = load(&dir, 60.0, 1).await;
        let within = records.iter().filter(|r| r.status == 200 && r.latency_us < 250_000).count();
        if within == records.len() && degraded(&records) == records.len() {
            break;
        }
        rounds += 1;
        assert!(rounds < 10, "{within} of {} within the objective", records.len());
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn metrics_can_go_while_the_service_works_and_errors_can_hit_a_share() {
    let (_folder, dir) = folder();
    let services = services(&dir).await;
    inject(&dir, Effect::MetricsGone);
    chassis::testing::eventually(DEADLINE, "no metrics", || async {
        scrape(services.inventory).await.is_none().then_some(())
    })
    .await;
    let records = load(&dir, 50.0, 1).await;
    assert_eq!(succeeded(&records), records.len());

    inject(&dir, Effect::Errors { ratio: 0.5 });
    chassis::testing::eventually(DEADLINE, "metrics again", || scrape(services.inventory)).await;
    let records = load(&dir, 100.0, 2).await;
    let share = succeeded(&records) as f64 / records.len() as f64;
    // 200 requests: a deviation of 3.5 %.
    assert!((0.35..0.65).contains(&share), "{share}");
}
