//! A window in which one device is let in with the password that it shows: `linli device pair`.
//!
//! One window at a time, for one device, until whoever opened it closes it. The first client that comes
//! under that device's id, as the rules want it, is taken; its password's hash is on disk before it is
//! let in. From then on the window takes nobody else: it only says when the device is in.

use std::net::IpAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use firmware_protocols::Ident;
use tokio::sync::mpsc;

use super::Shared;
use super::admission::will_fault;
use super::connect::{Connect, Version};
use super::knock;
use crate::credentials::{PASSWORD_MAX_BYTES, set_password};
use crate::knocks::why;

/// The shortest password that is taken, in bytes: one that the gateway makes has 26.
pub const PASSWORD_MIN_BYTES: usize = 8;

/// How much may wait for whoever opened the window: a device that comes again and again is told once.
const NEWS_MAX: usize = 8;

/// Where devices are waited for. Clones share it.
#[derive(Clone, Default)]
pub struct Pairing(Arc<Mutex<State>>);

#[derive(Default)]
struct State {
    opened: u64,
    open: Option<Open>,
}

struct Open {
    number: u64,
    device: Ident,
    from: Option<IpAddr>,
    taking: Taking,
    news: mpsc::Sender<News>,
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Taking {
    /// Nobody has come yet.
    Nobody,
    /// Somebody's password is being stored.
    Now,
    /// Somebody's password is stored.
    Done,
}

/// What happens in a window.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum News {
    /// The device is in.
    Came(Came),
    /// It was there, but its password couldn't be stored.
    NotStored(String),
}

/// How a device came in.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Came {
    /// From where.
    pub from: IpAddr,
    /// Its version of MQTT: `3.1.1` or `5`.
    pub mqtt: &'static str,
    /// Whether its password was taken in this window; else it had one that was good already.
    pub taken: bool,
}

/// An open window. It closes when dropped.
pub struct Window {
    pairing: Pairing,
    number: u64,
    /// What happens in it.
    pub news: mpsc::Receiver<News>,
}

impl Drop for Window {
    fn drop(&mut self) {
        let mut state = self.pairing.lock();
        if state
            .open
            .as_ref()
            .is_some_and(|open| open.number == self.number)
        {
            state.open = None;
        }
    }
}

impl Pairing {
    /// Opens the window for a device, from that address only if one is named. An error is the device
    /// that is being waited for already.
    pub fn open(&self, device: &Ident, from: Option<IpAddr>) -> Result<Window, Ident> {
        let mut state = self.lock();
        if let Some(open) = &state.open {
            return Err(open.device.clone());
        }
        let (send, news) = mpsc::channel(NEWS_MAX);
        state.opened += 1;
        let number = state.opened;
        state.open = Some(Open {
            number,
            device: device.clone(),
            from,
            taking: Taking::Nobody,
            news: send,
        });
        Ok(Window {
            pairing: self.clone(),
            number,
            news,
        })
    }

    /// A device is in.
    pub(super) fn came(&self, device: &Ident, version: Version, from: IpAddr) {
        let state = self.lock();
        let Some(open) = state.open.as_ref().filter(|open| open.device == *device) else {
            return;
        };
        let mqtt = match version {
            Version::V3 => "3.1.1",
            Version::V5 => "5",
        };
        let taken = open.taking == Taking::Done;
        // Told already, if there is no room.
        let _ = open.news.try_send(News::Came(Came { from, mqtt, taken }));
    }

    /// Why a client that comes as the device that is waited for isn't taken; `None` if nothing speaks
    /// against it, or another device is waited for, or none. `mapped`: it speaks its maker's language.
    pub(super) fn objection(
        &self,
        connect: &Connect,
        device: &Ident,
        from: IpAddr,
        mapped: bool,
    ) -> Option<&'static str> {
        let state = self.lock();
        let open = state.open.as_ref().filter(|open| open.device == *device)?;
        let length = connect.password.as_ref().map_or(0, Vec::len);
        if open.from.is_some_and(|only| only != from.to_canonical()) {
            return Some(why::OTHER_ADDRESS);
        }
        if !(PASSWORD_MIN_BYTES..=PASSWORD_MAX_BYTES).contains(&length) {
            return Some(why::SHORT_PASSWORD);
        }
        // What speaks its maker's language may leave what it likes as its will.
        let fault = (!mapped).then(|| will_fault(connect, device)).flatten();
        fault.map(knock::word)
    }

    /// Takes the turn to store the password of the device that is waited for.
    fn begin(&self, device: &Ident) -> Option<Turn> {
        let mut state = self.lock();
        let open = state.open.as_mut().filter(|open| open.device == *device)?;
        if open.taking != Taking::Nobody {
            return None;
        }
        open.taking = Taking::Now;
        Some(Turn {
            pairing: self.clone(),
            number: open.number,
        })
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The turn of the one that is taken.
struct Turn {
    pairing: Pairing,
    number: u64,
}

impl Turn {
    /// It is stored, or it isn't and the next may try.
    fn end(self, failed: Option<String>) {
        let mut state = self.pairing.lock();
        let open = state
            .open
            .as_mut()
            .filter(|open| open.number == self.number);
        let Some(open) = open else {
            return;
        };
        open.taking = match failed {
            None => Taking::Done,
            Some(why) => {
                // Told already, if there is no room.
                let _ = open.news.try_send(News::NotStored(why));
                Taking::Nobody
            }
        };
    }
}

/// Whether the client is taken, as the device that is waited for: then its password is on disk.
///
/// The password is stored even if the client goes away meanwhile: it was the first.
pub(super) async fn take(shared: &Shared, connect: &Connect, device: &Ident, from: IpAddr) -> bool {
    if shared
        .pairing
        .objection(
            connect,
            device,
            from,
            shared.clients.now().mapped.contains(device),
        )
        .is_some()
    {
        return false;
    }
    let Some(password) = connect.password.clone() else {
        return false;
    };
    let Some(turn) = shared.pairing.begin(device) else {
        return false;
    };
    let (path, id) = (shared.credentials.path().to_path_buf(), device.clone());
    let store = move || {
        let stored = set_password(&path, &id, &password);
        let failed = stored.err().map(|e| format!("{:#}", anyhow::Error::new(e)));
        if let Some(why) = &failed {
            tracing::error!(device = %id, %why, "the password of a device that was waited for can't be stored");
        } else {
            tracing::warn!(device = %id, %from, "a device was taken with the password that it showed");
        }
        let done = failed.is_none();
        turn.end(failed);
        done
    };
    tokio::task::spawn_blocking(store).await.unwrap_or(false)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ident(text: &str) -> Ident {
        Ident::new(text).unwrap()
    }

    #[test]
    fn one_window_at_a_time_and_it_closes_when_dropped() {
        let pairing = Pairing::default();
        let window = pairing.open(&ident("a"), None).unwrap();
        assert_eq!(pairing.open(&ident("b"), None).err(), Some(ident("a")));
        drop(window);
        assert!(pairing.open(&ident("b"), None).is_ok());
    }

    #[test]
    fn one_is_taken_and_only_in_its_own_window() {
        let pairing = Pairing::default();
        assert!(pairing.begin(&ident("a")).is_none());
        let first = pairing.open(&ident("a"), None).unwrap();
        assert!(pairing.begin(&ident("b")).is_none());
        let turn = pairing.begin(&ident("a")).unwrap();
        assert!(pairing.begin(&ident("a")).is_none(), "one at a time");
        turn.end(Some("the disk is full".to_string()));
        let late = pairing.begin(&ident("a")).unwrap();
        drop(first);
        let mut second = pairing.open(&ident("a"), None).unwrap();
        late.end(None);
        assert!(second.news.try_recv().is_err());
        let turn = pairing.begin(&ident("a")).unwrap();
        turn.end(None);
        assert!(pairing.begin(&ident("a")).is_none(), "one is enough");
        let here = IpAddr::from([10, 0, 0, 1]);
        pairing.came(&ident("a"), Version::V5, here);
        let came = Came {
            from: here,
            mqtt: "5",
            taken: true,
        };
        assert_eq!(second.news.try_recv(), Ok(News::Came(came)));
    }
}
