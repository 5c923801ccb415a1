//! Plan as a process sees it: over real sockets, with a small Knowledge and a small Analyze that do as they are told.

#![expect(clippy::unwrap_used, reason = "in a test an unwrap is an assertion")]

mod fakes;

use chassis::{ClientConfig, Context, ServerConfig, testing::eventually};
use fakes::{FakeAnalyze, FakeKnowledge, LIMIT, calm, crowd};
use plan::Config;
use proto::{
    client::PlanClient,
    model::{DirectiveState, Generation, PauseState},
    wire,
};
use std::time::Duration;

struct Running {
    ctx: Context,
    knowledge: FakeKnowledge,
    analyze: FakeAnalyze,
    plan: Context,
    reports: PlanClient,
}

/// The shortest tick, for tests that wait for what time brings.
const TICK: Duration = Duration::from_millis(100);

async fn run(autonomy: &str) -> Running {
    run_with(autonomy, TICK, |_| {}).await
}

async fn run_with(autonomy: &str, tick: Duration, before: impl FnOnce(&FakeKnowledge)) -> Running {
    let ctx = Context::testing(1);
    let knowledge = FakeKnowledge::start(&ctx.sub(), ServerConfig::default()).await;
    let analyze = FakeAnalyze::start(&ctx.sub(), ServerConfig::default()).await;
    knowledge.declare(autonomy);
    before(&knowledge);
    let (plan, reports) = start_plan(&ctx, &knowledge, &analyze, tick).await;
    Running { ctx, knowledge, analyze, plan, reports }
}

async fn start_plan(
    ctx: &Context,
    knowledge: &FakeKnowledge,
    analyze: &FakeAnalyze,
    tick: Duration,
) -> (Context, PlanClient) {
    let config = Config {
        server: ServerConfig::default(),
        analyze: ClientConfig::plain(analyze.addr),
        knowledge: ClientConfig::plain(knowledge.addr),
        tick,
    };
    let plan = Context { metrics: prometheus::Registry::new(), ..ctx.sub() };
    let handle = plan::start(config, plan.clone()).await.unwrap();
    let channel = chassis::grpc::channel(&ClientConfig::plain(handle.addr)).unwrap();
    (plan, PlanClient::new(channel))
}

impl Running {
    async fn report(&self, resource: &str) -> Option<wire::PlanReport> {
        let reports =
            self.reports.clone().list_reports(wire::ListReportsRequest {}).await.ok()?.into_inner().reports;
        reports.into_iter().find(|report| {
            let id = report.resource.clone().unwrap();
            format!("{}:{}/{}", id.kind, id.namespace, id.name) == resource
        })
    }

    async fn report_saying(&self, text: &str) -> wire::PlanReport {
        eventually(LIMIT, text, || async {
            self.report("service:staging/catalog").await.filter(|report| report.text.contains(text))
        })
        .await
    }

    async fn proposed(&self, count: usize) -> Vec<wire::Directive> {
        eventually(LIMIT, "proposals", || async {
            Some(self.knowledge.proposed()).filter(|proposed| proposed.len() >= count)
        })
        .await
    }

    /// Whatever Plan does within several of its ticks, it has done by then.
    async fn ticks(&self) {
        let at = |report: wire::PlanReport| report.at_unix_ms;
        let before =
            eventually(LIMIT, "a report", || self.report("service:staging/catalog")).await.at_unix_ms;
        eventually(LIMIT, "three more ticks", || async {
            self.report("service:staging/catalog").await.map(at).filter(|now| *now >= before + 300)
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn assessment_leads_to_a_directive_at_once() {
    // The tick is longer than the test may take, so that only the assessment itself can wake the planner.
    let running = run_with("act", Duration::from_secs(60), |_| {}).await;
    running.analyze.tell(calm());
    running.report_saying("keeps 2").await;
    let sent = running.ctx.clock.monotonic();
    running.analyze.tell(crowd());
    running.proposed(1).await;
    let took = running.knowledge.last_proposal_at() - sent;
    let directive = running.knowledge.proposed().remove(0);
    let wire::action::Kind::Scale(scale) = directive.action.unwrap().kind.unwrap() else {
        panic!("not a scaling")
    };
    assert_eq!((scale.replicas, directive.parent_generation, directive.generation), (6, 0, 0));
    // It takes 2 to 5 ms; the limit leaves room for a machine that is busy with other tests.
    println!("assessment to proposal: {took:?}");
    assert!(took < Duration::from_millis(500), "{took:?}");
    let metrics = chassis::metrics::text(&running.plan.metrics);
    assert!(metrics.contains("homeostat_plan_propose_answers_total{verdict=\"accepted\"} 1"), "{metrics}");
    assert!(metrics.contains("homeostat_plan_check_faults_total 0"), "{metrics}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn wish_is_proposed_once_while_it_is_under_way() {
    let running = run("act").await;
    running.analyze.tell(crowd());
    running.report_saying("held back by concurrency").await;
    running.ticks().await;
    running.analyze.tell(crowd());
    running.ticks().await;
    assert_eq!(running.knowledge.proposed().len(), 1);
    // Once it came to nothing, it is planned again on the generation that it consumed.
    running.knowledge.advance(0, DirectiveState::Failed);
    let report = running.report_saying("held back by cooldown").await;
    assert!(report.text.contains("after 1 directives in a row that came to nothing"), "{}", report.text);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn advice_is_given_once_and_consumes_no_generation() {
    let running = run("recommend").await;
    running.analyze.tell(crowd());
    running.report_saying("advises the same").await;
    running.ticks().await;
    assert_eq!(running.knowledge.proposed().len(), 1);
    assert_eq!(running.knowledge.generation(), Generation(0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn stale_generation_is_read_again_and_planned_anew() {
    let running = run("act").await;
    running.analyze.tell(calm());
    running.report_saying("keeps 2").await;
    // Another planner was quicker, and the feed has not told yet.
    running.knowledge.store_silently(5, 2, 3, DirectiveState::Verified);
    running.analyze.tell(crowd());
    let proposed = running.proposed(2).await;
    assert_eq!((proposed[0].parent_generation, proposed[1].parent_generation), (0, 5));
    let undo = proposed[1].undo.unwrap();
    assert_eq!(undo.kind, Some(wire::action::Kind::Scale(wire::Scale { replicas: 3 })));
    assert_eq!(running.knowledge.generation(), Generation(6));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ledger_that_refuses_is_asked_once_a_tick_and_no_more() {
    let running = run_with("act", TICK, |knowledge| knowledge.refuse(true)).await;
    let began = running.ctx.clock.monotonic();
    running.analyze.tell(crowd());
    let asked = running.proposed(4).await.len();
    let ticks = (running.ctx.clock.monotonic() - began).as_millis() / TICK.as_millis();
    assert!(asked as u128 <= ticks + 2, "{asked} proposals in {ticks} ticks");
    running.knowledge.refuse(false);
    running.report_saying("held back by concurrency").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_analyze_nothing_is_planned_and_the_report_says_so() {
    let running = run("act").await;
    running.analyze.tell(calm());
    running.report_saying("keeps 2").await;
    running.analyze.ctx.stopper.stop();
    let report = running.report_saying("nothing is planned: Analyze cannot be reached").await;
    assert!(report.reductions_forbidden);
    assert_eq!((report.policy.as_str(), report.autonomy()), ("catalog", wire::AutonomyLevel::Act));
    // It comes back at the same place, and so does the plan.
    running.analyze.ctx.tasks.join(LIMIT).await;
    let listen = ServerConfig { listen: running.analyze.addr, ..ServerConfig::default() };
    let again = FakeAnalyze::start(&running.ctx.sub(), listen).await;
    again.tell(crowd());
    running.proposed(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_knowledge_nothing_is_planned_and_the_report_says_so() {
    let running = run("act").await;
    running.analyze.tell(calm());
    running.report_saying("keeps 2").await;
    running.knowledge.ctx.stopper.stop();
    running.report_saying("nothing is planned: Knowledge cannot be reached").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn restart_forgets_no_cooldown() {
    let running = run("act").await;
    running.analyze.tell(calm());
    running.report_saying("keeps 2").await;
    running.plan.stopper.stop();
    assert!(running.plan.tasks.join(LIMIT).await.is_empty());
    running.knowledge.store_silently(1, 1, 2, DirectiveState::Verified);
    let (plan, reports) = start_plan(&running.ctx, &running.knowledge, &running.analyze, TICK).await;
    let running = Running { plan, reports, ..running };
    running.analyze.tell(crowd());
    let report = running.report_saying("held back by cooldown").await;
    assert!(report.text.contains("after \"scale to 2 replicas\""), "{}", report.text);
    assert_eq!(running.knowledge.proposed().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn compacted_feed_is_read_from_the_lists_again() {
    let running = run("act").await;
    running.analyze.tell(calm());
    running.report_saying("keeps 2").await;
    running.knowledge.store_silently(1, 2, 6, DirectiveState::Verifying);
    running.knowledge.compact();
    running.report_saying("keeps 6").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pause_and_resume_arrive_by_the_feed() {
    let running = run("act").await;
    running.analyze.tell(calm());
    running.report_saying("keeps 2").await;
    let now = running.ctx.clock.now();
    let pause =
        PauseState { paused: true, counter: 1, reason: "deploy".into(), actor: "ada".into(), at: now };
    running.knowledge.pause(pause.clone());
    // The two feeds keep no order between them, so the crowd comes only once the pause is known.
    eventually(LIMIT, "the pause", || async {
        running
            .report("service:staging/catalog")
            .await
            .filter(|report| report.reductions_reason.contains("paused by ada"))
    })
    .await;
    running.analyze.tell(crowd());
    running.report_saying("held back by pause (acting is paused by ada: deploy)").await;
    assert_eq!(running.knowledge.proposed().len(), 0);
    running.knowledge.pause(PauseState { paused: false, counter: 2, ..pause });
    running.proposed(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn actuator_that_leaves_and_returns_is_noticed() {
    let running = run_with("act", TICK, |knowledge| knowledge.set_actuator(false)).await;
    running.analyze.tell(calm());
    running.report_saying("keeps 2").await;
    running.analyze.tell(crowd());
    running.report_saying("held back by actuator").await;
    running.knowledge.set_actuator(true);
    running.proposed(1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn deleted_service_loses_its_report() {
    let running = run("act").await;
    running.analyze.tell(calm());
    running.report_saying("keeps 2").await;
    running.knowledge.delete_service();
    eventually(LIMIT, "no report", || async {
        running.report("service:staging/catalog").await.is_none().then_some(())
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plan_ends_within_its_deadline() {
    let running = run("act").await;
    running.analyze.tell(calm());
    running.report_saying("keeps 2").await;
    running.plan.stopper.stop();
    assert!(running.plan.tasks.join(LIMIT).await.is_empty());
}

/// The level at which catalog's policy stands, and the generation of that.
fn standing(knowledge: &FakeKnowledge) -> Option<(wire::AutonomyLevel, u64)> {
    knowledge.standings().first().map(|standing| (standing.earned(), standing.generation))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn harm_demotes_at_once_is_recorded_and_outlives_plan() {
    let running = run("act").await;
    running.analyze.tell(crowd());
    running.proposed(1).await;
    running.knowledge.advance(0, DirectiveState::Applied);
    running.knowledge.advance(0, DirectiveState::Harmful);
    eventually(LIMIT, "a demotion", || async { standing(&running.knowledge) }).await;
    assert_eq!(standing(&running.knowledge), Some((wire::AutonomyLevel::Approve, 1)));
    let evidence = running.knowledge.evidence();
    assert_eq!(evidence.len(), 1);
    assert_eq!(evidence[0].verdict(), wire::EvidenceVerdict::Harm);
    let level = |report: wire::PlanReport| report.autonomy();
    eventually(LIMIT, "a report at the lower level", || async {
        let level = running.report("service:staging/catalog").await.map(level);
        level.filter(|level| *level == wire::AutonomyLevel::Approve)
    })
    .await;
    running.plan.stopper.stop();
    let (_, reports) = start_plan(&running.ctx, &running.knowledge, &running.analyze, TICK).await;
    let again = Running { reports, ..running };
    eventually(LIMIT, "a report after the restart", || async {
        let report = again.report("service:staging/catalog").await;
        report.map(level).filter(|level| *level == wire::AutonomyLevel::Approve)
    })
    .await;
    assert_eq!(standing(&again.knowledge), Some((wire::AutonomyLevel::Approve, 1)), "counted once");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn harm_that_nobody_saw_is_weighed_at_the_next_start() {
    let running = run_with("act", TICK, |knowledge| {
        knowledge.store_silently(1, 2, 3, DirectiveState::Harmful);
    })
    .await;
    eventually(LIMIT, "a demotion", || async { standing(&running.knowledge) }).await;
    assert_eq!(standing(&running.knowledge), Some((wire::AutonomyLevel::Approve, 1)));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_persons_level_is_obeyed_within_seconds() {
    let running = run("act").await;
    running.analyze.tell(calm());
    running.report_saying("keeps 2").await;
    running.knowledge.set_standing(wire::Standing {
        policy: "catalog".to_owned(),
        resource: Some(fakes::catalog().into()),
        generation: 1,
        earned: wire::AutonomyLevel::Act.into(),
        cap: wire::AutonomyLevel::Recommend.into(),
        cause: wire::StandingCause::Set.into(),
        reason: "a fair".to_owned(),
        actor: "ann".to_owned(),
        at_unix_ms: 1,
    });
    eventually(LIMIT, "the level", || async {
        let report = running.report("service:staging/catalog").await?;
        (report.autonomy() == wire::AutonomyLevel::Recommend).then_some(())
    })
    .await;
    running.analyze.tell(crowd());
    let proposed = running.proposed(1).await;
    assert_eq!(proposed[0].autonomy(), wire::AutonomyLevel::Recommend);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_demotion_that_comes_second_is_made_again_on_top() {
    let running = run("act").await;
    running.analyze.tell(crowd());
    running.proposed(1).await;
    // Somebody was faster, and Plan does not know it yet.
    let now = jiff::Timestamp::UNIX_EPOCH;
    running.knowledge.set_standing(wire::Standing {
        policy: "catalog".to_owned(),
        resource: Some(fakes::catalog().into()),
        generation: 1,
        earned: wire::AutonomyLevel::Act.into(),
        cap: 0,
        cause: wire::StandingCause::Set.into(),
        reason: "vouched for".to_owned(),
        actor: "ann".to_owned(),
        at_unix_ms: now.as_millisecond() + 1,
    });
    running.knowledge.advance(0, DirectiveState::Applied);
    running.knowledge.advance(0, DirectiveState::Harmful);
    eventually(LIMIT, "the second change", || async {
        standing(&running.knowledge).filter(|(_, generation)| *generation == 2)
    })
    .await;
    assert_eq!(standing(&running.knowledge), Some((wire::AutonomyLevel::Approve, 2)));
}
