//! A Python that has what the peers need: an environment of its own below `target`, kept for next time.

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

/// What a script said and how it ended.
pub struct Outcome {
    pub well: bool,
    pub out: String,
    pub err: String,
}

/// Runs a script of this folder; `told` is its standard input.
pub async fn run(script: &'static str, told: String) -> Outcome {
    tokio::task::spawn_blocking(move || blocking(script, &told))
        .await
        .unwrap()
}

fn blocking(script: &str, told: &str) -> Outcome {
    let script = Path::new(env!("CARGO_MANIFEST_DIR"))
        .join("tests/peers")
        .join(script);
    let mut child = Command::new(python())
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
    Outcome {
        well: ended.status.success(),
        out: String::from_utf8_lossy(&ended.stdout).into_owned(),
        err: String::from_utf8_lossy(&ended.stderr).into_owned(),
    }
}

fn python() -> &'static Path {
    static MADE: OnceLock<PathBuf> = OnceLock::new();
    MADE.get_or_init(|| {
        let folder = Path::new(env!("CARGO_TARGET_TMPDIR")).join("cloud-peers");
        let python = folder.join("bin/python");
        let check = format!(
            "from importlib.metadata import version as v; n={NEEDS:?}; assert all(v(x.split('==')[0]) == x.split('==')[1] for x in n)"
        );
        if ran(Command::new(&python).args(["-c", &check])).is_ok() {
            return python;
        }
        let venv = ran(Command::new("python3").args(["-m", "venv", "--clear"]).arg(&folder));
        venv.expect("python3 with venv is needed: install python3-venv");
        let pip = ran(Command::new(&python).args(["-m", "pip", "install", "-q"]).args(NEEDS));
        pip.expect("the peers' libraries are needed from PyPI: is there a network?");
        python
    })
}

fn ran(command: &mut Command) -> Result<(), String> {
    let ran = command.stdin(Stdio::null()).output();
    let ran = ran.map_err(|e| e.to_string())?;
    match ran.status.success() {
        true => Ok(()),
        false => Err(String::from_utf8_lossy(&ran.stderr).into_owned()),
    }
}
