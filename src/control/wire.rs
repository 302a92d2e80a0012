//! Requests and replies on the control socket.
//!
//! A client sends one request, a JSON object on one line of at most [`REQUEST_MAX_BYTES`], and gets
//! lines back: any number of `{"item": …}`, then `{"end": …}` or `{"error": …}`. Then it may send
//! the next request on the same connection.
//!
//! ```text
//! → {"request":"parcels","state":"deposited","limit":2}
//! ← {"item":{"parcel":"P-1007","size":"M",…}}
//! ← {"item":{"parcel":"P-1003","size":"S",…}}
//! ← {"end":{"cut":true}}
//! ```

use serde::{Deserialize, Serialize};

use super::secret::{PickupCode, Token};

/// The longest request line, in bytes, with its newline.
pub const REQUEST_MAX_BYTES: usize = 64 * 1024;

/// What can be asked. The items that come back are named with each.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "request", rename_all = "kebab-case")]
pub enum Request {
    /// One [`super::views::Status`].
    Status,
    /// A [`super::views::DeviceView`] each.
    Devices,
    /// A [`super::views::BankView`] each.
    Banks,
    /// A [`crate::store::read::ParcelRow`] each, those that changed last first.
    Parcels {
        /// Only those in this state.
        #[serde(default)]
        state: Option<String>,
        /// At most so many.
        #[serde(default)]
        limit: Option<usize>,
    },
    /// One [`crate::store::read::ParcelHistory`].
    Parcel {
        /// Its id.
        parcel: String,
    },
    /// A [`crate::store::read::EventRow`] each, in the order in which they were taken.
    Events {
        /// Only of this device.
        #[serde(default)]
        device: Option<String>,
        /// Only of this kind.
        #[serde(default)]
        kind: Option<String>,
        /// Only those after this id; without it the newest.
        #[serde(default)]
        after: Option<i64>,
        /// At most so many; with `follow`, to begin with.
        #[serde(default)]
        limit: Option<usize>,
        /// Go on with events as they come, until the client closes.
        #[serde(default)]
        follow: bool,
    },
    /// A [`crate::store::read::QuarantineRow`] each, newest first.
    Quarantine {
        /// At most so many.
        #[serde(default)]
        limit: Option<usize>,
    },
    /// A [`super::views::Opening`] for each step that is seen, the settled one last.
    Open {
        /// `BANK/NUMBER`.
        slot: String,
        /// Why, in the operator's words.
        reason: String,
        /// Who the operator claims to be, beside what the kernel says: `SUDO_USER`.
        #[serde(default)]
        claims: Option<String>,
    },
    /// One [`super::views::Sync`].
    Sync,
    /// A [`super::sync::StepView`] for each step, as it ends.
    SyncNow,
    /// One [`super::sync::SyncDone`], once the cloud has answered.
    SyncEnrol {
        /// The operator's one-time token.
        token: Token,
        /// Who the operator claims to be, beside what the kernel says: `SUDO_USER`.
        #[serde(default)]
        claims: Option<String>,
    },
    /// One [`super::sync::SyncDone`], once the cloud has taken the new key.
    SyncRotateKey {
        /// Who the operator claims to be, beside what the kernel says: `SUDO_USER`.
        #[serde(default)]
        claims: Option<String>,
    },
    /// One [`super::sync::SyncDone`], once the new epoch is on disk.
    SyncRestored {
        /// Who the operator claims to be, beside what the kernel says: `SUDO_USER`.
        #[serde(default)]
        claims: Option<String>,
    },
    /// One [`super::reload::ReloadView`], once the daemon goes by the new configuration, or has refused
    /// it.
    Reload {
        /// Who the operator claims to be, beside what the kernel says: `SUDO_USER`.
        #[serde(default)]
        claims: Option<String>,
    },
    /// A [`super::knocks::KnockView`] each, newest first.
    Knocks,
    /// A [`super::knocks::PairStep`] for each that knocks while the device is waited for, and one at the
    /// end.
    Pair {
        /// The device that is waited for.
        device: String,
        /// For how long, s.
        seconds: u16,
        /// Whether a password that it has is replaced.
        #[serde(default)]
        replace: bool,
        /// The only address that it may come from.
        #[serde(default)]
        from: Option<std::net::IpAddr>,
        /// Who the operator claims to be, beside what the kernel says: `SUDO_USER`.
        #[serde(default)]
        claims: Option<String>,
    },
    /// A [`super::profiles::MappedView`] for each device with a profile.
    Mapped,
    /// A [`crate::store::read::ParcelRow`] each, oldest first: what waits at desks, is expected
    /// there, or was sent there.
    AtDesks {
        /// Only at this desk.
        #[serde(default)]
        desk: Option<String>,
        /// At most so many.
        #[serde(default)]
        limit: Option<usize>,
    },
    /// A [`crate::store::read::LedgerRow`] each, newest first.
    Commands {
        /// Only for this compartment, `BANK/NUMBER`.
        #[serde(default)]
        slot: Option<String>,
        /// At most so many.
        #[serde(default)]
        limit: Option<usize>,
    },
    /// One [`super::views::Acted`]; if a compartment is opened for it, another for each step that
    /// is seen.
    Act {
        /// What the staff does.
        #[serde(flatten)]
        act: Act,
        /// Who the operator claims to be, beside what the kernel says: `SUDO_USER`.
        #[serde(default)]
        claims: Option<String>,
    },
    /// One [`super::audit::ParcelAuditView`].
    ParcelVerify {
        /// Its id.
        parcel: String,
    },
    /// One [`super::audit::ExportView`].
    ParcelExport {
        /// Its id.
        parcel: String,
    },
    /// One [`super::audit::AuditView`]. It may take minutes.
    AuditVerify {
        /// A head that somebody else has.
        #[serde(default)]
        against: Option<super::audit::Against>,
    },
    /// One [`super::audit::KeyView`].
    AuditKey,
    /// A [`crate::links::serial::monitor::Heard`] for everything that goes over a serial port, until
    /// the client closes.
    SerialMonitor {
        /// Its id or its path.
        port: String,
        /// With the bytes of frames that hold nothing personal.
        #[serde(default)]
        raw: bool,
    },
}

/// What the staff does. A desk may be left out where there is only one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "act", rename_all = "kebab-case")]
pub enum Act {
    /// Hands over what waits at a desk for a code.
    HandOver {
        /// What the resident said.
        code: PickupCode,
        /// The desk.
        #[serde(default)]
        desk: Option<String>,
    },
    /// Takes a parcel in at a desk.
    Receive {
        /// The parcel.
        parcel: String,
        /// Who brings it.
        #[serde(default)]
        courier: Option<String>,
        /// The desk.
        #[serde(default)]
        desk: Option<String>,
    },
    /// Takes down a refusal or a claim for damage.
    Claim {
        /// The parcel.
        parcel: String,
        /// `refused` or `damaged`.
        kind: String,
        /// In words.
        note: String,
        /// What was paid on the spot, in fen (1/100 yuan).
        #[serde(default)]
        paid_fen: Option<u64>,
        /// Whether the recipient keeps the goods.
        #[serde(default)]
        keeps: bool,
        /// The bank or desk to which the recipient brings goods back that were collected.
        #[serde(default)]
        return_to: Option<String>,
        /// The desk.
        #[serde(default)]
        desk: Option<String>,
    },
    /// Opens a parcel's compartment to bring it to a desk.
    Transfer {
        /// The parcel.
        parcel: String,
        /// The desk.
        #[serde(default)]
        desk: Option<String>,
    },
    /// Gives back a parcel that goes back.
    Retrieve {
        /// The parcel.
        parcel: String,
        /// To whom.
        #[serde(default)]
        courier: Option<String>,
    },
    /// Gives a parcel a new code.
    Reissue {
        /// The parcel.
        parcel: String,
    },
    /// Lets a parcel wait longer: until a time, or for so many hours from now.
    Extend {
        /// The parcel.
        parcel: String,
        /// The new deadline.
        #[serde(default)]
        until_ms: Option<i64>,
        /// Hours from now, by the daemon's clock.
        #[serde(default)]
        hours: Option<u32>,
    },
    /// Takes a compartment out of use.
    Disable {
        /// `BANK/NUMBER`.
        slot: String,
        /// Why.
        reason: String,
    },
    /// Puts a compartment back into use.
    Enable {
        /// `BANK/NUMBER`.
        slot: String,
    },
}

impl Act {
    /// Its word, on the wire and in the log.
    pub const fn word(&self) -> &'static str {
        match self {
            Self::HandOver { .. } => "hand-over",
            Self::Receive { .. } => "receive",
            Self::Claim { .. } => "claim",
            Self::Transfer { .. } => "transfer",
            Self::Retrieve { .. } => "retrieve",
            Self::Reissue { .. } => "reissue",
            Self::Extend { .. } => "extend",
            Self::Disable { .. } => "disable",
            Self::Enable { .. } => "enable",
        }
    }
}

/// One line of a reply.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Reply<T = serde_json::Value> {
    /// One of what was asked for.
    Item(T),
    /// That was all.
    End(End),
    /// It can't be answered.
    Error(Failure),
}

/// The end of a reply.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize, Deserialize)]
pub struct End {
    /// The limit was reached: there may be more.
    #[serde(default)]
    pub cut: bool,
}

/// Why a request can't be answered.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize, thiserror::Error)]
#[error("{message}")]
pub struct Failure {
    /// For programs.
    pub kind: FailureKind,
    /// For people, with the remedy.
    pub message: String,
}

/// The kinds of [`Failure`].
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum FailureKind {
    /// The request isn't one, or asks for something that can't be.
    BadRequest,
    /// What it names isn't there.
    NotFound,
    /// It can't be done now.
    Refused,
    /// Too many ask at once, or the question takes too long.
    Busy,
    /// The daemon stops.
    Stopping,
    /// The daemon can't read its own store.
    Internal,
}

impl Failure {
    /// A failure with a message for people.
    pub fn new(kind: FailureKind, message: impl Into<String>) -> Self {
        Self {
            kind,
            message: message.into(),
        }
    }
}

/// Appends a line of a reply.
pub fn write_line(out: &mut Vec<u8>, reply: &Reply<impl Serialize>) -> serde_json::Result<()> {
    serde_json::to_writer(&mut *out, reply)?;
    out.push(b'\n');
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn requests_are_written_as_documented() {
        let read = |text: &str| serde_json::from_str::<Request>(text).unwrap();
        assert_eq!(read(r#"{"request":"status"}"#), Request::Status);
        let parcels = Request::Parcels {
            state: Some("deposited".to_string()),
            limit: Some(2),
        };
        assert_eq!(
            read(r#"{"request":"parcels","state":"deposited","limit":2}"#),
            parcels
        );
        let monitor = Request::SerialMonitor {
            port: "rs485-a".to_string(),
            raw: false,
        };
        assert_eq!(
            read(r#"{"request":"serial-monitor","port":"rs485-a"}"#),
            monitor
        );
        let events = read(r#"{"request":"events"}"#);
        assert!(matches!(events, Request::Events { follow: false, .. }));
    }

    #[test]
    fn what_the_staff_does_is_written_as_documented_and_hides_the_code() {
        let text = r#"{"request":"act","act":"hand-over","code":"48 29 15","claims":"wang"}"#;
        let request: Request = serde_json::from_str(text).unwrap();
        let hand_over = Act::HandOver {
            code: PickupCode::new("48 29 15"),
            desk: None,
        };
        let claims = Some("wang".to_string());
        assert_eq!(
            request,
            Request::Act {
                act: hand_over,
                claims
            }
        );
        let shown = format!("{request:?}");
        assert!(shown.contains("***") && !shown.contains("48"), "{shown}");
        let wrong = r#"{"request":"act","act":"hand-over","code":482915}"#;
        let error = serde_json::from_str::<Request>(wrong).unwrap_err();
        assert!(!error.to_string().contains("4829"), "{error}");
        let all = [
            r#"{"request":"act","act":"receive","parcel":"P-1"}"#,
            r#"{"request":"act","act":"claim","parcel":"P-1","kind":"damaged","note":"wet"}"#,
            r#"{"request":"act","act":"transfer","parcel":"P-1"}"#,
            r#"{"request":"act","act":"retrieve","parcel":"P-1"}"#,
            r#"{"request":"act","act":"reissue","parcel":"P-1"}"#,
            r#"{"request":"act","act":"extend","parcel":"P-1","hours":2}"#,
            r#"{"request":"act","act":"disable","slot":"bank-a/1","reason":"x"}"#,
            r#"{"request":"act","act":"enable","slot":"bank-a/1"}"#,
        ];
        for text in all {
            let request: Request = serde_json::from_str(text).unwrap();
            let Request::Act { act, .. } = &request else {
                panic!("{text}");
            };
            let word = format!("\"act\":\"{}\"", act.word());
            assert!(serde_json::to_string(&request).unwrap().contains(&word));
        }
    }

    #[test]
    fn what_is_asked_of_the_sync_client_hides_the_token() {
        let text = r#"{"request":"sync-enrol","token":"T-0815","claims":"wang"}"#;
        let request: Request = serde_json::from_str(text).unwrap();
        let shown = format!("{request:?}");
        assert!(shown.contains("***") && !shown.contains("0815"), "{shown}");
        let wrong = r#"{"request":"sync-enrol","token":815}"#;
        let error = serde_json::from_str::<Request>(wrong).unwrap_err();
        assert!(!error.to_string().contains("815"), "{error}");
        for word in ["sync", "sync-now", "sync-rotate-key", "sync-restored"] {
            let text = format!(r#"{{"request":"{word}"}}"#);
            assert!(serde_json::from_str::<Request>(&text).is_ok(), "{word}");
        }
    }

    #[test]
    fn replies_are_written_as_documented() {
        let write = |reply: &Reply<u8>| serde_json::to_string(reply).unwrap();
        assert_eq!(write(&Reply::Item(7)), r#"{"item":7}"#);
        let end = Reply::End(End { cut: true });
        assert_eq!(write(&end), r#"{"end":{"cut":true}}"#);
        let error = Reply::Error(Failure::new(FailureKind::NotFound, "no"));
        assert_eq!(
            write(&error),
            r#"{"error":{"kind":"not-found","message":"no"}}"#
        );
    }
}
