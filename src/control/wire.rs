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
        let events = read(r#"{"request":"events"}"#);
        assert!(matches!(events, Request::Events { follow: false, .. }));
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
