//! A locker bank: compartments with doors, locks and occupancy sensors behind one front. One whose
//! `hello` names the capability `codes` also checks codes by itself while nobody answers. A bank of
//! locker boards has no controller: a panel is its front, and the boards move its doors.

mod own_codes;

use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};

use firmware_protocols::command::Tone;
use firmware_protocols::event::{Done, Door, Secret};
use firmware_protocols::{Ident, Kind, Order};
use tokio::sync::watch;

pub use crate::compartments::Compartment;
use crate::compartments::Compartments;
use crate::device::{Model, Obeyed, Place, Spec, lock};
use crate::front::{Alone, Answer, Display, Doors, Queue, Terminal, Turn};
use crate::{Device, Latency, Tempo, Way};
use own_codes::{OwnCodes, Verdict};

/// A running locker bank.
pub struct Bank {
    id: Ident,
    /// Its controller, or the panel beside its boards.
    device: Device,
    display: Arc<Display>,
    compartments: Compartments,
    /// The controller's own mechanics, if it has one.
    lockers: Option<Arc<Lockers>>,
    /// How long somebody who is told that a door opens looks for it, in real time.
    open_within: Duration,
    /// How many doors fall shut at the moment.
    falling: watch::Sender<u32>,
    queue: Queue,
}

/// How long the door of a bank with boards takes to fall shut, in real time, at least; and how often
/// its sensor is asked meanwhile, unless nobody asks. In a play that runs fast a hand would be quicker
/// than any board is asked.
const FALLS_SHUT: Duration = Duration::from_millis(100);
const FALLS_SHUT_LOOKS: u64 = 3;
const FALLS_SHUT_LONGEST: Duration = Duration::from_secs(2);
const LOOK_AGAIN: Duration = Duration::from_millis(10);
/// How long somebody who is told that a door opens looks for it, in real time, where a serial line is in
/// between: between two pulses of a board there is a pause, and a frame may have to be sent again.
const SPRINGS_OPEN: Duration = Duration::from_secs(2);

/// The events of an opening: the entry, the door open, the door closed.
const ROOM_FOR_AN_OPENING: usize = 3;

/// The mechanics of a bank with a controller.
struct Lockers {
    display: Arc<Display>,
    compartments: Compartments,
    occupancy_sensor: bool,
    tempo: Tempo,
    own_codes: Option<Mutex<OwnCodes>>,
}

impl Bank {
    /// Starts a bank of `count` compartments, all closed and empty. Each reports its state once.
    /// With the capability `codes` it keeps the list that the gateway sends.
    pub fn start(
        spec: Spec,
        count: u16,
        occupancy_sensor: bool,
        way: impl Into<Way>,
        tempo: Tempo,
    ) -> Self {
        let way = way.into();
        let open_within = match &way {
            Way::Broker(_) => Duration::ZERO,
            Way::Line(_) => SPRINGS_OPEN,
        };
        let checks_codes = spec.capabilities.iter().any(|word| word == "codes");
        let (display, compartments) = (Arc::<Display>::default(), Compartments::new(count));
        let lockers = Arc::new(Lockers {
            display: Arc::clone(&display),
            compartments: compartments.clone(),
            occupancy_sensor,
            tempo,
            own_codes: checks_codes.then(Mutex::default),
        });
        let model: Arc<dyn Model> = Arc::clone(&lockers) as _;
        Self {
            id: spec.login.device.clone(),
            device: Device::start(spec, way, tempo, model),
            display,
            compartments,
            lockers: Some(lockers),
            open_within,
            falling: watch::Sender::default(),
            queue: Queue::default(),
        }
    }

    /// Starts a bank whose `compartments` locker boards move: `panel` is its keypad, scanner and
    /// display, a device of its own.
    pub fn with_boards(
        id: Ident,
        compartments: Compartments,
        panel: Spec,
        way: impl Into<Way>,
        tempo: Tempo,
    ) -> Self {
        let display = Arc::<Display>::default();
        let seen = Arc::clone(&display);
        compartments.on_unlock(Box::new(move |compartment| seen.opened(compartment)));
        let model = Arc::new(Terminal::new(Arc::clone(&display)));
        Self {
            id,
            device: Device::start(panel, way, tempo, model),
            display,
            compartments,
            lockers: None,
            open_within: SPRINGS_OPEN,
            falling: watch::Sender::default(),
            queue: Queue::default(),
        }
    }

    /// Its controller, or the panel beside its boards.
    pub fn device(&self) -> &Device {
        &self.device
    }

    /// Its id.
    pub fn id(&self) -> &Ident {
        &self.id
    }

    /// What its display shows, and the time from key to open.
    pub fn display(&self) -> &Display {
        &self.display
    }

    /// Waits for one's turn at keypad and scanner.
    pub async fn turn(&self) -> Turn<'_> {
        let alone = self.lockers.as_deref();
        let alone = alone.filter(|lockers| lockers.own_codes.is_some());
        let alone = alone.map(|lockers| lockers as &dyn Alone);
        let doors = Doors {
            open_within: self.open_within,
            falling: Some(self.falling.subscribe()),
        };
        let (device, display) = (&self.device, &self.display);
        self.queue.turn(device, display, true, doors, alone).await
    }

    /// Waits for one's turn, types digits, and waits for the answer.
    pub async fn type_code(&self, digits: &str) -> Answer {
        self.turn().await.type_code(digits).await
    }

    /// Fault: the network cable is out, or in again. Returns when the bank has noticed.
    pub async fn cut_off(&self, cut_off: bool) {
        match cut_off {
            true => {
                self.device.unplug().await;
                self.device.until_offline().await;
            }
            false => {
                self.device.come_back().await;
                self.device.until_online().await;
            }
        }
    }

    /// What is the case in each compartment, from number 1.
    pub fn compartments(&self) -> Vec<Compartment> {
        self.compartments.all()
    }

    /// The parcels in a compartment; none if there is no such compartment.
    pub fn inside(&self, compartment: u16) -> Vec<String> {
        self.compartments.inside(compartment)
    }

    /// Puts a parcel into an open compartment, beside what is inside; false if it isn't open.
    pub fn put(&self, compartment: u16, parcel: &str) -> bool {
        self.compartments.put(compartment, parcel)
    }

    /// Takes the first parcel inside an open compartment of which `wanted` says that it is one's own.
    pub fn take(&self, compartment: u16, wanted: impl Fn(&str) -> bool) -> Option<String> {
        self.compartments.take(compartment, wanted)
    }

    /// Pushes a door shut; the bank reports it. One that is shut already changes nothing.
    pub fn close(&self, compartment: u16) {
        match &self.lockers {
            None => self.let_fall_shut(compartment),
            Some(lockers) if self.compartments.close(compartment) => {
                report(&self.device, lockers.state(compartment));
            }
            Some(_) => {}
        }
    }

    fn let_fall_shut(&self, compartment: u16) {
        let (compartments, falling) = (self.compartments.clone(), self.falling.clone());
        falling.send_modify(|doors| *doors += 1);
        let enough = compartments.looks(compartment) + FALLS_SHUT_LOOKS;
        tokio::spawn(async move {
            let (let_go, mut fell) = (Instant::now(), FALLS_SHUT);
            while fell < FALLS_SHUT_LONGEST {
                tokio::time::sleep(fell.saturating_sub(let_go.elapsed())).await;
                if compartments.looks(compartment) >= enough {
                    break;
                }
                fell += LOOK_AGAIN;
            }
            compartments.close(compartment);
            falling.send_modify(|doors| *doors -= 1);
        });
    }

    /// Fault: a lock that doesn't move any more, or does again.
    pub fn jam(&self, compartment: u16, jammed: bool) {
        self.compartments.jam(compartment, jammed);
    }

    /// From the last key of a code to the arrival of the open command, in real time.
    pub fn key_to_open(&self) -> Latency {
        self.display.key_to_open()
    }
}

impl Lockers {
    fn state(&self, compartment: u16) -> Option<Kind> {
        let c = self.compartments.get(compartment)?;
        Some(Kind::Compartment {
            compartment,
            door: if c.open { Door::Open } else { Door::Closed },
            occupied: self.occupancy_sensor.then_some(!c.inside.is_empty()),
        })
    }

    fn answer_is_late(&self) -> bool {
        let own = self.own_codes.as_ref();
        own.is_some_and(|own| lock(own).answer_is_late())
    }

    fn open(&self, compartment: u16) -> Obeyed {
        // A jammed lock of an open door has nothing to move.
        match self.compartments.unlock(compartment) {
            None => Obeyed::failed("no such compartment"),
            Some(false) => Obeyed {
                outcome: Done::Failed,
                reason: Some("the lock doesn't move".to_string()),
                then: vec![Kind::Alarm {
                    alarm: "jammed".to_string(),
                    text: Some(format!("compartment {compartment}")),
                }],
            },
            Some(true) => {
                self.display.opened(compartment);
                Obeyed {
                    then: self.state(compartment).into_iter().collect(),
                    ..Obeyed::done()
                }
            }
        }
    }
}

/// Puts events into the outbox, in this order.
fn report(device: &Device, kinds: impl IntoIterator<Item = Kind>) {
    for kind in kinds {
        if let Err(error) = device.report(kind) {
            tracing::warn!(%error, "an event is lost");
        }
    }
}

impl Lockers {
    /// Opens by the bank's own list, and reports it with the door's events after it.
    fn open_alone(
        &self,
        own: &mut OwnCodes,
        device: &Device,
        digits: &str,
        compartment: u16,
    ) -> Answer {
        let obeyed = self.open(compartment);
        if obeyed.outcome != Done::Done {
            own.not_used(digits);
            report(device, obeyed.then);
            return self.say_no("锁打不开 The lock doesn't move");
        }
        device.opened(None, compartment);
        let used = Kind::Keypad {
            code: Secret::new(digits),
            opened: Some(compartment),
        };
        match device.report(used) {
            Ok(place) => own.reported(digits, place),
            Err(error) => tracing::warn!(%error, "an event is lost"),
        }
        report(device, obeyed.then);
        Answer::Opened(compartment)
    }

    fn say_no(&self, text: &str) -> Answer {
        self.display.show(text, Tone::Error);
        Answer::No(text.to_string())
    }
}

impl Alone for Lockers {
    fn gateway_is_asked(&self) {
        if let Some(own) = &self.own_codes {
            lock(own).gateway_is_asked();
        }
    }

    fn decide(&self, device: &Device, digits: &str, sent: Option<Place>) -> Answer {
        let Some(own) = &self.own_codes else {
            return Answer::Silence;
        };
        // Held until the use is reported, so that its promise can't be overheard.
        let mut own = lock(own);
        if let Some(place) = sent {
            own.decided(place, device.is_waiting(place));
        }
        if !device.has_room(ROOM_FOR_AN_OPENING) {
            return self.say_no("暂不可用 Not available");
        }
        match own.check(digits, self.tempo.now_ms()) {
            Verdict::Opens(compartment) => self.open_alone(&mut own, device, digits, compartment),
            Verdict::Wrong => self
                .say_no("取件码错误或暂不可用 Wrong code, or not available without a connection"),
            Verdict::Locked => self.say_no("已锁定，请稍候 Locked, wait a while"),
            Verdict::Function => self.say_no("未连接 Not connected"),
        }
    }
}

impl Model for Lockers {
    fn obey(&self, order: &Order) -> Obeyed {
        match order {
            Order::Open { .. } if self.answer_is_late() => {
                Obeyed::refused("late: the bank has answered this entry itself")
            }
            Order::Open { compartment } => self.open(*compartment),
            Order::Show { text, tone } => {
                self.display.show(text, *tone);
                Obeyed::done()
            }
            Order::Identify => Obeyed::done(),
            Order::Codes { salt, digests } => match &self.own_codes {
                None => Obeyed::failed("this bank doesn't check codes by itself"),
                Some(own) if lock(own).take_list(salt, digests) => Obeyed::done(),
                Some(_) => Obeyed::refused("another salt, and a use isn't promised yet"),
            },
        }
    }

    fn promised(&self, places: &[Place]) {
        if let Some(own) = &self.own_codes {
            lock(own).promised(places);
        }
    }

    fn at_start(&self) -> Vec<Kind> {
        let count = self.compartments.count();
        (1..=count)
            .filter_map(|number| self.state(number))
            .collect()
    }
}
