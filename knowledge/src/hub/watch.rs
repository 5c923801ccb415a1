//! Streams of the change feed: from memory while a watcher keeps up, from the database while it does not. No gap, no repeat,
//! and never more than a page of changes in memory per watcher.

use std::collections::VecDeque;
use std::sync::Arc;

use futures::{Stream, stream};
use prometheus::IntGauge;
use proto::wire::{self, change::Change as Event};
use tonic::Status;

use crate::hub::{Hub, Read};
use crate::metrics::Metrics;
use crate::store::Error;
use crate::store::{Store, change, done, record};

/// Changes taken at once: 256 of about 2 KB are half a megabyte per watcher.
const PAGE: usize = 256;

/// What every stream needs. Clones share it.
#[derive(Debug, Clone)]
pub(crate) struct Feed {
    pub(crate) store: Store,
    pub(crate) hub: Arc<Hub>,
    pub(crate) metrics: Metrics,
}

impl Feed {
    /// Every change after a revision, in order; a `compacted` one where that is no longer kept.
    pub(crate) fn changes(
        &self,
        from_revision: u64,
    ) -> impl Stream<Item = Result<wire::Change, Status>> + Send + use<> {
        let cursor = Cursor::new(self.clone(), from_revision);
        stream::try_unfold(cursor, |mut cursor| async move {
            let change = cursor.next().await.map_err(Status::from)?;
            Ok(Some((wire::Change::clone(&change), cursor)))
        })
    }

    /// Directives as they change, after `backlog`, which was read at `revision`.
    pub(crate) fn directives(
        &self,
        backlog: Vec<wire::DirectiveRecord>,
        revision: u64,
    ) -> impl Stream<Item = Result<wire::DirectiveRecord, Status>> + Send + use<> {
        let cursor = Cursor::new(self.clone(), revision);
        stream::try_unfold((VecDeque::from(backlog), cursor), |(mut backlog, mut cursor)| async move {
            let record = match backlog.pop_front() {
                Some(record) => record,
                None => cursor.next_directive().await.map_err(Status::from)?,
            };
            Ok(Some((record, (backlog, cursor))))
        })
    }

    /// What a follower of directives must know first, and the revision to follow from.
    pub(crate) async fn snapshot(&self) -> Result<(Vec<wire::DirectiveRecord>, u64), Error> {
        let mut moment = self.store.moment().await?;
        let revision = change::revision(&mut moment).await?;
        let records = record::snapshot(&mut moment).await?;
        done(moment).await;
        Ok((records, revision))
    }
}

/// One watcher's place in the feed.
struct Cursor {
    feed: Feed,
    /// The last revision handed out.
    seen: u64,
    page: VecDeque<Arc<wire::Change>>,
    newest: tokio::sync::watch::Receiver<u64>,
    _open: Open,
}

impl Cursor {
    fn new(feed: Feed, seen: u64) -> Self {
        let newest = feed.hub.subscribe();
        let open = Open::new(feed.metrics.watchers.clone());
        Self { feed, seen, page: VecDeque::new(), newest, _open: open }
    }

    async fn next(&mut self) -> Result<Arc<wire::Change>, Error> {
        loop {
            if let Some(change) = self.page.pop_front() {
                self.seen = change.revision;
                return Ok(change);
            }
            self.newest.mark_unchanged();
            match self.feed.hub.after(self.seen, PAGE) {
                Read::Changes(changes) => self.take("memory", changes),
                Read::Behind => self.read_database().await?,
                Read::UpToDate if self.seen > self.feed.hub.newest() => self.look_ahead().await?,
                Read::UpToDate => self.newest.changed().await.map_err(|_| Error::Stopping)?,
            }
        }
    }

    async fn next_directive(&mut self) -> Result<wire::DirectiveRecord, Error> {
        loop {
            match &self.next().await?.change {
                Some(Event::Directive(record)) => return Ok(record.clone()),
                Some(Event::Compacted(gone)) => {
                    return Err(Error::Compacted(gone.oldest_revision.saturating_sub(1)));
                }
                _ => {}
            }
        }
    }

    fn take(&mut self, source: &str, changes: Vec<Arc<wire::Change>>) {
        self.feed.metrics.watch_reads.with_label_values(&[source]).inc_by(changes.len() as u64);
        self.page = changes.into();
    }

    async fn read_database(&mut self) -> Result<(), Error> {
        let mut changes = change::after(&self.feed.store.pool, self.seen, PAGE as i64).await?;
        let whole =
            changes.iter().zip(self.seen + 1..).take_while(|(change, expected)| change.revision == *expected);
        changes.truncate(whole.count());
        if changes.is_empty() {
            return self.compacted().await;
        }
        self.take("database", changes);
        Ok(())
    }

    /// A revision that this instance has not seen yet: another one may have committed it, or it was never given out (a
    /// database restored from an older copy).
    async fn look_ahead(&mut self) -> Result<(), Error> {
        let mut moment = self.feed.store.moment().await?;
        let revision = change::revision(&mut moment).await?;
        done(moment).await;
        self.feed.hub.advance(revision);
        if self.seen > revision { self.compacted().await } else { Ok(()) }
    }

    async fn compacted(&mut self) -> Result<(), Error> {
        let mut moment = self.feed.store.moment().await?;
        let revision = change::revision(&mut moment).await?;
        let oldest = change::oldest(&mut moment).await?;
        done(moment).await;
        let compacted = wire::Compacted { oldest_revision: oldest.unwrap_or(revision + 1) };
        let change = Some(Event::Compacted(compacted));
        self.page = VecDeque::from([Arc::new(wire::Change { revision, at_unix_ms: 0, change })]);
        Ok(())
    }
}

/// Counts an open watch for as long as it lives.
struct Open(IntGauge);

impl Open {
    fn new(gauge: IntGauge) -> Self {
        gauge.inc();
        Self(gauge)
    }
}

impl Drop for Open {
    fn drop(&mut self) {
        self.0.dec();
    }
}
