#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use k8s_openapi::ByteString;
use k8s_openapi::api::core::v1::Secret;
use pando_api::cluster::Cluster;
use serde_json::json;

use super::*;
use crate::probe;

fn name() -> ClusterName {
    ClusterName::parse("bj-prod").unwrap()
}

fn connection(endpoint: &str, token: &str) -> Connection {
    let spec = json!({"syncMode": "Push", "apiEndpoint": endpoint, "insecureSkipTLSVerification": true});
    let cluster: Cluster =
        serde_json::from_value(json!({"apiVersion": "cluster.karmada.io/v1alpha1", "kind": "Cluster", "metadata": {"name": "bj-prod"}, "spec": spec})).unwrap();
    let data = [("token".to_owned(), ByteString(token.as_bytes().to_vec()))];
    Connection::new(&cluster, &Secret { data: Some(data.into()), ..Secret::default() }).unwrap()
}

#[pando_context::test]
async fn another_token_keeps_the_life_of_a_member(root: &Scope) {
    let registry = Registry::new(root.ctx().clone());
    let first = registry.attach(&name(), &connection("https://127.0.0.1:1", "a")).await.unwrap();
    assert!(matches!(first, Attached::New(_)));
    let second = registry.attach(&name(), &connection("https://127.0.0.1:1", "b")).await.unwrap();
    assert!(matches!(second, Attached::Kept(_)));
    assert!(Arc::ptr_eq(first.entry(), second.entry()));
}

#[pando_context::test]
async fn another_endpoint_begins_a_new_life_after_the_old_one_ended(root: &Scope) {
    let registry = Registry::new(root.ctx().clone());
    let old = Arc::clone(registry.attach(&name(), &connection("https://127.0.0.1:1", "a")).await.unwrap().entry());
    let new = registry.attach(&name(), &connection("https://127.0.0.1:2", "a")).await.unwrap();
    assert!(matches!(new, Attached::New(_)));
    assert!(old.member().ctx().is_cancelled());
    assert!(!new.entry().member().ctx().is_cancelled());
}

#[pando_context::test]
async fn detaching_ends_every_task_of_the_member(root: &Scope) {
    let registry = Registry::new(root.ctx().clone());
    let entry = Arc::clone(registry.attach(&name(), &connection("https://127.0.0.1:1", "a")).await.unwrap().entry());
    let task = entry.member().ctx().spawn(&CLUSTER, |ctx| async move { ctx.cancelled().await });
    registry.detach(&name()).await.unwrap();
    assert!(registry.get(&name()).is_none());
    task.await.ok();
    registry.detach(&name()).await.unwrap();
}

/// Something of a member's life that nothing ends before it is dropped.
fn held(entry: &Entry) -> Scope {
    entry.member().ctx().child(&CLUSTER)
}

#[pando_context::test(paused)]
async fn a_new_life_begins_only_after_the_old_one_has_drained(root: &Scope) {
    let registry = Registry::new(root.ctx().clone());
    let same = connection("https://127.0.0.1:1", "a");
    let old = Arc::clone(registry.attach(&name(), &same).await.unwrap().entry());
    let held = held(&old);
    let (name, second) = (name(), Duration::from_secs(1));
    let gave_up = root.ctx().timeout(&CLUSTER, second, registry.detach(&name)).await;
    assert!(gave_up.is_err() && old.member().ctx().is_cancelled());
    let too_early = root.ctx().timeout(&CLUSTER, second, registry.attach(&name, &same)).await;
    assert!(too_early.is_err() && registry.get(&name).is_none(), "whoever stops waiting does not end the wait");
    drop(held);
    let new = registry.attach(&name, &same).await.unwrap();
    assert!(matches!(new, Attached::New(_)));
    assert!(!new.entry().member().ctx().is_cancelled());
}

#[pando_context::test(paused)]
async fn what_does_not_end_in_time_is_told_and_waited_for(root: &Scope) {
    let registry = Registry::new(root.ctx().clone());
    let entry = Arc::clone(registry.attach(&name(), &connection("https://127.0.0.1:1", "a")).await.unwrap().entry());
    let held = held(&entry);
    for _ in 0..2 {
        let running = registry.detach(&name()).await.unwrap_err();
        assert!(running.left.contains("bj-prod"), "{}", running.left);
        let said = running.to_string();
        assert!(
            !said.contains('\n') && !said.contains(running.left.as_str()),
            "the tree is not for every retry: {said}"
        );
    }
    drop(held);
    registry.detach(&name()).await.unwrap();
    registry.detach(&name()).await.unwrap();
}

#[pando_context::test]
async fn attached_and_detached_in_quick_succession_a_member_has_one_life_at_a_time() {
    use std::sync::atomic::{AtomicUsize, Ordering};

    struct Alive(Arc<AtomicUsize>);
    impl Drop for Alive {
        fn drop(&mut self) {
            self.0.fetch_sub(1, Ordering::SeqCst);
        }
    }
    let root = Scope::root("test");
    let registry = Registry::new(root.ctx().clone());
    let (alive, name) = (Arc::new(AtomicUsize::new(0)), name());
    for _ in 0..200 {
        let attached = registry.attach(&name, &connection("https://127.0.0.1:1", "a")).await.unwrap();
        assert_eq!(alive.load(Ordering::SeqCst), 0, "something of the former life is left");
        for _ in 0..3 {
            let counted = Alive(Arc::clone(&alive));
            alive.fetch_add(1, Ordering::SeqCst);
            let ctx = attached.entry().member().ctx();
            ctx.spawn(&CLUSTER, |ctx| async move { (ctx.cancelled().await, counted).1.0.load(Ordering::SeqCst) })
                .detach();
        }
        tokio::task::yield_now().await;
        let (first, second) = futures::join!(registry.detach(&name), registry.detach(&name));
        first.and(second).unwrap();
    }
    assert_eq!(root.ctx().dump().len(), 1, "{}", root.ctx().dump());
}

#[pando_context::test]
async fn a_waiting_worker_goes_on_when_the_member_is_back(root: &Scope) {
    let registry = Registry::new(root.ctx().clone());
    let entry = Arc::clone(registry.attach(&name(), &connection("https://127.0.0.1:1", "a")).await.unwrap().entry());
    assert!(entry.set_state(State::Lost { why: Why::Unreachable, cause: "no route".into() }));
    assert!(!entry.set_state(State::Lost { why: Why::Unreachable, cause: "another".into() }));
    assert_eq!(entry.state(), State::Lost { why: Why::Unreachable, cause: "no route".into() });
    let waiting = entry.connected(root.ctx());
    assert!(entry.set_state(State::Connected));
    waiting.await.unwrap();
}

#[pando_context::test(paused)]
async fn a_kind_that_is_listed_and_not_served_is_asked_for_once_and_a_promised_one_often(root: &Scope) {
    let registry = Registry::new(root.ctx().clone());
    let entry = Arc::clone(registry.attach(&name(), &connection("https://127.0.0.1:1", "a")).await.unwrap().entry());
    let kinds = vec![probe::Kind { name: "things".into(), kind: "Thing".into(), ..probe::Kind::default() }];
    let things = probe::GroupVersion { group_version: "x.example/v1".into(), kinds, ..probe::GroupVersion::default() };
    let serving = Discovered { group_versions: vec![things], missing: vec![] };
    entry.set_discovered(serving.clone());
    entry.misses("x.example/v1", "Thing");
    assert_eq!(entry.rediscovery(), None, "it was asked just now");
    root.ctx().sleep(Duration::from_secs(10)).await.unwrap();
    entry.misses("x.example/v1", "Thing");
    assert_eq!(entry.rediscovery(), Some(Duration::from_secs(1)));
    entry.set_discovered(serving);
    assert_eq!(entry.rediscovery(), None, "it is there all the same");
    entry.misses("y.example/v1", "Other");
    for _ in 0..20 {
        entry.set_discovered((*entry.discovered()).clone());
    }
    assert_eq!(entry.rediscovery(), Some(Duration::from_secs(30)));
    entry.expects("y.example/v1", "Other");
    assert_eq!(entry.rediscovery(), Some(Duration::from_secs(1)));
}
