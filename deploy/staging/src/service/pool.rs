//! A fixed number of workers with a bounded queue before them, and how busy they have been.

use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use chassis::SharedClock;
use tokio::sync::{Semaphore, SemaphorePermit};

/// A request that waits longer than this for a worker is turned away: it is late already.
const WAIT_MAX: Duration = Duration::from_secs(1);

/// Why a request got no worker.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) enum NoWorker {
    QueueFull,
    WaitedTooLong,
}

/// The workers of one replica.
#[derive(Debug)]
pub(crate) struct Pool {
    workers: Semaphore,
    queue: usize,
    waiting: AtomicUsize,
    busy: Mutex<BusyTime>,
    clock: SharedClock,
}

/// A worker at work; back in the pool when dropped.
#[derive(Debug)]
pub(crate) struct Worker<'a> {
    pool: &'a Pool,
    _permit: SemaphorePermit<'a>,
}

impl Pool {
    pub(crate) fn new(size: usize, queue: usize, clock: SharedClock) -> Self {
        let busy = Mutex::new(BusyTime { workers: 0, since: clock.monotonic(), total: Duration::ZERO });
        Self { workers: Semaphore::new(size), queue, waiting: AtomicUsize::new(0), busy, clock }
    }

    /// First come, first served, within the queue's length and the longest wait.
    pub(crate) async fn acquire(&self) -> Result<Worker<'_>, NoWorker> {
        let permit = match self.workers.try_acquire() {
            Ok(permit) => permit,
            Err(_) => self.wait().await?,
        };
        self.change(|busy| busy.workers += 1);
        Ok(Worker { pool: self, _permit: permit })
    }

    async fn wait(&self) -> Result<SemaphorePermit<'_>, NoWorker> {
        if self.waiting.fetch_add(1, Ordering::Relaxed) >= self.queue {
            self.waiting.fetch_sub(1, Ordering::Relaxed);
            return Err(NoWorker::QueueFull);
        }
        // Counts down also if the caller goes away while it waits.
        let _place = Place(&self.waiting);
        match tokio::time::timeout(WAIT_MAX, self.workers.acquire()).await {
            Ok(permit) => Ok(permit.expect("the semaphore is never closed")),
            Err(_) => Err(NoWorker::WaitedTooLong),
        }
    }

    pub(crate) fn waiting(&self) -> usize {
        self.waiting.load(Ordering::Relaxed)
    }

    /// Workers busy now, and the time all workers have been busy so far.
    pub(crate) fn busy(&self) -> (usize, Duration) {
        self.change(|busy| (busy.workers, busy.total))
    }

    fn change<T>(&self, change: impl FnOnce(&mut BusyTime) -> T) -> T {
        let mut busy = self.busy.lock().unwrap_or_else(PoisonError::into_inner);
        busy.advance(self.clock.monotonic());
        change(&mut busy)
    }
}

impl Drop for Worker<'_> {
    fn drop(&mut self) {
        self.pool.change(|busy| busy.workers -= 1);
    }
}

struct Place<'a>(&'a AtomicUsize);

impl Drop for Place<'_> {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// The integral of busy workers over time, so that its rate is the true utilisation at any scrape interval.
#[derive(Debug)]
struct BusyTime {
    workers: usize,
    since: Duration,
    total: Duration,
}

impl BusyTime {
    fn advance(&mut self, now: Duration) {
        self.total += now.saturating_sub(self.since) * self.workers as u32;
        self.since = self.since.max(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use chassis::testing::ManualClock;
    use std::sync::Arc;

    fn pool(size: usize, queue: usize) -> (Pool, Arc<ManualClock>) {
        let clock = Arc::new(ManualClock::at("2026-01-05T00:00:00Z".parse().unwrap()));
        (Pool::new(size, queue, clock.clone()), clock)
    }

    #[tokio::test]
    async fn busy_time_is_the_integral_of_busy_workers() {
        let (pool, clock) = pool(2, 0);
        let first = pool.acquire().await.unwrap();
        clock.advance(Duration::from_secs(1));
        let second = pool.acquire().await.unwrap();
        clock.advance(Duration::from_secs(2));
        assert_eq!(pool.busy(), (2, Duration::from_secs(5)));
        drop((first, second));
        clock.advance(Duration::from_secs(9));
        assert_eq!(pool.busy(), (0, Duration::from_secs(5)));
    }

    #[tokio::test(start_paused = true)]
    async fn turns_away_whom_the_queue_cannot_hold_and_who_waited_too_long() {
        let (pool, _clock) = pool(1, 1);
        let worker = pool.acquire().await.unwrap();
        let (waited, refused) = tokio::join!(pool.acquire(), pool.acquire());
        assert_eq!(waited.unwrap_err(), NoWorker::WaitedTooLong);
        assert_eq!(refused.unwrap_err(), NoWorker::QueueFull);
        assert_eq!(pool.waiting(), 0);
        drop(worker);
        assert!(pool.acquire().await.is_ok());
    }
}
