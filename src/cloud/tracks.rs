//! The two tracks of the uplink, and when each of them goes.
//!
//! Fulfilment has a track of its own. Health and demand share the other: it holds back while
//! something of fulfilment waits, sends at its pace ([`Pace`]), and its batches take about two
//! seconds on the line as it is. So a parcel that changes while a month of demand catches up waits
//! for two seconds of it at most.

use std::collections::BTreeMap;
use std::pin::pin;
use std::time::Duration;

use cloud_protocol::Lane;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

use super::backoff::jitter;
use super::contact::Patience;
use super::failure::Failure;
use super::pace::Pace;
use super::size::{BatchSize, Extent};
use super::status::Way;
use super::uplink::{Round, Uplink};
use super::urge::Errand;
use super::views::Level;
use super::{Shared, stopped};

/// The ledger is asked after this long even without a nudge.
const IDLE_LONGEST: Duration = Duration::from_secs(60);
/// How long a batch of fulfilment may take.
const FULFILMENT_TAKES: Duration = Duration::from_secs(5);
/// How long a batch of what isn't urgent may take.
const REST_TAKES: Duration = Duration::from_secs(2);
/// What a track tries first.
const FULFILMENT_FIRST_BYTES: usize = 64 * 1024;
const REST_FIRST_BYTES: usize = 4096;
/// A nudge wakes both tracks; the other one looks again after so long whether fulfilment has gone.
const GIVE_WAY: Duration = Duration::from_millis(20);
/// Fulfilment's track is trusted to take up what waits for it within so many looks.
const LOOKS_MAX: u32 = 50;

/// How often what waits is shown while batches go out.
const SHOWN_EVERY: Duration = Duration::from_secs(1);

/// What waits, by lane; `None` if it isn't known.
type Backlog = Option<BTreeMap<Lane, u64>>;

/// The lanes of the second track.
const REST: [Lane; 2] = [Lane::Health, Lane::Demand];

/// Runs both tracks until `shutdown`, then sends what waits for up to `config.drain`.
pub(super) async fn run(shared: &Shared, nudge: &Notify, shutdown: watch::Receiver<bool>) {
    let drained = async {
        stopped(shutdown.clone()).await;
        tokio::time::sleep(shared.config.drain).await;
    };
    let nudges = watch::Sender::new(());
    let pass_on = async {
        loop {
            nudge.notified().await;
            nudges.send_replace(());
        }
    };
    let urgent = watch::Sender::new(false);
    let tracks = async {
        let mut first = pin!(fulfilment(shared, nudges.subscribe(), &urgent, &shutdown));
        let mut second = pin!(rest(
            shared,
            nudges.subscribe(),
            urgent.subscribe(),
            &shutdown
        ));
        tokio::select! {
            end = &mut first => if end == End::AllSent {
                second.await;
            },
            () = &mut second => {
                first.await;
            }
        }
    };
    tokio::select! {
        () = tracks => {}
        () = pass_on => {}
        () = drained => {}
    }
}

/// How a track ended when the gateway stopped.
#[derive(PartialEq, Eq)]
enum End {
    /// Nothing waits any more.
    AllSent,
    /// Nothing gets through now.
    GaveUp,
}

/// `urgent`: whether there is something on this track that keeps the other from sending.
async fn fulfilment(
    shared: &Shared,
    mut nudges: watch::Receiver<()>,
    urgent: &watch::Sender<bool>,
    shutdown: &watch::Receiver<bool>,
) -> End {
    let size = BatchSize::new(most(shared), FULFILMENT_FIRST_BYTES, FULFILMENT_TAKES);
    let mut uplink = Uplink::new(shared, size);
    let mut patience = Patience::new(&shared.contact, Way::Fulfilment);
    let mut errand = Errand::new(shared, Way::Fulfilment);
    let mut shown = Instant::now();
    loop {
        // Read before the round, so that what was nudged for before the stop is still sent.
        let stopping = is_stopping(shutdown);
        nudges.mark_unchanged();
        tokio::select! {
            () = patience.ready() => {}
            () = stopped(shutdown.clone()) => if shared.contact.quiet_for().is_some() {
                return End::GaveUp;
            },
        }
        if errand.begins() {
            uplink.release();
        }
        let outcome = uplink.round(&REST, Some(urgent), &mut errand).await;
        if !matches!(outcome, Ok(Round::Taken)) || shown.elapsed() > SHOWN_EVERY {
            shown = Instant::now();
            backlog(shared).await;
        }
        match outcome {
            Ok(Round::Taken) => patience.succeeded(),
            Ok(Round::Held) => patience.reached(),
            Ok(Round::Smaller) => {}
            Ok(Round::Nothing) => {
                urgent.send_replace(false);
                errand.is_done();
                if stopping {
                    return End::AllSent;
                }
                tokio::select! {
                    _ = nudges.changed() => {}
                    () = tokio::time::sleep(until(uplink.next_due())) => {}
                    () = patience.is_urged() => {}
                    () = stopped(shutdown.clone()) => {}
                }
            }
            Err(failure) => {
                // Without a way to the cloud, and while it wants to be left alone, nothing else goes
                // either; with any other failure the other track may try.
                if !matches!(failure, Failure::Network { .. }) {
                    urgent.send_replace(false);
                }
                errand.failed(&failure);
                if stopping {
                    return End::GaveUp;
                }
                tokio::select! {
                    () = patience.pause(&failure) => {}
                    () = stopped(shutdown.clone()) => return End::GaveUp,
                }
            }
        }
    }
}

/// Health and demand.
async fn rest(
    shared: &Shared,
    mut nudges: watch::Receiver<()>,
    mut urgent: watch::Receiver<bool>,
    shutdown: &watch::Receiver<bool>,
) {
    let size = BatchSize::new(most(shared), REST_FIRST_BYTES, REST_TAKES);
    let mut uplink = Uplink::new(shared, size);
    let mut patience = Patience::new(&shared.contact, Way::Rest);
    let mut errand = Errand::new(shared, Way::Rest);
    let mut pace = Pace::new(shared.config.line.spread, Instant::now(), jitter());
    let mut outages = shared.contact.outages();
    tokio::select! {
        () = shared.line.is_known() => {}
        () = stopped(shutdown.clone()) => return,
    }
    loop {
        let stopping = is_stopping(shutdown);
        if stopping && (shared.line.is_metered() || shared.line.level() != Level::Plenty) {
            return;
        }
        nudges.mark_unchanged();
        tokio::select! {
            () = patience.ready() => {}
            () = stopped(shutdown.clone()) => if shared.contact.quiet_for().is_some() { return },
        }
        if errand.begins() {
            uplink.release();
        }
        let at_once = errand.is_on() || stopping;
        if outages.has_changed().unwrap_or(false) {
            outages.mark_unchanged();
            pace.draw_again(Instant::now(), jitter);
        }
        let waits = give_way(shared, &mut urgent).await;
        see(&waits, &mut pace);
        shared.line.next(&pace, Instant::now());
        let held = lanes_to_leave_out(shared, &pace, at_once);
        let outcome = match held.len() < Lane::ALL.len() {
            true => uplink.round(&held, None, &mut errand).await,
            false => Ok(Round::Nothing),
        };
        match outcome {
            Ok(Round::Taken) => patience.succeeded(),
            Ok(Round::Held) => patience.reached(),
            Ok(Round::Smaller) => {}
            Ok(Round::Nothing) => {
                errand.is_done();
                if stopping {
                    return;
                }
                for lane in REST.into_iter().filter(|lane| !held.contains(lane)) {
                    // Asked for, and nothing came: its wave is over, unless the cloud refuses it.
                    if !uplink.is_held(lane) {
                        pace.sees(lane, false, Instant::now(), 0.0);
                    }
                }
                let next = next_due(shared, &pace, &uplink);
                tokio::select! {
                    _ = nudges.changed() => {}
                    _ = outages.changed() => pace.draw_again(Instant::now(), jitter),
                    () = tokio::time::sleep(until(next)) => {}
                    () = patience.is_urged() => {}
                    () = stopped(shutdown.clone()) => {}
                }
            }
            Err(failure) => {
                errand.failed(&failure);
                if stopping {
                    return;
                }
                tokio::select! {
                    () = patience.pause(&failure) => {}
                    () = stopped(shutdown.clone()) => return,
                }
            }
        }
    }
}

/// Waits while fulfilment has something that can go; returns what waits then.
async fn give_way(shared: &Shared, urgent: &mut watch::Receiver<bool>) -> Backlog {
    let mut looks = 0;
    loop {
        if urgent.wait_for(|urgent| !*urgent).await.is_err() {
            return None;
        }
        let waits = backlog(shared).await;
        let fulfilment = waits
            .as_ref()
            .and_then(|lanes| lanes.get(&Lane::Fulfilment));
        looks += 1;
        if fulfilment.is_none_or(|n| *n == 0)
            || shared.status.is_stuck(Way::Fulfilment, Lane::Fulfilment)
            || looks > LOOKS_MAX
        {
            return waits;
        }
        // Woken by the same nudge, the other track is about to take it up.
        tokio::time::sleep(GIVE_WAY).await;
    }
}

/// Looks what waits in the lanes that aren't urgent. Where it isn't known, something may.
fn see(backlog: &Backlog, pace: &mut Pace) {
    for lane in REST {
        let waits = backlog
            .as_ref()
            .is_none_or(|lanes| lanes.get(&lane).is_some_and(|n| *n > 0));
        pace.sees(lane, waits, Instant::now(), jitter());
    }
}

/// What waits, shown too.
async fn backlog(shared: &Shared) -> Backlog {
    let backlog = shared.ledger.backlog().await.ok()?;
    shared.status.backlog(backlog.clone());
    backlog
}

/// What a batch of the second track is made without; all, if nothing goes now.
fn lanes_to_leave_out(shared: &Shared, pace: &Pace, at_once: bool) -> Vec<Lane> {
    let level = shared.line.level();
    let goes = |lane: &Lane| at_once || pace.is_due(*lane, level, Instant::now());
    let mut held = vec![Lane::Fulfilment];
    held.extend(REST.into_iter().filter(|lane| !goes(lane)));
    held
}

/// When a lane of the second track goes next.
fn next_due(shared: &Shared, pace: &Pace, uplink: &Uplink<'_>) -> Option<Instant> {
    let level = shared.line.level();
    let due = REST.iter().filter_map(|lane| pace.due(*lane, level));
    let due = due.filter(|due| *due > Instant::now());
    due.chain(uplink.next_due()).min()
}

fn most(shared: &Shared) -> Extent {
    Extent {
        items: shared.config.batch_items,
        bytes: shared.config.batch_bytes,
    }
}

fn until(due: Option<Instant>) -> Duration {
    due.map_or(IDLE_LONGEST, |due| {
        due.saturating_duration_since(Instant::now())
            .min(IDLE_LONGEST)
    })
}

fn is_stopping(shutdown: &watch::Receiver<bool>) -> bool {
    *shutdown.borrow() || shutdown.has_changed().is_err()
}
