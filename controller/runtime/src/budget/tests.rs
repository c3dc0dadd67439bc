#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::sync::{Arc, Mutex};
use std::time::Duration;

use futures::poll;
use pando_context::{Ctx, Instant, Kind, ReasonKind, Scope};
use proptest::prelude::*;

use super::state::{Cause, Notice, State};
use super::{Budget, Outcome};
use crate::metrics::Metrics;
use crate::priority::Priority;

const MS: Duration = Duration::from_millis(1);
const SECOND: Duration = Duration::from_secs(1);
const WRITE: Kind = Kind::new("write");

fn budget(most: usize) -> Budget {
    Budget::new(most, Metrics::new())
}

fn answer(code: u16, retry_after: u32) -> kube::Error {
    let status = serde_json::json!({
        "kind": "Status", "apiVersion": "v1", "metadata": {}, "status": "Failure", "code": code,
        "message": "", "reason": "", "details": {"retryAfterSeconds": retry_after},
    });
    kube::Error::Api(Box::new(serde_json::from_value(status).unwrap()))
}

#[test]
fn an_outcome_says_what_the_answer_says_about_the_server() {
    let of = |code, seconds| Outcome::of::<()>(&Err(answer(code, seconds)));
    assert_eq!(Outcome::of(&Ok(())), Outcome::Answered);
    assert_eq!([of(404, 0), of(409, 0), of(409, 1), of(422, 0)], [Outcome::Answered; 4]);
    assert_eq!([of(500, 0), of(503, 0), of(504, 0), of(429, 0)], [Outcome::Overloaded; 4]);
    assert_eq!((of(429, 7), of(503, 1)), (Outcome::Later(7 * SECOND), Outcome::Later(SECOND)));
    let mut webhook = answer(500, 0);
    if let kube::Error::Api(status) = &mut webhook {
        status.message = "failed calling webhook \"x\": no endpoints".to_owned();
    }
    assert_eq!(Outcome::of::<()>(&Err(webhook)), Outcome::Answered, "one kind's webhook is not the server");
    let refused = kube::Error::Service(Box::new(std::io::Error::from(std::io::ErrorKind::ConnectionRefused)));
    assert_eq!(Outcome::of::<()>(&Err(refused)), Outcome::Unreachable);
}

#[pando_context::test(paused)]
async fn no_more_than_the_limit_are_under_way_and_the_most_urgent_goes_first(ctx: Ctx) {
    let budget = budget(1);
    let first = budget.enter(&ctx, Priority::Background).await.unwrap();
    let order = Arc::new(Mutex::new(Vec::new()));
    for priority in [Priority::Status, Priority::Normal, Priority::Background, Priority::Removal] {
        let (budget, order) = (budget.clone(), Arc::clone(&order));
        let write = ctx.spawn(&WRITE, |ctx| async move {
            let permit = budget.enter(&ctx, priority).await.unwrap();
            assert_eq!(budget.load().in_flight, 1);
            ctx.sleep(MS).await.unwrap();
            order.lock().unwrap().push(priority);
            permit.ended(Outcome::Answered);
        });
        write.detach();
    }
    ctx.sleep(SECOND).await.unwrap();
    assert_eq!(budget.load().waiting, [1, 1, 0, 1, 1]);
    first.ended(Outcome::Answered);
    ctx.sleep(SECOND).await.unwrap();
    let expected = [Priority::Removal, Priority::Normal, Priority::Status, Priority::Background];
    assert_eq!(*order.lock().unwrap(), expected);
    assert_eq!((budget.load().in_flight, budget.load().waiting), (0, [0; 5]));
}

#[pando_context::test(paused)]
async fn a_cancelled_write_leaves_the_line_at_once(root: &Scope) {
    let budget = budget(1);
    let permit = budget.enter(root.ctx(), Priority::Normal).await.unwrap();
    let caller = root.ctx().child(&WRITE);
    let (ctx, line) = (caller.ctx().clone(), budget.clone());
    let waiting = root.ctx().spawn(&WRITE, |_| async move { line.enter(&ctx, Priority::Normal).await.map(drop) });
    root.ctx().sleep(MS).await.unwrap();
    assert_eq!(budget.load().waiting, [0, 1, 0, 0, 0]);
    caller.cancel(ReasonKind::Detached);
    assert_eq!(waiting.await.unwrap().unwrap_err().reason().kind(), ReasonKind::Detached);
    assert_eq!(budget.load().waiting, [0; 5]);
    drop(permit);
    assert_eq!(budget.load().in_flight, 0);
}

#[pando_context::test(paused)]
async fn a_permit_for_a_write_that_was_dropped_meanwhile_goes_to_the_next(ctx: Ctx) {
    let budget = budget(1);
    let first = budget.enter(&ctx, Priority::Normal).await.unwrap();
    {
        let mut dropped = std::pin::pin!(budget.enter(&ctx, Priority::Removal));
        assert!(poll!(dropped.as_mut()).is_pending());
        first.ended(Outcome::Answered);
        assert_eq!(budget.load().in_flight, 1);
        // It has its permit now, and is dropped without having looked.
    }
    assert_eq!(budget.load().in_flight, 0);
    budget.enter(&ctx, Priority::Normal).await.unwrap().ended(Outcome::Answered);
}

#[pando_context::test(paused)]
async fn retry_after_pauses_everybody_and_no_longer_than_a_second(ctx: Ctx) {
    let budget = budget(2);
    let start = Instant::now();
    let refused = budget.enter(&ctx, Priority::Normal).await.unwrap();
    let other = budget.enter(&ctx, Priority::Normal).await.unwrap();
    let mut waiting = std::pin::pin!(budget.enter(&ctx, Priority::Removal));
    assert!(poll!(waiting.as_mut()).is_pending());
    refused.ended(Outcome::Later(SECOND));
    drop(other);
    waiting.await.unwrap().ended(Outcome::Later(Duration::from_secs(86_400)));
    assert_eq!(start.elapsed(), SECOND);
    budget.enter(&ctx, Priority::Normal).await.unwrap().ended(Outcome::Answered);
    assert_eq!(start.elapsed(), 2 * SECOND);
}

#[pando_context::test(paused)]
async fn a_wait_that_cannot_fit_into_the_callers_time_ends_at_once(ctx: Ctx) {
    let budget = budget(2);
    budget.enter(&ctx, Priority::Normal).await.unwrap().ended(Outcome::Later(20 * SECOND));
    let (start, caller) = (Instant::now(), ctx.with_timeout(&WRITE, SECOND / 2));
    assert!(budget.enter(caller.ctx(), Priority::Normal).await.unwrap_err().is_deadline());
    assert_eq!((start.elapsed(), budget.load().waiting), (Duration::ZERO, [0; 5]));
}

#[pando_context::test(paused)]
async fn while_the_hub_is_away_one_write_tries_and_the_others_wait_without_failing(ctx: Ctx) {
    let (budget, start) = (budget(8), Instant::now());
    let back = start + 10 * SECOND;
    let (attempts, written) = (Arc::new(Mutex::new(0_u32)), Arc::new(Mutex::new(Vec::new())));
    for _ in 0..20 {
        let (budget, attempts, written) = (budget.clone(), Arc::clone(&attempts), Arc::clone(&written));
        let write = ctx.spawn(&WRITE, |ctx| async move {
            loop {
                let permit = budget.enter(&ctx, Priority::Normal).await.unwrap();
                *attempts.lock().unwrap() += 1;
                ctx.sleep(MS).await.unwrap();
                if Instant::now() >= back {
                    permit.ended(Outcome::Answered);
                    break written.lock().unwrap().push(start.elapsed());
                }
                permit.ended(Outcome::Unreachable);
            }
        });
        write.detach();
    }
    ctx.sleep(10 * SECOND).await.unwrap();
    // The first eight together; then after 0.1, 0.2, 0.4, 0.8, 1.6, 2 s, …
    let tried = *attempts.lock().unwrap();
    assert!((8..=18).contains(&tried), "{tried} attempts in 10 s");
    ctx.sleep(2 * SECOND + 100 * MS).await.unwrap();
    assert_eq!(written.lock().unwrap().len(), 20, "all go on as soon as one has succeeded");
}

#[pando_context::test(paused)]
async fn the_metrics_show_the_load(ctx: Ctx) {
    let metrics = Metrics::new();
    let budget = Budget::new(3, metrics.clone());
    let permit = budget.enter(&ctx, Priority::Normal).await.unwrap();
    permit.ended(Outcome::Overloaded);
    let _held = budget.enter(&ctx, Priority::Status).await.unwrap();
    let text = metrics.encode().unwrap();
    for line in [
        "pando_hub_writes_in_flight 1",
        "pando_hub_writes_limit 3",
        "pando_hub_writes_waiting{priority=\"removal\"} 0",
        "pando_hub_write_wait_seconds_count{priority=\"status\"} 1",
        "pando_hub_write_slowdowns_total{cause=\"overloaded\"} 1",
    ] {
        assert!(text.contains(line), "{line} is not in\n{text}");
    }
}

/// A server in virtual time: all writes that may be sent are sent, and answered after `latency`.
struct Server {
    state: State<u32>,
    now: Instant,
}

impl Server {
    fn new(most: usize) -> Self {
        Self { state: State::new(most), now: Instant::now() + Duration::from_secs(1000) }
    }

    /// Rounds in which as much as possible is under way together. What was slowed down.
    fn rounds(&mut self, count: usize, latency: Duration, outcome: Outcome) -> Vec<Cause> {
        let mut slowed = Vec::new();
        for _ in 0..count {
            (0..64).for_each(|n| {
                self.state.enter(Priority::Normal, n, self.now);
            });
            let sent = self.now;
            let under_way = std::iter::from_fn(|| self.state.grant(sent)).count();
            self.now += latency;
            for _ in 0..under_way {
                slowed.extend(self.state.ended(sent, outcome, self.now).slowed);
            }
        }
        slowed
    }
}

#[test]
fn failures_shrink_the_limit_once_for_all_that_were_under_way_and_answers_grow_it_back() {
    let mut server = Server::new(32);
    assert_eq!(server.rounds(1, 5 * MS, Outcome::Overloaded), [Cause::Overloaded]);
    assert_eq!(server.state.limit(), 21);
    server.rounds(20, 5 * MS, Outcome::Overloaded);
    assert_eq!(server.state.limit(), 4);
    // One more in each round: the number of answers that the limit lets through.
    server.rounds(10, 5 * MS, Outcome::Answered);
    assert!((13..=15).contains(&server.state.limit()), "{}", server.state.limit());
    server.rounds(40, 5 * MS, Outcome::Answered);
    assert_eq!(server.state.limit(), 32);
}

#[test]
fn a_slower_server_gets_less_and_one_that_is_slow_for_good_gets_its_share_back() {
    let mut server = Server::new(32);
    server.rounds(50, 5 * MS, Outcome::Answered);
    assert_eq!(server.rounds(50, 500 * MS, Outcome::Answered), [], "busy is not slow");
    server.rounds(200, 5 * MS, Outcome::Answered);
    let slowed = server.rounds(3, 2 * SECOND, Outcome::Answered);
    assert_eq!(slowed, [Cause::Slow; 3]);
    assert!(server.state.limit() < 26, "{}", server.state.limit());
    server.rounds(60, 2 * SECOND, Outcome::Answered);
    assert_eq!(server.state.limit(), 32, "a constant delay is not a load");
}

#[test]
fn a_budget_below_the_usual_floor_is_obeyed() {
    let mut server = Server::new(2);
    server.rounds(5, 5 * MS, Outcome::Overloaded);
    assert_eq!(server.state.limit(), 2);
    assert_eq!(State::<u32>::new(0).limit(), 1);
}

#[test]
fn leaving_and_coming_back_are_said_once() {
    let mut state = State::new(4);
    let now = Instant::now();
    (0..3_u32).for_each(|n| {
        state.enter(Priority::Normal, n, now);
    });
    while state.grant(now).is_some() {}
    let gone = now + SECOND;
    let notices: Vec<_> = (0..3).map(|_| state.ended(now, Outcome::Unreachable, gone).notice).collect();
    assert_eq!((notices, state.limit()), (vec![Some(Notice::Away), None, None], 1));
    assert_eq!(state.pause(gone), Some(100 * MS));
    state.enter(Priority::Normal, 3, gone);
    let later = gone + 100 * MS;
    assert!(state.grant(gone).is_none() && state.grant(later).is_some());
    assert_eq!(state.ended(later, Outcome::Answered, later).notice, Some(Notice::Back));
    assert_eq!((state.pause(later), state.limit()), (None, 4));
}

#[test]
fn while_others_are_answered_a_refusal_pauses_nobody_else() {
    let mut state = State::new(8);
    let now = Instant::now();
    let refused = |state: &mut State<u32>, at: Instant| {
        state.ended(at, Outcome::Later(30 * SECOND), at);
        state.pause(at)
    };
    assert_eq!(refused(&mut state, now), Some(SECOND), "it may be for all");
    let later = now + 2 * SECOND;
    state.ended(later, Outcome::Answered, later);
    assert_eq!(refused(&mut state, later), None, "it was for that kind of write");
    assert_eq!(refused(&mut state, later + SECOND), Some(SECOND), "nobody is answered any more");
}

#[test]
fn a_server_that_takes_writes_and_answers_none_is_away_and_one_answer_brings_it_back() {
    let mut state = State::new(8);
    let mut now = Instant::now();
    let mut write = |state: &mut State<u32>, outcome| {
        state.enter(Priority::Normal, 0, now);
        now += 3 * SECOND; // longer than any pause
        let sent = now;
        state.grant(sent).unwrap();
        now += 9 * SECOND;
        state.ended(sent, outcome, now).notice
    };
    (0..7).for_each(|_| assert_eq!(write(&mut state, Outcome::Late), None));
    assert_eq!(
        write(&mut state, Outcome::Answered),
        None,
        "one answer among the late ones shows a server that is there"
    );
    (0..7).for_each(|_| assert_eq!(write(&mut state, Outcome::Late), None));
    assert_eq!(write(&mut state, Outcome::Late), Some(Notice::Away));
    assert_eq!((write(&mut state, Outcome::Late), state.is_away(), state.limit()), (None, true, 1));
    assert_eq!((write(&mut state, Outcome::Overloaded), state.is_away()), (Some(Notice::Back), false));
}

#[derive(Clone, Debug)]
enum Step {
    Enter(Priority),
    /// The n-th in line gives up.
    Leave(usize),
    /// The n-th under way ends.
    End(usize, Outcome),
    Pass(u32),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let priority = proptest::sample::select(Priority::ALL.to_vec());
    let outcomes = [
        Outcome::Answered,
        Outcome::Overloaded,
        Outcome::Late,
        Outcome::Later(SECOND),
        Outcome::Unreachable,
        Outcome::Abandoned,
    ];
    let outcome = proptest::sample::select(outcomes.to_vec());
    let step = prop_oneof![
        4 => priority.prop_map(Step::Enter),
        1 => any::<usize>().prop_map(Step::Leave),
        3 => (any::<usize>(), outcome).prop_map(|(at, outcome)| Step::End(at, outcome)),
        2 => (0..3000_u32).prop_map(Step::Pass),
    ];
    proptest::collection::vec(step, 1..200)
}

proptest! {
    /// However the server behaves: the number under way never exceeds what is allowed at the moment of a grant, nothing
    /// is granted in a pause, and once the server is well, whatever is in line is sent.
    #[test]
    fn every_write_gets_its_turn(steps in steps(), most in 1..10_usize) {
        let mut now = Instant::now();
        let mut state = State::new(most);
        let (mut line, mut under_way, mut number) = (Vec::new(), Vec::new(), 0_u32);
        for step in steps {
            match step {
                Step::Enter(priority) => {
                    number += 1;
                    line.push((number, priority, state.enter(priority, number, now)));
                }
                Step::Leave(at) if !line.is_empty() => {
                    let (_, priority, place) = line.swap_remove(at % line.len());
                    state.leave(priority, place);
                }
                Step::End(at, outcome) if !under_way.is_empty() => {
                    let sent = under_way.swap_remove(at % under_way.len());
                    state.ended(sent, outcome, now);
                }
                Step::Pass(ms) => now += ms * MS,
                Step::Leave(_) | Step::End(..) => {}
            }
            while let Some(granted) = state.grant(now) {
                prop_assert!(state.pause(now).is_none());
                prop_assert!(state.in_flight() <= state.limit() && state.in_flight() <= most);
                let before = line.len();
                line.retain(|(number, ..)| *number != granted.waiter);
                prop_assert_eq!(line.len() + 1, before, "granted twice, or after leaving");
                under_way.push(now);
            }
            prop_assert_eq!((state.in_flight(), state.waiting().iter().sum::<usize>()), (under_way.len(), line.len()));
            prop_assert!(state.pause(now).is_none_or(|left| left <= 2 * SECOND));
        }
        for sent in under_way {
            state.ended(sent, Outcome::Answered, now);
        }
        now += 31 * SECOND;
        let mut rounds = 0;
        while !line.is_empty() {
            rounds += 1;
            prop_assert!(rounds <= number, "the line does not move");
            while let Some(granted) = state.grant(now) {
                line.retain(|(number, ..)| *number != granted.waiter);
                state.ended(now, Outcome::Answered, now);
            }
        }
    }
}
