//! A Python that has what the peers need: an environment of its own below `target`, kept for next time. Where it
//! can't be made (no Python, no network) the tests say that they were left out; in CI they fail.

use std::fs::{self, File};
use std::io::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::sync::OnceLock;

/// What the peers need, at the versions that they were written for.
const NEEDS: [&str; 10] = [
    "cbor2==6.3.0",
    "cryptography==50.0.2",
    "http-message-signatures==3.0.0",
    "hypothesis==6.170.15",
    "jsonschema_rs==0.60.3",
    "pyhpke==0.6.5",
    "PyYAML==6.0.3",
    "requests==2.34.2",
    "schemathesis==4.32.5",
    "zstandard==0.25.0",
];

/// How often PyPI is asked.
const TRIES: usize = 3;

/// What a script said and how it ended.
pub struct Outcome {
    pub well: bool,
    pub out: String,
    pub err: String,
}

/// Runs a script of this folder; `told` is its standard input. `None`: left out, there is no such Python.
pub async fn run(script: &'static str, told: String) -> Option<Outcome> {
    tokio::task::spawn_blocking(move || blocking(script, &told))
        .await
        .unwrap()
}

fn blocking(script: &str, told: &str) -> Option<Outcome> {
    let python = python()?;
    let script = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/peers")
        .join(script);
    let mut child = Command::new(python)
        .arg("-B")
        .arg(script)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap();
    let mut input = child.stdin.take().unwrap();
    input.write_all(told.as_bytes()).unwrap();
    drop(input);
    let ended = child.wait_with_output().unwrap();
    Some(Outcome {
        well: ended.status.success(),
        out: String::from_utf8_lossy(&ended.stdout).into_owned(),
        err: String::from_utf8_lossy(&ended.stderr).into_owned(),
    })
}

fn python() -> Option<&'static Path> {
    static MADE: OnceLock<Result<PathBuf, String>> = OnceLock::new();
    match MADE.get_or_init(made) {
        Ok(python) => Some(python),
        Err(why) => {
            assert!(std::env::var_os("CI").is_none(), "CI must have it: {why}");
            eprintln!("LEFT OUT: {why}");
            None
        }
    }
}

/// One process at a time makes it; what a killed run left half made is made anew.
fn made() -> Result<PathBuf, String> {
    let place = Path::new(env!("CARGO_TARGET_TMPDIR"));
    let folder = place.join("cloud-peers");
    let python = folder.join("bin/python");
    // Written last.
    let complete = folder.join("complete");
    let lock = File::create(place.join("cloud-peers.lock")).unwrap();
    lock.lock().unwrap();

    let needs = NEEDS.join("\n");
    let runs = || {
        ran(
            &lock,
            Command::new(&python).args(["-c", "import schemathesis"]),
        )
        .is_ok()
    };
    if fs::read_to_string(&complete).is_ok_and(|has| has == needs) && runs() {
        return Ok(python);
    }
    let _ = fs::remove_file(&complete);
    let mut venv = Command::new("python3");
    ran(&lock, venv.args(["-m", "venv", "--clear"]).arg(&folder))
        .map_err(|e| format!("python3 with venv (Debian: apt install python3-venv): {e}"))?;
    let install = ["-m", "pip", "install", "-q", "--retries", "2"];
    let install = || ran(&lock, Command::new(&python).args(install).args(NEEDS));
    let mut installed = install();
    for _ in 1..TRIES {
        installed = installed.or_else(|_| install());
    }
    installed.map_err(|e| format!("the peers' libraries from PyPI (is there a network?): {e}"))?;
    fs::write(&complete, needs).unwrap();
    Ok(python)
}

/// Runs it to its end. It has the lock as its empty standard input: when this process is killed meanwhile, the lock
/// stays until the command has ended too.
fn ran(lock: &File, command: &mut Command) -> Result<(), String> {
    let ran = command.stdin(lock.try_clone().unwrap()).output();
    let ran = ran.map_err(|e| e.to_string())?;
    match ran.status.success() {
        true => Ok(()),
        false => Err([ran.stdout, ran.stderr]
            .map(|said| String::from_utf8_lossy(&said).into_owned())
            .concat()),
    }
}
