#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use std::sync::atomic::{AtomicUsize, Ordering};

use futures::future::join_all;
use http::{Request, Response};
use kube::client::Body;
use kube::core::ApiResource;
use pando_api::names::ClusterName;
use pando_context::{Kind, Scope};
use proptest::prelude::*;

use super::*;
use crate::gateway::Gateway;
use crate::limit::{LEAST, MOST};
use crate::link::Member;
use crate::target::Target;

static CALLER: Kind = Kind::new("caller");

fn lost() -> State {
    State::Lost { why: Why::Unreachable, cause: "no route".into() }
}

/// A probe that began just now.
fn finds(gate: &Gate, found: State) -> bool {
    gate.probed(found, gate.outages())
}

fn pods() -> Target {
    let resource = ApiResource {
        group: "".into(),
        version: "v1".into(),
        api_version: "v1".into(),
        kind: "Pod".into(),
        plural: "pods".into(),
    };
    Target::new(resource, Some("shop"), "web")
}

/// A member that never answers, and counts how many requests it holds.
fn black_hole(root: &Scope) -> (Member, Arc<AtomicUsize>) {
    struct Held(Arc<AtomicUsize>);
    impl Drop for Held {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }
    let held = Arc::new(AtomicUsize::new(0));
    let holds = Arc::clone(&held);
    let service = tower::service_fn(move |_: Request<Body>| {
        holds.fetch_add(1, Ordering::SeqCst);
        let held = Held(Arc::clone(&holds));
        async move {
            let _held = held;
            std::future::pending::<Result<Response<Body>, std::convert::Infallible>>().await
        }
    });
    let client = kube::Client::new(service, "default");
    (Member::new(ClusterName::parse("bj").unwrap(), root.ctx().clone(), client.clone(), client), held)
}

#[pando_context::test(paused)]
async fn a_black_hole_never_holds_more_calls_than_its_limit_and_is_lost_after_one_deadline(root: &Scope) {
    let (member, held) = black_hole(root);
    let gate = Arc::clone(member.gate());
    assert!(finds(&gate, State::Connected));
    let gateway = Gateway::new(member);
    let began = Instant::now();
    let target = pods();
    let calls = join_all((0..200).map(|_| gateway.get(root.ctx(), &target)));
    let watching = async {
        for _ in 0..60 {
            root.ctx().sleep(Duration::from_millis(100)).await.unwrap();
            let traffic = gate.traffic();
            assert!(held.load(Ordering::SeqCst) <= LEAST, "{} requests in a black hole", held.load(Ordering::SeqCst));
            assert!(traffic.in_flight <= traffic.limit && traffic.peak <= LEAST, "{traffic:?}");
        }
    };
    let (faults, ()) = futures::future::join(calls, watching).await;
    let count =
        |category: &str| faults.iter().filter(|fault| fault.as_ref().unwrap_err().fault.category() == category).count();
    assert_eq!((count("deadline"), count("lost")), (LEAST, 200 - LEAST), "the others were not even sent");
    assert!(matches!(gate.state(), State::Lost { .. }));
    assert!(began.elapsed() < Duration::from_secs(7));
    let refused = gateway.get(root.ctx(), &target).await.unwrap_err();
    assert_eq!(refused.fault.category(), "lost");
    assert_eq!(held.load(Ordering::SeqCst), 0);
}

#[pando_context::test(paused)]
async fn first_come_first_served_and_who_leaves_the_line_holds_nobody_up(root: &Scope) {
    let gate = Gate::new();
    let mut inside: Vec<Pass> = Vec::new();
    for _ in 0..LEAST {
        inside.push(gate.enter(root.ctx()).await.unwrap());
    }
    let order = Arc::new(Mutex::new(Vec::new()));
    let mut callers = Vec::new();
    for name in 0..3 {
        let (gate, order) = (Arc::clone(&gate), Arc::clone(&order));
        let scope = root.ctx().child(&CALLER);
        let task = scope.ctx().spawn(&CALLER, move |ctx| async move {
            let pass = gate.enter(&ctx).await;
            order.lock().unwrap().push(name);
            drop(pass);
        });
        callers.push((scope, task));
        root.ctx().sleep(Duration::from_millis(1)).await.unwrap();
    }
    assert_eq!(gate.traffic().waiting, 3);
    callers[1].0.cancel(pando_context::ReasonKind::Shutdown);
    root.ctx().sleep(Duration::from_millis(1)).await.unwrap();
    drop(inside.pop());
    root.ctx().sleep(Duration::from_millis(1)).await.unwrap();
    assert_eq!(*order.lock().unwrap(), [0, 2]);
    drop(inside);
    assert_eq!((gate.traffic().in_flight, gate.traffic().waiting), (0, 0));
}

#[pando_context::test(paused)]
async fn a_lost_member_sends_everybody_in_the_line_away_at_once(root: &Scope) {
    let gate = Gate::new();
    finds(&gate, State::Connected);
    let mut inside = Vec::new();
    for _ in 0..LEAST {
        inside.push(gate.enter(root.ctx()).await.unwrap());
    }
    let waiting = gate.enter(root.ctx());
    let losing = async {
        root.ctx().sleep(Duration::from_millis(1)).await.unwrap();
        finds(&gate, lost());
    };
    let (refused, ()) = futures::future::join(waiting, losing).await;
    assert!(matches!(refused, Err(Fault::Lost(cause)) if cause == "no route"));
    drop(inside);
    finds(&gate, State::Connected);
    assert!(gate.enter(root.ctx()).await.is_ok());
}

#[pando_context::test(paused)]
async fn what_was_sent_before_an_outage_does_not_end_the_return(root: &Scope) {
    let gate = Gate::new();
    finds(&gate, State::Connected);
    let mut before = Vec::new();
    for _ in 0..LEAST {
        before.push(gate.enter(root.ctx()).await.unwrap());
    }
    finds(&gate, lost());
    finds(&gate, State::Connected);
    for pass in before {
        pass.ended(Class::Read, Some(&Fault::Deadline(LONGEST_REST)));
    }
    assert_eq!(gate.state(), State::Connected);
    for _ in 0..3 {
        gate.enter(root.ctx()).await.unwrap().ended(Class::Read, Some(&Fault::Deadline(LONGEST_REST)));
    }
    assert!(matches!(gate.state(), State::Lost { .. }));
}

#[pando_context::test(paused)]
async fn a_member_that_asks_for_a_pause_gets_one_for_everybody_but_a_short_one(root: &Scope) {
    let gate = Gate::new();
    let pass = gate.enter(root.ctx()).await.unwrap();
    let day = Duration::from_secs(86_400);
    pass.ended(Class::Write, Some(&Fault::Throttled { asked: day, wait: Duration::from_secs(30) }));
    drop(pass);
    let began = Instant::now();
    drop(gate.enter(root.ctx()).await.unwrap());
    assert_eq!(began.elapsed(), LONGEST_REST);
}

#[test]
fn only_what_no_api_server_says_speaks_against_the_member() {
    let server = |code| Fault::Server { code, message: "no".into() };
    for fault in [Fault::Deadline(LONGEST_REST), Fault::Unreachable("x".into()), Fault::Unauthorized] {
        assert!(matches!(sign(Class::Read, Some(&fault)), Sign::Strike(..)), "{fault}");
    }
    for fault in [Fault::NotFound, Fault::KindMissing, Fault::Conflict("x".into()), server(500)] {
        assert_eq!(sign(Class::Write, Some(&fault)), Sign::Answered, "{fault}");
    }
    assert_eq!(sign(Class::Read, Some(&server(503))), Sign::Unwell);
    assert_eq!(sign(Class::Write, Some(&Fault::Deadline(LONGEST_REST))), Sign::Slow, "a webhook may hang");
}

#[derive(Clone, Debug)]
enum Move {
    Enter,
    Leave(usize, bool),
    GoAway(usize),
    Probe(bool),
}

fn moves() -> impl Strategy<Value = Vec<Move>> {
    let one = prop_oneof![
        4 => Just(Move::Enter),
        3 => (any::<usize>(), any::<bool>()).prop_map(|(at, ok)| Move::Leave(at, ok)),
        1 => any::<usize>().prop_map(Move::GoAway),
        1 => any::<bool>().prop_map(Move::Probe),
    ];
    proptest::collection::vec(one, 1..120)
}

proptest! {
    #[test]
    fn whatever_happens_room_is_never_overbooked_and_never_lost(history in moves()) {
        let gate = Gate::new();
        let (mut inside, mut waiting) = (Vec::new(), Vec::new());
        for step in history {
            match step {
                Move::Enter => match gate.step_in() {
                    Step::In(pass) => inside.push(pass),
                    Step::Wait(turn) => waiting.push(turn),
                },
                Move::Leave(at, ok) if !inside.is_empty() => {
                    let pass = inside.swap_remove(at % inside.len());
                    let reset = Fault::Unreachable("reset".into());
                    pass.ended(Class::Read, (!ok).then_some(&reset));
                }
                Move::GoAway(at) if !waiting.is_empty() => drop(waiting.swap_remove(at % waiting.len())),
                Move::Probe(ok) => drop(finds(&gate, if ok { State::Connected } else { lost() })),
                Move::Leave(..) | Move::GoAway(_) => {}
            }
            // Who was called goes in, who was sent away goes.
            waiting.retain_mut(|turn: &mut oneshot::Receiver<Pass>| match turn.try_recv() {
                Ok(pass) => {
                    inside.push(pass);
                    false
                }
                Err(oneshot::error::TryRecvError::Empty) => true,
                Err(oneshot::error::TryRecvError::Closed) => false,
            });
            let traffic = gate.traffic();
            prop_assert_eq!(traffic.in_flight, inside.len());
            prop_assert!(traffic.peak <= MOST);
            prop_assert!(waiting.is_empty() || traffic.in_flight >= LEAST, "somebody waits beside free room");
        }
    }
}
