//! A desk: a group leader's home, a shop, the property office. A terminal with keypad, scanner and
//! display, and a shelf behind it; no compartments.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex};

use firmware_protocols::Ident;

use crate::device::{Spec, lock};
use crate::front::{Display, Doors, Queue, Terminal, Turn};
use crate::{Device, Tempo, Way};

/// A running desk.
pub struct Desk {
    device: Device,
    display: Arc<Display>,
    queue: Queue,
    shelf: Mutex<BTreeSet<String>>,
}

impl Desk {
    /// Starts a desk with an empty shelf.
    pub fn start(spec: Spec, way: impl Into<Way>, tempo: Tempo) -> Self {
        let display = Arc::<Display>::default();
        let terminal = Arc::new(Terminal::new(Arc::clone(&display)));
        Self {
            device: Device::start(spec, way, tempo, terminal),
            display,
            queue: Queue::default(),
            shelf: Mutex::default(),
        }
    }

    /// Its terminal.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Its id.
    pub fn id(&self) -> &Ident {
        self.device.id()
    }

    /// What its display shows.
    pub fn display(&self) -> &Display {
        &self.display
    }

    /// Waits for one's turn at keypad and scanner.
    pub async fn turn(&self) -> Turn<'_> {
        let queue = &self.queue;
        let (device, doors) = (&self.device, Doors::default());
        queue.turn(device, &self.display, false, doors, None).await
    }

    /// What lies on the shelf.
    pub fn shelf(&self) -> BTreeSet<String> {
        lock(&self.shelf).clone()
    }

    /// Lays a parcel onto the shelf.
    pub fn put(&self, parcel: &str) {
        lock(&self.shelf).insert(parcel.to_string());
    }

    /// Hands a parcel out; false if it isn't there.
    pub fn take(&self, parcel: &str) -> bool {
        lock(&self.shelf).remove(parcel)
    }
}
