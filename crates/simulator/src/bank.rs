//! A locker bank: compartments with doors, locks and occupancy sensors behind one front.

use std::net::SocketAddr;
use std::sync::{Arc, Mutex};

use firmware_protocols::event::{Done, Door};
use firmware_protocols::{Ident, Kind, Order};

use crate::device::{Model, Obeyed, Spec, lock};
use crate::front::{Display, Queue, Turn};
use crate::{Device, Latency, Tempo};

/// A running locker bank.
pub struct Bank {
    device: Device,
    lockers: Arc<Lockers>,
    queue: Queue,
}

/// What really is the case in a compartment, whatever the sensors say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Compartment {
    /// The door is open.
    pub open: bool,
    /// The parcel inside.
    pub inside: Option<String>,
    /// The lock doesn't move.
    pub jammed: bool,
}

/// The mechanics of a bank.
struct Lockers {
    display: Display,
    compartments: Mutex<Vec<Compartment>>,
    occupancy_sensor: bool,
}

impl Bank {
    /// Starts a bank of `count` compartments, all closed and empty. Each reports its state once.
    pub fn start(
        spec: Spec,
        count: u16,
        occupancy_sensor: bool,
        broker: SocketAddr,
        tempo: Tempo,
    ) -> Self {
        let lockers = Arc::new(Lockers {
            display: Display::default(),
            compartments: Mutex::new(vec![Compartment::default(); usize::from(count)]),
            occupancy_sensor,
        });
        let model: Arc<dyn Model> = Arc::clone(&lockers) as _;
        Self {
            device: Device::start(spec, broker, tempo, model),
            lockers,
            queue: Queue::default(),
        }
    }

    /// Its controller.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Its id.
    pub fn id(&self) -> &Ident {
        self.device.id()
    }

    /// What its display shows, and the time from key to open.
    pub fn display(&self) -> &Display {
        &self.lockers.display
    }

    /// Waits for one's turn at keypad and scanner.
    pub async fn turn(&self) -> Turn<'_> {
        let display = &self.lockers.display;
        self.queue.turn(&self.device, display, true).await
    }

    /// What is the case in each compartment, from number 1.
    pub fn compartments(&self) -> Vec<Compartment> {
        lock(&self.lockers.compartments).clone()
    }

    /// Puts a parcel into an open compartment; false if it isn't open, or something is inside.
    pub fn put(&self, compartment: u16, parcel: &str) -> bool {
        self.lockers
            .with(compartment, |c| {
                let fits = c.open && c.inside.is_none();
                if fits {
                    c.inside = Some(parcel.to_string());
                }
                fits
            })
            .unwrap_or(false)
    }

    /// Takes what is inside an open compartment, if `wanted` says that it is one's own.
    pub fn take(&self, compartment: u16, wanted: impl Fn(&str) -> bool) -> Option<String> {
        let take = |c: &mut Compartment| {
            let mine = c.open && c.inside.as_deref().is_some_and(wanted);
            if mine { c.inside.take() } else { None }
        };
        self.lockers.with(compartment, take).flatten()
    }

    /// Pushes a door shut; the bank reports it.
    pub fn close(&self, compartment: u16) {
        let closed = self.lockers.with(compartment, |c| c.open = false);
        if closed.is_some()
            && let Some(state) = self.lockers.state(compartment)
            && let Err(error) = self.device.report(state)
        {
            tracing::warn!(%error, "an event is lost");
        }
    }

    /// Fault: a lock that doesn't move any more, or does again.
    pub fn jam(&self, compartment: u16, jammed: bool) {
        self.lockers.with(compartment, |c| c.jammed = jammed);
    }

    /// From the last key of a code to the arrival of the open command, in real time.
    pub fn key_to_open(&self) -> Latency {
        self.lockers.display.key_to_open()
    }
}

impl Lockers {
    fn with<T>(&self, compartment: u16, act: impl FnOnce(&mut Compartment) -> T) -> Option<T> {
        let index = usize::from(compartment).checked_sub(1)?;
        lock(&self.compartments).get_mut(index).map(act)
    }

    fn state(&self, compartment: u16) -> Option<Kind> {
        self.with(compartment, |c| Kind::Compartment {
            compartment,
            door: if c.open { Door::Open } else { Door::Closed },
            occupied: self.occupancy_sensor.then_some(c.inside.is_some()),
        })
    }

    fn open(&self, compartment: u16) -> Obeyed {
        match self.with(compartment, |c| {
            c.open |= !c.jammed;
            c.jammed
        }) {
            None => Obeyed::failed("no such compartment"),
            Some(true) => Obeyed {
                outcome: Done::Failed,
                reason: Some("the lock doesn't move".to_string()),
                then: vec![Kind::Alarm {
                    alarm: "jammed".to_string(),
                    text: Some(format!("compartment {compartment}")),
                }],
            },
            Some(false) => {
                self.display.opened(compartment);
                Obeyed {
                    then: self.state(compartment).into_iter().collect(),
                    ..Obeyed::done()
                }
            }
        }
    }
}

impl Model for Lockers {
    fn obey(&self, order: &Order) -> Obeyed {
        match order {
            Order::Open { compartment } => self.open(*compartment),
            Order::Show { text, tone } => {
                self.display.show(text, *tone);
                Obeyed::done()
            }
            Order::Identify => Obeyed::done(),
            Order::Codes { .. } => Obeyed::failed("this bank doesn't check codes by itself"),
        }
    }

    fn at_start(&self) -> Vec<Kind> {
        let count = lock(&self.compartments).len();
        (1..=count)
            .filter_map(|number| self.state(u16::try_from(number).ok()?))
            .collect()
    }
}
