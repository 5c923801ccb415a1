//! Objectives: documents with their versions, spans of budgets with their edits, events once each.

use super::support::{Lab, config, database, start_with};
use knowledge::retention::Retention;
use proto::wire::{self, objectives_client::ObjectivesClient};
use std::time::Duration;
use tonic::transport::Channel;

const SERVICE: &str =
    "apiVersion: openslo/v1\nkind: Service\nmetadata: { name: shop }\nspec: { description: sells }\n";

async fn lab() -> Lab<ObjectivesClient<Channel>> {
    let database = database().await;
    // Its times are those of 1970: nothing of them may be taken for old.
    let objectives = Duration::from_secs(200 * 365 * 86_400);
    let config = knowledge::Config {
        retention: Retention { objectives, ..Retention::default() },
        ..config(&database)
    };
    start_with(config, database, ObjectivesClient::new).await
}

fn import(body: &str) -> wire::ImportObjectivesRequest {
    let document = wire::ObjectiveDocument { body: body.to_owned(), ..Default::default() };
    wire::ImportObjectivesRequest { documents: vec![document] }
}

fn span(at: i64, total: f64, bad: f64) -> wire::BudgetSpan {
    wire::BudgetSpan {
        objective: "shop/orders".to_owned(),
        from_unix_ms: at * 60_000,
        width_ms: 60_000,
        total,
        bad,
        known_ms: 60_000,
        incomplete: false,
    }
}

fn asked(replaced: bool) -> wire::BudgetHistoryRequest {
    let objective = "shop/orders".to_owned();
    wire::BudgetHistoryRequest { objective, from_unix_ms: 0, to_unix_ms: 600_000_000, limit: 0, replaced }
}

#[tokio::test]
async fn a_document_gets_a_new_version_only_when_it_changed() {
    let lab = lab().await;
    let mut client = lab.knowledge.clone();
    let first = client.import_objectives(import(SERVICE)).await.unwrap().into_inner().documents;
    assert_eq!((first[0].kind.as_str(), first[0].name.as_str(), first[0].version), ("Service", "shop", 1));
    let again = client.import_objectives(import(SERVICE)).await.unwrap().into_inner().documents;
    assert_eq!(again, first);
    let changed = SERVICE.replace("sells", "buys");
    let second = client.import_objectives(import(&changed)).await.unwrap().into_inner().documents;
    assert_eq!(second[0].version, 2);
    let ask = |versions| wire::ListObjectivesRequest { versions, ..Default::default() };
    let newest = client.list_objectives(ask(false)).await.unwrap().into_inner().documents;
    assert_eq!(newest, second);
    let all = client.list_objectives(ask(true)).await.unwrap().into_inner().documents;
    assert_eq!(all.iter().map(|document| document.version).collect::<Vec<_>>(), [2, 1]);
    let seen = client.list_objectives(ask(false)).await.unwrap().into_inner().revision;
    let again = wire::ListObjectivesRequest { known_revision: seen, ..Default::default() };
    let nothing_new = client.list_objectives(again).await.unwrap().into_inner();
    assert_eq!((nothing_new.documents.len(), nothing_new.revision), (0, seen));
}

#[tokio::test]
async fn what_is_not_openslo_is_refused_whole() {
    let lab = lab().await;
    let mut client = lab.knowledge.clone();
    let text = format!(
        "{SERVICE}---\napiVersion: openslo/v1\nkind: SLO\nmetadata: {{ name: x }}\nspec: {{ service: shop }}\n"
    );
    let refused = client.import_objectives(import(&text)).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::InvalidArgument);
    assert!(refused.message().contains("SLO x"), "{}", refused.message());
    let listed = client.list_objectives(wire::ListObjectivesRequest::default()).await.unwrap().into_inner();
    assert!(listed.documents.is_empty());
}

#[tokio::test]
async fn a_span_told_again_is_replaced_and_stays_in_the_history() {
    let lab = lab().await;
    let mut client = lab.knowledge.clone();
    for spans in [
        vec![span(1, 100.0, 1.0), span(2, 100.0, 0.0)],
        // Told twice, and one of them late with more events.
        vec![span(1, 100.0, 1.0), span(2, 120.0, 5.0)],
    ] {
        client.record_budget(wire::RecordBudgetRequest { spans }).await.unwrap();
    }
    let spans = client.budget_history(asked(false)).await.unwrap().into_inner().spans;
    assert_eq!(spans, [span(1, 100.0, 1.0), span(2, 120.0, 5.0)]);
    let all = client.budget_history(asked(true)).await.unwrap().into_inner().spans;
    assert_eq!(all.len(), 3, "the edit keeps what was there");
    for wrong in
        [span(3, f64::NAN, 0.0), span(3, 1.0, 2.0), wire::BudgetSpan { width_ms: 0, ..span(3, 1.0, 0.0) }]
    {
        let refused = client.record_budget(wire::RecordBudgetRequest { spans: vec![wrong] }).await;
        assert_eq!(refused.unwrap_err().code(), tonic::Code::InvalidArgument);
    }
}

#[tokio::test]
async fn an_event_is_stored_once() {
    let lab = lab().await;
    let mut client = lab.knowledge.clone();
    let event = wire::ObjectiveEvent {
        id: "0192d3a4-0000-7000-8000-000000000000".to_owned(),
        objective: "shop/orders".to_owned(),
        at_unix_ms: 1_000,
        kind: "alert_opened".to_owned(),
        text: "page fast opened".to_owned(),
        actor: String::new(),
        until_unix_ms: 9_000,
    };
    for _ in 0..2 {
        let request = wire::RecordObjectiveEventsRequest { events: vec![event.clone()] };
        client.record_objective_events(request).await.unwrap();
    }
    let request = wire::ListObjectiveEventsRequest { objective: "shop/orders".to_owned(), limit: 0 };
    let events = client.list_objective_events(request).await.unwrap().into_inner().events;
    assert_eq!(events, [event]);
}

#[tokio::test]
async fn a_deleted_document_is_gone_keeps_its_history_and_may_come_back() {
    let lab = lab().await;
    let mut client = lab.knowledge.clone();
    let slo = "apiVersion: openslo/v1\nkind: SLO\nmetadata: { name: orders }\nspec:\n  service: shop\n  indicator:\n    metadata: { name: i }\n    spec: { ratioMetric: { counter: true, good: { metricSource: { type: Prometheus, spec: { query: good } } }, total: { metricSource: { type: Prometheus, spec: { query: all } } } } }\n  timeWindow: [{ duration: 7d, isRolling: true }]\n  budgetingMethod: Occurrences\n  objectives: [{ target: 0.9 }]\n";
    client.import_objectives(import(&format!("{SERVICE}---\n{slo}"))).await.unwrap();
    let delete =
        |kind: &str, name: &str| wire::DeleteObjectiveRequest { kind: kind.into(), name: name.into() };
    let revision =
        client.list_objectives(wire::ListObjectivesRequest::default()).await.unwrap().into_inner().revision;

    let needed = client.delete_objective(delete("Service", "shop")).await.unwrap_err();
    assert_eq!(needed.code(), tonic::Code::FailedPrecondition);
    assert!(needed.message().contains("SLO orders"), "it says who needs it: {}", needed.message());
    assert_eq!(
        client.delete_objective(delete("SLO", "other")).await.unwrap_err().code(),
        tonic::Code::NotFound
    );
    assert_eq!(
        client.delete_objective(delete("Pod", "orders")).await.unwrap_err().code(),
        tonic::Code::InvalidArgument
    );

    let gone = client.delete_objective(delete("SLO", "orders")).await.unwrap().into_inner().document.unwrap();
    assert_eq!((gone.version, gone.deleted), (2, true));
    client.delete_objective(delete("Service", "shop")).await.unwrap();
    let listed = client
        .list_objectives(wire::ListObjectivesRequest { known_revision: revision, ..Default::default() })
        .await
        .unwrap()
        .into_inner();
    assert!(listed.documents.is_empty() && listed.revision > revision, "readers learn of it: {listed:?}");
    let ask = wire::ListObjectivesRequest { kind: "SLO".into(), versions: true, ..Default::default() };
    let all = client.list_objectives(ask).await.unwrap().into_inner().documents;
    assert_eq!(all.iter().map(|one| (one.version, one.deleted)).collect::<Vec<_>>(), [(2, true), (1, false)]);

    let back = client.import_objectives(import(slo)).await.unwrap().into_inner().documents;
    assert_eq!((back[0].version, back[0].deleted), (3, false), "the same text is in force again");
}
