//! Adapters that hear what they send.
//!
//! On a half-duplex line some adapters read back every byte they write. That echo stands before the
//! answer, and must be taken out: a board's answer to `open` may be the same bytes as the request,
//! so an echo taken for an answer would say that a door was opened.
//!
//! Where it isn't set, it is found out, and only from what proves it:
//!
//! * *A request that no answer begins like* (a status request of most protocols, Modbus reading
//!   functions, everything of OSDP and of our own link): if exactly its bytes come first, they are the echo. Once is
//!   enough.
//! * *A request that an answer might begin like, but that no answer follows like that* (the `8A`
//!   board's status): its bytes prove the echo once another answer begins behind them.
//! * *Any other* (8A open, Modbus 5 and 6): proves nothing, and passes through as long
//!   as nothing else proved anything. Drivers ask for status before they open, so by then it is
//!   known.
//!
//! Once proved, what comes back of any request is taken out. Three answers in a row without it, and
//! it isn't believed any more: a setting would be. A damaged echo is passed on whole, and is noise
//! to the decoder.
//!
//! Bytes are held back only while they are the same as what was sent, so at most one request's.

use crate::config::serial::Protocol;

/// How much may be under way to come back: more than the longest frame. Beyond it the oldest echo
/// isn't waited for.
const SENT_MAX: usize = 2_048;

/// So many answers in a row say that there is no echo, or none any more.
const MISSES: u8 = 3;

/// What it says if a request's own bytes come first.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Proof {
    /// It is the echo.
    Certain,
    /// It is the echo, if the next byte is this one.
    IfNext(u8),
    /// It may be the answer.
    Nothing,
}

/// Takes echoes out of what comes in.
#[derive(Debug)]
pub(super) struct Echo {
    protocol: Protocol,
    /// As configured.
    set: Option<bool>,
    /// As found out.
    found: Option<bool>,
    misses: u8,
    sent: Vec<u8>,
    proof: Proof,
    stage: Stage,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Stage {
    /// Nothing is expected: what comes in passes.
    Passing,
    /// So many bytes of what was sent came back, and nothing else.
    Same(usize),
    /// All of it came back; the next byte tells.
    Whole,
}

impl Echo {
    pub fn new(protocol: Protocol, set: Option<bool>) -> Self {
        Self {
            protocol,
            set,
            found: None,
            misses: 0,
            sent: Vec::new(),
            proof: Proof::Nothing,
            stage: Stage::Passing,
        }
    }

    /// Whether there is one, as far as it is known.
    pub fn is(&self) -> Option<bool> {
        self.set.or(self.found)
    }

    /// These bytes go out.
    pub fn sent(&mut self, bytes: &[u8]) {
        if self.set == Some(false) || bytes.is_empty() {
            return;
        }
        let goes_on = matches!(self.stage, Stage::Same(_));
        if !goes_on || self.sent.len() + bytes.len() > SENT_MAX {
            self.sent.clear();
            self.stage = Stage::Same(0);
            self.proof = proof(self.protocol, bytes);
        } else if proof(self.protocol, bytes) != Proof::Certain {
            self.proof = Proof::Nothing;
        }
        self.sent.extend_from_slice(bytes);
        self.sent.truncate(SENT_MAX);
        if self.is() != Some(true) && self.proof == Proof::Nothing {
            self.stage = Stage::Passing;
        }
    }

    /// These bytes came in. What isn't an echo goes to `out`. Returns how many bytes were.
    pub fn came(&mut self, bytes: &[u8], out: &mut Vec<u8>) -> usize {
        let mut echoed = 0;
        for &byte in bytes {
            match self.stage {
                Stage::Passing => out.push(byte),
                Stage::Same(at) if self.sent.get(at) == Some(&byte) => {
                    self.stage = Stage::Same(at + 1);
                    if at + 1 == self.sent.len() {
                        echoed += self.whole();
                    }
                }
                Stage::Same(at) => {
                    out.extend(self.sent.drain(..).take(at));
                    out.push(byte);
                    self.missing();
                }
                Stage::Whole if self.proof == Proof::IfNext(byte) => {
                    echoed += self.proved();
                    out.push(byte);
                }
                Stage::Whole => {
                    out.append(&mut self.sent);
                    out.push(byte);
                    self.missing();
                }
            }
        }
        echoed
    }

    /// A new exchange begins: whatever was held back of the last one goes to `out`, unless it was
    /// an echo for all that is known.
    pub fn settle(&mut self, out: &mut Vec<u8>) {
        if let Stage::Same(at) = self.stage {
            out.extend(self.sent.drain(..).take(at));
        }
        self.sent.clear();
        self.stage = Stage::Passing;
    }

    fn whole(&mut self) -> usize {
        match (self.is(), self.proof) {
            (Some(true), _) | (_, Proof::Certain) => self.proved(),
            _ => {
                self.stage = Stage::Whole;
                0
            }
        }
    }

    fn proved(&mut self) -> usize {
        self.found = Some(true);
        self.misses = 0;
        self.stage = Stage::Passing;
        let echoed = self.sent.len();
        self.sent.clear();
        echoed
    }

    fn missing(&mut self) {
        self.sent.clear();
        self.stage = Stage::Passing;
        self.misses = self.misses.saturating_add(1);
        if self.misses >= MISSES {
            self.found = Some(false);
        }
    }
}

/// What it proves if these bytes come back first.
fn proof(protocol: Protocol, sent: &[u8]) -> Proof {
    let certain = match (protocol, sent) {
        // An answer has 35 there.
        (Protocol::KerongCu16, [0x02, _, 0x30, ..]) => true,
        // An answer has 75 there.
        (Protocol::KerongCu48, [0x02, _, _, 0x60, ..]) => true,
        // An answer says its own length there, and carries at least the status more.
        (Protocol::Wkly, [0x57, 0x4B, 0x4C, 0x59, _, _, 0x83 | 0x84, ..]) => true,
        // The address says who speaks: the highest bit is set in a reader's, and in our own link in
        // the gateway's.
        (Protocol::Osdp | Protocol::Linli, _) => true,
        (Protocol::Modbus, [_, function @ 1..=4, start, _, high, low, _, _]) => {
            let count = usize::from(*high) * 256 + usize::from(*low);
            let bytes = match function {
                1 | 2 => count.div_ceil(8),
                _ => count * 2,
            };
            // The answer says how many bytes follow where the request has half of an address.
            bytes != usize::from(*start) || bytes < 3
        }
        _ => false,
    };
    match (protocol, sent) {
        _ if certain => Proof::Certain,
        // The board's answer may begin like the request, and then goes on with 33.
        (Protocol::EightA, [0x80, _, _, 0x33, _]) => Proof::IfNext(0x80),
        _ => Proof::Nothing,
    }
}

#[cfg(test)]
#[path = "echo_tests.rs"]
mod tests;
