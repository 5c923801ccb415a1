//! A service that is looked at more often for a while: at its targets, in what is sent, and back again without a word.

use std::sync::atomic::Ordering;
use std::time::Duration;

use chassis::testing::eventually;
use chassis::{ClientConfig, Context};
use proto::client::MonitorClient;
use proto::model::ResourceId;
use proto::wire;
use tonic::Code;

use crate::setup::{DEADLINE, INTERVAL, REPLICA, Setup, service};
use crate::target::{FakeTarget, Manner};

/// A fifth of [`INTERVAL`].
const OFTEN_MS: u64 = 100;

fn id(name: &str) -> Option<wire::ResourceId> {
    Some(ResourceId::service("staging", name).unwrap().into())
}

struct Asking<'a> {
    setup: &'a Setup,
    client: MonitorClient,
}

impl<'a> Asking<'a> {
    fn of(setup: &'a Setup) -> Self {
        let channel = chassis::grpc::channel(&ClientConfig::plain(setup.addr)).unwrap();
        Self { setup, client: MonitorClient::new(channel) }
    }

    async fn set(
        &self,
        interval_ms: u64,
        hold: Duration,
        generation: u64,
    ) -> Result<wire::CadenceStatus, tonic::Status> {
        let until_unix_ms = (self.setup.ctx.clock.now() + hold).as_millisecond();
        let request =
            wire::SetCadenceRequest { service: id("catalog"), interval_ms, until_unix_ms, generation };
        self.client.clone().set_cadence(request).await.map(tonic::Response::into_inner)
    }

    async fn get(&self, name: &str) -> wire::CadenceStatus {
        let request = wire::GetCadenceRequest { service: id(name) };
        self.client.clone().get_cadence(request).await.unwrap().into_inner()
    }

    /// Waits until the service is really looked at so often.
    async fn seen(&self, name: &str, what: &str, passes: impl Fn(&wire::CadenceStatus) -> bool) {
        let look = || async { Some(self.get(name).await).filter(&passes) };
        eventually(DEADLINE, &format!("{name} is looked at {what}"), look).await;
    }
}

async fn targets(ctx: &Context) -> [FakeTarget; 2] {
    let text = || Manner::Text(REPLICA.to_owned());
    [FakeTarget::start(ctx, text()).await, FakeTarget::start(ctx, text()).await]
}

#[tokio::test(flavor = "multi_thread")]
async fn one_service_is_looked_at_more_often_and_its_rows_stand_for_less() {
    let ctx = Context::testing(1);
    let [catalog, search] = targets(&ctx).await;
    let documents = vec![service("catalog"), service("search")];
    let setup = Setup::start(ctx, documents, &[("catalog", &catalog), ("search", &search)], |_| {}).await;
    let (load, other) = ("service:staging/catalog#load", "service:staging/search#load");
    setup.good(load).await;
    let asking = Asking::of(&setup);
    let answer = asking.set(OFTEN_MS, Duration::from_secs(60), 1).await.unwrap();
    assert_eq!((answer.configured_interval_ms, answer.interval_ms), (500, OFTEN_MS));

    asking.seen("catalog", "often", |seen| (1..=200).contains(&seen.observed_interval_ms)).await;
    let scraped = |target: &FakeTarget| target.answers.load(Ordering::SeqCst);
    let (before, from) = (scraped(&catalog), scraped(&search));
    let usual = || async { Some(scraped(&search) - from).filter(|usual| *usual >= 4) };
    let usual = eventually(DEADLINE, "four scrapes of the other", usual).await;
    let often = scraped(&catalog) - before;
    assert!(often >= 2 * usual, "{often} scrapes, and {usual} of the other");

    let rows = setup.analyze.rows(load);
    let short = rows.iter().filter(|row| row.interval_ms == u128::from(OFTEN_MS)).count();
    assert!(short > 4, "rows stand for the time between two looks: {rows:?}");
    // Whatever stands for what, all the time is covered once: nothing counts twice in a budget.
    let known: Vec<_> = rows.iter().skip_while(|row| row.value.is_none()).collect();
    let covered: u128 = known.iter().skip(1).map(|row| row.interval_ms).sum();
    let passed = u128::try_from(known[known.len() - 1].at_ms - known[0].at_ms).unwrap();
    assert!(covered.abs_diff(passed) < INTERVAL.as_millis(), "{covered} ms of {passed} ms");
    assert!(setup.analyze.rows(other).iter().all(|row| row.interval_ms == 500), "the other is left alone");

    let older = asking.set(200, Duration::from_secs(60), 0).await.unwrap_err();
    assert_eq!(older.code(), Code::FailedPrecondition, "{older}");
    asking.set(0, Duration::ZERO, 2).await.unwrap();
    asking
        .seen("catalog", "as before", |seen| seen.interval_ms == 500 && seen.observed_interval_ms > 400)
        .await;
    setup.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn it_ends_by_itself_when_nobody_says_so() {
    let ctx = Context::testing(1);
    let [catalog, _] = targets(&ctx).await;
    let setup = Setup::start(ctx, vec![service("catalog")], &[("catalog", &catalog)], |_| {}).await;
    setup.good("service:staging/catalog#load").await;
    let asking = Asking::of(&setup);
    asking.set(OFTEN_MS, Duration::from_secs(2), 1).await.unwrap();
    asking.seen("catalog", "often", |seen| (1..=200).contains(&seen.observed_interval_ms)).await;
    asking
        .seen("catalog", "as before", |seen| seen.until_unix_ms == 0 && seen.observed_interval_ms > 400)
        .await;
    setup.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_target_that_hangs_holds_up_no_further_look_at_another_service() {
    let ctx = Context::testing(1);
    let [catalog, hanging] = targets(&ctx).await;
    hanging.behave(Manner::Hang);
    let targets = [("catalog", &catalog), ("hanging", &hanging)];
    let setup = Setup::start(ctx, vec![service("catalog")], &targets, |_| {}).await;
    setup.good("service:staging/catalog#load").await;
    let asking = Asking::of(&setup);
    asking.set(OFTEN_MS, Duration::from_secs(60), 1).await.unwrap();
    asking.seen("catalog", "often", |seen| (1..=200).contains(&seen.observed_interval_ms)).await;
    setup.stop().await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_service_that_shares_its_targets_stays_as_it_is_and_says_why() {
    let ctx = Context::testing(1);
    let [catalog, _] = targets(&ctx).await;
    let mut twin = service("twin");
    if let proto::model::DeclaredSpec::Service(spec) = &mut twin.spec {
        spec.instances = [("job".to_owned(), "catalog".to_owned())].into();
    }
    let setup = Setup::start(ctx, vec![service("catalog"), twin], &[("catalog", &catalog)], |_| {}).await;
    setup.good("service:staging/catalog#load").await;
    let asking = Asking::of(&setup);
    asking.set(OFTEN_MS, Duration::from_secs(60), 1).await.unwrap();
    asking.seen("catalog", "as before", |seen| seen.held_back.contains("shares targets")).await;
    setup.stop().await;
}
