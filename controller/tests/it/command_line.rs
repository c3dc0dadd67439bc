//! The command line as a person meets it: help, exit codes, one-line errors.

use std::process::{Command, Output};

use serde_json::Value;

const COMMANDS: [&str; 9] =
    ["controller", "agent", "crds", "join", "unjoin", "get", "debug", "debug contexts", "version"];

fn pando(args: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_pando"))
        .args(args)
        .env_remove("KUBECONFIG")
        .env_remove("COLUMNS")
        .env_remove("KUBERNETES_SERVICE_HOST")
        .env("HOME", env!("CARGO_TARGET_TMPDIR"))
        .output()
        .expect("the binary runs")
}

fn stdout(output: &Output) -> String {
    String::from_utf8(output.stdout.clone()).expect("text")
}

fn stderr(output: &Output) -> String {
    String::from_utf8(output.stderr.clone()).expect("text")
}

/// The one line that a failed command leaves on stderr.
fn refusal(args: &[&str], code: i32) -> String {
    let output = pando(args);
    assert_eq!(output.status.code(), Some(code), "{args:?}: {}", stderr(&output));
    assert_eq!(stdout(&output), "", "{args:?} prints nothing");
    let text = stderr(&output);
    assert!(text.starts_with("error: "), "{args:?}: {text}");
    assert_eq!(text.lines().count(), 1, "{args:?}: {text}");
    text
}

#[test]
fn every_command_explains_itself() {
    let mut pages = vec![format!("$ pando --help\n{}", stdout(&pando(&["--help"])))];
    for command in COMMANDS {
        let output = pando(&command.split(' ').chain(["--help"]).collect::<Vec<_>>());
        assert!(output.status.success(), "{command}");
        pages.push(format!("$ pando {command} --help\n{}", stdout(&output)));
    }
    insta::assert_snapshot!("help", pages.join("\n"));
}

#[test]
fn wrong_usage_is_one_line_and_exit_code_two() {
    for args in [
        &["join"] as &[&str],
        &["join", "bj-prod"],
        &["join", "Not_A_Name", "--cluster-kubeconfig", "f"],
        &["join", "a", "--cluster-kubeconfig", "f", "--cluster-namespace", "elsewhere"],
        &["get", "pods"],
        &["get", "bindings", "-n", "a", "-A"],
        &["controller", "--cluster-failure-threshold", "10"],
        &["controller", "--concurrent-work-syncs", "0"],
        &["controller", "--skipped-propagating-namespaces", "kube-("],
        &["controller", "--feature-gates", "NoSuchGate=true"],
        &["debug", "contexts", "--state", "gone"],
        &["debug", "contexts", "--older", "old"],
        &["no-such-command"],
    ] {
        refusal(args, 2);
    }
}

#[test]
fn the_agent_says_that_it_does_not_exist_yet() {
    let text = refusal(&["agent", "--karmada-kubeconfig", "f", "--cluster-name", "x"], 1);
    assert!(text.contains("not available yet") && text.contains("pando join"), "{text}");
}

#[test]
fn without_a_kubeconfig_the_error_says_how_to_name_one() {
    let text = refusal(&["get", "clusters"], 1);
    assert!(text.contains("--kubeconfig") && text.contains("KUBECONFIG"), "{text}");
    let text = refusal(&["join", "a", "--cluster-kubeconfig", "no-such-file.yaml"], 1);
    assert!(text.contains("no-such-file.yaml"), "{text}");
}

#[test]
fn a_hub_that_does_not_answer_is_named_with_its_address() {
    // A port that was free a moment ago and that nobody listens on.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let port = listener.local_addr().expect("an address").port();
    drop(listener);
    let file = format!("{}/nobody.kubeconfig", env!("CARGO_TARGET_TMPDIR"));
    let text = format!(
        "apiVersion: v1\nkind: Config\ncurrent-context: c\n\
         clusters: [{{name: c, cluster: {{server: \"https://127.0.0.1:{port}\", insecure-skip-tls-verify: true}}}}]\n\
         contexts: [{{name: c, context: {{cluster: c, user: u}}}}]\nusers: [{{name: u, user: {{token: t}}}}]\n"
    );
    std::fs::write(&file, text).expect("a kubeconfig");
    let text = refusal(&["get", "clusters", "--kubeconfig", &file], 1);
    assert!(text.contains(&format!("hub https://127.0.0.1:{port} cannot be reached")), "{text}");
}

#[test]
fn a_controller_that_is_not_there_is_named_with_the_flag_that_says_where() {
    // A port that was free a moment ago and that nobody listens on.
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a free port");
    let address = listener.local_addr().expect("an address").to_string();
    drop(listener);
    let text = refusal(&["debug", "contexts", "--address", &address], 1);
    assert!(text.contains(&format!("no controller answers at {address}")), "{text}");
    assert!(text.contains("--debug-bind-address"), "{text}");
}

#[test]
fn the_version_names_the_api_it_speaks() {
    let text = stdout(&pando(&["version"]));
    assert_eq!(text, format!("pando {} (API of Karmada 1.19)\n", env!("CARGO_PKG_VERSION")));
    let json: Value = serde_json::from_str(&stdout(&pando(&["version", "-o", "json"]))).expect("JSON");
    assert_eq!(json["version"], env!("CARGO_PKG_VERSION"));
}

#[test]
fn crds_are_printed_as_one_stream_and_written_as_files() {
    use serde::Deserialize as _;
    let stream = stdout(&pando(&["crds"]));
    let documents: Vec<Value> = serde_yaml::Deserializer::from_str(&stream)
        .map(|document| Value::deserialize(document).expect("YAML"))
        .collect();
    assert!(documents.len() >= 8, "{} documents", documents.len());
    assert!(documents.iter().all(|document| document["kind"] == "CustomResourceDefinition"));

    let folder = format!("{}/crds", env!("CARGO_TARGET_TMPDIR"));
    assert!(pando(&["crds", "--write", &folder]).status.success());
    for document in &documents {
        let name = document["metadata"]["name"].as_str().expect("a name");
        let (plural, group) = name.split_once('.').expect("plural.group");
        let file = format!("{folder}/{group}_{plural}.yaml");
        assert!(std::path::Path::new(&file).exists(), "{file}");
    }
}
