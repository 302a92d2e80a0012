//! The conversation with one reader: numbers, the secure channel, and what is sent again.
//!
//! ```text
//!            challenge          prove
//!   Plain ─────────────▶ Challenged ──▶ Proving ──▶ Secure
//!     ▲                      │             │           │
//!     └──────────────────────┴─────────────┴───────────┘ any refusal, or reset
//! ```
//!
//! Each request has a number, 0 for the first of all, then 1, 2, 3, 1, …; its answer has the same. One
//! without an answer is sent again byte for byte, with its number, so that neither side's chain of MACs
//! moves on (IEC 60839-11-5 § 5.7, Annex D). No input or output, and no clock.

use osdp::command::{Chlng, Command, SCrypt};
use osdp::packet::{
    Address, ControlByte, CtrlFlags, MAC_LEN, PacketBuilder, ParsedPacket, Scb, ScsType, Sqn,
};
use osdp::reply::{CCrypt, RMacI};
use osdp::secure::{
    Challenged, Cryptogrammed, Direction, Disconnected, SCBK_D, Secure, Session, seal,
};
use zeroize::Zeroizing;

use super::commission::Commissioning;
use super::frame::{Frame, MARK};
use super::key::Key;

/// `osdp_ACK`.
pub(super) const ACK: u8 = 0x40;
/// `osdp_NAK`.
pub(super) const NAK: u8 = 0x41;
const CCRYPT: u8 = 0x76;
const RMAC_I: u8 = 0x78;
const BUSY: u8 = 0x79;

/// The byte of a handshake's security block that names a reader's own key.
const OWN: u8 = 1;
/// The same for the installation key.
const INSTALLATION: u8 = 0;

/// What an answer came to.
pub(super) enum Step {
    /// The reader is busy: the same request again later.
    Busy,
    /// An answer. In a secure channel its sender was proved.
    Reply {
        /// What kind.
        code: u8,
        /// The rest, in the clear.
        data: Zeroizing<Vec<u8>>,
    },
    /// The reader has proved its key: it wants the same of us ([`Channel::prove`]).
    Challenged,
    /// The channel is secure.
    Secure,
    /// It came to nothing: begin again.
    Refused(Refusal),
}

/// Why a conversation ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Refusal {
    /// The reader said no, and why.
    Nak(u8),
    /// It has another key.
    WrongKey,
    /// It has the key that every reader leaves the factory with.
    InstallationKey,
    /// An answer in the clear where a secure one was due, or the other way round.
    NotSecured,
    /// An answer that wasn't made with the channel's key.
    Forged,
    /// An answer that makes no sense.
    Unreadable,
}

enum Stage {
    Plain,
    /// Asked for the installation key, only to know.
    Probed {
        rnd_a: [u8; 8],
    },
    Challenged {
        session: Session<Challenged>,
        rnd_a: [u8; 8],
        key: u8,
    },
    Proving {
        session: Session<Cryptogrammed>,
        key: u8,
    },
    Secure(Session<Secure>),
}

/// The conversation with one reader.
pub(super) struct Channel {
    address: u8,
    /// The number of the next request, or of the one that waits for its answer.
    number: Sqn,
    stage: Stage,
    /// The request that waits for its answer.
    waiting: Option<Vec<u8>>,
}

impl Channel {
    /// The conversation with the reader at an address, 0 to 126.
    pub fn new(address: u8) -> Self {
        Self {
            address,
            number: Sqn::ZERO,
            stage: Stage::Plain,
            waiting: None,
        }
    }

    /// Forgets everything: the next request is the first.
    pub fn reset(&mut self) {
        *self = Self::new(self.address);
    }

    /// Whether the channel is secure.
    pub fn is_secure(&self) -> bool {
        matches!(self.stage, Stage::Secure(_))
    }

    /// The request that waits for its answer, to be sent again.
    pub fn again(&self) -> Option<&[u8]> {
        self.waiting.as_deref()
    }

    /// A request, secured if the channel is.
    pub fn ask(&mut self, command: &Command) -> Result<&[u8], osdp::Error> {
        let code = command.code().as_byte();
        let data = Zeroizing::new(command.encode_data()?);
        let Stage::Secure(session) = &mut self.stage else {
            return self.plain(code, &data, None);
        };
        let address = Address::pd(self.address)?;
        let encrypt = !data.is_empty();
        let toward = Direction::AcuToPd;
        let frame = seal(session, address, self.number, toward, encrypt, code, &data)?;
        Ok(self.keep(frame))
    }

    /// Asks the reader to prove that it has `key`. `rnd_a` is random.
    pub fn challenge(&mut self, key: &Key, rnd_a: [u8; 8]) -> Result<&[u8], osdp::Error> {
        self.begin(key.bytes(), OWN, rnd_a)
    }

    /// Asks whether the reader has the installation key. The answer never leads to a channel.
    pub fn probe(&mut self, rnd_a: [u8; 8]) -> Result<&[u8], osdp::Error> {
        let data = Chlng::new(rnd_a).encode()?;
        self.stage = Stage::Probed { rnd_a };
        let block = Scb::new(ScsType::Scs11, [INSTALLATION]);
        self.plain(CHLNG, &data, Some(block))
    }

    /// Begins a channel with the installation key: only while a reader is commissioned.
    pub fn challenge_installation(
        &mut self,
        _: &Commissioning,
        rnd_a: [u8; 8],
    ) -> Result<&[u8], osdp::Error> {
        self.begin(&SCBK_D, INSTALLATION, rnd_a)
    }

    fn begin(&mut self, scbk: &[u8; 16], key: u8, rnd_a: [u8; 8]) -> Result<&[u8], osdp::Error> {
        let data = Chlng::new(rnd_a).encode()?;
        self.stage = Stage::Challenged {
            session: Session::<Disconnected>::new(*scbk).challenge(rnd_a),
            rnd_a,
            key,
        };
        self.plain(CHLNG, &data, Some(Scb::new(ScsType::Scs11, [key])))
    }

    /// Proves to the reader that we have its key, after [`Step::Challenged`].
    pub fn prove(&mut self) -> Result<&[u8], osdp::Error> {
        let Stage::Proving { session, key } = &self.stage else {
            return Err(osdp::Error::BadMac);
        };
        let command = SCrypt::new(session.server_cryptogram());
        let block = Scb::new(ScsType::Scs13, [*key]);
        let data = command.encode()?;
        self.plain(SCRYPT, &data, Some(block))
    }

    /// Whether a frame is the answer to the request that waits.
    pub fn is_answer(&self, frame: &Frame) -> bool {
        let Some(packet) = frame.packet() else {
            return false;
        };
        let ours = packet.addr.is_reply() && packet.addr.pd_addr() == self.address;
        // A busy reader answers without a number.
        let busy = packet.code == BUSY && packet.ctrl.sqn == Sqn::ZERO;
        ours && (busy || packet.ctrl.sqn == self.number)
    }

    /// What the answer came to.
    pub fn hear(&mut self, frame: &Frame) -> Step {
        let Some(packet) = frame.packet() else {
            return self.refuse(Refusal::Unreadable);
        };
        if packet.code == BUSY && packet.scb.is_none() {
            return Step::Busy;
        }
        self.waiting = None;
        self.number = self.number.next();
        match std::mem::replace(&mut self.stage, Stage::Plain) {
            Stage::Plain => self.hear_plain(&packet),
            Stage::Probed { rnd_a } => {
                let why = match cryptogram(&packet) {
                    Some(answer) => whose(rnd_a, &answer),
                    None => refused(&packet),
                };
                self.refuse(why)
            }
            Stage::Challenged {
                session,
                rnd_a,
                key,
            } => self.hear_cryptogram(&packet, session, rnd_a, key),
            Stage::Proving { session, .. } => self.hear_proof(&packet, session),
            Stage::Secure(session) => self.hear_secured(&packet, frame.bytes(), session),
        }
    }

    fn hear_plain(&mut self, packet: &ParsedPacket<'_>) -> Step {
        if packet.scb.is_some() {
            return self.refuse(Refusal::NotSecured);
        }
        Step::Reply {
            code: packet.code,
            data: Zeroizing::new(packet.data.to_vec()),
        }
    }

    fn hear_cryptogram(
        &mut self,
        packet: &ParsedPacket<'_>,
        session: Session<Challenged>,
        rnd_a: [u8; 8],
        key: u8,
    ) -> Step {
        let Some(answer) = cryptogram(packet) else {
            return self.refuse(refused(packet));
        };
        match session.receive_ccrypt(&answer) {
            Ok(session) => {
                self.stage = Stage::Proving { session, key };
                Step::Challenged
            }
            Err(_) => self.refuse(whose(rnd_a, &answer)),
        }
    }

    fn hear_proof(&mut self, packet: &ParsedPacket<'_>, session: Session<Cryptogrammed>) -> Step {
        let block = packet.scb.filter(|block| block.ty == ScsType::Scs14);
        let answer = RMacI::decode(packet.data).ok();
        let (Some(_), Some(answer), RMAC_I) = (block, answer, packet.code) else {
            return self.refuse(refused(packet));
        };
        match session.confirm_rmac_i(&answer.r_mac_i) {
            Ok(session) => {
                self.stage = Stage::Secure(session);
                Step::Secure
            }
            Err(_) => self.refuse(Refusal::WrongKey),
        }
    }

    fn hear_secured(
        &mut self,
        packet: &ParsedPacket<'_>,
        bytes: &[u8],
        mut session: Session<Secure>,
    ) -> Step {
        match packet.scb.map(|block| block.ty) {
            Some(ScsType::Scs16 | ScsType::Scs18) => {}
            // So says a reader that has lost the channel, after a restart perhaps.
            None if packet.code == NAK => return self.refuse(refused(packet)),
            _ => return self.refuse(Refusal::NotSecured),
        }
        let Some(data) = unseal(&mut session, packet, bytes) else {
            return self.refuse(Refusal::Forged);
        };
        self.stage = Stage::Secure(session);
        Step::Reply {
            code: packet.code,
            data,
        }
    }

    fn refuse(&mut self, why: Refusal) -> Step {
        self.reset();
        Step::Refused(why)
    }

    fn plain(&mut self, code: u8, data: &[u8], block: Option<Scb>) -> Result<&[u8], osdp::Error> {
        let mut flags = CtrlFlags::USE_CRC;
        flags.set(CtrlFlags::HAS_SCB, block.is_some());
        let packet = PacketBuilder {
            addr: Address::pd(self.address)?,
            ctrl: ControlByte::new(self.number, flags),
            scb: block,
            code,
            data: data.to_vec(),
        };
        let frame = packet.encode()?;
        Ok(self.keep(frame))
    }

    fn keep(&mut self, frame: Vec<u8>) -> &[u8] {
        let mut bytes = Vec::with_capacity(frame.len() + 1);
        bytes.push(MARK);
        bytes.extend(frame);
        self.waiting.insert(bytes)
    }
}

const CHLNG: u8 = 0x76;
const SCRYPT: u8 = 0x77;

/// A reader's proof of its key.
fn cryptogram(packet: &ParsedPacket<'_>) -> Option<CCrypt> {
    packet.scb.filter(|block| block.ty == ScsType::Scs12)?;
    let answer = CCrypt::decode(packet.data).ok()?;
    (packet.code == CCRYPT).then_some(answer)
}

/// Whether a proof that isn't of the right key is of the installation key.
fn whose(rnd_a: [u8; 8], answer: &CCrypt) -> Refusal {
    let known = Session::<Disconnected>::new(SCBK_D).challenge(rnd_a);
    match known.receive_ccrypt(answer) {
        Ok(_) => Refusal::InstallationKey,
        Err(_) => Refusal::WrongKey,
    }
}

/// What an answer in the clear that isn't the one that was due says.
fn refused(packet: &ParsedPacket<'_>) -> Refusal {
    match (packet.code, packet.data.first()) {
        (NAK, Some(why)) => Refusal::Nak(*why),
        (NAK, None) => Refusal::Nak(0),
        _ => Refusal::Unreadable,
    }
}

/// What a secured answer says, if it was made with the channel's key. Moves the chain of MACs on.
fn unseal(
    session: &mut Session<Secure>,
    packet: &ParsedPacket<'_>,
    bytes: &[u8],
) -> Option<Zeroizing<Vec<u8>>> {
    let trailer = if packet.ctrl.use_crc() { 2 } else { 1 };
    let signed = bytes.get(..bytes.len().checked_sub(trailer + MAC_LEN)?)?;
    let encrypted = packet.scb.is_some_and(|block| block.ty.is_encrypted());
    // Some readers encrypt nothing at all, without the padding that even nothing would have. The data's
    // start value is the MAC before this one.
    let data = match encrypted && !packet.data.is_empty() {
        true => session.open_data(packet.data),
        false => Ok(packet.data.to_vec()),
    };
    session.verify(signed, &packet.mac?).ok()?;
    data.ok().map(Zeroizing::new)
}

#[cfg(test)]
mod tests;
