//! Which devices are connected: one link per device, the newest wins.
//!
//! A device that logs in again takes the place of its former link; the former one is told to end,
//! and what it still does on its way out (its will, its presence) no longer counts. Presence is
//! reported under the roster's lock, so that reports come in the order in which things happened.

use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use firmware_protocols::Ident;
use tokio::sync::oneshot;

use super::mailbox::{Letter, Mailbox};
use crate::links::DeviceIntake;
use crate::links::ToDevice;

/// Who is connected. Shared between the broker and `linli status`.
#[derive(Default)]
pub struct Roster {
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    links: HashMap<Ident, Link>,
    next: u64,
}

struct Link {
    number: u64,
    mailbox: Arc<Mailbox>,
    /// Whether it is through: its CONNACK is under way.
    inside: bool,
    /// Dropped when another link takes the place; told when the device isn't wanted any more.
    end: oneshot::Sender<()>,
}

/// A device's place in the roster.
pub(super) struct Place {
    number: u64,
    /// What waits for the device.
    pub mailbox: Arc<Mailbox>,
    /// Resolves when another link has taken the place (an error), or the device was dismissed.
    pub ended: oneshot::Receiver<()>,
}

impl Roster {
    /// How many devices are connected.
    pub fn connected(&self) -> usize {
        self.lock()
            .links
            .values()
            .filter(|link| link.inside)
            .count()
    }

    /// Whether `device` is connected.
    pub fn is_connected(&self, device: &Ident) -> bool {
        self.lock()
            .links
            .get(device)
            .is_some_and(|link| link.inside)
    }

    /// The connected devices, sorted.
    pub fn devices(&self) -> Vec<Ident> {
        let mut devices: Vec<_> = {
            let state = self.lock();
            state
                .links
                .iter()
                .filter(|(_, link)| link.inside)
                .map(|(device, _)| device.clone())
                .collect()
        };
        devices.sort_unstable();
        devices
    }

    /// Ends the link of a device that isn't wanted any more. Whether it had one.
    pub fn dismiss(&self, device: &Ident) -> bool {
        let link = self.lock().links.remove(device);
        // The link may have ended by itself just now.
        link.is_some_and(|link| link.end.send(()).is_ok())
    }

    /// Takes the place of `device` for a link that has logged in. The former link ends.
    pub(super) fn claim(&self, device: &Ident, intake: &dyn DeviceIntake) -> Place {
        let (end, ended) = oneshot::channel();
        let mut state = self.lock();
        state.next += 1;
        let number = state.next;
        let mailbox = Arc::new(Mailbox::new(device));
        let former = state.links.insert(
            device.clone(),
            Link {
                number,
                mailbox: Arc::clone(&mailbox),
                inside: false,
                end,
            },
        );
        if former.is_some_and(|link| link.inside) {
            intake.presence(device, false);
        }
        Place {
            number,
            mailbox,
            ended,
        }
    }

    /// The link is through: from here on the device is connected. `false` if another link has
    /// taken the place meanwhile.
    pub(super) fn enter(&self, device: &Ident, place: &Place, intake: &dyn DeviceIntake) -> bool {
        let mut state = self.lock();
        let Some(link) = state
            .links
            .get_mut(device)
            .filter(|link| link.number == place.number)
        else {
            return false;
        };
        link.inside = true;
        intake.presence(device, true);
        true
    }

    /// The link is gone.
    pub(super) fn leave(&self, device: &Ident, place: &Place, intake: &dyn DeviceIntake) {
        let mut state = self.lock();
        if state
            .links
            .get(device)
            .is_some_and(|link| link.number == place.number)
        {
            let link = state.links.remove(device);
            if link.is_some_and(|link| link.inside) {
                intake.presence(device, false);
            }
        }
    }

    /// Reports `online` as said by the link at `place`, unless another link has taken its place.
    /// Returns whether it was reported.
    pub(super) fn report(
        &self,
        device: &Ident,
        place: &Place,
        online: bool,
        intake: &dyn DeviceIntake,
    ) -> bool {
        let state = self.lock();
        let superseded = state
            .links
            .get(device)
            .is_some_and(|link| link.number != place.number);
        if !superseded {
            intake.presence(device, online);
        }
        !superseded
    }

    /// Sends `message` to its device, if that is connected and has subscribed. Otherwise it is
    /// dropped: nothing is queued for a device that isn't there. Whether it was handed over.
    pub(super) fn deliver(&self, message: ToDevice) -> bool {
        let mailbox = {
            let state = self.lock();
            let link = state.links.get(&message.device).filter(|link| link.inside);
            link.map(|link| Arc::clone(&link.mailbox))
        };
        let (device, channel) = (message.device, message.channel);
        let letter = Letter::new(channel, message.payload, message.expiry_ms);
        let handed_over = mailbox.is_some_and(|mailbox| mailbox.put(letter));
        if !handed_over {
            tracing::debug!(%device, ?channel, "not sent: the device is not connected, has not subscribed, or it is too late");
        }
        handed_over
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;
    use crate::intake::Answer;

    #[derive(Default)]
    struct Heard(Mutex<Vec<bool>>);

    #[async_trait::async_trait]
    impl DeviceIntake for Heard {
        async fn events(&self, _: &Ident, _: Bytes) -> Answer {
            Answer::Taken
        }
        async fn foreign(&self, _: &Ident, _: &str, _: Bytes) {}
        fn command_sent(&self, _: String) {}
        fn presence(&self, _: &Ident, online: bool) {
            self.0.lock().unwrap().push(online);
        }
    }

    #[test]
    fn who_is_dismissed_is_told_and_has_no_place_any_more() {
        let (roster, heard) = (Roster::default(), Heard::default());
        let device = Ident::new("bank-a").unwrap();
        assert!(!roster.dismiss(&device));
        let mut place = roster.claim(&device, &heard);
        assert!(roster.enter(&device, &place, &heard));
        assert!(roster.dismiss(&device));
        assert_eq!(place.ended.try_recv(), Ok(()));
        assert!(!roster.is_connected(&device));
        roster.leave(&device, &place, &heard);
        assert_eq!(*heard.0.lock().unwrap(), [true]);
    }

    #[test]
    fn the_newest_link_of_a_device_wins() {
        let (roster, heard) = (Roster::default(), Heard::default());
        let device = Ident::new("bank-a").unwrap();
        let mut first = roster.claim(&device, &heard);
        assert_eq!(roster.connected(), 0, "logged in isn't connected yet");
        assert!(roster.enter(&device, &first, &heard));
        assert!(roster.devices().iter().eq([&device]));

        let second = roster.claim(&device, &heard);
        assert!(
            first
                .ended
                .try_recv()
                .is_err_and(|e| e == oneshot::error::TryRecvError::Closed)
        );
        assert!(roster.enter(&device, &second, &heard));
        assert!(!roster.enter(&device, &first, &heard));

        assert!(
            !roster.report(&device, &first, false, &heard),
            "the will of the former link"
        );
        roster.leave(&device, &first, &heard);
        assert!(roster.is_connected(&device));
        roster.leave(&device, &second, &heard);
        assert_eq!(roster.connected(), 0);
        assert!(
            roster.report(&device, &second, false, &heard),
            "a will after the end"
        );
        assert_eq!(*heard.0.lock().unwrap(), [true, false, true, false, false]);
    }
}
