#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::time::Duration;

use futures::poll;
use pando_context::{Ctx, Instant, Kind, ReasonKind, Scope};
use proptest::prelude::*;

use super::state::{Popped, State};
use super::{Depth, Priority, Queue};
use crate::backoff::Backoff;

const MS: Duration = Duration::from_millis(1);
const WORKER: Kind = Kind::new("worker");

#[pando_context::test]
async fn a_key_added_twice_is_taken_once(ctx: Ctx) {
    let queue = Queue::new("test");
    queue.add("web");
    queue.add("web");
    queue.next(&ctx).await.unwrap().done();
    assert_eq!(queue.depth(), Depth::default());
}

#[pando_context::test]
async fn a_key_added_while_it_runs_runs_again_afterwards_and_not_before(ctx: Ctx) {
    let queue = Queue::new("test");
    queue.add("web");
    let taken = queue.next(&ctx).await.unwrap();
    queue.add("web");
    let again = queue.next(&ctx);
    futures::pin_mut!(again);
    assert!(poll!(again.as_mut()).is_pending());
    taken.done();
    again.await.unwrap().done();
    assert_eq!(queue.depth(), Depth::default());
}

#[pando_context::test]
async fn normal_keys_go_first_and_background_keys_get_their_turn(ctx: Ctx) {
    let queue = Queue::new("test");
    queue.add_with(1000, Priority::Background);
    (0..40).for_each(|key| queue.add(key));
    let mut order = Vec::new();
    while queue.depth().ready() > 0 {
        let taken = queue.next(&ctx).await.unwrap();
        order.push(*taken);
        taken.done();
    }
    assert_eq!(order.iter().position(|key| *key == 1000), Some(15));
    order.retain(|key| *key != 1000);
    assert_eq!(order, Vec::from_iter(0..40));
}

#[pando_context::test]
async fn a_waiting_key_moves_up_and_never_down(ctx: Ctx) {
    let queue = Queue::new("test");
    queue.add_with("other", Priority::Background);
    queue.add_with("web", Priority::Background);
    queue.add("web");
    queue.add_with("web", Priority::Background);
    let taken = queue.next(&ctx).await.unwrap();
    assert_eq!(*taken, "web");
    assert_eq!((queue.depth().ready(), taken.priority()), (1, Priority::Normal));
    taken.done();
}

#[pando_context::test(paused)]
async fn a_key_comes_back_as_urgent_as_it_was(ctx: Ctx) {
    let queue = Queue::new("test");
    queue.add_with("resync", Priority::Background);
    queue.add_with("going", Priority::Removal);
    let taken = queue.next(&ctx).await.unwrap();
    assert_eq!((*taken, taken.priority()), ("going", Priority::Removal));
    taken.failed();
    queue.next(&ctx).await.unwrap().done_for(5 * MS);
    ctx.sleep(50 * MS).await.unwrap();
    let again = queue.next(&ctx).await.unwrap();
    assert_eq!((again.priority(), again.waited()), (Priority::Removal, 45 * MS));
    again.done();
    // An event meanwhile makes the visit as urgent as itself.
    let last = queue.next(&ctx).await.unwrap();
    assert_eq!(last.priority(), Priority::Background);
    queue.add_after("resync", 5 * MS);
    last.done_for(Duration::from_secs(60));
    let last = queue.next(&ctx).await.unwrap();
    assert_eq!((last.priority(), last.waited()), (Priority::Normal, Duration::ZERO));
    last.done();
}

#[pando_context::test(paused)]
async fn a_key_that_loses_against_others_comes_back_within_a_second(ctx: Ctx) {
    let queue = Queue::new("test");
    queue.add("web");
    for _ in 0..20 {
        assert!(queue.next(&ctx).await.unwrap().contended() <= Duration::from_secs(1));
    }
}

#[pando_context::test(paused)]
async fn the_earliest_of_several_delays_counts(ctx: Ctx) {
    let (queue, start) = (Queue::new("test"), Instant::now());
    queue.add_after("web", 50 * MS);
    queue.add_after("web", 20 * MS);
    queue.add_after("web", 70 * MS);
    queue.next(&ctx).await.unwrap().done();
    assert_eq!(start.elapsed(), 20 * MS);
    assert_eq!(queue.depth(), Depth::default());
}

#[pando_context::test(paused)]
async fn a_shorter_delay_wakes_a_waiter_of_a_longer_one(ctx: Ctx) {
    let (queue, start) = (Queue::new("test"), Instant::now());
    queue.add_after("slow", Duration::from_secs(60));
    let other = queue.clone();
    let adder = ctx.spawn(&WORKER, |ctx| async move {
        ctx.sleep(5 * MS).await.unwrap();
        other.add_after("fast", 5 * MS);
    });
    let taken = queue.next(&ctx).await.unwrap();
    assert_eq!((*taken, start.elapsed()), ("fast", 10 * MS));
    taken.done();
    adder.await.unwrap();
}

#[pando_context::test(paused)]
async fn failures_double_the_delay_until_a_success(ctx: Ctx) {
    let queue = Queue::new("test");
    queue.add("web");
    for expected in [5, 10, 20, 40] {
        let delay = queue.next(&ctx).await.unwrap().failed();
        assert_eq!(delay, expected * MS);
        let before = Instant::now();
        queue.next(&ctx).await.unwrap().retry_after(Duration::ZERO);
        assert_eq!(before.elapsed(), delay);
    }
    queue.next(&ctx).await.unwrap().done();
    queue.add("web");
    assert_eq!(queue.next(&ctx).await.unwrap().failed(), 5 * MS);
    queue.forget(&"web");
    assert_eq!(queue.depth(), Depth::default());
}

#[pando_context::test(paused)]
async fn a_key_dropped_because_its_taker_was_stopped_is_as_it_was(root: &Scope) {
    let queue = Queue::new("test");
    queue.add_with("a", Priority::Removal);
    let taker = root.ctx().child(&WORKER);
    let taken = queue.next(taker.ctx()).await.unwrap();
    taker.cancel(ReasonKind::Shutdown);
    drop(taken);
    let depth = queue.depth();
    assert_eq!((depth.ready(), depth.delayed, depth.processing, depth.failing), (1, 0, 0, 0));
    assert_eq!(queue.next(root.ctx()).await.unwrap().priority(), Priority::Removal);
}

#[pando_context::test(paused)]
async fn a_dropped_key_comes_back_after_its_back_off(ctx: Ctx) {
    let (queue, start) = (Queue::new("test"), Instant::now());
    queue.add("web");
    drop(queue.next(&ctx).await.unwrap());
    assert_eq!(queue.depth().failing, 1);
    queue.next(&ctx).await.unwrap().done();
    assert_eq!(start.elapsed(), 5 * MS);
}

#[pando_context::test(paused)]
async fn waiting_ends_with_the_context(root: &Scope) {
    let queue = Queue::<u8>::new("test");
    queue.add_after(1, Duration::from_secs(60));
    let worker = root.ctx().child(&WORKER);
    let (ctx, other) = (worker.ctx().clone(), queue.clone());
    let task = root.ctx().spawn(&WORKER, |_| async move { other.next(&ctx).await.err() });
    tokio::task::yield_now().await;
    worker.cancel(ReasonKind::Shutdown);
    assert_eq!(task.await.unwrap().unwrap().reason().kind(), ReasonKind::Shutdown);
    assert_eq!(queue.depth().delayed, 1);
}

#[pando_context::test(paused)]
async fn many_workers_lose_no_key_and_never_share_one(root: &Scope) {
    const KEYS: usize = 50;
    let queue = Queue::new("test");
    let busy: Arc<Vec<AtomicBool>> = Arc::new((0..KEYS).map(|_| AtomicBool::new(false)).collect());
    let seen: Arc<Vec<AtomicUsize>> = Arc::new((0..KEYS).map(|_| AtomicUsize::new(0)).collect());
    let workers = root.ctx().child(&WORKER);
    for number in 0..8_u64 {
        let (queue, busy, seen) = (queue.clone(), Arc::clone(&busy), Arc::clone(&seen));
        let worker = workers.ctx().spawn(&WORKER, move |ctx| async move {
            while let Ok(taken) = queue.next(&ctx).await {
                let key: usize = *taken;
                assert!(!busy[key].swap(true, Ordering::SeqCst), "{key} runs twice at once");
                ctx.sleep(u32::try_from((number * 7 + key as u64) % 11).unwrap() * MS).await.unwrap();
                busy[key].store(false, Ordering::SeqCst);
                // After its last addition every key must be seen once more.
                seen[key].fetch_add(1, Ordering::SeqCst);
                match key % 3 {
                    0 if seen[key].load(Ordering::SeqCst) < 3 => drop(taken.failed()),
                    _ => taken.done(),
                }
            }
        });
        worker.detach();
    }
    for round in 0..20_u32 {
        for key in 0..KEYS {
            match (key + round as usize) % 3 {
                0 => queue.add(key),
                1 => queue.add_after(key, round * MS),
                _ => queue.add_with(key, Priority::Background),
            }
        }
        root.ctx().sleep(3 * MS).await.unwrap();
    }
    root.ctx().sleep(Duration::from_secs(5)).await.unwrap();
    assert_eq!(queue.depth(), Depth::default());
    assert!(seen.iter().all(|seen| seen.load(Ordering::SeqCst) >= 2));
}

#[derive(Clone, Debug)]
enum Step {
    Add(u8, bool),
    AddAfter(u8, u32),
    Pop,
    /// Ends the processing of the n-th key in hand.
    Done(usize),
    Failed(usize),
    Pass(u32),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        (0..6_u8, any::<bool>()).prop_map(|(key, normal)| Step::Add(key, normal)),
        (0..6_u8, 0..40_u32).prop_map(|(key, delay)| Step::AddAfter(key, delay)),
        Just(Step::Pop),
        any::<usize>().prop_map(Step::Done),
        any::<usize>().prop_map(Step::Failed),
        (0..30_u32).prop_map(Step::Pass),
    ];
    proptest::collection::vec(step, 1..120)
}

/// What is still to be seen of each key: a visit at this time or later. Of several, the earliest.
type Owed = HashMap<u8, Instant>;

fn owe(owed: &mut Owed, key: u8, from: Instant) {
    let at = owed.entry(key).or_insert(from);
    *at = from.min(*at);
}

fn take(state: &mut State<u8>, hands: &mut Vec<u8>, owed: &mut [Owed; 2], now: Instant) -> bool {
    let Some(Popped { key, .. }) = state.pop(now) else {
        return false;
    };
    assert!(!hands.contains(&key), "{key} is in two hands");
    hands.push(key);
    for owed in owed {
        if owed.get(&key).is_some_and(|from| *from <= now) {
            owed.remove(&key);
        }
    }
    true
}

proptest! {
    /// After everything is worked off, each key has been taken after each time it was asked for,
    /// and no key was ever in two hands.
    #[test]
    fn no_key_is_lost_and_none_runs_twice_at_once(steps in steps()) {
        let mut now = Instant::now();
        let mut state = State::new();
        let mut hands: Vec<u8> = Vec::new();
        // At once, and after a delay: an early visit does not pay for a late one.
        let mut owed = [Owed::new(), Owed::new()];
        for step in steps {
            match step {
                Step::Add(key, normal) => {
                    let priority = if normal { Priority::Normal } else { Priority::Background };
                    state.add(key, priority, now);
                    owe(&mut owed[0], key, now);
                }
                Step::AddAfter(key, delay) => {
                    state.add_at(key, Priority::Normal, now + delay * MS);
                    owe(&mut owed[1], key, now + delay * MS);
                }
                Step::Pop => {
                    take(&mut state, &mut hands, &mut owed, now);
                }
                Step::Done(_) | Step::Failed(_) if hands.is_empty() => {}
                Step::Done(at) => {
                    let key = hands.swap_remove(at % hands.len());
                    state.succeeded(&key);
                    state.release(&key, now);
                }
                Step::Failed(at) => {
                    let key = hands.swap_remove(at % hands.len());
                    let delay = state.failed(&key, Backoff::KEY, now);
                    prop_assert!(delay >= 5 * MS && delay <= Duration::from_secs(30));
                    state.release(&key, now);
                    owe(&mut owed[1], key, now + delay);
                }
                Step::Pass(ms) => now += ms * MS,
            }
            // What is due is asked for at once; a later delay is another visit.
            let due = Vec::from_iter(owed[1].extract_if(|_, from| *from <= now));
            due.into_iter().for_each(|(key, from)| owe(&mut owed[0], key, from));
            let depth = state.depth(now);
            prop_assert_eq!(depth.processing, hands.len());
            prop_assert_eq!(depth.ready() > 0, state.has_ready());
        }
        now += Duration::from_secs(60);
        loop {
            for key in hands.drain(..) {
                state.succeeded(&key);
                state.release(&key, now);
            }
            if !take(&mut state, &mut hands, &mut owed, now) {
                break;
            }
        }
        prop_assert_eq!(owed, [Owed::new(), Owed::new()]);
        prop_assert_eq!(state.depth(now), Depth::default());
    }
}
