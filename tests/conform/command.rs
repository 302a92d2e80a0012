//! The command itself: what it prints, its exit codes, TLS with an authority of one's own.

use std::path::Path;
use std::process::{Command, Output};

use serde_json::Value as Json;

use super::clouds::Stand;

async fn linli(args: Vec<String>) -> Output {
    let run = move || {
        Command::new(env!("CARGO_BIN_EXE_linli"))
            .args(args)
            .env("NO_COLOR", "1")
            .output()
            .unwrap()
    };
    tokio::task::spawn_blocking(run).await.unwrap()
}

fn args(stand: &Stand, folder: &Path, more: &[&str]) -> Vec<String> {
    let token = folder.join("token");
    std::fs::write(&token, format!("{}\n", stand.token.reveal())).unwrap();
    let token = token.to_str().unwrap();
    let all = [
        "conform",
        "cloud",
        stand.url.as_str(),
        "--token-file",
        token,
    ];
    let gateway = ["--gateway", stand.gateway.as_str()];
    let all = all.iter().chain(&gateway).chain(more);
    all.map(|arg| (*arg).to_string()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn it_prints_a_line_a_clause_and_its_exit_code_says_whether_one_is_broken() {
    let folder = tempfile::tempdir().unwrap();
    let stand = Stand::honest().await;
    let output = linli(args(&stand, folder.path(), &[])).await;
    let text = String::from_utf8(output.stdout).unwrap();
    assert_eq!(output.status.code(), Some(0), "{text}");
    assert!(text.contains("\nheld       uplink.gap.expected "), "{text}");
    assert!(text.contains("\nnot shown  downlink.rising "), "{text}");
    assert!(text.ends_with(" held, 0 broken, 1 not shown\n"), "{text}");
    assert!(!text.contains(stand.token.reveal()));

    let fault = super::FAULTS
        .iter()
        .find(|fault| fault.name == "forks that aren't noticed");
    let stand = Stand::with(fault.unwrap()).await;
    let output = linli(args(&stand, folder.path(), &["--json"])).await;
    assert_eq!(output.status.code(), Some(1));
    let report: Json = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(report["broken"], 2);
    let clauses = report["clauses"].as_array().unwrap();
    let fork = clauses
        .iter()
        .find(|clause| clause["clause"] == "uplink.fork.item");
    let fork = fork.unwrap();
    assert_eq!(fork["result"], "broken");
    assert!(
        fork["answered"].as_str().unwrap().starts_with("200 "),
        "{fork}"
    );
    assert!(fork["says"].as_str().unwrap().contains("409 fork"));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_cloud_behind_tls_is_tried_with_its_own_authority_only() {
    let folder = tempfile::tempdir().unwrap();
    let made = rcgen::generate_simple_self_signed(["localhost".to_string()]).unwrap();
    let ca = folder.path().join("ca.pem");
    std::fs::write(&ca, made.cert.pem()).unwrap();
    let stand = Stand::behind_tls(made.cert.der().to_vec(), made.signing_key.serialize_der()).await;
    let ca = ca.to_str().unwrap();
    let output = linli(args(&stand, folder.path(), &["--ca-file", ca, "--json"])).await;
    let report: Json = serde_json::from_slice(&output.stdout).unwrap();
    assert_eq!(
        (output.status.code(), &report["broken"]),
        (Some(0), &0.into()),
        "{report}"
    );

    let output = linli(args(&stand, folder.path(), &[])).await;
    assert_eq!(output.status.code(), Some(1));
    let told = String::from_utf8(output.stderr).unwrap();
    assert!(
        told.contains("doesn't answer") && told.contains("certificate"),
        "{told}"
    );
}

#[tokio::test]
async fn what_is_missing_is_said() {
    let folder = tempfile::tempdir().unwrap();
    let token = folder.path().join("token").to_str().unwrap().to_string();
    let all = [
        "conform",
        "cloud",
        "https://127.0.0.1:9",
        "--token-file",
        token.as_str(),
    ];
    let all = || all.map(str::to_string).to_vec();
    for content in [None, Some("\n")] {
        if let Some(content) = content {
            std::fs::write(&token, content).unwrap();
        }
        let output = linli(all()).await;
        assert_eq!(output.status.code(), Some(1));
        let told = String::from_utf8(output.stderr).unwrap();
        assert!(told.contains("enrolment token"), "{told}");
    }
}
