//! A desk: a group leader's home, a shop, the property office. A terminal with keypad, scanner and
//! display, and a shelf behind it; no compartments.

use std::collections::BTreeSet;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use firmware_protocols::{Ident, Order};

use crate::device::{Model, Obeyed, Spec, lock};
use crate::front::{Display, Queue, Turn};
use crate::{Device, Tempo};

/// A running desk.
pub struct Desk {
    device: Device,
    terminal: Arc<Terminal>,
    queue: Queue,
    shelf: Mutex<BTreeSet<String>>,
}

struct Terminal {
    display: Display,
}

impl Desk {
    /// Starts a desk with an empty shelf.
    pub fn start(spec: Spec, broker: SocketAddr, tempo: Tempo) -> Self {
        let terminal = Arc::new(Terminal {
            display: Display::default(),
        });
        let model: Arc<dyn Model> = Arc::clone(&terminal) as _;
        Self {
            device: Device::start(spec, broker, tempo, model),
            terminal,
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
        &self.terminal.display
    }

    /// Waits for one's turn at keypad and scanner.
    pub async fn turn(&self) -> Turn<'_> {
        let display = &self.terminal.display;
        self.queue.turn(&self.device, display, false, None).await
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

impl Model for Terminal {
    fn obey(&self, order: &Order) -> Obeyed {
        match order {
            Order::Show { text, tone } => {
                self.display.show(text, *tone);
                Obeyed::done()
            }
            Order::Identify => Obeyed::done(),
            Order::Open { .. } | Order::Codes { .. } => {
                Obeyed::failed("a desk has no compartments")
            }
        }
    }
}
