//! Samples in, assessments out, signals listed.

use std::time::Duration;

use proto::model::{Quality, SymptomKind};

use crate::setup::{NAMES, World, catalog};

const CATALOG: &str = "service:staging/catalog";

#[tokio::test]
async fn samples_become_assessments_and_are_acknowledged_once_judged() {
    let world = World::new().await;
    let running = world.analyze().await;
    let mut watcher = running.watch().await;
    let mut sender = running.sender(CATALOG).await;
    assert_eq!(sender.tick(100.0).await.refused, 0);
    let assessment = watcher.next().await;
    assert_eq!((assessment.resource.to_string().as_str(), assessment.sequence), (CATALOG, 1));
    assert_eq!((assessment.value("load"), assessment.data.quality), (Some(100.0), Quality::Good));
    let late = running.watch().await.next().await;
    assert_eq!(late, assessment, "a new watcher begins with the newest of each resource");
    running.stop().await;
}

#[tokio::test]
async fn watcher_of_one_resource_sees_no_other() {
    let world = World::new().await;
    let running = world.analyze().await;
    let wanted = "service:staging/inventory";
    let mut watcher = running.client.watch_assessments(vec![wanted.parse().unwrap()]).await.unwrap();
    running.sender(CATALOG).await.tick(100.0).await;
    running.sender(wanted).await.tick(100.0).await;
    assert_eq!(watcher.next().await.unwrap().unwrap().resource.to_string(), wanted);
    running.stop().await;
}

#[tokio::test]
async fn when_samples_stop_the_resource_turns_unknown_by_itself() {
    let world = World::new().await;
    world.knowledge.declare(catalog());
    let running = world.analyze().await;
    let mut watcher = running.watch().await;
    let mut sender = running.sender(CATALOG).await;
    sender.calm(5).await;
    drop(sender);
    world.clock.advance(Duration::from_secs(3));
    let assessment = watcher.until(|assessment| assessment.data.quality == Quality::Unknown).await;
    assert!(assessment.data.reason.starts_with("no samples arrive"), "{}", assessment.data.reason);
    assert!(assessment.open_symptom(SymptomKind::DataMissing).is_some());
    assert!(assessment.signals.iter().all(|glance| glance.value.is_none()));
    running.stop().await;
}

#[tokio::test]
async fn broken_batches_and_rows_are_refused_without_ending_the_stream() {
    let world = World::new().await;
    let running = world.analyze().await;
    let mut sender = running.sender(CATALOG).await;
    sender.calm(2).await;
    let mut ragged = sender.batch(1.0);
    ragged.values.pop();
    let acknowledged = sender.send(ragged).await;
    assert_eq!(acknowledged.refused, 4);
    assert!(acknowledged.reason.contains("handles"), "{}", acknowledged.reason);
    let mut old = sender.batch(1.0);
    old.at_unix_ms.iter_mut().for_each(|at| *at -= 60_000);
    let acknowledged = sender.send(old).await;
    assert_eq!((acknowledged.refused, acknowledged.reason.as_str()), (4, "not_newer"));
    assert_eq!(sender.tick(100.0).await.refused, 0);
    running.counted(r#"homeostat_analyze_samples_refused_total{reason="broken_batch"} 4"#).await;
    running.counted(r#"homeostat_analyze_samples_refused_total{reason="not_newer"} 4"#).await;
    running.stop().await;
}

#[tokio::test]
async fn signals_are_listed_page_by_page_in_order() {
    let world = World::new().await;
    let running = world.analyze().await;
    for resource in [CATALOG, "edge:staging/catalog->inventory", "service:staging/gateway"] {
        running.sender(resource).await.calm(2).await;
    }
    let (mut after, mut all) = (String::new(), Vec::new());
    loop {
        let page = running.client.list_signals("", &after, 5).await.unwrap();
        all.extend(page.signals.iter().map(|signal| signal.signal.to_string()));
        after = all.last().unwrap().clone();
        if !page.more {
            break;
        }
        assert_eq!(page.signals.len(), 5);
    }
    assert_eq!(all.len(), 3 * NAMES.len());
    assert!(all.is_sorted());
    let page = running.client.list_signals("service:staging/catalog#load", "", 0).await.unwrap();
    assert_eq!((page.signals.len(), page.more), (1, false));
    assert_eq!((page.signals[0].samples, page.signals[0].warm_up_remaining), (2, 58));
    assert!(running.client.list_signals("", "", 10_001).await.is_err());
    running.stop().await;
}

#[tokio::test]
async fn two_senders_of_one_resource_do_not_judge_a_sample_twice() {
    let world = World::new().await;
    let running = world.analyze().await;
    let mut first = running.sender(CATALOG).await;
    let mut second = running.sender(CATALOG).await;
    let batch = first.batch(100.0);
    assert_eq!(first.send(batch.clone()).await.refused, 0);
    assert_eq!(second.send(batch).await.refused, 4);
    running.stop().await;
}
