//! Problems: the cloud's refusals as RFC 9457 documents.

use alloc::string::{String, ToString};

use firmware_protocols::fields::{Fields, Malformed};
use firmware_protocols::value::{Value, map};

use crate::NUMBER_MAX;

/// The types of problem, `urn:linli:problem:` and the word.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ProblemType {
    /// Items are missing before the batch's first; `expected` says which comes next.
    Gap,
    /// Same sequence, other chain: a cloned or rewritten gateway.
    Fork,
    /// An epoch below the server's; `expected` names its own.
    Epoch,
    /// The signature doesn't hold.
    Signature,
    /// The nonce was seen before.
    Replay,
    /// The request's time is too far off.
    Clock,
    /// The body can't be read.
    Malformed,
    /// The body is too large.
    TooLarge,
    /// No such gateway.
    UnknownGateway,
    /// The enrolment token isn't good.
    Token,
}

impl ProblemType {
    /// Every word with its meaning.
    pub const WORDS: &'static [(&'static str, Self)] = &[
        ("urn:linli:problem:gap", Self::Gap),
        ("urn:linli:problem:fork", Self::Fork),
        ("urn:linli:problem:epoch", Self::Epoch),
        ("urn:linli:problem:signature", Self::Signature),
        ("urn:linli:problem:replay", Self::Replay),
        ("urn:linli:problem:clock", Self::Clock),
        ("urn:linli:problem:malformed", Self::Malformed),
        ("urn:linli:problem:too-large", Self::TooLarge),
        ("urn:linli:problem:unknown-gateway", Self::UnknownGateway),
        ("urn:linli:problem:token", Self::Token),
    ];

    /// The URN on the wire.
    pub fn urn(self) -> &'static str {
        Self::WORDS
            .iter()
            .find(|(_, kind)| *kind == self)
            .map_or("about:blank", |(urn, _)| urn)
    }
}

/// A refusal.
#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
#[error("{title}{}", detail.as_deref().map(|d| alloc::format!(": {d}")).unwrap_or_default())]
pub struct Problem {
    /// What kind; `None` for a type that isn't ours.
    pub kind: Option<ProblemType>,
    /// The HTTP status.
    pub status: u16,
    /// For a person.
    pub title: String,
    /// For a person, about this case.
    pub detail: Option<String>,
    /// The lane that it is about.
    pub lane: Option<String>,
    /// What the server expects: the next sequence number of the lane (`gap`), or its epoch (`epoch`).
    pub expected: Option<u64>,
}

impl Problem {
    /// The body.
    pub fn to_value(&self) -> Value {
        map([
            (
                "type",
                Some(self.kind.map_or("about:blank", ProblemType::urn).into()),
            ),
            ("title", Some(self.title.as_str().into())),
            ("status", Some(self.status.into())),
            ("detail", self.detail.as_deref().map(Value::from)),
            ("lane", self.lane.as_deref().map(Value::from)),
            ("expected", self.expected.map(Value::from)),
        ])
    }

    /// Reads a body as RFC 9457 § 3.1 asks: a member of a wrong type counts as absent, and a type
    /// that isn't ours is `None`. Texts lose control characters and what is over their bound
    /// (title 256 characters, detail 1,024, lane 32), as they are shown to a person.
    pub fn from_value(value: &Value) -> Result<Self, Malformed> {
        let f = Fields::of(value)?;
        let urn = text(f, "type", 256);
        let kind = ProblemType::WORDS
            .iter()
            .find(|(word, _)| Some(*word) == urn.as_deref())
            .map(|(_, kind)| *kind);
        let status = f.uint_opt("status", 100, 599).ok().flatten();
        Ok(Self {
            kind,
            status: status.and_then(|n| u16::try_from(n).ok()).unwrap_or(500),
            title: text(f, "title", 256).unwrap_or_else(|| "refused".to_string()),
            detail: text(f, "detail", 1024),
            lane: text(f, "lane", 32),
            expected: f.uint_opt("expected", 0, NUMBER_MAX).ok().flatten(),
        })
    }
}

/// What can be shown of a text, if there is something.
fn text(f: Fields<'_>, name: &str, max: usize) -> Option<String> {
    let Some(Value::Text(text)) = f.get(name) else {
        return None;
    };
    let shown: String = text.chars().filter(|c| !c.is_control()).take(max).collect();
    (!shown.is_empty()).then_some(shown)
}
