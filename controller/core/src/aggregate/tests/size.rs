//! Statuses that are too large for etcd are left out, and that is said.

use super::*;
use crate::aggregate::work::MAX_STATUS_BYTES;

fn large(bytes: usize) -> Vec<LiveManifest> {
    let mut live = looked_at(5);
    live[0].status = Some(json!({"log": "x".repeat(bytes)}));
    live
}

fn reporting(cluster: &str, bytes: usize) -> Arc<Work> {
    let mut work = (*work(cluster, Some(work_status(None, &applied(), Some(&large(bytes)), &at(7))))).clone();
    work.metadata.resource_version = Some(bytes.to_string());
    Arc::new(work)
}

fn shown(status: &ResourceBindingStatus) -> Vec<bool> {
    status.aggregated_status.iter().map(|item| item.status.is_some()).collect()
}

#[test]
fn a_status_above_64_kib_stays_in_its_member() {
    let status = work_status(None, &applied(), Some(&large(MAX_STATUS_BYTES)), &at(7));
    assert_eq!(status.manifest_statuses[0].status, None);
    let said = crate::conditions::find(&status.conditions, "StatusComplete").unwrap();
    insta::assert_snapshot!(said.message, @"the status of Deployment prod/web has more than 65536 bytes and is left out");
    assert_eq!(work_status(Some(&status), &Dispatch::Unchanged, Some(&large(99_999)), &at(8)), status, "written once");

    let binding = status_of(&["bj"], &[work("bj", Some(status.clone()))], None, 9);
    insta::assert_snapshot!(summary(&binding), @r"
    bj applied=true Healthy the status of Deployment prod/web has more than 65536 bytes and is left out
    FullyApplied=True FullyAppliedSuccess
    ");

    let smaller = work_status(Some(&status), &Dispatch::Unchanged, Some(&looked_at(5)), &at(9));
    assert!(smaller.manifest_statuses[0].status.is_some());
    assert_eq!(crate::conditions::find(&smaller.conditions, "StatusComplete"), None);
}

#[test]
fn what_does_not_fit_into_the_binding_together_is_left_out_and_comes_back() {
    const CLUSTERS: [&str; 12] = ["a", "b", "c", "d", "e", "f", "g", "h", "i", "j", "k", "l"];
    let sized = |sizes: [usize; 12]| CLUSTERS.into_iter().zip(sizes).map(|(name, size)| reporting(name, size));
    let mut memory = Memory::default();
    let mut binding = bound(&CLUSTERS);
    let mut fold = |sizes: [usize; 12]| {
        let works: Vec<_> = sized(sizes).collect();
        let status = folded(&mut memory, &binding, &works, &|_| Reading::Current, 9);
        assert_eq!(status, folded(&mut Memory::default(), &binding, &works, &|_| Reading::Current, 9));
        binding.status = Some(status.clone());
        status
    };
    // 11 × 40 KiB fit.
    let mut sizes = [40_000; 12];
    sizes[11] = 100;
    assert_eq!(shown(&fold(sizes)), [true; 12]);
    // 11 × 60 KiB do not: each may have a twelfth.
    sizes[..11].fill(60_000);
    let status = fold(sizes);
    let mut expected = [false; 12];
    expected[11] = true;
    assert_eq!(shown(&status), expected);
    assert!(serde_json::to_vec(&status).unwrap().len() < 600 * 1024);
    insta::assert_snapshot!(status.aggregated_status[0].applied_message, @"its status is left out: with those of the other members it is too large for a binding; see the Work");
    assert!(status.aggregated_status.iter().all(|item| item.health == Some(ResourceHealth::Healthy) && item.applied));
    // They shrink: all are shown, those that did not change, too.
    sizes[..6].fill(10);
    let status = fold(sizes);
    assert_eq!(shown(&status), [true; 12]);
    assert_eq!(status.aggregated_status[7].applied_message, "");
}
