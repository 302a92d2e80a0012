//! A real PostgreSQL on this machine, for as long as a test or a run of the fleet lasts: on a free
//! loopback port, in a temporary folder, with a password of its own.
//!
//! It ends when it is dropped, and also when the process that started it ends in any way (a `static`
//! is never dropped): a small shell holds it, whose standard input closes then. PostgreSQL refuses to run as root; started by
//! root it runs as the user `postgres`.
//!
//! The programs are looked for in the folder that `LINLI_POSTGRES_BIN` names, and nowhere else; where
//! it names none, where Debian puts them (`/usr/lib/postgresql/*/bin`, the newest), then on the `PATH`.
//! A test asks [`left_out`] first.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod programs;

use std::fs;
use std::io::{self, Write as _};
use std::net::{Ipv4Addr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use programs::Programs;

/// The name of the only user.
const USER: &str = "cloud";
/// How long it may take to come up. A crash's recovery is in it.
const START_WITHIN: Duration = Duration::from_secs(60);
/// How often another port is tried, when the free one was taken meanwhile.
const PORTS_TRIED: usize = 5;

/// Ends the server when the standard input closes, and removes its folder unless it was told to
/// [`KEEP`] it.
const HOLD: &str = r#"folder=$1; shift
"$@" </dev/null & server=$!
read -r word
kill -QUIT $server 2>/dev/null
wait $server
[ "$word" = keep ] || rm -rf "$folder""#;
/// The server ends, and is started again on the same folder.
const KEEP: &[u8] = b"keep\n";

/// Why there is no PostgreSQL.
#[derive(Debug, thiserror::Error)]
pub enum Error {
    /// The programs aren't there.
    #[error(
        "PostgreSQL isn't there ({0} not found): install it (Debian: apt install postgresql), or \
         name the folder of its programs in LINLI_POSTGRES_BIN"
    )]
    NotInstalled(&'static str),
    /// Root has nobody to run it as.
    #[error("PostgreSQL refuses to run as root, and there is no user 'postgres': make one")]
    NoUser,
    /// A program failed.
    #[error("{program} failed: {said}")]
    Failed {
        /// Which.
        program: &'static str,
        /// What it said.
        said: String,
    },
    /// A file or a process can't be made.
    #[error("can't set PostgreSQL up: is there room in the folder for temporary files?")]
    Io(#[from] io::Error),
    /// It doesn't come up.
    #[error("PostgreSQL doesn't come up; its log says: {0}")]
    NotUp(String),
}

/// Whether a test on PostgreSQL must be left out because it isn't there; says so.
///
/// # Panics
///
/// Where the environment variable `CI` is set: there it must be there.
#[must_use]
pub fn left_out() -> bool {
    let Err(why) = Programs::find() else {
        return false;
    };
    assert!(std::env::var_os("CI").is_none(), "CI must have it: {why}");
    eprintln!("LEFT OUT: {why}");
    true
}

/// A running server. Blocking: in an async test call it from the test's own thread.
pub struct LocalPostgres {
    programs: Programs,
    folder: TempDir,
    password: String,
    settings: Vec<String>,
    port: u16,
    holder: Option<Child>,
}

impl LocalPostgres {
    /// Makes a fresh cluster and starts a server on it.
    pub fn start() -> Result<Self, Error> {
        Self::start_with(&[])
    }

    /// The same with settings, each `name=value` as in `postgresql.conf`.
    pub fn start_with(settings: &[&str]) -> Result<Self, Error> {
        let programs = Programs::find()?;
        let folder = TempDir::with_prefix("linli-postgres-")?;
        programs.give(folder.path())?;
        let mut server = Self {
            password: password()?,
            settings: settings.iter().map(|s| (*s).to_string()).collect(),
            port: 0,
            holder: None,
            programs,
            folder,
        };
        server.init()?;
        server.start_on_a_free_port()?;
        Ok(server)
    }

    /// The URL of its database `postgres`, with the password.
    #[must_use]
    pub fn url(&self) -> String {
        self.url_of("postgres")
    }

    /// The URL of one of its databases.
    #[must_use]
    pub fn url_of(&self, database: &str) -> String {
        format!(
            "postgres://{USER}:{}@127.0.0.1:{}/{database}",
            self.password, self.port
        )
    }

    /// Makes an empty database; returns its URL.
    pub fn create_database(&self, name: &str) -> Result<String, Error> {
        let port = self.port.to_string();
        let arguments = ["-h", "127.0.0.1", "-p", &port, "-U", USER, "-w", name];
        let mut command = self.programs.command("createdb");
        command.args(arguments).env("PGPASSWORD", &self.password);
        run("createdb", &mut command)?;
        Ok(self.url_of(name))
    }

    /// The port on 127.0.0.1.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The process id of the server; its other processes are children of it.
    pub fn pid(&self) -> Result<u32, Error> {
        let file = fs::read_to_string(self.data().join("postmaster.pid"))?;
        let first = file.lines().next().unwrap_or_default();
        let pid = first.trim().parse();
        pid.map_err(|_| Error::NotUp(format!("postmaster.pid begins with '{first}'")))
    }

    /// Where it keeps its data.
    #[must_use]
    pub fn data(&self) -> PathBuf {
        self.folder.path().join("data")
    }

    /// Stops it as a crash does (`immediate`: nothing is written back) and starts it again on the
    /// same port; returns when it has recovered.
    pub fn crash_and_restart(&mut self) -> Result<(), Error> {
        self.crash()?;
        self.spawn()?;
        self.wait_until_up()
    }

    /// Stops it as a crash does. [`LocalPostgres::restart`] starts it again.
    pub fn crash(&mut self) -> Result<(), Error> {
        let mut command = self.programs.command("pg_ctl");
        command.arg("stop").arg("-w").args(["-m", "immediate"]);
        run("pg_ctl", command.arg("-D").arg(self.data()))?;
        self.release(KEEP);
        Ok(())
    }

    /// Starts it again after [`LocalPostgres::crash`].
    pub fn restart(&mut self) -> Result<(), Error> {
        self.spawn()?;
        self.wait_until_up()
    }

    fn init(&self) -> Result<(), Error> {
        let password_file = self.folder.path().join("password");
        fs::write(&password_file, &self.password)?;
        self.programs.give(&password_file)?;
        let mut command = self.programs.command("initdb");
        command
            .args(["-U", USER, "-A", "scram-sha-256", "-E", "UTF8"])
            .args(["--locale=C", "--no-sync", "--no-instructions"])
            .arg("--pwfile")
            .arg(&password_file)
            .arg("-D")
            .arg(self.data());
        run("initdb", &mut command)?;
        fs::remove_file(password_file)?;
        Ok(())
    }

    fn start_on_a_free_port(&mut self) -> Result<(), Error> {
        let mut tried = 0;
        loop {
            self.port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?
                .local_addr()?
                .port();
            self.spawn()?;
            tried += 1;
            match self.wait_until_up() {
                Err(Error::NotUp(_)) if tried < PORTS_TRIED => self.release(KEEP),
                outcome => return outcome,
            }
        }
    }

    fn spawn(&mut self) -> Result<(), Error> {
        self.release(KEEP);
        let log = fs::File::options()
            .create(true)
            .append(true)
            .open(self.log())?;
        let folder = self.folder.path().display().to_string();
        let mut hold = self.programs.shell();
        hold.arg("-c")
            .arg(HOLD)
            .arg("sh")
            .arg(&folder)
            .arg(self.programs.path("postgres"))
            .arg("-D")
            .arg(self.data())
            .args(["-c", "listen_addresses=127.0.0.1"])
            .args(["-c", &format!("port={}", self.port)])
            .args(["-c", &format!("unix_socket_directories={folder}")])
            .args(["-c", "log_min_messages=fatal"]);
        for setting in &self.settings {
            hold.args(["-c", setting]);
        }
        let log_too = log.try_clone()?;
        hold.stdin(Stdio::piped()).stdout(log).stderr(log_too);
        self.holder = Some(hold.spawn()?);
        Ok(())
    }

    /// The eighth line of `postmaster.pid` says `ready` once connections are taken.
    fn wait_until_up(&mut self) -> Result<(), Error> {
        let until = Instant::now() + START_WITHIN;
        let pid_file = self.data().join("postmaster.pid");
        let port = self.port.to_string();
        while Instant::now() < until {
            let file = fs::read_to_string(&pid_file).unwrap_or_default();
            let lines: Vec<&str> = file.lines().map(str::trim).collect();
            if lines.get(7) == Some(&"ready") && lines.get(3) == Some(&port.as_str()) {
                return Ok(());
            }
            if self.log_says("could not create any TCP/IP sockets") {
                break;
            }
            std::thread::sleep(Duration::from_millis(10));
        }
        let log = fs::read_to_string(self.log()).unwrap_or_default();
        let _ = fs::remove_file(self.log());
        let from = log.len().saturating_sub(1_000);
        Err(Error::NotUp(
            log.get(from..).unwrap_or_default().to_string(),
        ))
    }

    fn log(&self) -> PathBuf {
        self.folder.path().join("log")
    }

    fn log_says(&self, words: &str) -> bool {
        fs::read_to_string(self.log()).is_ok_and(|log| log.contains(words))
    }

    /// Closes the holder's input, which ends the server, and waits for both.
    fn release(&mut self, last_word: &[u8]) {
        if let Some(mut holder) = self.holder.take() {
            if let Some(mut input) = holder.stdin.take() {
                let _ = input.write_all(last_word);
            }
            let _ = holder.wait();
        }
    }
}

impl Drop for LocalPostgres {
    fn drop(&mut self) {
        self.release(b"");
    }
}

/// 32 hexadecimal digits of the system's randomness.
fn password() -> Result<String, Error> {
    use std::io::Read as _;
    let mut bytes = [0; 16];
    fs::File::open("/dev/urandom")?.read_exact(&mut bytes)?;
    Ok(bytes.iter().map(|byte| format!("{byte:02x}")).collect())
}

fn run(program: &'static str, command: &mut Command) -> Result<(), Error> {
    let output = command.stdin(Stdio::null()).output()?;
    if output.status.success() {
        return Ok(());
    }
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).trim().to_string();
    Err(Error::Failed { program, said })
}

/// Whether a path is there.
fn exists(path: &Path) -> bool {
    path.metadata().is_ok()
}
