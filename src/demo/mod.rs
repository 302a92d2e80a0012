//! `linli demo`: a farm day's evening in a minute. The gateway, a reference cloud and a simulated
//! estate run in this process and talk over loopback, as they would over wires; at the end their
//! books are held against each other, and the exit code says whether they agree.
//!
//! * [`plan`] — what stands in the estate. [`script`] — who does what, and when.
//! * [`wiring`] — the serial lines, with `--serial`; [`shown`] — what boards and sensors showed there.
//! * [`stage`] — everything that runs. [`evening`] — the play.
//! * [`story`] — what is told of it. [`books`] — the gateway's store, read only.
//! * [`view`], [`screen`], [`show`] — what is seen. [`balance`] — what it comes to.

mod balance;
mod books;
mod evening;
mod plan;
mod screen;
mod script;
mod show;
mod shown;
mod stage;
mod story;
mod view;
mod wiring;

use std::fs::File;
use std::io::{IsTerminal as _, Write as _};
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::Context as _;

use balance::{Facts, Item};
use books::Books;
use script::{BEGIN_MS, END_MS, Script};
use show::{Form, Show};
use stage::Stage;
use view::Sources;

/// What the demo is asked for.
#[derive(Debug, Clone)]
pub struct DemoOptions {
    /// Households in the estate, 1 to 5,000: two parcels for every five of them. Default 120.
    pub households: u32,
    /// Decides who does what and when. The same seed plays the same evening, as far as the order of
    /// things doesn't depend on the machine. Default 7.
    pub seed: u64,
    /// How long the evening from 16:50 to 20:00 takes, seconds, 15 to 3,600. Default 60.
    pub seconds: u64,
    /// A bank on locker boards, one on the Linli link, a door reader and two sensors hang on simulated
    /// serial lines; the others speak MQTT as ever.
    pub serial: bool,
    /// Print the story as one JSON object a line, and the balance as the last one.
    pub json: bool,
    /// Keep the store, its configuration and the log in this folder, which must be empty or new.
    pub keep: Option<PathBuf>,
}

impl Default for DemoOptions {
    fn default() -> Self {
        Self {
            households: 120,
            seed: 7,
            seconds: 60,
            serial: false,
            json: false,
            keep: None,
        }
    }
}

/// How long everything may take to arrive after the evening, in real time.
const SETTLE: Duration = Duration::from_secs(45);

/// How the demo ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ending {
    /// The balance holds.
    Balanced,
    /// It doesn't; the lines that don't are marked.
    Unbalanced,
    /// By Ctrl-C.
    Interrupted,
}

impl Ending {
    /// 0, 1, or 130 (128 + SIGINT).
    pub const fn exit_code(self) -> u8 {
        match self {
            Self::Balanced => 0,
            Self::Unbalanced => 1,
            Self::Interrupted => 130,
        }
    }
}

/// Plays the evening, tells it on standard output, and draws the balance.
///
/// # Errors
/// When the stage can't be set: a folder that isn't empty, a gateway that doesn't start.
pub async fn run(options: DemoOptions) -> anyhow::Result<Ending> {
    anyhow::ensure!(
        (1..=5_000).contains(&options.households) && (15..=3_600).contains(&options.seconds),
        "--households takes 1 to 5000, --seconds takes 15 to 3600"
    );
    let folder = Folder::make(options.keep.as_deref())?;
    log_to(&folder.path().join("demo.log"))?;
    let interrupted = async {
        // Without a handler Ctrl-C would end the process at once, which is its meaning too.
        let _ = tokio::signal::ctrl_c().await;
    };
    tokio::pin!(interrupted);

    let script = Script::write(options.households, options.seed)?;
    let speed = (END_MS - BEGIN_MS) as f64 / 1_000.0 / options.seconds as f64;
    let stage = tokio::select! {
        stage = Stage::set(folder.path(), speed, script.recipients(), options.serial) => Arc::new(stage?),
        () = &mut interrupted => return Ok(Ending::Interrupted),
    };
    let show = start_show(&options, &stage)?;
    let played = tokio::select! {
        played = play(&stage, script, options.seed) => Some(played),
        () = &mut interrupted => None,
    };
    let stage = own(stage).await?;
    let facts = stage.close().await;
    show.end();
    match played {
        None => {
            eprintln!("interrupted: everything is stopped");
            Ok(Ending::Interrupted)
        }
        Some(played) => {
            played?;
            report(&options, &folder, &facts?)
        }
    }
}

async fn play(stage: &Arc<Stage>, script: Script, seed: u64) -> anyhow::Result<()> {
    evening::play(Arc::clone(stage), script, seed).await?;
    if !stage.settle(SETTLE).await? {
        tracing::warn!("not everything arrived in time; the balance will show it");
    }
    Ok(())
}

/// The stage alone, once nobody else plays on it.
async fn own(mut stage: Arc<Stage>) -> anyhow::Result<Stage> {
    for _ in 0..200 {
        match Arc::try_unwrap(stage) {
            Ok(stage) => return Ok(stage),
            Err(shared) => stage = shared,
        }
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    anyhow::bail!("a part of the play doesn't end")
}

fn start_show(options: &DemoOptions, stage: &Stage) -> anyhow::Result<Show> {
    let sources = Sources::new(
        stage.tempo,
        Arc::clone(&stage.story),
        Arc::clone(&stage.world),
        Arc::clone(&stage.cloud_up),
        Books::open(&stage.store)?,
    );
    let form = if options.json {
        Form::Json
    } else {
        Form::People
    };
    let title = format!(
        "Linli 邻里 · {} · {} households · seed {}{}",
        plan::SITE,
        options.households,
        options.seed,
        if options.serial { " · serial" } else { "" }
    );
    Show::start(form, title, sources).context("starting the screen")
}

fn report(options: &DemoOptions, folder: &Folder, facts: &Facts) -> anyhow::Result<Ending> {
    let items = balance::draw(facts);
    let holds = items.iter().all(|item| item.holds);
    let mut out = std::io::stdout().lock();
    // A closed output isn't the balance's fault: the exit code still says whether it holds.
    let _ = match options.json {
        true => writeln!(out, "{}", as_json(options, facts, &items, holds)),
        false => write!(
            out,
            "{}",
            as_text(&items, holds, std::io::stdout().is_terminal())
        ),
    };
    if let (Some(kept), false) = (folder.kept(), options.json) {
        let _ = writeln!(out, "kept in {}", kept.display());
    }
    Ok(match holds {
        true => Ending::Balanced,
        false => Ending::Unbalanced,
    })
}

fn as_text(items: &[Item], holds: bool, colours: bool) -> String {
    let paint = |good: bool, text: &str| match (colours, good) {
        (false, _) => text.to_string(),
        (true, true) => format!("\x1b[32m{text}\x1b[0m"),
        (true, false) => format!("\x1b[31m{text}\x1b[0m"),
    };
    let mut text = String::from("\nThe balance of the evening\n");
    for item in items {
        let mark = if item.holds { "✓" } else { "✗" };
        text += &format!("  {} {}\n", paint(item.holds, mark), item.text);
    }
    let last = match holds {
        true => "It holds.",
        false => "It does not hold: see the lines with ✗.",
    };
    text + &paint(holds, last) + "\n"
}

fn as_json(options: &DemoOptions, facts: &Facts, items: &[Item], holds: bool) -> serde_json::Value {
    let lines = items.iter().map(
        |item| serde_json::json!({ "name": item.name, "holds": item.holds, "text": item.text }),
    );
    let latency = &facts.key_to_open;
    serde_json::json!({
        "balance": lines.collect::<Vec<_>>(),
        "holds": holds,
        "figures": {
            "households": options.households,
            "seed": options.seed,
            "serial": options.serial,
            "events_acknowledged": facts.acknowledged.len(),
            "events_stored": facts.stored.len(),
            "parcels": facts.gateway.len(),
            "demand_buckets": facts.demand.len(),
            "key_to_open_us": {
                "count": latency.count(),
                "p50": latency.percentile_us(50.0),
                "p99": latency.percentile_us(99.0),
                "max": latency.max_us(),
            },
        },
    })
}

/// Where the gateway keeps its things.
enum Folder {
    /// Removed at the end.
    Temporary(tempfile::TempDir),
    Kept(PathBuf),
}

impl Folder {
    fn make(keep: Option<&Path>) -> anyhow::Result<Self> {
        let Some(path) = keep else {
            let folder = tempfile::Builder::new().prefix("linli-demo-").tempdir();
            return Ok(Self::Temporary(
                folder.context("making a temporary folder")?,
            ));
        };
        std::fs::create_dir_all(path).with_context(|| format!("making {}", path.display()))?;
        let mut entries =
            std::fs::read_dir(path).with_context(|| format!("reading {}", path.display()))?;
        anyhow::ensure!(
            entries.next().is_none(),
            "{} is not empty: the demo begins with an empty store. Name another folder, or empty it",
            path.display()
        );
        Ok(Self::Kept(path.canonicalize()?))
    }

    fn path(&self) -> &Path {
        match self {
            Self::Temporary(folder) => folder.path(),
            Self::Kept(path) => path,
        }
    }

    fn kept(&self) -> Option<&Path> {
        match self {
            Self::Temporary(_) => None,
            Self::Kept(path) => Some(path),
        }
    }
}

/// Sends the gateway's log to a file: the screen belongs to the story.
fn log_to(path: &Path) -> anyhow::Result<()> {
    let file = File::create(path).with_context(|| format!("making {}", path.display()))?;
    let subscriber = tracing_subscriber::fmt()
        .with_writer(Mutex::new(file))
        .with_ansi(false)
        .with_max_level(tracing::Level::INFO)
        .finish();
    // Somebody who set a log up before wants it there.
    let _ = tracing::subscriber::set_global_default(subscriber);
    Ok(())
}
