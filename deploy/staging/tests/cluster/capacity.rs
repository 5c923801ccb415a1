//! Replicas have the capacity that they say, and changing their number costs no request.

use staging::topology::Role;

use crate::kit::{endpoints, folder, load, scrape, set, succeeded, value};

#[tokio::test(flavor = "multi_thread")]
async fn two_replicas_answer_twice_as_much_as_one_and_utilisation_is_true() {
    let (_folder, dir) = folder();
    let mut gateway = set(&dir, Role::Gateway).await;
    let mut catalog = set(&dir, Role::Catalog).await;
    let mut inventory = set(&dir, Role::Inventory).await;
    inventory.scale(3, 1).await.expect("started");
    catalog.scale(1, 1).await.expect("started");
    gateway.scale(1, 1).await.expect("started");
    let catalog_address = endpoints(&dir, Role::Catalog)[0].address;
    let busy = async || {
        let metrics = scrape(catalog_address).await.expect("metrics");
        value(&metrics, "worker_busy_seconds_total", &[])
    };

    let before = busy().await;
    let one = succeeded(&load(&dir, 300.0, 3).await) as f64;
    let utilisation = (busy().await - before) / (3.0 * 8.0);
    catalog.scale(2, 2).await.expect("started");
    let two = succeeded(&load(&dir, 300.0, 3).await) as f64;

    // Each run also drains a queue of 64 per replica after its 3 s.
    assert!((250.0..450.0).contains(&one), "one replica answered {one} in 3 s");
    assert!((1.6..2.3).contains(&(two / one)), "{one}, then {two}");
    assert!(utilisation > 0.9, "overloaded, yet {utilisation} busy");
}

#[tokio::test(flavor = "multi_thread")]
async fn scaling_out_and_in_under_load_loses_no_request() {
    let (_folder, dir) = folder();
    let mut gateway = set(&dir, Role::Gateway).await;
    let mut catalog = set(&dir, Role::Catalog).await;
    let mut inventory = set(&dir, Role::Inventory).await;
    inventory.scale(2, 1).await.expect("started");
    catalog.scale(3, 1).await.expect("started");
    gateway.scale(1, 1).await.expect("started");

    let scaling = async {
        let inward = catalog.scale(1, 2).await.expect("scaled");
        assert_eq!((inward.before, inward.after, inward.ready), (3, 1, 1));
        let outward = catalog.scale(3, 3).await.expect("scaled");
        assert_eq!((outward.before, outward.after, outward.ready), (1, 3, 3));
    };
    let (records, ()) = tokio::join!(load(&dir, 60.0, 3), scaling);
    assert!(records.len() > 120);
    assert_eq!(records.iter().find(|record| record.failed()), None);
    let served: Vec<_> = endpoints(&dir, Role::Catalog).into_iter().map(|e| e.instance).collect();
    assert_eq!(served, ["catalog-1", "catalog-2", "catalog-3"]);
}
