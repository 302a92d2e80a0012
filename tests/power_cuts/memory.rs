//! The world's memory: what all its marks up to a point come to.

use std::collections::{BTreeMap, BTreeSet};

use serde::{Deserialize, Serialize};

use crate::mark::{Mark, NewEvent, Place, Say};
use crate::site::{ACCESS_KEPT_MS, EVENTS_KEPT_MS};

const OPENED_MAX: usize = 30;

/// Everything that the world knows.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Memory {
    pub wall_ms: i64,
    pub devices: BTreeMap<String, Device>,
    pub parcels: BTreeMap<String, Parcel>,
    pub cloud: Cloud,
    /// Ids of commands that have reached a device.
    pub commands: BTreeSet<String>,
    /// The last of them that open.
    pub opened: Vec<String>,
    pub wrong: Vec<String>,
    /// Whether the gateway has ever said that it runs.
    pub started: bool,
}

/// A device and its buffer.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Device {
    pub boot: u32,
    /// By boot: the last number given, and what is remembered.
    pub boots: BTreeMap<u32, Boot>,
}

#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Boot {
    pub last: u64,
    pub events: BTreeMap<u64, Event>,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Event {
    pub event: NewEvent,
    pub acked: bool,
}

#[derive(Debug, Clone, Serialize, Deserialize)]
pub struct Parcel {
    pub point: String,
    /// The number under which it was announced.
    pub n: u64,
    pub deadline: i64,
    pub cancelled: bool,
    pub place: Place,
    /// Somebody was handling it, and it isn't known how far the books have followed.
    pub touched: bool,
    /// The event that tells where it is: until it is acknowledged the books may not know.
    pub told_by: Option<(String, u32, u64)>,
    pub code: Option<String>,
    /// Codes that are dead once the gateway has taken the cloud's word of that number.
    pub dead: Vec<(String, u64)>,
}

/// What the cloud has.
#[derive(Debug, Clone, Default, Serialize, Deserialize)]
pub struct Cloud {
    pub epoch: Option<u64>,
    /// By lane: the chain after each item, in hex.
    pub lanes: BTreeMap<String, Vec<String>>,
    pub heads: Vec<(u64, String)>,
    pub says: Vec<Say>,
    /// The gateway has taken all up to here.
    pub taken: u64,
}

impl Memory {
    /// Learns something.
    pub fn apply(&mut self, mark: &Mark) {
        match mark {
            Mark::Starts { wall_ms } => {
                self.time(*wall_ms);
                // Told after a restart, it may come too late for the books to follow.
                self.parcels.values_mut().for_each(|p| p.told_by = None);
            }
            Mark::Time { wall_ms } => self.time(*wall_ms),
            Mark::Started => self.started = true,
            Mark::Stopped => {}
            Mark::Event(event) => self.event(event),
            Mark::Acked { device, boot, seqs } => self.acked(device, *boot, seqs),
            Mark::Receipt { device, boot, seq } => {
                let events = &self.boot(device, *boot).events;
                let upto: Vec<_> = events.range(..=seq).map(|(seq, _)| *seq).collect();
                self.acked(device, *boot, &upto);
            }
            Mark::Boot { device } => {
                let device = self.devices.entry(device.clone()).or_default();
                device.boot += 1;
                device.boots.entry(device.boot).or_default();
            }
            Mark::Says { say } => self.says(say),
            Mark::SaysTaken { n } => self.cloud.taken = self.cloud.taken.max(*n),
            Mark::Took {
                epoch,
                lane,
                chains,
                codes,
                heads,
            } => {
                self.cloud.epoch = Some(*epoch);
                let lane = self.cloud.lanes.entry(lane.clone()).or_default();
                lane.extend(chains.iter().cloned());
                self.cloud.heads.extend(heads.iter().cloned());
                for (parcel, code) in codes {
                    if let Some(parcel) = self.parcels.get_mut(parcel) {
                        parcel.code = Some(code.clone());
                    }
                }
            }
            Mark::Command { id, opens } => {
                if self.commands.insert(id.clone()) && *opens {
                    self.opened.push(id.clone());
                    let old = self.opened.len().saturating_sub(OPENED_MAX);
                    self.opened.drain(..old);
                }
            }
            Mark::Touched { parcel } => {
                if let Some(parcel) = self.parcels.get_mut(parcel) {
                    parcel.touched = true;
                }
            }
            Mark::Wrong { what } => self.wrong.push(what.clone()),
        }
    }

    /// The parcels of which the world and the books must think the same.
    pub fn settled(&self) -> impl Iterator<Item = (&String, &Parcel)> {
        self.parcels
            .iter()
            .filter(|(_, parcel)| parcel.n <= self.cloud.taken && !parcel.touched)
    }

    /// What is really in a compartment.
    pub fn inside(&self, bank: &str, compartment: u16) -> Option<&str> {
        let inside = self
            .parcels
            .iter()
            .find(|(_, parcel)| parcel.point == bank && parcel.place == Place::In(compartment));
        inside.map(|(id, _)| id.as_str())
    }

    /// Events that the gateway hasn't acknowledged, in the device's order.
    pub fn waiting(&self, device: &str) -> Vec<NewEvent> {
        let Some(device) = self.devices.get(device) else {
            return Vec::new();
        };
        let events = device.boots.values().flat_map(|boot| boot.events.values());
        events
            .filter(|event| !event.acked)
            .map(|event| event.event.clone())
            .collect()
    }

    fn boot(&mut self, device: &str, boot: u32) -> &mut Boot {
        let device = self.devices.entry(device.to_owned()).or_default();
        device.boots.entry(boot).or_default()
    }

    fn event(&mut self, event: &NewEvent) {
        let boot = self.boot(&event.device, event.boot);
        boot.last = boot.last.max(event.seq);
        let known = Event {
            event: event.clone(),
            acked: false,
        };
        boot.events.insert(event.seq, known);
        let Some(moved) = &event.parcel else {
            return;
        };
        if let Some(parcel) = self.parcels.get_mut(&moved.parcel) {
            parcel.place = moved.to;
            parcel.told_by = Some((event.device.clone(), event.boot, event.seq));
        }
    }

    fn acked(&mut self, device: &str, boot: u32, seqs: &[u64]) {
        for seq in seqs {
            if let Some(event) = self.boot(device, boot).events.get_mut(seq) {
                event.acked = true;
            }
            let told = (device.to_owned(), boot, *seq);
            for parcel in self.parcels.values_mut() {
                if parcel.told_by.as_ref() == Some(&told) {
                    parcel.told_by = None;
                    parcel.touched = false;
                }
            }
        }
    }

    fn says(&mut self, say: &Say) {
        self.cloud.says.push(say.clone());
        let n = self.cloud.says.len() as u64;
        match say {
            Say::Courier { .. } => {}
            Say::Parcel {
                parcel,
                point,
                deadline,
                ..
            } => {
                let new = Parcel {
                    point: point.clone(),
                    n,
                    deadline: *deadline,
                    cancelled: false,
                    place: Place::Outside,
                    touched: false,
                    told_by: None,
                    code: None,
                    dead: Vec::new(),
                };
                self.parcels.insert(parcel.clone(), new);
            }
            Say::Cancelled { parcel } => self.with(parcel, |parcel| parcel.cancelled = true),
            Say::Reissue { parcel } => self.with(parcel, |parcel| {
                let old = parcel.code.take();
                parcel.dead.extend(old.map(|code| (code, n)));
            }),
            Say::Extended { parcel, deadline } => {
                // Until it is taken the earlier one counts.
                self.with(parcel, |parcel| {
                    parcel.deadline = parcel.deadline.min(*deadline);
                });
            }
        }
    }

    fn with(&mut self, parcel: &str, change: impl FnOnce(&mut Parcel)) {
        if let Some(parcel) = self.parcels.get_mut(parcel) {
            change(parcel);
        }
    }

    /// What the gateway may have removed by now is nothing to compare with.
    fn time(&mut self, wall_ms: i64) {
        self.wall_ms = wall_ms;
        for device in self.devices.values_mut() {
            for boot in device.boots.values_mut() {
                boot.events
                    .retain(|_, e| !e.acked || !may_be_gone(&e.event, wall_ms));
            }
        }
    }
}

/// Whether retention may have removed an event by `wall_ms`.
pub fn may_be_gone(event: &NewEvent, wall_ms: i64) -> bool {
    let kept = match event.kind.as_str() {
        "access" => ACCESS_KEPT_MS,
        _ => EVENTS_KEPT_MS,
    };
    event.at_ms + kept <= wall_ms
}
