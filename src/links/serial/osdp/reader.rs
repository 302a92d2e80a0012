//! One reader on the bus: what to ask it next, and what its answers come to.
//!
//! ```text
//!  Hello ──▶ Challenge ──▶ Prove ──▶ Caps ──▶ Status ──▶ Ready: commands, else polls
//!    ▲           │ no                                      │
//!    │           ▼                                         │ silence, or a channel that was lost
//!    └──────── Probe ◀─────────────────────────────────────┘ (to Hello)
//! ```
//!
//! Nothing but its identity is asked for in the clear. A reader that is set to be `insecure` goes from
//! Hello to Caps. Probe asks whether it has the installation key, only to say so: a channel with that key
//! is set up by nobody but [`super::commission`].

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use firmware_protocols::command::Command;
use firmware_protocols::event::Done;
use firmware_protocols::{Ident, Kind};
use osdp::command::{Cap, Command as Request, Id, LocalStatus, Poll};
use osdp::reply::{PdCap, PdId};
use ring::rand::{SecureRandom as _, SystemRandom};

use super::channel::{Channel, NAK, Refusal, Step};
use super::frame::Frame;
use super::key::{Key, KeyFault};
use super::orders::{Able, Orders, result};
use super::said::{Ears, Meaning};
use crate::links::DeviceIntake;
use crate::links::serial::Outgoing;
use crate::links::serial::plan::DevicePlan;
use crate::links::serial::rounds::SILENT_AFTER;
use crate::links::serial::status::SlaveStatus;
use crate::links::serial::voice::Voice;

const PDID: u8 = 0x45;
const PDCAP: u8 = 0x46;
/// A NAK that says: not without a secure channel, or not with this one.
const WANTS_SECURITY: [u8; 2] = [5, 6];

/// How a reader is trusted.
enum Trust {
    /// By its own key, in this file.
    Key(PathBuf),
    /// Not at all: its wires are taken at their word.
    Insecure,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Phase {
    Hello,
    Challenge,
    Prove,
    /// Why its own key failed.
    Probe(Refusal),
    Caps,
    Status,
    Ready,
}

/// What an answer came to, for whoever gives the turns.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Progress {
    /// More is to be asked at once.
    More,
    /// All is well.
    Well,
    /// It can't be used as it is: ask again after a pause.
    Unusable,
    /// It said what it can't mean, or what nobody with its key said.
    Unreadable,
}

/// One reader.
pub(super) struct Reader {
    pub id: Ident,
    pub address: u8,
    /// How it is, once its port was opened.
    pub status: Option<Arc<SlaveStatus>>,
    pub channel: Channel,
    trust: Trust,
    phase: Phase,
    /// The request that waits is a part of a command.
    ordered: bool,
    ears: Ears,
    orders: Orders,
    able: Able,
    misses: u32,
    there: Option<bool>,
    identity: Option<PdId>,
    introduced: Option<(String, Able)>,
    /// Why it couldn't be used last, as logged.
    noted: Option<String>,
    voice: Voice,
    intake: Arc<dyn DeviceIntake>,
}

impl Reader {
    /// The reader that a plan describes.
    pub fn new(plan: &DevicePlan, intake: &Arc<dyn DeviceIntake>) -> Self {
        let address = plan.on.address.unwrap_or(0);
        let meaning = match &plan.on.door {
            Some(door) => Meaning::Door(door.clone()),
            None => Meaning::Point,
        };
        let trust = match &plan.on.key_file {
            Some(file) => Trust::Key(file.clone()),
            None => Trust::Insecure,
        };
        Self {
            id: plan.id.clone(),
            address,
            status: None,
            channel: Channel::new(address),
            trust,
            phase: Phase::Hello,
            ordered: false,
            ears: Ears::new(meaning),
            orders: Orders::default(),
            able: Able::UNKNOWN,
            misses: 0,
            there: None,
            identity: None,
            introduced: None,
            noted: None,
            voice: Voice::start(
                plan.id.clone(),
                plan.boot,
                "OSDP reader",
                &["show", "identify"],
                Arc::clone(intake),
            ),
            intake: Arc::clone(intake),
        }
    }

    /// What to send it.
    ///
    /// # Errors
    /// Why there is nothing, in words, with the remedy.
    pub fn request(&mut self, now: Instant) -> Result<Vec<u8>, String> {
        self.ears.idle(now);
        if let Some(again) = self.channel.again() {
            return Ok(again.to_vec());
        }
        self.ordered = false;
        let asked = match self.phase {
            Phase::Hello => self.channel.ask(&Request::Id(Id::standard())),
            Phase::Challenge => {
                let key = self.key()?;
                self.channel.challenge(&key, random()?)
            }
            Phase::Prove => self.channel.prove(),
            Phase::Probe(_) => self.channel.probe(random()?),
            Phase::Caps => self.channel.ask(&Request::Cap(Cap::standard())),
            Phase::Status => self.channel.ask(&Request::LocalStatus(LocalStatus)),
            Phase::Ready => {
                let (request, late) = self.orders.next(now);
                self.say(late);
                self.ordered = request.is_some();
                let request = request.unwrap_or(Request::Poll(Poll));
                self.channel.ask(&request)
            }
        };
        let asked = asked.map(<[u8]>::to_vec);
        asked.map_err(|e| {
            self.start_over();
            format!("it can't be asked ({e}): please report this")
        })
    }

    /// It answered.
    pub fn hear(&mut self, frame: &Frame, now: Instant) -> Progress {
        self.misses = 0;
        match self.channel.hear(frame) {
            Step::Busy => Progress::Well,
            Step::Challenged => self.go_on(Phase::Prove),
            Step::Secure => self.go_on(Phase::Caps),
            Step::Reply { code, data } => self.answer(code, &data, now),
            Step::Refused(why) => self.refused(why),
        }
    }

    /// It didn't answer in time. Returns whether it counts as silent now.
    pub fn missed(&mut self) -> bool {
        self.misses = self.misses.saturating_add(1);
        if self.misses < SILENT_AFTER {
            return false;
        }
        self.start_over();
        self.away("the reader doesn't answer");
        true
    }

    /// Whether it should be asked again at once: one lost frame shouldn't cost a person half a second.
    pub fn is_worth_a_second_try(&self) -> bool {
        self.misses == 1 && self.there == Some(true)
    }

    /// Whether it is ready for polls and commands.
    pub fn is_ready(&self) -> bool {
        self.phase == Phase::Ready
    }

    /// It can't be used: says why to people, and to whoever waits for it.
    pub fn unusable(&mut self, note: String) {
        if self.noted.as_ref() != Some(&note) {
            tracing::warn!(device = %self.id, %note, "a reader can't be used");
            self.noted = Some(note.clone());
        }
        self.away("the reader can't be used at the moment: see linli status");
        self.note(Some(note));
    }

    /// Takes a command for it, or says at once what becomes of it.
    pub fn take(&mut self, outgoing: &Outgoing, now: Instant) {
        // Receipts are for devices that number their own events.
        let Ok(command) = Command::decode(&outgoing.message.payload) else {
            return;
        };
        let said = match self.there {
            Some(false) => Some(result(
                command.id,
                Done::Failed,
                "the reader doesn't answer",
            )),
            _ => self.orders.take(command, outgoing.came, now, self.able),
        };
        self.say(said);
    }

    /// A command for it came to nothing.
    pub fn fail(&self, outgoing: &Outgoing, why: &str) {
        if let Ok(command) = Command::decode(&outgoing.message.payload) {
            self.say([result(command.id, Done::Failed, why)]);
        }
    }

    /// Its port went away.
    pub fn lost(&mut self) {
        self.start_over();
        self.away("the reader's port is away");
        if let Some(status) = &self.status {
            status.silent();
        }
    }

    fn go_on(&mut self, phase: Phase) -> Progress {
        self.phase = phase;
        Progress::More
    }

    fn answer(&mut self, code: u8, data: &[u8], now: Instant) -> Progress {
        if code == NAK
            && WANTS_SECURITY.contains(data.first().unwrap_or(&0))
            && self.phase != Phase::Hello
        {
            return self.refused(Refusal::NotSecured);
        }
        match self.phase {
            Phase::Hello => {
                // One that won't say who it is in the clear may still be as good as any.
                self.identity = (code == PDID).then(|| PdId::decode(data).ok()).flatten();
                self.go_on(match self.trust {
                    Trust::Key(_) => Phase::Challenge,
                    Trust::Insecure => Phase::Caps,
                })
            }
            Phase::Caps => {
                let caps = (code == PDCAP).then(|| PdCap::decode(data).ok()).flatten();
                self.able = caps.map_or(Able::UNKNOWN, |caps| Able::of(&caps));
                self.go_on(Phase::Status)
            }
            Phase::Status => {
                self.phase = Phase::Ready;
                self.introduce();
                self.come();
                self.listen(code, data, now)
            }
            Phase::Ready => self.ready(code, data, now),
            Phase::Challenge | Phase::Prove | Phase::Probe(_) => self.refused(Refusal::Unreadable),
        }
    }

    fn ready(&mut self, code: u8, data: &[u8], now: Instant) -> Progress {
        if code == NAK && !self.ordered {
            // It has lost count.
            return self.refused(Refusal::Nak(data.first().copied().unwrap_or(0)));
        }
        if self.ordered {
            let done = self.orders.answered(code != NAK);
            self.say(done);
        }
        self.listen(code, data, now)
    }

    fn listen(&mut self, code: u8, data: &[u8], now: Instant) -> Progress {
        let was_tampered = self.ears.tampered();
        let Ok(said) = self.ears.hear(code, data, now) else {
            return Progress::Unreadable;
        };
        let news = !said.is_empty();
        self.say(said);
        if self.ears.tampered() != was_tampered {
            self.note(self.usual_note());
        }
        // There may be more where that came from.
        match news || !self.orders.is_empty() {
            true => Progress::More,
            false => Progress::Well,
        }
    }

    fn refused(&mut self, why: Refusal) -> Progress {
        self.channel.reset();
        let phase = std::mem::replace(&mut self.phase, Phase::Hello);
        let note = match (phase, why) {
            (Phase::Challenge | Phase::Probe(_), Refusal::InstallationKey) => format!(
                "it answers with the installation key, which everyone knows: stop linli and run linli serial commission {}",
                self.id
            ),
            (Phase::Challenge, _) => return self.go_on(Phase::Probe(why)),
            (Phase::Probe(Refusal::WrongKey), _) | (Phase::Prove, _) => self.wrong_key(),
            (Phase::Probe(_), _) => self.no_channel(),
            (_, Refusal::NotSecured) if matches!(self.trust, Trust::Insecure) => format!(
                "it wants a secure channel: set serial.key_file instead of insecure = true, stop linli and run linli serial commission {}",
                self.id
            ),
            (_, Refusal::Forged | Refusal::NotSecured | Refusal::Unreadable) => {
                return Progress::Unreadable;
            }
            _ => return Progress::Unusable,
        };
        self.unusable(note);
        Progress::Unusable
    }

    fn wrong_key(&self) -> String {
        let file = match &self.trust {
            Trust::Key(file) => file.display().to_string(),
            Trust::Insecure => String::new(),
        };
        format!(
            "wrong key: it has another one than {file}: put the right file back, or put the reader into installation mode (its manual says how), stop linli and run linli serial commission {}",
            self.id
        )
    }

    fn no_channel(&self) -> String {
        format!(
            "it refuses a secure channel: if it has one, put it into installation mode (its manual says how), stop linli and run linli serial commission {}; if not, replace it, or say serial.insecure = true",
            self.id
        )
    }

    fn key(&mut self) -> Result<Key, String> {
        let Trust::Key(file) = &self.trust else {
            return Err("it has no key_file".to_owned());
        };
        Key::read(file).map_err(|fault| {
            let note = match &fault {
                KeyFault::Missing(_) => format!(
                    "{fault}: stop linli and run linli serial commission {}",
                    self.id
                ),
                _ => fault.to_string(),
            };
            self.start_over();
            note
        })
    }

    fn start_over(&mut self) {
        self.channel.reset();
        self.phase = Phase::Hello;
        self.ordered = false;
    }

    fn come(&mut self) {
        self.noted = None;
        self.note(self.usual_note());
        if self.there != Some(true) {
            self.there = Some(true);
            self.intake.presence(&self.id, true);
            tracing::info!(device = %self.id, secure = self.channel.is_secure(), "a reader is there");
        }
    }

    fn away(&mut self, why: &str) {
        let failed = self.orders.fail(why);
        self.say(failed);
        self.ears.clear();
        if self.there != Some(false) {
            self.there = Some(false);
            self.intake.presence(&self.id, false);
        }
    }

    /// Says what it is, when that is news.
    fn introduce(&mut self) {
        let Some(identity) = &self.identity else {
            return;
        };
        let [a, b, c] = identity.vendor_oui;
        let model = format!(
            "OSDP reader {a:02x}{b:02x}{c:02x}-{}.{} serial {}",
            identity.model, identity.version, identity.serial
        );
        let news = Some((model.clone(), self.able));
        if self.introduced == news {
            return;
        }
        self.introduced = news;
        let [major, minor, build] = identity.firmware;
        let words = [
            ("show", true),
            ("identify", self.able.light || self.able.buzzer),
            ("text", self.able.display),
            ("secure-channel", self.channel.is_secure()),
        ];
        let able = words.into_iter().filter(|(_, is)| *is);
        self.say([Kind::Hello {
            model,
            firmware: format!("{major}.{minor}.{build}"),
            capabilities: able.map(|(word, _)| word.to_owned()).collect(),
        }]);
    }

    fn usual_note(&self) -> Option<String> {
        match (&self.trust, self.ears.tampered()) {
            (_, true) => Some("it says that it is tampered with: look at its cover".to_owned()),
            (Trust::Insecure, false) => Some(
                "it isn't encrypted: whoever reaches its wires can read cards and codes, and make up others".to_owned(),
            ),
            (Trust::Key(_), false) => None,
        }
    }

    fn note(&self, note: Option<String>) {
        if let Some(status) = &self.status {
            status.note(note);
        }
    }

    fn say(&self, kinds: impl IntoIterator<Item = Kind>) {
        for kind in kinds {
            self.voice.say(kind);
        }
    }
}

fn random() -> Result<[u8; 8], String> {
    let mut bytes = [0; 8];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| "the operating system gave no random bytes".to_owned())?;
    Ok(bytes)
}
