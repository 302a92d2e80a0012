//! A fleet of simulated gateways at two real clouds on one real PostgreSQL.
//!
//! First the fleet lives through faults: a cloud is killed, requests are cut, doubled and late, answers
//! are lost, some gateways live twice; then what is in the database is held against what every gateway
//! knows. Then it sends as fast as it goes, and that is held against the bare transaction. The exit
//! code is 0 only if everything holds. All on the loopback interface; ended is only what was started.
//!
//! * [`lanes`], [`life`], [`track`] — a gateway's store, what happens in its estate, sending it.
//! * [`stream`], [`mod@line`], [`caller`] — connections, requests, signatures, and what befalls them.
//! * [`enrolment`], [`storm`], [`throughput`], [`bare`] — the parts of a run.
//! * [`verify`] — whether it holds.
//! * [`processes`], [`tally`], [`report`] — clouds, costs, figures.
#![cfg_attr(test, allow(clippy::unwrap_used, clippy::expect_used, clippy::panic))]

mod bare;
mod caller;
mod enrolment;
mod lanes;
mod life;
mod line;
mod processes;
mod report;
mod storm;
mod stream;
mod tally;
mod throughput;
mod track;
mod verify;

use std::process::ExitCode;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::Context as _;
use clap::Parser;
use local_postgres::LocalPostgres;

use bare::Bare;
use enrolment::Commons;
use processes::{Cloud, Files};
use report::{Costs, Report, Spent};
use tally::Tally;
use throughput::{Run, Sender};
use verify::Found;

/// One gateway in so many lives twice.
const NTH_IS_COPIED: usize = 50;
/// Batches a second while things befall the fleet: what 100,000 gateways send when their hourly demand
/// is spread over 15 minutes.
const STORM_BATCHES_PER_S: f64 = 220.0;
/// For each second of the throughput so many batches are made beforehand: they are what takes memory.
const MADE_PER_S: u64 = 1_500;
/// Throughput and bare transaction take so many turns.
const TURNS: u32 = 4;
/// Connections to the database of each cloud, and twice as many of the bare transaction.
pub const DATABASE_CONNECTIONS: usize = 8;

/// A fleet of simulated gateways at two real clouds on one real PostgreSQL.
#[derive(Parser)]
#[command(version)]
struct Arguments {
    /// How many gateways. [default: 1000; 60 with --short]
    #[arg(long, value_name = "N")]
    gateways: Option<usize>,
    /// How long the faults last; the throughput is measured for a quarter of it. [default: 60; 10 with
    /// --short]
    #[arg(long, value_name = "SECONDS")]
    seconds: Option<u64>,
    /// The seed of everything. [default: the time]
    #[arg(long, value_name = "N")]
    seed: Option<u64>,
    /// A small fleet for a short time.
    #[arg(long)]
    short: bool,
    /// Requests under way at a time while the throughput is measured.
    #[arg(long, value_name = "N", default_value_t = 32)]
    at_a_time: usize,
}

/// What is run.
#[derive(Debug, Clone, Copy)]
pub struct Plan {
    gateways: usize,
    storm: Duration,
    throughput: Duration,
    replays: Duration,
    at_a_time: usize,
    seed: u64,
    gap: Duration,
}

impl Plan {
    fn of(arguments: &Arguments) -> anyhow::Result<Self> {
        let (gateways, seconds) = match arguments.short {
            true => (60, 10),
            false => (1_000, 60),
        };
        // Fewer than two cannot both live once and twice.
        let gateways = arguments.gateways.unwrap_or(gateways).clamp(2, 100_000);
        let seconds = arguments.seconds.unwrap_or(seconds).clamp(4, 3_600);
        let now = SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs();
        // Each gateway has two tracks. A small fleet sends at most a batch a track and second.
        let gap = (2.0 * gateways as f64 / STORM_BATCHES_PER_S).max(1.0);
        Ok(Self {
            gateways,
            storm: Duration::from_secs(seconds),
            throughput: Duration::from_secs((seconds / 4).clamp(4, 30)),
            replays: Duration::from_secs((seconds / 6).clamp(1, 10)),
            at_a_time: arguments.at_a_time.clamp(1, 1_000),
            seed: arguments.seed.unwrap_or(now),
            gap: Duration::from_secs_f64(gap),
        })
    }

    fn batches_each(&self) -> usize {
        let all = MADE_PER_S * self.throughput.as_secs();
        usize::try_from(all)
            .unwrap_or(usize::MAX)
            .div_ceil(self.gateways)
    }
}

#[tokio::main(flavor = "multi_thread")]
async fn main() -> anyhow::Result<ExitCode> {
    let plan = Plan::of(&Arguments::parse())?;
    println!(
        "fleet: {} gateways, 2 clouds, 1 PostgreSQL, {} cores, seed {}",
        plan.gateways,
        processes::cores(),
        plan.seed
    );
    let folder = tempfile::tempdir().context("a folder for the run")?;
    let program = tokio::task::block_in_place(processes::cloud_program)?;
    let postgres = tokio::task::block_in_place(LocalPostgres::start)?;
    let files = Files {
        folder: folder.path().to_path_buf(),
        postgres: folder.path().join("postgres-url"),
        sealing_key: folder.path().join("sealing-key"),
    };
    std::fs::write(&files.postgres, postgres.url())?;
    let mut clouds = Vec::new();
    for name in ["first", "second"] {
        let (program, files) = (program.clone(), files.clone());
        clouds.push(tokio::task::block_in_place(|| {
            Cloud::start(program, files, name)
        })?);
    }
    let report = run(plan, &postgres, &mut clouds).await;
    let report = report.inspect_err(|_| {
        for cloud in &clouds {
            eprintln!("the cloud at {} said:\n{}", cloud.address, cloud.log_text());
        }
    })?;
    Ok(report.verdict())
}

async fn run(plan: Plan, postgres: &LocalPostgres, clouds: &mut [Cloud]) -> anyhow::Result<Report> {
    let pid = postgres.pid()?;
    let addresses: Arc<[_]> = clouds.iter().map(|cloud| cloud.address).collect();
    let storm_tally = Arc::new(Tally::default());
    let commons = Commons {
        clouds: Arc::clone(&addresses),
        seed: plan.seed,
        gap: plan.gap,
        tally: Arc::clone(&storm_tally),
    };
    let mut report = Report::new(plan);
    let before = Costs::now(pid, clouds);
    let gateways = enrolment::enrol_all(&commons, plan.gateways).await?;
    report.enrolled(gateways.len(), &storm_tally);
    let survivors = storm::storm(gateways, clouds, plan.storm, NTH_IS_COPIED).await?;
    report.storm(&storm_tally, before.until(pid, clouds));

    let database = verify::connect(&postgres.url()).await?;
    let mut found = Found::default();
    let expected = survivors
        .iter()
        .map(|one| verify::expected(one, &storm_tally));
    let expected: Vec<_> = expected.collect();
    verify::lanes(&database, &expected, &storm_tally, &mut found).await?;
    verify::meaning(
        &database,
        &survivors,
        &addresses,
        plan.seed,
        &storm_tally,
        &mut found,
    )
    .await?;
    report.exactly_once("after the faults", &found, &storm_tally);
    let copied = survivors.iter().filter(|one| one.copy.is_some()).count();
    report.clones(copied, &storm_tally);

    let key = survivors[0].gateway.tracks[0].seal.1.clone();
    let tally = Arc::new(Tally::default());
    let senders = throughput::prepare(survivors, plan.batches_each(), &tally)?;
    let given = (0..plan.gateways).map(|number| {
        let mut tracks = enrolment::unheard_of(&commons, &format!("bare-{number:05}"), &key)?;
        bare::given(&mut tracks, plan.batches_each())
    });
    let given = given.collect::<anyhow::Result<Vec<_>>>()?;
    let bare = Bare::open(&postgres.url(), given, 2 * DATABASE_CONNECTIONS).await?;
    let fast = Fast {
        plan,
        pid,
        clouds,
        database: &database,
    };
    fast.run(senders, bare, &tally, &mut report).await?;
    report.memory(clouds);
    Ok(report)
}

/// The second half of a run.
struct Fast<'a> {
    plan: Plan,
    /// Of PostgreSQL.
    pid: u32,
    clouds: &'a [Cloud],
    database: &'a tokio_postgres::Client,
}

impl Fast<'_> {
    /// By turns, so that whatever else the machine does befalls both.
    async fn run(
        &self,
        mut senders: Vec<Sender>,
        mut bare: Bare,
        tally: &Arc<Tally>,
        report: &mut Report,
    ) -> anyhow::Result<()> {
        let slice = self.plan.throughput / TURNS;
        let (mut run, mut spent) = (Run::default(), Spent::default());
        let (mut bare_run, mut bare_spent) = (Run::default(), Spent::default());
        for _ in 0..TURNS {
            let before = Costs::now(self.pid, self.clouds);
            let (back, took) = throughput::run(senders, self.plan.at_a_time, slice).await?;
            spent += before.until(self.pid, self.clouds);
            senders = back;
            run += took;
            let before = Costs::now(self.pid, self.clouds);
            bare_run += bare.ingest(slice).await?;
            bare_spent += before.until(self.pid, self.clouds);
        }
        report.throughput(run, tally, spent);
        let expected: Vec<_> = senders.iter().map(verify::expected_of_sender).collect();
        let mut found = Found::default();
        verify::lanes(self.database, &expected, tally, &mut found).await?;
        report.exactly_once("after the throughput", &found, tally);

        let tally = Arc::new(Tally::default());
        let senders = senders.into_iter().map(|sender| sender.counted_by(&tally));
        let (at_a_time, length) = (self.plan.at_a_time, self.plan.replays);
        let (_, replays) = throughput::replay(senders.collect(), at_a_time, length).await?;
        let mut found = Found::default();
        verify::lanes(self.database, &expected, &tally, &mut found).await?;
        report.replays(replays, &tally);
        let bare_replays = bare.replay(length).await?;
        bare.close().await;
        report.bare(bare_run, bare_spent, bare_replays);
        Ok(())
    }
}
