//! Answers `pair`: waits for a device that is being set up, and says who knocks meanwhile.
//!
//! The window is open as long as the answer lasts: until the device is in, the time is over, or the
//! client closes. It is logged with the operator's name.

use std::io;
use std::net::IpAddr;
use std::time::Duration;

use firmware_protocols::Ident;
use tokio::sync::broadcast::error::RecvError;
use tokio::time::{Instant, sleep_until};

use super::answer;
use super::backend::Backend;
use super::conversation::Conversation;
use super::knocks::{PairStep, view};
use super::operator::operator;
use super::wire::{End, Failure, FailureKind, Reply, write_line};
use crate::knocks::Known;
use crate::links::embedded::{News, Window};
use crate::links::entrance::Door;
use crate::store::read::EventFilter;

/// How long a device that is in may take for its first event, within the window's time.
const FIRST_EVENT: Duration = Duration::from_secs(10);

/// The longest window, s.
const LONGEST_S: u16 = 900;

/// What is asked for.
pub(super) struct Asked {
    /// The device.
    pub device: String,
    /// For how long, s.
    pub seconds: u16,
    /// Whether a password that it has is replaced.
    pub replace: bool,
    /// The only address that it may come from.
    pub from: Option<IpAddr>,
    /// Who the operator claims to be.
    pub claims: Option<String>,
}

/// Answers it.
pub(super) async fn pair(client: &mut Conversation, asked: Asked) -> io::Result<()> {
    let uid = client.uid;
    let claims = asked.claims.clone();
    let who = move |backend: &dyn Backend| {
        let newest = *backend.events_watch().borrow();
        Ok((operator(uid, claims.as_deref()), newest))
    };
    let opened = match client.shared.read(who).await {
        Ok((operator, newest)) => open(client, &asked, operator, newest),
        Err(failure) => Err(failure),
    };
    match opened {
        Ok(waiting) => waiting.run(client).await,
        Err(failure) => client.fail(failure).await,
    }
}

/// Opens the window, unless something speaks against it.
fn open(
    client: &Conversation,
    asked: &Asked,
    operator: String,
    newest: i64,
) -> Result<Waiting, Failure> {
    let refused = |message: String| Failure::new(FailureKind::Refused, message);
    let backend = &client.shared.backend;
    let links = backend.status().links;
    let entrance = backend.entrance().unwrap_or_default();
    let Some(Door {
        pairing,
        credentials,
        clients,
    }) = entrance.door
    else {
        return Err(refused(format!(
            "devices log in at the broker {}, not here: make the device known there",
            links.address
        )));
    };
    let device = Ident::new(&asked.device)
        .ok()
        .filter(|device| clients.now().devices.contains(device));
    let Some(device) = device else {
        return Err(Failure::new(
            FailureKind::NotFound,
            format!(
                "the daemon knows no device '{}' that logs in over MQTT: linli config reload, if it was added just now; else linli device add",
                asked.device
            ),
        ));
    };
    if credentials.has_password(&device) && !asked.replace {
        return Err(refused(format!(
            "{device} has a password already: linli device rotate {device} makes it a new one; to take whatever it shows instead, add --replace"
        )));
    }
    let heard = entrance.knocks.listen();
    let from = asked.from.map(|from| from.to_canonical());
    let window = pairing.open(&device, from).map_err(|other| {
        refused(format!(
            "somebody waits for {other} just now, and one is waited for at a time: try again when that is over"
        ))
    })?;
    let seconds = asked.seconds.clamp(1, LONGEST_S);
    tracing::warn!(%device, seconds, ?from, %operator, "a device is waited for: the first that comes under its name is taken");
    Ok(Waiting {
        device,
        seconds,
        operator,
        address: links.address,
        window,
        heard,
        newest,
    })
}

/// A window that is open.
struct Waiting {
    device: Ident,
    seconds: u16,
    operator: String,
    address: String,
    window: Window,
    heard: tokio::sync::broadcast::Receiver<Known>,
    newest: i64,
}

impl Waiting {
    async fn run(mut self, client: &mut Conversation) -> io::Result<()> {
        let until = Instant::now() + Duration::from_secs(self.seconds.into());
        let step = PairStep::Open {
            device: self.device.to_string(),
            seconds: self.seconds,
            operator: self.operator.clone(),
            address: self.address.clone(),
        };
        say(client, &step).await?;
        loop {
            let step = tokio::select! {
                // A device that is in counts before all that knocked.
                biased;
                news = self.window.news.recv() => match news {
                    Some(News::Came(came)) => PairStep::Paired {
                        device: self.device.to_string(),
                        from: came.from,
                        mqtt: came.mqtt.to_string(),
                        taken: came.taken,
                    },
                    Some(News::NotStored(why)) => PairStep::NotStored { why },
                    None => return self.close(client, false).await,
                },
                heard = self.heard.recv() => match heard {
                    Ok(known) => PairStep::Heard {
                        knock: view(&client.shared.backend.layout(), &known),
                    },
                    Err(RecvError::Lagged(knocks)) => PairStep::Missed { knocks },
                    Err(RecvError::Closed) => return self.close(client, false).await,
                },
                () = sleep_until(until) => return self.close(client, false).await,
                () = client.gone() => return self.close(client, false).await,
            };
            say(client, &step).await?;
            if matches!(step, PairStep::Paired { .. }) {
                let first = (Instant::now() + FIRST_EVENT).min(until);
                self.first_event(client, first).await?;
                return self.close(client, true).await;
            }
        }
    }

    /// Tells the device's first event, if it comes in time.
    async fn first_event(&self, client: &mut Conversation, until: Instant) -> io::Result<()> {
        let mut newest = client.shared.backend.events_watch();
        loop {
            let filter = EventFilter {
                device: Some(self.device.to_string()),
                kind: None,
            };
            let after = self.newest;
            let page = client
                .shared
                .read(move |backend| answer::event_rows(backend, &filter, after, 1));
            match page.await {
                Ok(mut events) if !events.is_empty() => {
                    let event = events.swap_remove(0);
                    return say(client, &PairStep::Event { event }).await;
                }
                Ok(_) => {}
                // The device is in, whatever the store says.
                Err(_) => return Ok(()),
            }
            tokio::select! {
                changed = newest.changed() => if changed.is_err() {
                    return Ok(());
                },
                () = sleep_until(until) => return Ok(()),
                () = client.gone() => return Ok(()),
            }
        }
    }

    async fn close(self, client: &mut Conversation, paired: bool) -> io::Result<()> {
        let Self {
            device,
            operator,
            window,
            ..
        } = self;
        drop(window);
        tracing::info!(%device, paired, %operator, "the device is waited for no more");
        say(client, &PairStep::Closed { paired }).await?;
        client.send(&[], Some(End::default())).await
    }
}

async fn say(client: &mut Conversation, step: &PairStep) -> io::Result<()> {
    let mut line = Vec::new();
    write_line(&mut line, &Reply::Item(step))?;
    client.send(&line, None).await
}
