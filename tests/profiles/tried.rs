//! `linli profile`: what is shipped makes of payloads from the makers' own documentation what it should,
//! and a program that misbehaves is told so, quickly, with the place.
//!
//! Each `profiles/tests/PROFILE/NAME.json` is a payload as it stands on the page that the first line of
//! `NAME.expected` names; the lines after it say the topic, the device's name, and the events.

use std::fs;
use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use serde_json::Value;

fn linli(args: &[&str], stdin: &[u8]) -> Output {
    let mut process = Command::new(env!("CARGO_BIN_EXE_linli"))
        .args(args)
        .env("LINLI_SOCKET", "/nonexistent/control.sock")
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    // One that doesn't read it has ended: its output tells why.
    let _ = process.stdin.take().unwrap().write_all(stdin);
    process.wait_with_output().unwrap()
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8(bytes.to_vec()).unwrap()
}

fn lines(text: &str) -> Vec<Value> {
    let lines = text.lines().filter(|line| !line.starts_with('#'));
    lines
        .map(|line| serde_json::from_str(line).unwrap())
        .collect()
}

#[test]
fn the_shipped_profiles_read_what_the_documentation_shows() {
    let mut tried = 0;
    for folder in fs::read_dir("profiles/tests").unwrap() {
        let folder = folder.unwrap().path();
        let profile = folder.file_name().unwrap().to_str().unwrap().to_owned();
        for file in fs::read_dir(&folder).unwrap() {
            let file = file.unwrap().path();
            if file.extension().is_some_and(|end| end == "json") {
                documented(&profile, &file);
                tried += 1;
            }
        }
    }
    assert!(tried >= 20, "{tried}");
}

fn documented(profile: &str, payload: &Path) {
    let expected = fs::read_to_string(payload.with_extension("expected")).unwrap();
    assert!(
        expected.lines().next().unwrap().contains("https://"),
        "{}: where is it from?",
        payload.display()
    );
    let said = |what: &str| {
        let mut lines = expected.lines();
        lines
            .find_map(|line| line.strip_prefix(what))
            .map(str::trim)
    };
    let topic = said("# topic:").unwrap();
    let named = said("# named:").unwrap_or("device");
    let done = linli(
        &[
            "profile", "test", profile, "--topic", topic, "--named", named,
        ],
        &fs::read(payload).unwrap(),
    );
    let (made, errors) = (text(&done.stdout), text(&done.stderr));
    assert!(done.status.success(), "{}: {errors}", payload.display());
    assert!(!errors.contains("note:"), "{}: {errors}", payload.display());
    assert_eq!(lines(&made), lines(&expected), "{}", payload.display());
}

#[test]
fn a_profile_is_listed_and_shown_without_a_daemon() {
    let listed = linli(&["profile", "list"], b"");
    assert!(listed.status.success());
    let shown = text(&listed.stdout);
    for name in ["json", "shelly-gen2", "tasmota", "zigbee2mqtt"] {
        assert!(shown.contains(name), "{shown}");
        let file = linli(&["profile", "show", name], b"");
        let on_disk = fs::read(format!("profiles/{name}.toml")).unwrap();
        assert_eq!(file.stdout, on_disk);
    }
    assert!(text(&listed.stderr).contains("isn't known"));
    let none = linli(&["profile", "show", "zwave"], b"");
    assert_eq!(none.status.code(), Some(4));
    assert!(text(&none.stderr).contains("'linli profile list'"));
}

/// A profile of one's own in a folder of the test's own.
fn own(program: &str) -> (tempfile::TempDir, String) {
    let folder = tempfile::tempdir().unwrap();
    let file = folder.path().join("own.toml");
    let text = format!(
        "about = \"mine\"\ntopics = [\"mine/{{name}}\"]\npayload = \"json\"\nprogram = '''\n{program}\n'''\n"
    );
    fs::write(&file, text).unwrap();
    let file = file.to_str().unwrap().to_owned();
    (folder, file)
}

fn refused(program: &str, payload: &[u8]) -> String {
    let (_folder, file) = own(program);
    let done = linli(&["profile", "test", &file], payload);
    assert_eq!(done.status.code(), Some(1), "{}", text(&done.stdout));
    text(&done.stderr)
}

#[test]
fn what_is_wrong_with_a_program_is_told_with_its_place() {
    let said = refused(".payload\n| {kind: \"reading\"", b"{}");
    assert!(said.contains("line 3, column 1, at the end"), "{said}");
    let said = refused(".payload | wether", b"{}");
    assert!(said.contains("there is no filter 'wether'"), "{said}");
    let said = refused(".payload.x | error(\"no \\(.)\")", b"{\"x\":1}");
    assert!(said.contains("the program gave: \"no 1\""), "{said}");
    let said = refused("{kind: \"reading\", senml: []}", b"{}");
    assert!(said.contains("event 1 that the program makes"), "{said}");
    let said = refused(".", b"no json");
    assert!(said.contains("the payload isn't JSON"), "{said}");
}

#[test]
fn a_program_that_misbehaves_is_ended() {
    let said = refused("def f: f; f", b"{}");
    assert!(
        said.contains("more than 250 ms") || said.contains("too deep"),
        "{said}"
    );
    let said = refused("[limit(1; repeat(1) | select(. > 1))]", b"{}");
    assert!(said.contains("computes for more than 250 ms"), "{said}");
    let said = refused("reduce range(1; 1e9) as $n (\"x\"; . + .)", b"{}");
    assert!(said.contains("more than 64 MiB of memory"), "{said}");
    let said = refused(
        "repeat({kind: \"reading\", senml: [{n: \"x\", v: 1}]})",
        b"{}",
    );
    assert!(said.contains("more than 256 events"), "{said}");
    let said = refused("def f: 1 + f; f", b"{}");
    assert!(
        said.contains("too deep") || said.contains("64 MiB") || said.contains("250 ms"),
        "{said}"
    );
}

#[test]
fn a_topic_that_is_not_the_profiles_is_noted() {
    let done = linli(
        &[
            "profile",
            "test",
            "tasmota",
            "--topic",
            "tele/other/SENSOR",
            "--named",
            "plug",
        ],
        b"{\"Time\":\"2021-01-01T00:00:00\",\"Switch1\":\"ON\"}",
    );
    assert!(done.status.success());
    assert!(text(&done.stderr).contains("only to tele/plug/SENSOR, tele/plug/LWT"));
}
