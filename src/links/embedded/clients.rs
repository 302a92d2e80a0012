//! Who may log in, and how many. It can change while the broker runs: a login goes by what holds then.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, PoisonError, RwLock};

use firmware_protocols::Ident;
use tokio::sync::{Semaphore, SemaphorePermit};

use crate::config::Config;

/// Who may log in. Shared between the broker and whoever changes it.
#[derive(Debug, Default)]
pub struct Clients {
    admitted: RwLock<Arc<Admitted>>,
    /// How many may be inside at once.
    pub(super) room: Room,
}

/// Who may log in at a moment.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Admitted {
    /// Devices, with their id as client id and user name.
    pub devices: HashSet<Ident>,
    /// Those of them, and of `mapped`, that may log in without a password, the client id alone naming
    /// them.
    pub anonymous: HashSet<Ident>,
    /// Bridges, and devices with a profile: with their id as user name, under any client id.
    pub mapped: HashSet<Ident>,
}

impl Admitted {
    /// Who may log in by a configuration.
    pub fn of(config: &Config) -> Self {
        let broker = config.broker.clone().unwrap_or_default();
        Self {
            devices: config.mqtt_device_ids().into_iter().collect(),
            anonymous: broker.anonymous.into_iter().collect(),
            mapped: config.mapped_client_ids().into_iter().collect(),
        }
    }

    /// Whether who logged in under this name may be here.
    pub fn has(&self, client: &Ident) -> bool {
        self.devices.contains(client) || self.mapped.contains(client)
    }
}

impl Clients {
    /// These from the start.
    pub fn new(admitted: Admitted) -> Self {
        Self {
            admitted: RwLock::new(Arc::new(admitted)),
            room: Room::default(),
        }
    }

    /// Who may log in now.
    pub fn now(&self) -> Arc<Admitted> {
        Arc::clone(&self.admitted.read().unwrap_or_else(PoisonError::into_inner))
    }

    /// From now on these. Connections that are up aren't ended by it.
    pub fn replace(&self, admitted: Admitted) {
        *self
            .admitted
            .write()
            .unwrap_or_else(PoisonError::into_inner) = Arc::new(admitted);
    }

    /// From now on so many at once. If more are inside, nobody is put out, and nobody let in until they
    /// are fewer.
    pub fn make_room(&self, most: usize) {
        self.room.resize(most);
    }
}

/// A number of places, which can be changed while some are taken.
#[derive(Debug)]
pub(super) struct Room {
    free: Semaphore,
    size: Mutex<Size>,
}

#[derive(Debug, Default)]
struct Size {
    /// How many places there are; `None` as long as nobody has said.
    most: Option<usize>,
    /// Places that are to go once they are given back.
    owed: usize,
}

impl Default for Room {
    fn default() -> Self {
        Self {
            free: Semaphore::new(0),
            size: Mutex::default(),
        }
    }
}

impl Room {
    /// So many places, unless somebody has said already.
    pub fn begin_with(&self, most: usize) {
        let said = self
            .size
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .most;
        if said.is_none() {
            self.resize(most);
        }
    }

    /// Takes a place, if there is one.
    pub fn enter(&self) -> Option<SemaphorePermit<'_>> {
        self.settle(&mut self.size.lock().unwrap_or_else(PoisonError::into_inner));
        self.free.try_acquire().ok()
    }

    fn resize(&self, most: usize) {
        let mut size = self.size.lock().unwrap_or_else(PoisonError::into_inner);
        let before = size.most.replace(most).unwrap_or(0);
        if most >= before {
            let more = most - before;
            let kept = more.min(size.owed);
            size.owed -= kept;
            self.free.add_permits(more - kept);
        } else {
            size.owed += before - most;
            self.settle(&mut size);
        }
    }

    /// Takes places away that are to go, as far as they are free.
    fn settle(&self, size: &mut Size) {
        if size.owed > 0 {
            size.owed -= self.free.forget_permits(size.owed);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_room_grows_at_once_and_shrinks_as_it_empties() {
        let room = Room::default();
        assert!(room.enter().is_none());
        room.begin_with(2);
        room.begin_with(9);
        let (first, second) = (room.enter().unwrap(), room.enter().unwrap());
        assert!(room.enter().is_none());
        room.resize(3);
        let third = room.enter().unwrap();
        room.resize(1);
        drop(third);
        assert!(room.enter().is_none(), "two are inside, one may be");
        drop(second);
        assert!(room.enter().is_none(), "one is inside");
        drop(first);
        let only = room.enter().unwrap();
        assert!(room.enter().is_none());
        room.resize(0);
        room.resize(2);
        let other = room.enter().unwrap();
        assert!(room.enter().is_none());
        drop((only, other));
    }
}
