//! Stock: what inventory's answers hold and catalog makes of them. So the cluster has indicators beyond requests: how old figures
//! are, whether they arrive as they were sent, and whether what was recommended could be had.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use jiff::Timestamp;
use prometheus::{Gauge, IntCounterVec, Opts, Registry};
use serde::{Deserialize, Serialize};

use super::metrics::register;
use crate::topology::Role;

/// Different goods.
const ITEMS: u64 = 20;
/// Each item is delivered anew so often, in seconds.
const DELIVERY_S: u64 = 60;
/// For so long before that it is sold out: one in twenty recommendations of the moment before fails.
const SOLD_OUT_S: u64 = 3;
/// Inventory counts at most so often.
const COUNT_EVERY_MS: i64 = 1_000;

/// What inventory says of one item.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub(super) struct Figure {
    item: u64,
    left: u64,
    counted_at_unix_ms: i64,
    /// Of the other fields: what arrives is what was sent.
    digest: u64,
}

impl Figure {
    fn new(item: u64, counted_at_unix_ms: i64) -> Self {
        // Items are delivered one after the other, so that there is never nothing.
        let second = counted_at_unix_ms.unsigned_abs() / 1_000 + item * DELIVERY_S / ITEMS;
        let left = (DELIVERY_S - SOLD_OUT_S).saturating_sub(second % DELIVERY_S);
        let figure = Self { item, left, counted_at_unix_ms, digest: 0 };
        Self { digest: figure.sum(), ..figure }
    }

    /// FNV-1a of the fields.
    fn sum(&self) -> u64 {
        let fields = [self.item, self.left, self.counted_at_unix_ms.unsigned_abs()];
        let bytes = fields.into_iter().flat_map(u64::to_be_bytes);
        bytes
            .fold(0xcbf2_9ce4_8422_2325, |hash, byte| (hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3))
    }
}

/// The part of an answer that speaks of stock.
#[derive(Debug, Deserialize)]
struct Told {
    stock: Option<Figure>,
}

/// Inventory's side: counts, and says what it counted.
#[derive(Debug)]
pub(super) struct Counting {
    next: AtomicU64,
    counted_at: Mutex<i64>,
    last_update: Gauge,
}

impl Counting {
    pub fn new(registry: &Registry) -> Self {
        let last_update = gauge(
            registry,
            Role::Inventory,
            "data_last_update_timestamp_seconds",
            "When stock was last counted.",
        );
        Self { next: AtomicU64::new(0), counted_at: Mutex::new(i64::MIN), last_update }
    }

    /// The figure of the next item, counted anew when the last count is old.
    pub fn figure(&self, now: Timestamp) -> Figure {
        let item = self.next.fetch_add(1, Ordering::Relaxed) % ITEMS;
        let now_ms = now.as_millisecond();
        let mut counted_at = self.counted_at.lock().unwrap_or_else(PoisonError::into_inner);
        if now_ms.saturating_sub(*counted_at) >= COUNT_EVERY_MS {
            *counted_at = now_ms;
            self.last_update.set(now_ms as f64 / 1_000.0);
        }
        Figure::new(item, *counted_at)
    }
}

/// Catalog's side: an index of what inventory last said.
#[derive(Debug)]
pub(super) struct Index {
    known: Mutex<BTreeMap<u64, Figure>>,
    last_update: Gauge,
    checks: IntCounterVec,
    recommendations: IntCounterVec,
}

impl Index {
    pub fn new(registry: &Registry) -> Self {
        let counters = |name: &str, help: &str, outcomes: [&str; 2]| {
            let opts = Opts::new(name, help).const_label("service", Role::Catalog.name());
            let counters = register(registry, IntCounterVec::new(opts, &["outcome"]));
            // Series that a rate is taken of must exist before they first count.
            outcomes.iter().for_each(|outcome| _ = counters.with_label_values(&[outcome]));
            counters
        };
        Self {
            known: Mutex::default(),
            last_update: gauge(
                registry,
                Role::Catalog,
                "index_last_update_timestamp_seconds",
                "When the index last took in a figure.",
            ),
            checks: counters("integrity_checks_total", "Figures that were checked.", ["ok", "damaged"]),
            recommendations: counters(
                "recommendations_total",
                "Goods recommended as the index had them, by whether they could be had.",
                ["accepted", "declined"],
            ),
        }
    }

    /// Takes in an answer of inventory.
    pub fn take(&self, body: &[u8], now: Timestamp) {
        let figure = serde_json::from_slice::<Told>(body).ok().and_then(|told| told.stock);
        let Some(figure) = figure.filter(|figure| figure.digest == figure.sum()) else {
            self.checks.with_label_values(&["damaged"]).inc();
            return;
        };
        self.checks.with_label_values(&["ok"]).inc();
        self.last_update.set(now.as_millisecond() as f64 / 1_000.0);
        let mut known = self.known.lock().unwrap_or_else(PoisonError::into_inner);
        let left = figure.left;
        // An item that the index had as sold out was not recommended.
        if known.insert(figure.item, figure).is_some_and(|before| before.left > 0) {
            let outcome = if left > 0 { "accepted" } else { "declined" };
            self.recommendations.with_label_values(&[outcome]).inc();
        }
    }
}

fn gauge(registry: &Registry, role: Role, name: &str, help: &str) -> Gauge {
    register(registry, Gauge::with_opts(Opts::new(name, help).const_label("service", role.name())))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(second: i64) -> Timestamp {
        Timestamp::from_second(1_800_000_000 + second).unwrap()
    }

    fn body(figure: &Figure) -> Vec<u8> {
        serde_json::to_vec(&serde_json::json!({ "served_by": "inventory-1", "stock": figure })).unwrap()
    }

    fn count(counters: &IntCounterVec, outcome: &str) -> u64 {
        counters.with_label_values(&[outcome]).get()
    }

    #[test]
    fn what_arrives_changed_is_told_and_does_not_enter_the_index() {
        let (counting, index) = (Counting::new(&Registry::new()), Index::new(&Registry::new()));
        let figure = counting.figure(at(0));
        index.take(&body(&figure), at(0));
        index.take(&body(&Figure { left: figure.left + 1, ..figure }), at(9));
        index.take(b"{}", at(9));
        assert_eq!((count(&index.checks, "ok"), count(&index.checks, "damaged")), (1, 2));
        assert_eq!(index.last_update.get(), at(0).as_second() as f64);
    }

    #[test]
    fn a_good_is_recommended_while_the_index_has_it_and_declined_once_it_is_gone() {
        let index = Index::new(&Registry::new());
        for second in 0..DELIVERY_S as i64 {
            index.take(&body(&Figure::new(0, at(second).as_millisecond())), at(second));
        }
        let (accepted, declined) =
            (count(&index.recommendations, "accepted"), count(&index.recommendations, "declined"));
        assert!(declined >= 1 && accepted + declined <= DELIVERY_S, "{accepted} {declined}");
        assert!(accepted > 50, "{accepted}");
    }

    #[test]
    fn stock_is_counted_once_a_second_however_often_it_is_asked() {
        let counting = Counting::new(&Registry::new());
        let first = counting.figure(at(0));
        let soon = counting.figure(at(0) + std::time::Duration::from_millis(900));
        assert_eq!(first.counted_at_unix_ms, soon.counted_at_unix_ms);
        assert_ne!(first.item, soon.item, "the next item's turn");
        assert_eq!(counting.figure(at(2)).counted_at_unix_ms, at(2).as_millisecond());
    }
}
