//! The figures of a run as they are printed, and whether it holds.

use std::process::ExitCode;
use std::time::Instant;

use crate::Plan;
use crate::processes::{Cloud, cores, family_cpu_s, memory_mib, own_cpu_s};
use crate::tally::{Count, Tally};
use crate::throughput::Run;
use crate::verify::Found;

/// Of each gateway that lives twice so many lanes fork: all.
const LANES: u64 = 3;

/// What everything has cost so far.
pub struct Costs {
    at: Instant,
    clouds: f64,
    postgres: f64,
    fleet: f64,
}

/// What a part of the run cost, CPU seconds.
#[derive(Debug, Default, Clone, Copy)]
pub struct Spent {
    seconds: f64,
    clouds: f64,
    postgres: f64,
    fleet: f64,
}

/// What is printed as it is known, and remembered for the verdict.
pub struct Report {
    plan: Plan,
    wrong: u64,
    throughput: Option<(Run, Spent)>,
}

impl Costs {
    /// Until now; `postgres`: the process id of the server.
    pub fn now(postgres: u32, clouds: &[Cloud]) -> Self {
        Self {
            at: Instant::now(),
            clouds: clouds.iter().map(Cloud::cpu_s).sum(),
            postgres: family_cpu_s(postgres),
            fleet: own_cpu_s(),
        }
    }

    /// From then until now.
    pub fn until(self, postgres: u32, clouds: &[Cloud]) -> Spent {
        let now = Self::now(postgres, clouds);
        Spent {
            seconds: (now.at - self.at).as_secs_f64(),
            clouds: now.clouds - self.clouds,
            postgres: now.postgres - self.postgres,
            fleet: now.fleet - self.fleet,
        }
    }
}

impl std::ops::AddAssign for Spent {
    fn add_assign(&mut self, other: Self) {
        self.seconds += other.seconds;
        self.clouds += other.clouds;
        self.postgres += other.postgres;
        self.fleet += other.fleet;
    }
}

impl Spent {
    fn per_core_s(self, batches: u64) -> f64 {
        batches as f64 / (self.clouds + self.postgres).max(f64::MIN_POSITIVE)
    }

    fn words(self) -> String {
        format!(
            "CPU in {:.1} s on {} cores: clouds {:.1} s, PostgreSQL {:.1} s, gateways {:.1} s",
            self.seconds,
            cores(),
            self.clouds,
            self.postgres,
            self.fleet
        )
    }
}

impl Report {
    /// Nothing yet.
    pub fn new(plan: Plan) -> Self {
        Self {
            plan,
            wrong: 0,
            throughput: None,
        }
    }

    /// All have their keys at the cloud.
    pub fn enrolled(&self, gateways: usize, tally: &Tally) {
        let requests = tally.get(Count::Requests);
        println!(
            "enrolled: {gateways} with a token each, in {requests} requests through the faults"
        );
    }

    /// The first part.
    pub fn storm(&self, tally: &Tally, spent: Spent) {
        let n = |what| tally.get(what);
        println!(
            "faults for {:?}: {} batches acknowledged with {} items, in {} requests",
            self.plan.storm,
            n(Count::Batches),
            n(Count::Items),
            n(Count::Requests)
        );
        println!(
            "  {} cut, {} doubled ({} copies refused as replays), {} late, {} answers lost, {} broken \
             by the cloud that was killed and started again",
            n(Count::Cut),
            n(Count::Doubled),
            n(Count::Replays),
            n(Count::Delayed),
            n(Count::AnswersLost),
            n(Count::Broken)
        );
        println!(
            "  {} answered 'not now', {} left out as a lane was full",
            n(Count::NotNow),
            n(Count::LaneFull)
        );
        self.times_and_bytes(tally);
        println!("  {}", spent.words());
    }

    /// Whether the database has it all.
    pub fn exactly_once(&mut self, when: &str, found: &Found, tally: &Tally) {
        let (wrong, words) = tally.all_wrong();
        self.wrong += wrong;
        println!(
            "{} {when}: {} items, each once, each link of the chains made again but {} with a code of \
             their own",
            verdict(wrong == 0),
            found.items,
            found.sealed
        );
        if found.parcels > 0 {
            println!(
                "  {} parcels in the right state, {} live codes opened to the right digits, {} buckets \
                 of demand",
                found.parcels, found.codes, found.buckets
            );
        }
        self.show(wrong, &words);
    }

    /// Whether each store that was copied was noticed, and nothing else was taken for one.
    pub fn clones(&mut self, copied: usize, tally: &Tally) {
        let forks = tally.get(Count::Forks);
        let expected = copied as u64 * LANES;
        println!(
            "{} clones: {copied} gateways lived twice, {forks} of {expected} lanes answered 'fork'",
            verdict(forks == expected)
        );
        self.wrong += u64::from(forks != expected);
    }

    /// The second part.
    pub fn throughput(&mut self, run: Run, tally: &Tally, spent: Spent) {
        println!(
            "throughput, {} requests at a time: {:.0} batches/s ({} in {:.1} s, {} items), {:.0} \
             batches/s a core of clouds and PostgreSQL",
            self.plan.at_a_time,
            run.per_s(),
            run.batches,
            run.took.as_secs_f64(),
            tally.get(Count::Items),
            spent.per_core_s(run.batches)
        );
        self.times_and_bytes(tally);
        println!("  {}", spent.words());
        self.throughput = Some((run, spent));
    }

    /// Batches that come again.
    pub fn replays(&mut self, run: Run, tally: &Tally) {
        let (wrong, words) = tally.all_wrong();
        self.wrong += wrong;
        println!(
            "{} replays, as after lost answers: {:.0} batches/s, nothing changed by them",
            verdict(wrong == 0),
            run.per_s()
        );
        self.show(wrong, &words);
    }

    /// The transaction without all else, by turns with the throughput.
    pub fn bare(&self, ingests: Run, spent: Spent, replays: Run) {
        println!(
            "the bare transaction, by turns with it: {:.0} batches/s ({} in {:.1} s), replays {:.0}/s",
            ingests.per_s(),
            ingests.batches,
            ingests.took.as_secs_f64(),
            replays.per_s()
        );
        println!("  {}", spent.words());
        if let Some((run, all)) = self.throughput {
            let each = |seconds: f64, run: Run| 1_000.0 * seconds / run.batches.max(1) as f64;
            println!(
                "the fleet reaches {:.0} % of the bare transaction on the same cores; CPU a batch: {:.2} ms \
                 of clouds and PostgreSQL, {:.2} ms bare",
                100.0 * run.per_s() / ingests.per_s().max(f64::MIN_POSITIVE),
                each(all.clouds + all.postgres, run),
                each(spent.fleet + spent.postgres, ingests)
            );
        }
    }

    /// The largest memory of each.
    pub fn memory(&self, clouds: &[Cloud]) {
        let clouds: Vec<_> = clouds.iter().map(|c| c.memory_mib().to_string()).collect();
        println!(
            "memory at most: clouds {} MiB, gateways {} MiB",
            clouds.join(" and "),
            memory_mib(std::process::id())
        );
    }

    /// The last line, and the exit code.
    pub fn verdict(&self) -> ExitCode {
        if self.wrong == 0 {
            println!("holds");
            return ExitCode::SUCCESS;
        }
        println!(
            "DOESN'T HOLD: {} things wrong; again with --gateways {} --seconds {} --seed {}",
            self.wrong,
            self.plan.gateways,
            self.plan.storm.as_secs(),
            self.plan.seed
        );
        ExitCode::FAILURE
    }

    fn times_and_bytes(&self, tally: &Tally) {
        let [median, slow] = tally.percentiles([50.0, 99.0]);
        let clean = tally.get(Count::Clean).max(1);
        println!(
            "  those that nothing befell: p50 {median:.1} ms, p99 {slow:.1} ms, {} bytes up and {} down \
             in the mean, HTTP with it",
            tally.get(Count::Up) / clean,
            tally.get(Count::Down) / clean
        );
    }

    fn show(&self, wrong: u64, words: &[String]) {
        for word in words {
            println!("  WRONG: {word}");
        }
        if wrong > words.len() as u64 {
            println!("  … and {} more", wrong - words.len() as u64);
        }
    }
}

fn verdict(holds: bool) -> &'static str {
    if holds { "holds" } else { "WRONG" }
}
