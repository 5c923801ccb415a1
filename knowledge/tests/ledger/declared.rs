//! Declared documents and resources.

use super::support::lab;
use proto::client::ChangeEvent;
use proto::model::{Declared, DeclaredKind, DeclaredSpec, yaml};

const SHOP: &str = r#"
kind: Service
metadata: { name: catalog, namespace: staging }
spec:
  instances: { service: catalog, zone: a }
  signals:
    total: http_requests_total
    good: http_requests_total{code!~"5.."}
  edges:
    - callee: inventory
      total: upstream_requests_total{callee="inventory"}
      good: upstream_requests_total{callee="inventory",outcome="success"}
---
kind: Policy
metadata: { name: catalog, namespace: staging }
spec: { service: catalog, autonomy: act, scale: { minimum: 1, maximum: 6 } }
"#;

fn shop() -> Vec<Declared> {
    yaml::read(SHOP).unwrap()
}

/// The policy with another bound.
fn changed() -> Declared {
    let mut policy = shop().remove(1);
    let DeclaredSpec::Policy(spec) = &mut policy.spec else { panic!("the second document is the policy") };
    spec.blast_radius_ratio /= 2.0;
    policy
}

#[tokio::test]
async fn only_a_changed_document_gets_a_new_version() {
    let lab = lab().await;
    let first = lab.knowledge.apply(shop()).await.unwrap();
    assert_eq!(first.iter().map(|d| d.version).collect::<Vec<_>>(), [1, 1]);
    let again = lab.knowledge.apply(shop()).await.unwrap();
    assert_eq!(first, again, "the same content changes nothing");
    assert_eq!(lab.number("select value from revision").await, 2);
    let policy = lab.knowledge.apply(vec![changed()]).await.unwrap();
    assert_eq!(policy[0].version, 2);
    let list = lab.knowledge.list_declared(None, "", "").await.unwrap();
    assert_eq!((list.documents.len(), list.revision), (2, 3));
    let only = lab.knowledge.list_declared(Some(DeclaredKind::Policy), "staging", "catalog").await.unwrap();
    assert_eq!(only.documents, policy);
}

#[tokio::test]
async fn deleted_name_that_comes_back_goes_on_counting() {
    let lab = lab().await;
    lab.knowledge.apply(shop()).await.unwrap();
    assert!(lab.knowledge.delete_declared(DeclaredKind::Policy, "staging", "catalog").await.unwrap());
    assert!(!lab.knowledge.delete_declared(DeclaredKind::Policy, "staging", "catalog").await.unwrap());
    let back = lab.knowledge.apply(shop()).await.unwrap();
    assert_eq!((back[0].version, back[1].version), (1, 3), "the deletion was version 2");
    let mut changes = lab.knowledge.watch_changes(2).await.unwrap();
    let deleted = changes.next().await.unwrap().unwrap();
    assert_eq!(deleted.event, ChangeEvent::Deleted(DeclaredKind::Policy, "staging".into(), "catalog".into()));
    let applied = changes.next().await.unwrap().unwrap();
    assert_eq!(applied.event, ChangeEvent::Applied(Box::new(back[1].clone())));
}

#[tokio::test]
async fn documents_are_applied_all_or_none() {
    let lab = lab().await;
    let mut documents: Vec<_> = shop().into_iter().map(proto::wire::Declared::from).collect();
    documents[1].name = "bad name".to_owned();
    let request = proto::wire::ApplyRequest { documents };
    let refused = lab.knowledge.raw().apply(request).await.unwrap_err();
    assert_eq!(refused.code(), tonic::Code::InvalidArgument);
    assert!(lab.knowledge.list_declared(None, "", "").await.unwrap().documents.is_empty());
}

#[tokio::test]
async fn resources_are_those_ever_seen_and_say_whether_they_are_declared() {
    let lab = lab().await;
    lab.knowledge.apply(shop()).await.unwrap();
    lab.knowledge.propose(lab.directive("service:staging/other", 0)).await.unwrap();
    let reply = lab.knowledge.raw().list_resources(proto::wire::ListResourcesRequest {}).await.unwrap();
    let seen: Vec<_> = reply
        .into_inner()
        .resources
        .into_iter()
        .map(|record| (record.resource.unwrap().name, record.declared, record.generations.len()))
        .collect();
    let expect = [("catalog", true, 0), ("other", false, 1), ("catalog->inventory", true, 0)];
    assert_eq!(seen, expect.map(|(name, declared, kinds)| (name.to_owned(), declared, kinds)));
}
