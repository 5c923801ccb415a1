//! Spreads the resources of a round over the cores. What comes out is the same for any number of threads.

use std::{
    num::NonZero,
    sync::{Mutex, PoisonError},
    thread,
};

/// Resources that a thread takes at once: at 5 µs each 0.6 ms, against which a thread's start (some 30 µs) is little.
const SHARE: usize = 128;

/// How many threads work on a round.
pub type Threads = NonZero<usize>;

/// As many as the machine has cores, or one where it does not say.
pub fn all_cores() -> Threads {
    thread::available_parallelism().unwrap_or(NonZero::<usize>::MIN)
}

/// Does the work on each item, and puts what comes of it in the same place of `found`. Each thread has a `room` of its own, which
/// is made for it and is no part of what comes out. One thread, or a few items, need no other threads.
pub(crate) fn fill<I: Sync, R, T: Send>(
    items: &[I],
    found: &mut [T],
    threads: Threads,
    room: impl Fn() -> R + Sync,
    work: impl Fn(&mut R, &I) -> T + Sync,
) {
    let do_share = |room: &mut R, items: &[I], found: &mut [T]| {
        items.iter().zip(found).for_each(|(item, found)| *found = work(room, item));
    };
    let threads = threads.get().min(items.len().div_ceil(SHARE));
    if threads <= 1 {
        return do_share(&mut room(), items, found);
    }
    let shares = Mutex::new(items.chunks(SHARE).zip(found.chunks_mut(SHARE)));
    let take_part = || {
        let mut room = room();
        loop {
            // The lock is given back before the work begins.
            let share = shares.lock().unwrap_or_else(PoisonError::into_inner).next();
            let Some((items, found)) = share else { return };
            do_share(&mut room, items, found);
        }
    };
    thread::scope(|scope| {
        (1..threads).for_each(|_| drop(scope.spawn(take_part)));
        take_part();
    });
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_is_done_once_in_its_place_by_any_number_of_threads() {
        for count in [0, 1, SHARE, SHARE + 1, 10 * SHARE + 7] {
            let items: Vec<usize> = (0..count).collect();
            for threads in [1, 2, 3, 64] {
                let mut found = vec![0; count];
                let threads = Threads::new(threads).unwrap();
                fill(&items, &mut found, threads, || (), |(), item| item * 3 + 1);
                assert!(found.iter().enumerate().all(|(place, found)| *found == place * 3 + 1));
            }
        }
    }

    #[test]
    fn room_is_one_for_each_thread() {
        let made = Mutex::new(0);
        let (items, mut found) = (vec![(); 5 * SHARE], vec![0; 5 * SHARE]);
        let threads = Threads::new(3).unwrap();
        let room = || {
            *made.lock().unwrap() += 1;
            0
        };
        let count = |seen: &mut u32, (): &()| {
            *seen += 1;
            *seen
        };
        fill(&items, &mut found, threads, room, count);
        assert_eq!(*made.lock().unwrap(), 3);
        let begun = found.iter().filter(|seen| **seen == 1).count();
        assert!((1..=3).contains(&begun), "{begun} rooms were used");
    }
}
