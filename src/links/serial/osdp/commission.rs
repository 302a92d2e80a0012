//! Gives a reader a key of its own: the only place where the installation key is used.
//!
//! ```text
//!  key file there?  yes ─▶ reader takes it?  yes ─▶ nothing to do
//!        │ no                     │ no
//!        ▼                        ▼
//!  installation channel ─▶ fresh key into the file ─▶ key to the reader ─▶ a new channel with it
//! ```
//!
//! The file is on disk before the reader gets the key, so no reader ever has one that nobody has; after a
//! power cut at any point the same again ends well.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use osdp::command::{Command, Id, KeySet};
use ring::rand::{SecureRandom as _, SystemRandom};
use zeroize::Zeroize as _;

use super::channel::{ACK, Channel, NAK, Refusal, Step};
use super::frame::Frames;
use super::key::{Key, KeyFault};
use super::within;
use crate::config::serial::PortSection;
use crate::links::serial::line::{Line, LineError, NoAnswer};

/// How often a request is sent before the reader counts as silent.
const TRIES: u32 = 4;
/// How long a busy reader is left alone.
const BUSY_PAUSE: Duration = Duration::from_millis(200);
/// So long a reader may take until it goes by its new key: some restart.
const SETTLING: [Duration; 5] = [
    Duration::from_millis(100),
    Duration::from_millis(400),
    Duration::from_secs(1),
    Duration::from_secs(3),
    Duration::from_secs(6),
];

/// The right to use the installation key.
pub struct Commissioning(());

/// What was done.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Commissioned {
    /// The reader had the key in the file already.
    Already,
    /// It has the key that was in the file now.
    WithKeyOfFile,
    /// It has a fresh key now, and so has the file.
    WithFreshKey,
}

/// Why it came to nothing. Nothing is lost by trying again.
#[derive(Debug, thiserror::Error)]
pub enum Failure {
    /// Nobody answers.
    #[error(
        "the reader doesn't answer: look at its power, its address, the baud rate, and whether A and B are swapped"
    )]
    Silent,
    /// What comes back can't be read.
    #[error(
        "what comes back can't be read: look at the baud rate and at the wires, and whether another device has the same address"
    )]
    Unreadable,
    /// It doesn't take the installation key.
    #[error(
        "the reader doesn't take the installation key, as it has one of its own{}: put it into installation mode (its manual says how), and run this again", if *.has_file { " that isn't the one in the file" } else { "" }
    )]
    NotInstalling {
        /// There is a key file.
        has_file: bool,
    },
    /// It has no secure channel.
    #[error(
        "the reader refuses a secure channel (NAK {0}): put it into installation mode (its manual says how), and run this again; if it has no secure channel at all, replace it"
    )]
    NoChannel(u8),
    /// It didn't take the new key.
    #[error(
        "the reader refuses the new key (NAK {0}): put it into installation mode (its manual says how), and run this again; the key stays in its file and will be used then"
    )]
    KeyRefused(u8),
    /// It doesn't go by its new key.
    #[error(
        "the reader was given its key and doesn't go by it yet: switch it off and on, and run this again; the key stays in its file"
    )]
    NotVerified,
    /// The key file can't be used.
    #[error("{0}")]
    Key(#[source] KeyFault),
    /// The key file can't be written.
    #[error("the key file {} can't be written: {source}", path.display())]
    Write {
        /// The file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The line failed.
    #[error(transparent)]
    Line(#[from] LineError),
}

/// The reader to be commissioned.
pub struct Candidate<'a> {
    /// Its line, which nobody else uses meanwhile.
    pub line: &'a mut Line,
    /// The line's settings.
    pub port: &'a PortSection,
    /// Its address.
    pub address: u8,
    /// Its key file, which may be there or not.
    pub key_file: PathBuf,
}

/// Gives the reader a key of its own. `store` writes the key file.
///
/// # Errors
/// Why it came to nothing, with the remedy.
pub async fn commission(
    candidate: Candidate<'_>,
    mut store: impl FnMut(&Key) -> io::Result<()>,
) -> Result<Commissioned, Failure> {
    let path = candidate.key_file.clone();
    let mut talk = Talk {
        channel: Channel::new(candidate.address),
        line: candidate.line,
        port: candidate.port,
    };
    let known = match Key::read(&path) {
        Ok(key) => Some(key),
        Err(KeyFault::Missing(_)) => None,
        Err(fault) => return Err(Failure::Key(fault)),
    };
    if let Some(key) = &known
        && talk.open(With::Key(key)).await?.is_ok()
    {
        return Ok(Commissioned::Already);
    }
    match talk.open(With::Installation(&Commissioning(()))).await? {
        Ok(()) => {}
        Err(Refusal::Nak(why)) => return Err(Failure::NoChannel(why)),
        Err(_) => {
            return Err(Failure::NotInstalling {
                has_file: known.is_some(),
            });
        }
    }
    let done = match known {
        Some(_) => Commissioned::WithKeyOfFile,
        None => Commissioned::WithFreshKey,
    };
    let key = match known {
        Some(key) => key,
        None => {
            let key = Key::fresh().map_err(Failure::Key)?;
            store(&key).map_err(|source| Failure::Write { path, source })?;
            key
        }
    };
    talk.hand_over(&key).await?;
    for pause in SETTLING {
        tokio::time::sleep(pause).await;
        match talk.open(With::Key(&key)).await {
            Ok(Ok(())) => return Ok(done),
            Ok(Err(_)) | Err(Failure::Silent | Failure::Unreadable) => {}
            Err(failure) => return Err(failure),
        }
    }
    Err(Failure::NotVerified)
}

/// With which key a channel is opened.
enum With<'a> {
    Key(&'a Key),
    Installation(&'a Commissioning),
}

struct Talk<'a> {
    channel: Channel,
    line: &'a mut Line,
    port: &'a PortSection,
}

impl Talk<'_> {
    /// Opens a secure channel, from the start; the inner error is the reader's no.
    async fn open(&mut self, with: With<'_>) -> Result<Result<(), Refusal>, Failure> {
        self.channel.reset();
        let request = self.channel.ask(&Command::Id(Id::standard()));
        let request = sendable(request)?;
        self.ask(request).await?;
        let request = match with {
            With::Key(key) => self.channel.challenge(key, random()?),
            With::Installation(right) => self.channel.challenge_installation(right, random()?),
        };
        let request = sendable(request)?;
        match self.ask(request).await? {
            Step::Challenged => {}
            Step::Refused(why) => return Ok(Err(why)),
            _ => return Err(Failure::Unreadable),
        }
        let request = sendable(self.channel.prove())?;
        Ok(match self.ask(request).await? {
            Step::Secure => Ok(()),
            Step::Refused(why) => Err(why),
            _ => return Err(Failure::Unreadable),
        })
    }

    /// Gives the reader its key. Whether it arrived is seen by whether the reader goes by it: some answer
    /// in the clear, some not at all.
    async fn hand_over(&mut self, key: &Key) -> Result<(), Failure> {
        let mut command = Command::KeySet(KeySet::scbk(*key.bytes()));
        let request = self.channel.ask(&command).map(<[u8]>::to_vec);
        if let Command::KeySet(copy) = &mut command {
            copy.key.zeroize();
        }
        let request = request.map_err(|_| Failure::Unreadable)?;
        match self.ask(request).await {
            Ok(Step::Reply { code: NAK, data }) => {
                Err(Failure::KeyRefused(data.first().copied().unwrap_or(0)))
            }
            Ok(Step::Refused(Refusal::Nak(why))) => Err(Failure::KeyRefused(why)),
            Ok(Step::Reply { code, .. }) => {
                tracing::debug!(acknowledged = code == ACK, "the reader has its key");
                Ok(())
            }
            Ok(_) | Err(Failure::Silent | Failure::Unreadable) => Ok(()),
            Err(failure) => Err(failure),
        }
    }

    async fn ask(&mut self, request: Vec<u8>) -> Result<Step, Failure> {
        let mut heard = false;
        for _ in 0..TRIES {
            let time = within(self.port, request.len());
            let channel = &self.channel;
            let answers = |frame| channel.is_answer(&frame).then_some(frame);
            match self.line.exchange(&Frames, &request, time, answers).await {
                Ok(frame) => match self.channel.hear(&frame) {
                    Step::Busy => tokio::time::sleep(BUSY_PAUSE).await,
                    step => return Ok(step),
                },
                Err(NoAnswer::Silence) => {}
                Err(NoAnswer::Unreadable) => heard = true,
                Err(NoAnswer::Line(error)) => return Err(error.into()),
            }
        }
        Err(match heard {
            true => Failure::Unreadable,
            false => Failure::Silent,
        })
    }
}

fn sendable(request: Result<&[u8], osdp::Error>) -> Result<Vec<u8>, Failure> {
    // Only an address that the configuration's check lets through, so it can be sent.
    request.map(<[u8]>::to_vec).map_err(|_| Failure::Unreadable)
}

fn random() -> Result<[u8; 8], Failure> {
    let mut bytes = [0; 8];
    let filled = SystemRandom::new().fill(&mut bytes);
    filled.map_err(|_| Failure::Key(KeyFault::Random))?;
    Ok(bytes)
}
