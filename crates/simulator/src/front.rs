//! The front of a point: keypad, scanner, display. One person stands at it at a time.

use std::sync::Mutex;
use std::time::{Duration, Instant};

use firmware_protocols::Kind;
use firmware_protocols::command::Tone;
use firmware_protocols::event::Secret;
use tokio::sync::broadcast;
use tokio::time::timeout;

use crate::device::lock;
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

/// A person's turn at the front; the next one waits until it is dropped.
pub struct Turn<'a> {
    device: &'a Device,
    display: &'a Display,
    opens: bool,
    _place: tokio::sync::MutexGuard<'a, ()>,
}

/// The queue before a front.
#[derive(Debug, Default)]
pub(crate) struct Queue(tokio::sync::Mutex<()>);

impl Queue {
    /// Waits for one's turn. `opens`: whether a right code opens a compartment here.
    pub(crate) async fn turn<'a>(
        &'a self,
        device: &'a Device,
        display: &'a Display,
        opens: bool,
    ) -> Turn<'a> {
        Turn {
            device,
            display,
            opens,
            _place: self.0.lock().await,
        }
    }
}

impl Turn<'_> {
    /// Types a code and waits for the answer.
    pub async fn type_code(&self, code: &str) -> Answer {
        let code = Secret::new(code);
        *lock(&self.display.pressed) = Some(Instant::now());
        let answer = self
            .after(Kind::Keypad { code, opened: None }, self.opens)
            .await;
        *lock(&self.display.pressed) = None;
        answer
    }

    /// Holds a waybill to the scanner and waits for the answer.
    pub async fn scan_waybill(&self, parcel: &str) -> Answer {
        let symbol = Secret::new(parcel);
        self.after(Kind::Scan { symbol }, self.opens).await
    }

    /// Holds a badge to the scanner and waits for a word.
    pub async fn scan_badge(&self, badge: &str) -> Answer {
        let symbol = Secret::new(badge);
        self.after(Kind::Scan { symbol }, false).await
    }

    /// Closes a door (by `close`) and waits for a word.
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
        timeout(LAST_LOOK, word).await.unwrap_or(Answer::Silence)
    }

    /// Reports and looks. Where a door is expected, a word on the display is not the end of it.
    async fn after(&self, kind: Kind, door: bool) -> Answer {
        let mut seen = self.display.seen.subscribe();
        if self.device.report(kind).is_err() {
            return Answer::Silence;
        }
        let Ok(first) = timeout(PATIENCE, next(&mut seen)).await else {
            return Answer::Silence;
        };
        match first {
            Answer::Yes(_) | Answer::Word(_) | Answer::No(_) if door => {
                let opened = async {
                    loop {
                        if let Answer::Opened(compartment) = next(&mut seen).await {
                            return Answer::Opened(compartment);
                        }
                    }
                };
                timeout(SECOND_LOOK, opened).await.unwrap_or(first)
            }
            other => other,
        }
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
