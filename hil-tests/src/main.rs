//! `hil-tests`: runs the suite and writes the acceptance report.

use std::path::PathBuf;
use std::process::ExitCode;
use std::sync::Arc;

use anyhow::Context as _;
use clap::Parser;
use hil_tests::bench::{self, Bench};
use hil_tests::report::Outcome;
use hil_tests::rig::Rig;
use hil_tests::suite::{self, Choice};

/// Tests serial devices through the real gateway, and writes an acceptance report.
///
/// With a bench file it tests the hardware that the file names; no other gateway may use its ports
/// meanwhile. Without one it tests simulated devices. The exit code is 0 when nothing failed.
#[derive(Parser)]
#[command(version)]
struct Args {
    /// The bench file. Default: hil-tests/bench.toml if it is there, else simulated devices.
    #[arg(long)]
    bench: Option<PathBuf>,
    /// Simulate the bench file's devices.
    #[arg(long)]
    simulated: bool,
    /// The seed of simulated lines.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Somebody is at the bench, and can close doors, scan, and pull adapters out.
    #[arg(long)]
    interactive: bool,
    /// Only this case; may be given several times.
    #[arg(long)]
    only: Vec<String>,
    /// The folder for report.json and report.md.
    #[arg(long, default_value = "hil-report")]
    out: PathBuf,
}

fn main() -> ExitCode {
    tracing_subscriber::fmt()
        .with_writer(std::io::stderr)
        .with_max_level(tracing::Level::INFO)
        .with_target(false)
        .init();
    match run(Args::parse()) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("hil-tests: {error:#}");
            ExitCode::from(2)
        }
    }
}

fn run(args: Args) -> anyhow::Result<bool> {
    let usual = PathBuf::from("hil-tests/bench.toml");
    let file = args.bench.or_else(|| usual.exists().then_some(usual));
    let (bench, simulated) = match &file {
        Some(file) => (Bench::read(file)?, args.simulated),
        None => (Bench::parse(bench::SIMULATED)?, true),
    };
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .context("starting the async runtime")?;
    let report = runtime.block_on(async {
        let rig = match simulated {
            true => Rig::simulated(bench, args.seed).await?,
            false => Rig::real(bench, args.interactive).await?,
        };
        let rig = Arc::new(rig);
        let report = suite::run(Arc::clone(&rig), &Choice { only: args.only }).await;
        if let Some(rig) = Arc::into_inner(rig) {
            rig.stop().await;
        }
        anyhow::Ok(report)
    })?;
    report.write(&args.out)?;
    println!("{}", report.markdown());
    println!("Written to {}.", args.out.display());
    Ok(report.with(Outcome::Failed).is_empty())
}
