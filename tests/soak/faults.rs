//! The faults, one after the other with calm between them, drawn from a seed: first every kind once
//! in a shuffled order, then every kind again, and so on.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use nix::errno::Errno;
use simulator::Random;
use tokio::net::TcpStream;
use tokio::task::{block_in_place, spawn_blocking};
use tokio::time::{sleep, timeout};

use crate::common::interposed::kind;
use crate::common::proxy::{Fault as LineFault, says};
use crate::devices::{Field, Flooder};
use crate::site::BANKS;
use crate::town::Town;

/// A kind of fault.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub enum Kind {
    Kill,
    Term,
    SyncsFail,
    DiskFull,
    ReadOnly,
    OneCall,
    CloudAway,
    CloudSilent,
    CloudAnswersLost,
    CloudResets,
    CloudHalfAnswers,
    Cloud500,
    Cloud429,
    CloudSlow,
    LinesCut,
    LinesReset,
    Flood,
    SilentCrowd,
    CableOut,
}

const ALL: [Kind; 19] = [
    Kind::Kill,
    Kind::Term,
    Kind::SyncsFail,
    Kind::DiskFull,
    Kind::ReadOnly,
    Kind::OneCall,
    Kind::CloudAway,
    Kind::CloudSilent,
    Kind::CloudAnswersLost,
    Kind::CloudResets,
    Kind::CloudHalfAnswers,
    Kind::Cloud500,
    Kind::Cloud429,
    Kind::CloudSlow,
    Kind::LinesCut,
    Kind::LinesReset,
    Kind::Flood,
    Kind::SilentCrowd,
    Kind::CableOut,
];

/// Connections that say nothing.
const SILENT: usize = 200;
/// Longer than a gesture may be kept back and still open something.
const TOO_LATE: Duration = Duration::from_secs(125);
/// How soon something must be acknowledged again when a fault is over.
const RECOVERY: Duration = Duration::from_secs(20);

/// How long it all goes on, and how fast.
#[derive(Debug, Clone, Copy)]
pub struct Pace {
    /// `None`: until every kind came once.
    pub length: Option<Duration>,
    /// From then on no process is ended, so that its memory can be watched.
    pub no_restart_from: Duration,
    /// Of a fault, ms.
    pub fault_ms: (u64, u64),
    /// Between two faults, ms.
    pub calm_ms: (u64, u64),
}

/// What was done.
#[derive(Default)]
pub struct Done {
    pub by_kind: BTreeMap<Kind, u64>,
    pub restarts: u64,
    /// From the end of a fault to the next acknowledgement.
    pub slowest_recovery: (Duration, Option<Kind>),
}

/// What faults are made with.
pub struct Tools {
    pub town: Arc<Town>,
    pub field: Arc<Field>,
    pub flooder: Arc<Flooder>,
    pub begun: Instant,
}

impl Tools {
    /// Makes faults until the time is over; the last one is over then.
    pub async fn play(&self, pace: Pace, mut random: Random) -> Done {
        let mut done = Done::default();
        let mut deck = shuffled(&mut random);
        loop {
            let calm = random.between(pace.calm_ms.0, pace.calm_ms.1);
            sleep(Duration::from_millis(calm)).await;
            let over = pace
                .length
                .is_some_and(|length| self.begun.elapsed() >= length);
            if deck.is_empty() && pace.length.is_some() {
                deck = shuffled(&mut random);
            }
            let Some(kind) = deck.pop().filter(|_| !over) else {
                break;
            };
            let restarts = matches!(kind, Kind::Kill | Kind::Term);
            if restarts && self.begun.elapsed() >= pace.no_restart_from {
                continue;
            }
            let lasts = Duration::from_millis(random.between(pace.fault_ms.0, pace.fault_ms.1));
            println!(
                "  {:7.1} s  fault {kind:?}, {:.1} s",
                self.begun.elapsed().as_secs_f64(),
                lasts.as_secs_f64()
            );
            self.make(kind, lasts, &mut random).await;
            *done.by_kind.entry(kind).or_default() += 1;
            done.restarts += u64::from(restarts);
            let recovery = self.recovers(kind).await;
            if recovery > done.slowest_recovery.0 {
                done.slowest_recovery = (recovery, Some(kind));
            }
        }
        done
    }

    /// Waits for the next acknowledgement.
    async fn recovers(&self, kind: Kind) -> Duration {
        let (begun, before) = (Instant::now(), self.field.acknowledged());
        while self.field.acknowledged() == before {
            if begun.elapsed() > RECOVERY {
                let site = Arc::clone(&self.town.site);
                let said = spawn_blocking(move || site.linli(&["status"]))
                    .await
                    .unwrap();
                self.town.fails(format!(
                    "nothing was acknowledged for {RECOVERY:?} after {kind:?}; status: {}{}",
                    said.out, said.err
                ));
                break;
            }
            sleep(Duration::from_millis(20)).await;
        }
        begun.elapsed()
    }

    async fn make(&self, kind: Kind, lasts: Duration, random: &mut Random) {
        match kind {
            Kind::Kill | Kind::Term => self.restart(kind, lasts).await,
            Kind::SyncsFail | Kind::DiskFull | Kind::ReadOnly | Kind::OneCall => {
                self.fail_disk(kind, lasts, random).await;
            }
            Kind::LinesCut => {
                let (seed, mean_bytes) = (random.number(), random.between(500, 8_000));
                let line = self.town.site.device_line();
                line.set(LineFault::CutAtRandom { seed, mean_bytes });
                sleep(lasts).await;
                line.set(LineFault::None);
            }
            Kind::LinesReset => self.town.site.device_line().reset_all(),
            Kind::Flood => self.flooder.flood(&self.town.site, lasts).await,
            Kind::SilentCrowd => self.silent_crowd(lasts).await,
            Kind::CableOut => self.cable_out(lasts, random).await,
            _ => self.fail_cloud(kind, lasts, random).await,
        }
    }

    async fn restart(&self, kind: Kind, lasts: Duration) {
        let site = &self.town.site;
        block_in_place(|| match kind {
            Kind::Kill => site.kill(),
            _ => {
                if let Err(why) = site.stop() {
                    self.town.fails(why);
                }
            }
        });
        // The power is away for a while, or not at all.
        sleep(lasts / 4).await;
        block_in_place(|| site.start());
    }

    async fn fail_disk(&self, kind: Kind, lasts: Duration, random: &mut Random) {
        let disk = &self.town.site.disk;
        match kind {
            Kind::SyncsFail => disk.fail_all(kind::SYNC, Errno::EIO as i32),
            Kind::DiskFull => disk.fail_all(kind::CHANGING, Errno::ENOSPC as i32),
            Kind::ReadOnly => disk.fail_all(kind::CHANGING, Errno::EROFS as i32),
            _ => {
                let which = [kind::SYNC, kind::WRITE, kind::READ, kind::TRUNCATE];
                let which = *random.pick(&which).unwrap();
                let number = random.below(12);
                disk.set(which, number, number + 1, Errno::EIO as i32);
            }
        }
        sleep(lasts).await;
        let hits = disk.hits();
        disk.heal();
        if hits == 0 && kind != Kind::OneCall {
            self.town
                .fails(format!("{kind:?} hit nothing in {lasts:?}"));
        }
    }

    async fn fail_cloud(&self, kind: Kind, lasts: Duration, random: &mut Random) {
        let fault = match kind {
            Kind::CloudAway => LineFault::Refuse,
            Kind::CloudSilent => LineFault::Silence,
            Kind::CloudAnswersLost => LineFault::SwallowAnswer,
            Kind::CloudResets => LineFault::Reset {
                up: random.between(1, 2_000),
                down: random.between(1, 400),
            },
            Kind::CloudHalfAnswers => LineFault::HalfAnswer,
            Kind::Cloud500 => says("500 Internal Server Error", "", "oh"),
            Kind::Cloud429 => says("429 Too Many Requests", "retry-after: 1\r\n", ""),
            _ => LineFault::Slow { bytes_per_s: 400 },
        };
        let line = &self.town.site.cloud_line;
        // The long poll that waits notices as well.
        line.reset_all();
        line.set(fault);
        sleep(lasts).await;
        line.set(LineFault::None);
    }

    async fn silent_crowd(&self, lasts: Duration) {
        let address = self.town.site.gateways_own_port();
        let mut crowd = Vec::new();
        for _ in 0..SILENT {
            if let Ok(Ok(one)) = timeout(Duration::from_secs(2), TcpStream::connect(address)).await
            {
                crowd.push(one);
            }
        }
        if crowd.len() < SILENT / 2 {
            let got = crowd.len();
            self.town.fails(format!("only {got} of {SILENT} connected"));
        }
        sleep(lasts).await;
    }

    async fn cable_out(&self, lasts: Duration, random: &mut Random) {
        let bank = self
            .town
            .banks
            .values()
            .nth(random.below(BANKS.len() as u64) as usize);
        let bank = bank.expect("there are as many banks");
        // Now and then for so long that what was typed meanwhile is too old to open anything.
        let long = lasts > Duration::from_secs(3) && random.chance(25);
        bank.cut_off(true).await;
        sleep(if long { TOO_LATE } else { lasts }).await;
        bank.cut_off(false).await;
    }
}

/// Every kind, in a random order; being killed comes twice.
fn shuffled(random: &mut Random) -> Vec<Kind> {
    let mut deck = ALL.to_vec();
    deck.push(Kind::Kill);
    for index in (1..deck.len()).rev() {
        let other = usize::try_from(random.below(index as u64 + 1)).unwrap();
        deck.swap(index, other);
    }
    deck
}
