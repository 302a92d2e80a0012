//! The conversation against a reader's side made of the same cryptography: what is refused, and when.

use firmware_protocols::frame::{Found, Framing as _};
use osdp::command::{Id, KeySet, Poll};
use osdp::secure::crypto::{SessionKeys, client_cryptogram};

use super::*;
use crate::links::serial::osdp::frame::Frames;

const ADDRESS: u8 = 3;
const RND_A: [u8; 8] = [1; 8];
const RND_B: [u8; 8] = [2; 8];

/// The reader's side: as little of one as these tests need.
struct Peer {
    key: [u8; 16],
    session: Option<Session<Secure>>,
    handshake: Option<Session<Cryptogrammed>>,
}

impl Peer {
    fn new(key: [u8; 16]) -> Self {
        Self {
            key,
            session: None,
            handshake: None,
        }
    }

    fn cryptogram(&mut self, block: u8) -> Vec<u8> {
        let keys = SessionKeys::derive(&self.key, &RND_A);
        let answer = CCrypt {
            cuid: [9; 8],
            rnd_b: RND_B,
            client_cryptogram: client_cryptogram(&keys.s_enc, &RND_A, &RND_B),
        };
        let session = Session::<Disconnected>::new(self.key).challenge(RND_A);
        self.handshake = session.receive_ccrypt(&answer).ok();
        let data = answer.encode().unwrap();
        clear(1, CCRYPT, &data, Some(Scb::new(ScsType::Scs12, [block])))
    }

    fn proof(&mut self) -> Vec<u8> {
        let handshake = self.handshake.take().unwrap();
        let rmac = handshake.initial_rmac();
        self.session = handshake.confirm_rmac_i(&rmac).ok();
        clear(2, RMAC_I, &rmac, Some(Scb::new(ScsType::Scs14, [1])))
    }

    /// Takes a secured request, and answers it.
    fn secured(&mut self, request: &[u8], number: u8, code: u8, data: &[u8]) -> Vec<u8> {
        let session = self.session.as_mut().unwrap();
        let (packet, _) = ParsedPacket::parse(&request[1..]).unwrap();
        osdp::secure::unseal(session, &packet, &request[1..]).unwrap();
        let address = Address::reply(ADDRESS).unwrap();
        let number = Sqn::new(number).unwrap();
        let toward = Direction::PdToAcu;
        let encrypt = !data.is_empty();
        seal(session, address, number, toward, encrypt, code, data).unwrap()
    }
}

fn clear(number: u8, code: u8, data: &[u8], block: Option<Scb>) -> Vec<u8> {
    let mut flags = CtrlFlags::USE_CRC;
    flags.set(CtrlFlags::HAS_SCB, block.is_some());
    let packet = PacketBuilder {
        addr: Address::reply(ADDRESS).unwrap(),
        ctrl: ControlByte::new(Sqn::new(number).unwrap(), flags),
        scb: block,
        code,
        data: data.to_vec(),
    };
    packet.encode().unwrap()
}

fn frame(bytes: &[u8]) -> Frame {
    match Frames.find(bytes) {
        Found::Frame { frame, .. } => frame,
        other => panic!("{other:?}"),
    }
}

fn key(bytes: [u8; 16]) -> Key {
    let dir = tempfile::tempdir().unwrap();
    let path = dir.path().join("key");
    let digits: String = bytes.iter().map(|byte| format!("{byte:02x}")).collect();
    crate::keys::write_private(&path, digits.as_bytes()).unwrap();
    Key::read(&path).unwrap()
}

fn heard(channel: &mut Channel, bytes: &[u8]) -> Step {
    let frame = frame(bytes);
    assert!(channel.is_answer(&frame));
    channel.hear(&frame)
}

fn hello(channel: &mut Channel) {
    channel.ask(&Command::Id(Id::standard())).unwrap();
    let answer = clear(0, 0x45, &[0; 12], None);
    assert!(matches!(
        heard(channel, &answer),
        Step::Reply { code: 0x45, .. }
    ));
}

fn secure() -> (Channel, Peer) {
    let (mut channel, mut peer) = (Channel::new(ADDRESS), Peer::new([7; 16]));
    hello(&mut channel);
    channel.challenge(&key([7; 16]), RND_A).unwrap();
    assert!(matches!(
        heard(&mut channel, &peer.cryptogram(1)),
        Step::Challenged
    ));
    channel.prove().unwrap();
    assert!(matches!(heard(&mut channel, &peer.proof()), Step::Secure));
    (channel, peer)
}

fn refusal(step: Step) -> Refusal {
    match step {
        Step::Refused(why) => why,
        _ => panic!("it wasn't refused"),
    }
}

#[test]
fn both_sides_prove_the_key_and_what_follows_is_secured() {
    let (mut channel, mut peer) = secure();
    for number in [3, 1, 2, 3, 1] {
        let request = channel.ask(&Command::Poll(Poll)).unwrap().to_vec();
        let answer = peer.secured(&request, number, 0x53, &[0, 1, b'4']);
        assert!(!answer.windows(3).any(|bytes| bytes == [0, 1, b'4']));
        match heard(&mut channel, &answer) {
            Step::Reply { code: 0x53, data } => assert_eq!(*data, [0, 1, b'4']),
            _ => panic!("no keys"),
        }
    }
}

#[test]
fn a_key_that_is_handed_over_does_not_go_in_the_clear() {
    let (mut channel, _) = secure();
    let command = Command::KeySet(KeySet::scbk([0x5A; 16]));
    let request = channel.ask(&command).unwrap();
    assert!(!request.windows(4).any(|bytes| bytes == [0x5A; 4]));
}

#[test]
fn the_same_request_goes_again_with_its_number() {
    let (mut channel, mut peer) = secure();
    let request = channel.ask(&Command::Poll(Poll)).unwrap().to_vec();
    assert_eq!(channel.again().unwrap(), request);
    let busy = clear(0, BUSY, &[], None);
    assert!(matches!(heard(&mut channel, &busy), Step::Busy));
    assert_eq!(channel.again().unwrap(), request);
    let answer = peer.secured(&request, 3, ACK, &[]);
    assert!(matches!(
        heard(&mut channel, &answer),
        Step::Reply { code: ACK, .. }
    ));
    assert!(channel.again().is_none());
    // What comes twice isn't the answer to the next one.
    channel.ask(&Command::Poll(Poll)).unwrap();
    assert!(!channel.is_answer(&frame(&answer)));
}

#[test]
fn others_and_our_own_echo_are_no_answers() {
    let mut channel = Channel::new(ADDRESS + 1);
    let request = channel.ask(&Command::Poll(Poll)).unwrap().to_vec();
    assert!(!channel.is_answer(&frame(&request)));
    assert!(!channel.is_answer(&frame(&clear(0, ACK, &[], None))));
}

#[test]
fn another_key_is_wrong_and_the_installation_key_is_known_and_refused() {
    for (theirs, block, expected) in [
        ([8; 16], 1, Refusal::WrongKey),
        (SCBK_D, 0, Refusal::InstallationKey),
        (SCBK_D, 1, Refusal::InstallationKey),
    ] {
        let mut channel = Channel::new(ADDRESS);
        hello(&mut channel);
        channel.challenge(&key([7; 16]), RND_A).unwrap();
        let answer = Peer::new(theirs).cryptogram(block);
        assert_eq!(refusal(heard(&mut channel, &answer)), expected);
        assert!(!channel.is_secure());
    }
}

#[test]
fn a_probe_never_leads_to_a_channel() {
    for (theirs, expected) in [
        (SCBK_D, Refusal::InstallationKey),
        ([0; 16], Refusal::WrongKey),
    ] {
        let mut channel = Channel::new(ADDRESS);
        hello(&mut channel);
        channel.probe(RND_A).unwrap();
        let answer = Peer::new(theirs).cryptogram(0);
        assert_eq!(refusal(heard(&mut channel, &answer)), expected);
        assert!(channel.prove().is_err());
    }
}

#[test]
fn in_a_secure_channel_nothing_in_the_clear_counts() {
    let card = [0, 0, 8, 0, 0xA5];
    for (code, data, expected) in [
        (0x50, &card[..], Refusal::NotSecured),
        (ACK, &[], Refusal::NotSecured),
        (NAK, &[6], Refusal::Nak(6)),
    ] {
        let (mut channel, _) = secure();
        channel.ask(&Command::Poll(Poll)).unwrap();
        let forged = clear(3, code, data, None);
        assert_eq!(refusal(heard(&mut channel, &forged)), expected);
        assert!(!channel.is_secure());
    }
}

#[test]
fn an_answer_that_was_changed_or_made_up_ends_the_channel() {
    let (mut channel, mut peer) = secure();
    let request = channel.ask(&Command::Poll(Poll)).unwrap().to_vec();
    let answer = peer.secured(&request, 3, 0x53, &[0, 1, b'4']);
    // Another code, with a check character that is right again.
    let block = Some(Scb::new(ScsType::Scs18, []));
    let body = answer[8..answer.len() - 6].to_vec();
    let mac = answer[answer.len() - 6..answer.len() - 2].to_vec();
    let forged = PacketBuilder {
        addr: Address::reply(ADDRESS).unwrap(),
        ctrl: ControlByte::new(
            Sqn::new(3).unwrap(),
            CtrlFlags::USE_CRC | CtrlFlags::HAS_SCB,
        ),
        scb: block,
        code: 0x50,
        data: body,
    };
    let forged = forged.encode_with_mac(|_| mac.try_into().unwrap()).unwrap();
    assert_eq!(refusal(heard(&mut channel, &forged)), Refusal::Forged);
    assert!(!channel.is_secure());
}
