#![allow(clippy::unwrap_used, clippy::expect_used, reason = "tests")]

use super::*;

/// A source with own pins and an own empty cache.
fn source(name: &str) -> Source {
    let root = std::env::temp_dir().join(format!("pando-parts-{}-{name}", std::process::id()));
    drop(std::fs::remove_dir_all(&root));
    let tools = root.join("tools");
    for module in ["etcd", "kubernetes", "kwok", "helm"] {
        std::fs::create_dir_all(tools.join(module)).unwrap();
        std::fs::write(tools.join(module).join("go.mod"), format!("module {module}\n")).unwrap();
        std::fs::write(tools.join(module).join("go.sum"), "").unwrap();
    }
    Source { tools, cache: root.join("cache") }
}

fn fill(source: &Source, folder: &str, names: &[&str]) -> PathBuf {
    let bin = source.cache.join("parts").join(folder).join("bin");
    std::fs::create_dir_all(&bin).unwrap();
    for name in names {
        std::fs::write(bin.join(name), "binary").unwrap();
    }
    bin
}

#[test]
fn the_key_follows_every_pin() {
    let source = source("key");
    let before = source.pins().unwrap();
    assert_eq!(before, source.pins().unwrap());
    std::fs::write(source.tools.join("helm/go.sum"), "changed").unwrap();
    let after = source.pins().unwrap();
    assert_ne!(before, after);
}

#[test]
fn without_go_a_cache_with_the_same_pins_will_do() {
    let source = source("no-go");
    let pins = source.pins().unwrap();
    let error = source.without_go(&pins).unwrap_err().to_string();
    for word in ["kube-apiserver", "install Go 1.26", "PANDO_CACHE"] {
        assert!(error.contains(word), "{error}");
    }
    assert_eq!(error.lines().count(), 1, "one line: {error}");

    fill(&source, &format!("{pins}-go1.26.0"), &["etcd"]);
    assert!(source.without_go(&pins).is_err(), "an incomplete cache");
    let names = PARTS.map(|part| part.name);
    let bin = fill(&source, &format!("{pins}-go1.26.8"), &names);
    assert_eq!(source.without_go(&pins).unwrap().bin(), bin);
}

#[test]
fn only_what_is_missing_is_built() {
    let source = source("missing");
    let bin = fill(&source, "key", &["etcd", "kwok", ".helm.building"]);
    let names: Vec<&str> = missing(&Parts { bin }).iter().map(|part| part.name).collect();
    assert_eq!(names, ["kube-apiserver", "kube-controller-manager", "kube-scheduler", "kubectl", "helm"]);
}

#[test]
fn the_version_comes_from_the_pin() {
    let tools = workspace::root().join("e2e/tools");
    let kubernetes = build::pinned(&tools.join("kubernetes/go.mod"), "k8s.io/kubernetes").unwrap();
    assert!(kubernetes.starts_with("v1."), "{kubernetes}");
    let helm = build::pinned(&tools.join("helm/go.mod"), "helm.sh/helm/v4").unwrap();
    assert!(helm.starts_with("v4."), "{helm}");
}

#[test]
fn two_runs_do_not_build_at_once() {
    let source = source("lock");
    std::fs::create_dir_all(&source.cache).unwrap();
    let first = lock(&source.cache, &Progress::silent()).unwrap();
    let home = source.cache.clone();
    let second = std::thread::spawn(move || lock(&home, &Progress::silent()).map(drop));
    std::thread::sleep(Duration::from_millis(300));
    assert!(!second.is_finished(), "the second run did not wait");
    drop(first);
    second.join().unwrap().unwrap();
}

#[test]
fn a_failed_build_says_what_is_kept_and_what_to_do() {
    let source = source("fail");
    let Some(go) = Go::find().unwrap() else {
        return; // Without Go nothing is built on this machine.
    };
    let bin = fill(&source, "key", &[]);
    let parts = Parts { bin };
    let error = build::all(&source, &go, &parts, &PARTS[..1], &Progress::silent(), None).unwrap_err().to_string();
    assert!(error.starts_with("building etcd failed:"), "{error}");
    assert!(error.contains("run this again to go on"), "{error}");
    assert!(!parts.path("etcd").exists());
}
