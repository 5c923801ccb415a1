//! Watching: no gap and no repeat, wherever a watcher is cut off.

use super::support::{Lab, lab, on, within};
use prost::Message;
use proto::client::ChangeEvent;
use proto::model::{DirectiveState, Generation};
use std::collections::BTreeMap;
use uuid::Uuid;

use DirectiveState::{Applied, Delivered, Expired, Issued, Proposed, Verified};

/// Makes this many changes.
async fn changes(lab: &Lab, count: usize) {
    let one =
        |n: usize| lab.knowledge.propose(lab.directive(&format!("service:many/s{}-{n}", lab.ctx.uuid()), 0));
    futures::future::try_join_all((0..count).map(one)).await.unwrap();
}

#[tokio::test]
async fn watcher_that_is_cut_off_anywhere_resumes_without_gap_or_repeat() {
    const CHANGES: u64 = 1_500;
    let lab = lab().await;
    // The other instance commits too, and began late: what was before is not in its memory.
    changes(&lab, 200).await;
    let other = on(lab.database.clone()).await;
    let write = async {
        for part in 0..13 {
            changes(if part % 3 == 0 { &other } else { &lab }, 100).await;
        }
    };
    let watch = async {
        let mut seen: Vec<u64> = Vec::new();
        while (seen.len() as u64) < CHANGES {
            let from = seen.last().copied().unwrap_or(0);
            let (side, length) = lab.ctx.with_ids(|ids| (ids.next_u64() % 2, ids.next_u64() % 150));
            let knowledge = if side == 0 { &lab.knowledge } else { &other.knowledge };
            let mut stream = knowledge.watch_changes(from).await.unwrap();
            for _ in 0..length.min(CHANGES - seen.len() as u64) {
                let change = stream.next().await.unwrap().unwrap();
                assert!(matches!(change.event, ChangeEvent::Directive(_)), "{change:?}");
                seen.push(change.revision);
            }
        }
        seen
    };
    let ((), seen) = within("all changes are seen", async { tokio::join!(write, watch) }).await;
    assert_eq!(seen, (1..=CHANGES).collect::<Vec<_>>());
}

#[tokio::test]
async fn feed_replays_exactly_what_was_streamed() {
    let lab = lab().await;
    let mut live = lab.knowledge.watch_changes(0).await.unwrap();
    let directive = lab.directive("service:staging/catalog", 0);
    lab.knowledge.propose(directive.clone()).await.unwrap();
    lab.walk(directive.id, &[Issued, Delivered, Applied, Verified]).await;
    let late = on(lab.database.clone()).await;
    let mut replayed = late.knowledge.watch_changes(0).await.unwrap();
    for state in [Issued, Delivered, Applied, Verified] {
        let change = within("a live change", live.next()).await.unwrap().unwrap();
        assert_eq!(within("a replayed change", replayed.next()).await.unwrap().unwrap(), change);
        let ChangeEvent::Directive(record) = change.event else { panic!("{change:?}") };
        assert_eq!(
            (record.state, record.revision, record.directive.id),
            (state, change.revision, directive.id)
        );
        assert_eq!(record.directive.generation, Generation(1));
    }
}

#[tokio::test]
async fn snapshot_has_what_is_open_and_in_effect_and_the_feed_goes_on_from_it() {
    let lab = lab().await;
    let mut make = Vec::new();
    for name in ["done", "waiting", "over", "early", "late"] {
        let directive = lab.directive(&format!("service:staging/{name}"), 0);
        lab.knowledge.propose(directive.clone()).await.unwrap();
        make.push(directive);
    }
    lab.walk(make[0].id, &[Issued, Applied, Verified]).await;
    lab.walk(make[2].id, &[Issued, Expired]).await;
    lab.walk(make[3].id, &[Issued, Applied, Verified]).await;
    let next = lab.directive("service:staging/early", 1);
    lab.knowledge.propose(next.clone()).await.unwrap();
    lab.walk(next.id, &[Issued, Applied, Verified]).await;
    let mut stream = lab.knowledge.watch_directives(0, true).await.unwrap();
    let mut seen = Vec::new();
    for _ in 0..4 {
        seen.push(within("the snapshot", stream.next()).await.unwrap().unwrap());
    }
    assert!(seen.is_sorted_by_key(|record| record.revision), "a watcher may resume from the last it got");
    let mut ids: Vec<Uuid> = seen.iter().map(|record| record.directive.id).collect();
    let mut expect = vec![make[0].id, make[1].id, make[4].id, next.id];
    ids.sort_unstable();
    expect.sort_unstable();
    assert_eq!(ids, expect, "not what is over, and of each (resource, kind) the newest in effect");
    lab.walk(make[1].id, &[Issued, Delivered]).await;
    let follow = within("the feed", stream.next()).await.unwrap().unwrap();
    assert_eq!((follow.directive.id, follow.state), (make[1].id, Delivered));
}

#[tokio::test]
async fn follower_that_joins_amid_writes_ends_with_what_is_stored() {
    let lab = lab().await;
    let write = async {
        for n in 0..100 {
            let directive = lab.directive(&format!("service:staging/s{n}"), 0);
            lab.knowledge.propose(directive.clone()).await.unwrap();
            lab.walk(directive.id, &[Issued, Delivered, Applied]).await;
        }
    };
    let follow = async {
        let mut known: BTreeMap<Uuid, DirectiveState> = BTreeMap::new();
        let mut stream = lab.knowledge.watch_directives(0, true).await.unwrap();
        while known.len() < 100 || known.values().any(|state| *state != Applied) {
            let record = stream.next().await.unwrap().unwrap();
            known.insert(record.directive.id, record.state);
        }
    };
    within("every directive is seen as applied", async { tokio::join!(write, follow) }).await;
}

#[tokio::test]
async fn revision_that_is_no_longer_kept_is_answered_with_compacted() {
    let lab = lab().await;
    changes(&lab, 10).await;
    sqlx::query("delete from change where revision <= 4").execute(&mut lab.sql().await).await.unwrap();
    // Another instance, as memory of the first still has them.
    let other = on(lab.database.clone()).await;
    let request = proto::wire::WatchChangesRequest { from_revision: 2 };
    let mut stream = other.knowledge.raw().watch_changes(request).await.unwrap().into_inner();
    let first = within("an answer", stream.message()).await.unwrap().unwrap();
    let Some(proto::wire::change::Change::Compacted(gone)) = first.change else { panic!("{first:?}") };
    assert_eq!((first.revision, gone.oldest_revision), (10, 5));
    changes(&other, 1).await;
    assert_eq!(within("the feed goes on", stream.message()).await.unwrap().unwrap().revision, 11);
    let mut kept = other.knowledge.watch_changes(4).await.unwrap();
    assert_eq!(within("what is kept", kept.next()).await.unwrap().unwrap().revision, 5);
    let mut directives = other.knowledge.watch_directives(2, false).await.unwrap();
    let refused = within("an answer", directives.next()).await.unwrap_err();
    assert_eq!(refused.code(), Some(tonic::Code::OutOfRange));
}

#[tokio::test]
async fn revision_that_was_never_given_out_is_answered_with_compacted() {
    let lab = lab().await;
    changes(&lab, 3).await;
    let mut stream = lab.knowledge.watch_changes(1_000).await.unwrap();
    let answer = within("an answer", stream.next()).await.unwrap().unwrap();
    assert_eq!((answer.revision, answer.event), (3, ChangeEvent::Compacted));
}

#[tokio::test]
async fn commits_of_others_are_seen_without_their_notification() {
    let lab = lab().await;
    changes(&lab, 1).await;
    let mut stream = lab.knowledge.watch_changes(1).await.unwrap();
    // As another instance would, but silently.
    let mut sql = lab.sql().await;
    let pause = proto::wire::PauseState { paused: true, counter: 1, ..Default::default() };
    let change = Some(proto::wire::change::Change::Pause(pause));
    let body = proto::wire::Change { revision: 2, at_unix_ms: 0, change }.encode_to_vec();
    sqlx::raw_sql("begin").execute(&mut sql).await.unwrap();
    sqlx::query("update revision set value = 2").execute(&mut sql).await.unwrap();
    let insert = "insert into change (revision, at, kind, body) values (2, now(), 'pause', $1)";
    sqlx::query(insert).bind(body).execute(&mut sql).await.unwrap();
    sqlx::raw_sql("commit").execute(&mut sql).await.unwrap();
    let change = within("the silent commit", stream.next()).await.unwrap().unwrap();
    assert!(matches!(change.event, ChangeEvent::Pause(_)), "{change:?}");
}

#[tokio::test]
async fn advice_is_seen_by_followers_too() {
    let lab = lab().await;
    let mut stream = lab.knowledge.watch_directives(0, false).await.unwrap();
    let advice = proto::model::Directive {
        autonomy: proto::model::AutonomyLevel::Recommend,
        ..lab.directive("service:staging/catalog", 0)
    };
    lab.knowledge.propose(advice.clone()).await.unwrap();
    let record = within("the advice", stream.next()).await.unwrap().unwrap();
    assert_eq!(
        (record.directive.id, record.state, record.directive.generation),
        (advice.id, Proposed, Generation(0))
    );
}
