//! The front of a point: keypad, scanner, display. One person stands at it at a time.

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use firmware_protocols::command::Tone;
use firmware_protocols::event::Secret;
use firmware_protocols::{Kind, Order};
use tokio::sync::{broadcast, watch};
use tokio::time::timeout;

use crate::device::{Model, Obeyed, Place, lock};
use crate::{Device, Latency};

/// What a person at the front sees or hears.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Seen {
    /// A lock clicked and a door came open.
    Opened {
        /// The compartment.
        compartment: u16,
    },
    /// The display says something.
    Shown {
        /// The words.
        text: String,
        /// How they are meant.
        tone: Tone,
    },
}

/// What a person got for what they did.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Answer {
    /// A compartment opened.
    Opened(u16),
    /// The display said yes, and no compartment opened.
    Yes(String),
    /// The display said something that is neither yes nor no.
    Word(String),
    /// The display said no.
    No(String),
    /// Nothing happened within the time a person waits.
    Silence,
}

impl Answer {
    /// The words on the display; empty if there were none.
    pub fn words(&self) -> &str {
        match self {
            Self::Yes(said) | Self::Word(said) | Self::No(said) => said,
            Self::Opened(_) | Self::Silence => "",
        }
    }
}

/// How long a person waits for an answer, in real time: it is the gateway's time that is at stake.
const PATIENCE: Duration = Duration::from_secs(5);
/// How long a person who expects a door to open looks on after a word on the display: the word may
/// come first, or may have been meant for the one before.
const SECOND_LOOK: Duration = Duration::from_millis(100);
/// How long a person who has closed a door looks at the display.
const LAST_LOOK: Duration = Duration::from_millis(500);
/// What can happen at a front before a person looks; beyond it the oldest is overlooked.
const SEEN_MAX: usize = 64;

/// The display and the ears of a front: what orders of the gateway come out of.
#[derive(Debug)]
pub struct Display {
    seen: broadcast::Sender<Seen>,
    shown: Mutex<Option<(String, Tone)>>,
    pressed: Mutex<Option<Instant>>,
    latency: Mutex<Latency>,
}

impl Default for Display {
    fn default() -> Self {
        Self {
            seen: broadcast::channel(SEEN_MAX).0,
            shown: Mutex::default(),
            pressed: Mutex::default(),
            latency: Mutex::default(),
        }
    }
}

impl Display {
    /// The gateway's order to open arrived: ends the wait that began with the last key.
    pub(crate) fn opened(&self, compartment: u16) {
        if let Some(pressed) = lock(&self.pressed).take() {
            lock(&self.latency).add(pressed.elapsed());
        }
        let _ = self.seen.send(Seen::Opened { compartment });
    }

    /// The gateway's words arrived.
    pub(crate) fn show(&self, text: &str, tone: Tone) {
        let text = text.to_string();
        *lock(&self.shown) = Some((text.clone(), tone));
        let _ = self.seen.send(Seen::Shown { text, tone });
    }

    /// What is on the display.
    pub fn shown(&self) -> Option<(String, Tone)> {
        lock(&self.shown).clone()
    }

    /// From the last key of a code to the arrival of the open command, in real time.
    pub fn key_to_open(&self) -> Latency {
        lock(&self.latency).clone()
    }
}

/// A keypad with scanner and display that has no compartments: a desk's terminal, a bank's panel.
pub(crate) struct Terminal {
    display: Arc<Display>,
}

impl Terminal {
    pub(crate) fn new(display: Arc<Display>) -> Self {
        Self { display }
    }
}

impl Model for Terminal {
    fn obey(&self, order: &Order) -> Obeyed {
        match order {
            Order::Show { text, tone } => {
                self.display.show(text, *tone);
                Obeyed::done()
            }
            Order::Identify => Obeyed::done(),
            Order::Open { .. } | Order::Codes { .. } => {
                Obeyed::failed("there are no compartments here")
            }
        }
    }
}

/// A point that checks codes by itself while nobody answers.
pub(crate) trait Alone: Send + Sync {
    /// Somebody types or scans while there is a connection.
    fn gateway_is_asked(&self);

    /// Decides on digits that nobody answers; `sent`: the event that says them, if it was made.
    fn decide(&self, device: &Device, digits: &str, sent: Option<Place>) -> Answer;
}

/// How the doors beside a front move.
#[derive(Debug, Clone, Default)]
pub(crate) struct Doors {
    /// How long one takes to open after the word that it does, in real time.
    pub(crate) open_within: Duration,
    /// How many are falling shut, where that takes time.
    pub(crate) falling: Option<watch::Receiver<u32>>,
}

/// A person's turn at the front; the next one waits until it is dropped.
pub struct Turn<'a> {
    device: &'a Device,
    display: &'a Display,
    opens: bool,
    doors: Doors,
    /// What the point itself can do about digits while nobody answers.
    alone: Option<&'a dyn Alone>,
    _place: tokio::sync::MutexGuard<'a, ()>,
}

/// The queue before a front.
#[derive(Debug, Default)]
pub(crate) struct Queue(tokio::sync::Mutex<()>);

impl Queue {
    /// Waits for one's turn. `opens`: whether a right code opens a compartment here. `doors`: how
    /// they move.
    pub(crate) async fn turn<'a>(
        &'a self,
        device: &'a Device,
        display: &'a Display,
        opens: bool,
        doors: Doors,
        alone: Option<&'a dyn Alone>,
    ) -> Turn<'a> {
        Turn {
            device,
            display,
            opens,
            doors,
            alone,
            _place: self.0.lock().await,
        }
    }
}

impl Turn<'_> {
    /// Types a code and waits for the answer.
    pub async fn type_code(&self, code: &str) -> Answer {
        *lock(&self.display.pressed) = Some(Instant::now());
        let answer = match self.alone {
            Some(alone) => self.type_where_it_is_checked(code, alone).await,
            None => self.after(digits(code), self.opens).await,
        };
        *lock(&self.display.pressed) = None;
        answer
    }

    /// The gateway decides if it answers in time, else the point itself.
    async fn type_where_it_is_checked(&self, code: &str, alone: &dyn Alone) -> Answer {
        if !self.device.is_online() {
            return self.decide_alone(alone, code, None);
        }
        alone.gateway_is_asked();
        let mut seen = self.display.seen.subscribe();
        let Ok(place) = self.device.report(digits(code)) else {
            return Answer::Silence;
        };
        let first = tokio::select! {
            biased;
            answer = next(&mut seen) => Some(answer),
            () = self.device.until_settled(place) => None,
            () = self.device.until_offline() => {
                return self.decide_alone(alone, code, Some(place));
            }
            () = tokio::time::sleep(self.device.spec().answer_within) => {
                return self.decide_alone(alone, code, Some(place));
            }
        };
        self.look(&mut seen, first, self.opens).await
    }

    /// Without the gateway, whose time isn't measured then.
    fn decide_alone(&self, alone: &dyn Alone, code: &str, sent: Option<Place>) -> Answer {
        *lock(&self.display.pressed) = None;
        alone.decide(self.device, code, sent)
    }

    /// Holds a waybill to the scanner and waits for the answer.
    pub async fn scan_waybill(&self, parcel: &str) -> Answer {
        self.gateway_is_asked();
        let symbol = Secret::new(parcel);
        self.after(Kind::Scan { symbol }, self.opens).await
    }

    /// Holds a badge to the scanner and waits for a word.
    pub async fn scan_badge(&self, badge: &str) -> Answer {
        self.gateway_is_asked();
        let symbol = Secret::new(badge);
        self.after(Kind::Scan { symbol }, false).await
    }

    /// Closes a door (by `close`) and waits for a word; at least until the door is shut.
    pub async fn close(&self, close: impl FnOnce()) -> Answer {
        let mut seen = self.display.seen.subscribe();
        close();
        let word = async {
            loop {
                match next(&mut seen).await {
                    Answer::Opened(_) => {}
                    word => return word,
                }
            }
        };
        let word = timeout(LAST_LOOK, word).await.unwrap_or(Answer::Silence);
        if let Some(falling) = &self.doors.falling {
            let _ = falling.clone().wait_for(|doors| *doors == 0).await;
        }
        word
    }

    fn gateway_is_asked(&self) {
        if let Some(alone) = self.alone.filter(|_| self.device.is_online()) {
            alone.gateway_is_asked();
        }
    }

    /// Reports and looks. Where a door is expected, a word on the display is not the end of it.
    async fn after(&self, kind: Kind, door: bool) -> Answer {
        let mut seen = self.display.seen.subscribe();
        if self.device.report(kind).is_err() {
            return Answer::Silence;
        }
        self.look(&mut seen, None, door).await
    }

    /// Looks at the front, where `first` was seen already if it is there.
    async fn look(
        &self,
        seen: &mut broadcast::Receiver<Seen>,
        first: Option<Answer>,
        door: bool,
    ) -> Answer {
        let first = match first {
            Some(first) => first,
            None => match timeout(PATIENCE, next(seen)).await {
                Ok(first) => first,
                Err(_) => return Answer::Silence,
            },
        };
        match first {
            Answer::Yes(_) | Answer::Word(_) | Answer::No(_) if door => {
                let opened = async {
                    loop {
                        if let Answer::Opened(compartment) = next(seen).await {
                            return Answer::Opened(compartment);
                        }
                    }
                };
                let within = match first {
                    Answer::No(_) => SECOND_LOOK,
                    _ => self.doors.open_within.max(SECOND_LOOK),
                };
                timeout(within, opened).await.unwrap_or(first)
            }
            other => other,
        }
    }
}

fn digits(code: &str) -> Kind {
    Kind::Keypad {
        code: Secret::new(code),
        opened: None,
    }
}

/// The next thing seen, as an answer.
async fn next(seen: &mut broadcast::Receiver<Seen>) -> Answer {
    loop {
        match seen.recv().await {
            Ok(Seen::Opened { compartment }) => return Answer::Opened(compartment),
            Ok(Seen::Shown { text, tone }) => {
                return match tone {
                    Tone::Ok => Answer::Yes(text),
                    Tone::Info => Answer::Word(text),
                    Tone::Error => Answer::No(text),
                };
            }
            Err(broadcast::error::RecvError::Lagged(_)) => {}
            Err(broadcast::error::RecvError::Closed) => std::future::pending().await,
        }
    }
}
