//! Random steps against a model, and random threads against each other.
#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, clippy::disallowed_methods, reason = "tests")]

use std::collections::hash_map::DefaultHasher;
use std::future::pending;
use std::hash::{Hash, Hasher};
use std::sync::{Arc, Barrier};
use std::time::Duration;

use pando_context::{Ctx, Kind, Reason, ReasonKind, Scope};
use proptest::prelude::*;

const NODE: Kind = Kind::new("node");

#[derive(Clone, Debug)]
enum Step {
    Child(usize),
    Cancel(usize),
    Drop(usize),
}

fn steps() -> impl Strategy<Value = Vec<Step>> {
    let step = prop_oneof![
        3 => any::<usize>().prop_map(Step::Child),
        1 => any::<usize>().prop_map(Step::Cancel),
        2 => any::<usize>().prop_map(Step::Drop),
    ];
    proptest::collection::vec(step, 1..60)
}

/// What a node should be.
struct Model {
    parent: Option<usize>,
    owned: bool,
    /// The step that cancelled it, or one above it.
    reason: Option<String>,
}

fn mark(model: &mut [Model], top: usize, text: &str) {
    for at in top..model.len() {
        let below =
            at == top || model[at].parent.is_some_and(|up| up >= top && model[up].reason.as_deref() == Some(text));
        if below && model[at].reason.is_none() {
            model[at].reason = Some(text.to_owned());
        }
    }
}

/// A node is in the tree while it is owned or something below it is.
fn live(model: &[Model]) -> usize {
    let mut live: Vec<bool> = model.iter().map(|node| node.owned).collect();
    for at in (0..model.len()).rev() {
        if live[at]
            && let Some(up) = model[at].parent
        {
            live[up] = true;
        }
    }
    live.iter().filter(|live| **live).count()
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(300))]

    #[test]
    fn the_tree_does_what_the_model_does(steps in steps()) {
        let root = Scope::root("root");
        let top = root.ctx().clone();
        let mut real: Vec<(Option<Scope>, Ctx)> = vec![(Some(root), top.clone())];
        let mut model = vec![Model { parent: None, owned: true, reason: None }];
        for (number, step) in steps.into_iter().enumerate() {
            match step {
                Step::Child(of) => {
                    let of = of % real.len();
                    // Only an owned parent is sure to be in the tree still.
                    let Some(parent) = &real[of].0 else { continue };
                    let child = parent.ctx().child(&NODE);
                    let reason = model[of].reason.clone();
                    real.push((Some(child), top.clone()));
                    let last = real.last_mut().unwrap();
                    last.1 = last.0.as_ref().unwrap().ctx().clone();
                    model.push(Model { parent: Some(of), owned: true, reason });
                }
                Step::Cancel(at) => {
                    let at = at % real.len();
                    let Some(scope) = &real[at].0 else { continue };
                    let text = format!("step {number}");
                    let won = scope.cancel(Reason::requested(text.clone()));
                    prop_assert_eq!(won, model[at].reason.is_none());
                    if won {
                        mark(&mut model, at, &text);
                    }
                }
                Step::Drop(at) => {
                    let at = at % real.len();
                    if at == 0 || real[at].0.take().is_none() {
                        continue;
                    }
                    model[at].owned = false;
                    if model[at].reason.is_none() {
                        // All owner-dropped reasons look alike; the origin tells them apart.
                        mark(&mut model, at, &format!("dropped {number}"));
                    }
                }
            }
            for ((_, ctx), node) in real.iter().zip(&model) {
                prop_assert_eq!(ctx.is_cancelled(), node.reason.is_some());
                if let (Some(is), Some(should)) = (ctx.reason(), &node.reason) {
                    match should.starts_with("dropped") {
                        true => prop_assert_eq!(is.kind(), ReasonKind::OwnerDropped),
                        false => prop_assert_eq!(is.text(), should),
                    }
                }
            }
            prop_assert_eq!(top.dump().len(), live(&model));
        }
    }
}

/// A small generator, so that a failing seed can be run again.
struct Dice(u64);

impl Dice {
    fn roll(&mut self, below: usize) -> usize {
        let mut hasher = DefaultHasher::new();
        self.0.hash(&mut hasher);
        self.0 = hasher.finish();
        usize::try_from(self.0 % below as u64).unwrap()
    }
}

#[test]
fn threads_that_create_cancel_and_drop_at_random_leave_an_empty_tree() {
    for seed in 0..40 {
        let root = Scope::root("root");
        let start = Arc::new(Barrier::new(4));
        std::thread::scope(|threads| {
            for thread in 0..4 {
                let (ctx, start) = (root.ctx().clone(), Arc::clone(&start));
                threads.spawn(move || {
                    let mut dice = Dice(seed * 4 + thread);
                    let mut own = vec![ctx.child(&NODE)];
                    start.wait();
                    for _ in 0..500 {
                        let at = dice.roll(own.len());
                        match dice.roll(8) {
                            0..4 => own.push(own[at].ctx().child(&NODE)),
                            4 => own.push(ctx.child(&NODE)),
                            5 => {
                                let scope = &own[at];
                                scope.cancel(ReasonKind::Requested);
                                assert!(scope.ctx().is_cancelled());
                                let below = scope.ctx().child(&NODE);
                                assert!(below.ctx().is_cancelled());
                            }
                            6 if own.len() > 1 => drop(own.swap_remove(at)),
                            _ => drop(ctx.dump()),
                        }
                    }
                });
            }
        });
        assert!(root.ctx().dump().is_empty(), "seed {seed}:\n{}", root.ctx().dump());
    }
}

#[test]
fn every_task_ends_when_the_root_is_cancelled_while_others_spawn() {
    let runtime = tokio::runtime::Builder::new_multi_thread().worker_threads(4).enable_all().build().unwrap();
    runtime.block_on(async {
        for seed in 0..60 {
            let root = Scope::root("root");
            let spawners = Vec::from_iter((0..4).map(|number| {
                root.ctx().spawn_named(&NODE, number, move |ctx| async move {
                    let mut dice = Dice(seed * 4 + number);
                    let mut scopes = Vec::new();
                    loop {
                        let scope = match dice.roll(3) {
                            0 => ctx.child(&NODE),
                            1 => ctx.with_timeout(&NODE, Duration::from_micros(200)),
                            _ => ctx.with_timeout(&NODE, Duration::from_secs(60)),
                        };
                        scope.ctx().spawn(&NODE, |_| pending::<()>()).detach();
                        scope.ctx().spawn(&NODE, |ctx| async move { ctx.cancelled().await }).detach();
                        scopes.push(scope);
                        if dice.roll(4) == 0 {
                            drop(scopes.swap_remove(dice.roll(scopes.len())));
                        }
                        tokio::task::yield_now().await;
                    }
                })
            }));
            tokio::time::sleep(Duration::from_micros(300 * (seed % 7))).await;
            let stopped = root.stop(ReasonKind::Shutdown, Duration::from_secs(20)).await;
            assert!(stopped.is_ok(), "seed {seed}: {stopped:?}");
            for spawner in spawners {
                assert!(spawner.await.is_err());
            }
        }
        let metrics = tokio::runtime::Handle::current().metrics();
        // A task's context ends a moment before tokio has put the empty task away.
        for _ in 0..1000 {
            tokio::time::sleep(Duration::from_millis(1)).await;
            if metrics.num_alive_tasks() == 0 {
                return;
            }
        }
        panic!("{} tasks are left", metrics.num_alive_tasks());
    });
}
