#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic, reason = "tests")]

use pando_api::names::ClusterName;
use pando_core::detach::{Fate, Fated, LeftBehind};
use serde_json::json;

use super::*;
use crate::args::{Cli, Command};

fn fated(object: &str, fate: Fate) -> Fated {
    Fated { object: object.to_owned(), fate }
}

fn plan() -> Plan {
    Plan {
        cluster: "bj".to_owned(),
        joined: true,
        objects: vec![
            fated("ConfigMap prod/a", Fate::Removed),
            fated("ConfigMap prod/b", Fate::RemovedUnlessAdopted),
            fated("Deployment prod/gone", Fate::Gone),
            fated(
                "Namespace prod",
                Fate::Kept { why: "objects of this kind are never deleted in a member".to_owned() },
            ),
        ],
        away: None,
        force: false,
        cleans: false,
    }
}

fn name() -> ClusterName {
    ClusterName::parse("bj").unwrap()
}

fn args(more: &[&str]) -> UnjoinArgs {
    let words = ["pando", "unjoin", "bj"].iter().chain(more).map(Into::into);
    match Cli::from_invocation(words).unwrap().command {
        Command::Unjoin(args) => args,
        other => panic!("{other:?}"),
    }
}

#[test]
fn the_preview_says_what_goes_and_what_stays() {
    insta::assert_snapshot!(plan().lines().join("\n"), @r"
    cluster bj leaves the federation; of what was propagated to it:
      remove       ConfigMap prod/a
      remove       ConfigMap prod/b: unless it was in the member before Pando took it over
      keep         Namespace prod: objects of this kind are never deleted in a member
      keep         accounts and role that join made: --cluster-kubeconfig removes them, too
    ");
    let away = Plan { away: Some("cluster is not reachable".to_owned()), cleans: true, ..plan() };
    insta::assert_snapshot!(away.lines()[4..].join("\n"), @r"
      the member cannot be reached (cluster is not reachable): it is waited for, until it is back or --force lets go of what is in it
      remove       accounts, role and namespace that join made, where they are this federation's
    ");
    let forced = Plan { force: true, ..away };
    insta::assert_snapshot!(forced.lines().join("\n"), @r"
    cluster bj leaves the federation; of what was propagated to it:
      keep         Namespace prod: objects of this kind are never deleted in a member
      leave behind ConfigMap prod/a: the member cannot be reached
      leave behind ConfigMap prod/b: the member cannot be reached
      the member cannot be reached (cluster is not reachable): it is not waited for
      remove       accounts, role and namespace that join made, where they are this federation's
    ");
    assert_eq!(
        forced.json()["objects"][0],
        json!({"object": "ConfigMap prod/a", "fate": "leftBehind", "why": "the member cannot be reached"})
    );
}

#[test]
fn a_long_preview_is_counted_for_people_and_complete_for_programs() {
    let objects = (0..120).map(|nth| fated(&format!("ConfigMap prod/{nth}"), Fate::Removed)).collect();
    let long = Plan { objects, ..plan() };
    assert_eq!(long.lines().len(), 53);
    assert!(long.lines()[51].ends_with("and 70 more (-o json lists them)"), "{:?}", long.lines());
    assert_eq!(long.json()["objects"].as_array().unwrap().len(), 120);
}

#[test]
fn the_report_counts_what_went_and_names_what_is_left() {
    insta::assert_snapshot!(plan().report(Ok(None)).text(&name()), @r"
    cluster(bj) is unjoined successfully
    removed 1, removed unless they were there before 1, kept 1, left behind 0
    ");
    let mut left = LeftBehind { forced_by: "alice".to_owned(), ..LeftBehind::default() };
    left.add(["ConfigMap prod/a".to_owned()]);
    let mut report = plan().report(Ok(Some(left)));
    report.leave("what join made in it", "it did not answer");
    insta::assert_snapshot!(report.text(&name()), @r"
    cluster(bj) is unjoined successfully
    removed 0, removed unless they were there before 1, kept 1, left behind 2
      left behind  ConfigMap prod/a
      left behind  what join made in it: it did not answer
    the list stays in configmap karmada-cluster/detached-bj on the hub
    ");
    let json = report.json(&name());
    assert_eq!((&json["forcedBy"], &json["unjoined"]), (&json!("alice"), &json!(true)));
    assert_eq!(json["leftBehind"].as_array().unwrap().len(), 2);
}

#[test]
fn without_a_list_nothing_is_said_to_be_removed_from_a_member_that_was_forced() {
    let forced = Plan { away: Some("no route".to_owned()), force: true, ..plan() };
    insta::assert_snapshot!(forced.report(Ok(None)).text(&name()), @r"
    cluster(bj) is unjoined successfully
    removed 0, kept 1, left behind 2
      left behind  ConfigMap prod/a: it may still be there
      left behind  ConfigMap prod/b: it may still be there
    nothing was written down of what is left behind: what may be there is shown as left behind
    ");
    let unread = Plan { away: None, ..forced }.report(Err("403".to_owned()));
    assert_eq!((unread.removed, unread.left_behind.len()), (0, 2));
    assert!(unread.text(&name()).contains("cannot be read (403)"), "{}", unread.text(&name()));
    let calm = plan().report(Err("403".to_owned()));
    assert_eq!((calm.removed, calm.unknown), (1, None), "nobody let go of anything");
}

#[test]
fn who_waits_is_told_what_the_cluster_says_of_itself() {
    let told = |status: serde_json::Value, finalizers: &[&str], waited| {
        let cluster: Cluster = serde_json::from_value(json!({
            "apiVersion": "cluster.karmada.io/v1alpha1", "kind": "Cluster",
            "metadata": {"name": "bj", "finalizers": finalizers}, "spec": {"syncMode": "Push"}, "status": status,
        }))
        .unwrap();
        wait::Told::of(&cluster, Duration::from_secs(waited)).to_string()
    };
    let ours = ["karmada.io/cluster-controller"];
    let detaching = json!({"conditions": [{"type": "Detaching", "status": "True", "reason": "Blocked",
        "message": "blocked by: Work a", "lastTransitionTime": "2026-01-01T00:00:00Z"}]});
    assert_eq!(told(detaching.clone(), &ours, 1), "Blocked: blocked by: Work a");
    assert!(told(json!({}), &ours, 1).starts_with("Requested: "));
    assert!(told(json!({}), &ours, 20).starts_with("NoController: "));
    assert!(told(detaching, &["example.io/x"], 1).contains("example.io/x"), "ours is off: others hold it");
}

#[test]
fn the_deadline_has_karmadas_name_too() {
    let deadline = |more: &[&str]| args(more).deadline.map(|deadline| deadline.get());
    assert_eq!(deadline(&["--deadline", "7s"]), Some(Duration::from_secs(7)));
    assert_eq!(deadline(&["--wait", "7s"]), Some(Duration::from_secs(7)));
    assert_eq!(deadline(&[]), None);
}
