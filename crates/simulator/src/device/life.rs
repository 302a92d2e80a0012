//! The task of a device: connect, send what waits, obey, connect again.

use std::sync::Arc;
use std::time::Duration;

use firmware_protocols::event::{Done, encode};
use firmware_protocols::topic::Channel;
use firmware_protocols::{Command, Kind, Order, Receipt};
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::{Instant, sleep, sleep_until, timeout};

use super::outbox::{DeviceClock, Place};
use super::{Ask, Inner, lock};
use crate::Promise;
use crate::link::{Heard, Link, Told};

/// Publications in flight at most.
const WINDOW: usize = 8;
/// How long a login may take.
const LOGIN_TIMEOUT: Duration = Duration::from_secs(10);
/// The first pause before a device connects again; it doubles up to the longest.
const PAUSE_FIRST: Duration = Duration::from_millis(20);
const PAUSE_LONGEST: Duration = Duration::from_secs(1);
/// How long a device waits when the gateway's disk is full.
const PAUSE_FULL: Duration = Duration::from_millis(100);
/// Ids of commands carried out that are kept.
const OBEYED_MAX: usize = 64;

/// Lives until it is asked to stop, or nobody holds the device any more.
pub(super) async fn live(inner: Arc<Inner>, mut asked: mpsc::Receiver<Ask>) {
    let mut pause = PAUSE_FIRST;
    loop {
        let mut connection = Connection::open(&inner);
        let was_up = connection.come_up().await;
        let end = match was_up {
            true => connection.stay(&mut asked).await,
            false => End::Lost,
        };
        inner.online.send_replace(false);
        lock(&inner.outbox).all_lost();
        match end {
            End::Left => {
                connection.say_goodbye().await;
                if !stay_away(&inner, &mut asked).await {
                    return;
                }
            }
            End::Stopped => return connection.say_goodbye().await,
            End::Unplugged => {
                drop(connection);
                if !stay_away(&inner, &mut asked).await {
                    return;
                }
            }
            End::Lost => drop(connection),
        }
        if was_up {
            pause = PAUSE_FIRST;
        }
        if !wait(&inner, pause, &mut asked).await {
            return;
        }
        pause = (pause * 2).min(PAUSE_LONGEST);
    }
}

/// Why a connection ended.
enum End {
    Lost,
    Left,
    Unplugged,
    Stopped,
}

/// Waits out a pause between two connections; false if it is asked to stop meanwhile.
async fn wait(inner: &Inner, pause: Duration, asked: &mut mpsc::Receiver<Ask>) -> bool {
    let over = sleep(pause);
    tokio::pin!(over);
    loop {
        tokio::select! {
            () = &mut over => return true,
            ask = asked.recv() => match ask {
                None | Some(Ask::Stop) => return false,
                Some(Ask::Leave | Ask::Unplug) => return stay_away(inner, asked).await,
                Some(Ask::Reboot) => reboot(inner),
                Some(Ask::Cut | Ask::Return) => {}
            },
        }
    }
}

/// Stays away until asked to return; false if it is asked to stop.
async fn stay_away(inner: &Inner, asked: &mut mpsc::Receiver<Ask>) -> bool {
    loop {
        match asked.recv().await {
            None | Some(Ask::Stop) => return false,
            Some(Ask::Return) => return true,
            Some(Ask::Reboot) => reboot(inner),
            Some(Ask::Cut | Ask::Leave | Ask::Unplug) => {}
        }
    }
}

fn reboot(inner: &Inner) {
    lock(&inner.outbox).reboot();
    inner.say_hello();
}

struct Connection<'a> {
    inner: &'a Inner,
    link: Link,
    /// What is in flight, with the answers to come.
    answers: JoinSet<(Vec<Place>, Told)>,
    /// Nothing is sent before then: the gateway's disk was full.
    not_before: Option<Instant>,
}

impl<'a> Connection<'a> {
    fn open(inner: &'a Inner) -> Self {
        let boot = lock(&inner.outbox).boot;
        Self {
            inner,
            link: Link::open(&inner.way, &inner.spec, boot),
            answers: JoinSet::new(),
            not_before: None,
        }
    }

    /// Waits until it is logged in and subscribed, and says `online`.
    async fn come_up(&mut self) -> bool {
        match timeout(LOGIN_TIMEOUT, self.link.heard()).await {
            Ok(Heard::Up) => {
                self.say_status("online");
                self.inner.online.send_replace(true);
                true
            }
            Ok(Heard::Down(why)) => {
                let device = &self.inner.spec.login.device;
                tracing::debug!(%device, why, "not connected");
                false
            }
            Ok(Heard::Message { .. }) | Err(_) => false,
        }
    }

    async fn stay(&mut self, asked: &mut mpsc::Receiver<Ask>) -> End {
        loop {
            self.send_what_waits();
            let full = self.not_before;
            tokio::select! {
                heard = self.link.heard() => match heard {
                    Heard::Message { channel, payload } => self.hear(channel, &payload),
                    Heard::Up => {}
                    Heard::Down(_) => return End::Lost,
                },
                Some(answer) = self.answers.join_next() => {
                    if let Ok((places, told)) = answer {
                        self.settle(&places, told);
                    }
                }
                () = self.inner.news.notified() => {}
                () = sleep_until(full.unwrap_or_else(Instant::now)), if full.is_some() => {
                    self.not_before = None;
                }
                ask = asked.recv() => match ask {
                    None | Some(Ask::Stop) => return End::Stopped,
                    Some(Ask::Leave) => return End::Left,
                    Some(Ask::Unplug) => return End::Unplugged,
                    Some(Ask::Cut) => return End::Lost,
                    Some(Ask::Reboot) => {
                        reboot(self.inner);
                        return End::Lost;
                    }
                    Some(Ask::Return) => {}
                },
            }
        }
    }

    fn send_what_waits(&mut self) {
        let spec = &self.inner.spec;
        while self.not_before.is_none() && self.answers.len() < WINDOW {
            let now_ms = self.inner.tempo.now_ms();
            let events = lock(&self.inner.outbox).take(spec.batch, spec.clock, now_ms);
            if events.is_empty() {
                return;
            }
            let places: Vec<Place> = events.iter().map(|e| (e.boot, e.seq)).collect();
            let payload = encode(&events, spec.form);
            match self.link.publish(Channel::Event, payload) {
                Ok(answer) => {
                    self.answers.spawn(async move { (places, answer.await) });
                }
                Err(_) => {
                    lock(&self.inner.outbox).lost(&places);
                    self.not_before = Some(Instant::now() + PAUSE_FULL);
                }
            }
        }
    }

    fn settle(&mut self, places: &[Place], told: Told) {
        let now_ms = self.inner.tempo.now_ms();
        let mut outbox = lock(&self.inner.outbox);
        match told {
            Told::Taken if self.inner.spec.promise == Promise::Puback => {
                outbox.acknowledged(places, now_ms);
            }
            Told::Taken => return,
            Told::Quarantined => outbox.given_up(places, true),
            Told::Refused => outbox.given_up(places, false),
            Told::Lost => return outbox.lost(places),
            Told::Full => {
                outbox.lost(places);
                self.not_before = Some(Instant::now() + PAUSE_FULL);
                return;
            }
        }
        drop(outbox);
        self.inner.settled(places);
    }

    fn hear(&mut self, channel: Channel, payload: &[u8]) {
        match channel {
            Channel::Command => match Command::decode(payload) {
                Ok(command) => self.obey(command),
                Err(error) => tracing::warn!(%error, "a command that can't be read"),
            },
            Channel::Receipt => {
                let promised = self.inner.spec.promise == Promise::Receipt;
                if let (true, Ok(receipt)) = (promised, Receipt::decode(payload)) {
                    let now_ms = self.inner.tempo.now_ms();
                    let mut outbox = lock(&self.inner.outbox);
                    let places = outbox.receipt(receipt.boot, receipt.seq, now_ms);
                    drop(outbox);
                    self.inner.settled(&places);
                }
            }
            Channel::Event | Channel::Status => {}
        }
    }

    /// Carries out a command once, in time; reports the result, then what came of it.
    fn obey(&self, command: Command) {
        let (outcome, reason, then) = match self.refusal(&command) {
            Some(reason) => (Done::Refused, Some(reason.to_string()), Vec::new()),
            None => {
                let obeyed = self.inner.model.obey(&command.order);
                if let (Order::Open { compartment }, Done::Done) = (&command.order, obeyed.outcome)
                {
                    self.inner.opened(Some(command.id.clone()), *compartment);
                }
                (obeyed.outcome, obeyed.reason, obeyed.then)
            }
        };
        let result = Kind::Result {
            command: command.id,
            outcome,
            reason,
        };
        for kind in std::iter::once(result).chain(then) {
            if let Err(error) = self.inner.report(kind) {
                tracing::warn!(%error, "an event is lost");
            }
        }
    }

    fn refusal(&self, command: &Command) -> Option<&'static str> {
        let mut obeyed = lock(&self.inner.obeyed);
        if obeyed.contains(&command.id) {
            return Some("already carried out");
        }
        // A device without a clock obeys at once, so its `ttl` can't have passed since receipt.
        let has_clock = self.inner.spec.clock == DeviceClock::Set;
        if has_clock && command.expires < self.inner.tempo.now_ms() {
            return Some("too late");
        }
        if matches!(command.order, Order::Open { .. } | Order::Codes { .. }) {
            obeyed.push_back(command.id.clone());
            if obeyed.len() > OBEYED_MAX {
                obeyed.pop_front();
            }
        }
        None
    }

    fn say_status(&mut self, status: &str) {
        if let Ok(answer) = self.link.publish(Channel::Status, status.into()) {
            self.answers
                .spawn(async move { (Vec::new(), answer.await) });
        }
    }

    /// Says `offline`, waits for what is in flight, two seconds at most, and disconnects.
    async fn say_goodbye(mut self) {
        self.say_status("offline");
        let answered = async {
            while let Some(answer) = self.answers.join_next().await {
                if let Ok((places, told)) = answer {
                    self.settle(&places, told);
                }
            }
        };
        let _ = timeout(Duration::from_secs(2), answered).await;
        lock(&self.inner.outbox).all_lost();
        self.link.close().await;
    }
}
