//! Whose publications are whose: clients, topics, devices.

use std::collections::{BTreeMap, HashMap, VecDeque};
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};

use firmware_protocols::Ident;
use tokio::sync::watch;

use super::device::Device;
use super::lane::{Lane, Settled};
use super::profile::matches;
use crate::intake::Answer;

/// How many publications of a client are remembered, to know one that is delivered again.
const RECENT_MAX: usize = 256;

/// All that is mapped.
#[derive(Default)]
pub(super) struct Plan {
    /// By the name that they log in by.
    pub clients: HashMap<Ident, Arc<Client>>,
    /// By their profile's name.
    pub lanes: HashMap<String, Arc<Lane>>,
    pub devices: BTreeMap<Ident, Arc<Device>>,
    /// All of it, for a broker that doesn't say who publishes.
    pub everybody: Arc<Client>,
}

/// An MQTT client that speaks for mapped devices.
#[derive(Default)]
pub(super) struct Client {
    /// It speaks for others.
    pub is_bridge: bool,
    exact: HashMap<String, Arc<Device>>,
    /// With wildcards.
    filters: Vec<(String, Arc<Device>)>,
    unmapped: AtomicU64,
    recent: Mutex<VecDeque<Recent>>,
}

/// A publication that may be delivered again.
pub(super) struct Recent {
    pub id: u16,
    pub hash: u64,
    pub settled: watch::Receiver<Option<Settled>>,
}

impl Client {
    /// A device that it speaks for.
    pub fn add(&mut self, device: &Arc<Device>) {
        let Ok(profile) = &device.lane.profile else {
            return;
        };
        for topic in profile.topics_of(&device.named) {
            match topic.contains(['+', '#']) {
                true => self.filters.push((topic, Arc::clone(device))),
                false => {
                    self.exact
                        .entry(topic)
                        .or_insert_with(|| Arc::clone(device));
                }
            }
        }
    }

    /// Whose a publication is.
    pub fn device(&self, topic: &str) -> Option<&Arc<Device>> {
        if let Some(device) = self.exact.get(topic) {
            return Some(device);
        }
        let mut filters = self.filters.iter();
        let found = filters.find(|(filter, _)| matches(filter, topic));
        found.map(|(_, device)| device)
    }

    /// The topics of its devices.
    pub fn topics(&self) -> Vec<String> {
        let filters = self.filters.iter().map(|(filter, _)| filter);
        self.exact.keys().chain(filters).cloned().collect()
    }

    /// A publication that is nobody's.
    pub fn dropped(&self) {
        self.unmapped.fetch_add(1, Ordering::Relaxed);
    }

    /// How many there were.
    pub fn unmapped(&self) -> u64 {
        self.unmapped.load(Ordering::Relaxed)
    }

    /// What came of a publication that is delivered again, if it is remembered and was taken.
    pub fn known(&self, id: u16, hash: u64) -> Option<watch::Receiver<Option<Settled>>> {
        let recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let mut newest = recent.iter().rev();
        let not_taken = |settled: &Option<Settled>| {
            matches!(settled, Some(Settled::Answered(Answer::NotTaken(_))))
        };
        let found = newest.find(|recent| {
            let same = recent.id == id && recent.hash == hash;
            same && !not_taken(&recent.settled.borrow())
        });
        found.map(|recent| recent.settled.clone())
    }

    /// Remembers a publication.
    pub fn remember(&self, publication: Recent) {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        if recent.len() >= RECENT_MAX {
            recent.pop_front();
        }
        recent.push_back(publication);
    }

    /// Goes on where another left off.
    pub fn follow(&mut self, former: &Self) {
        self.unmapped = AtomicU64::new(former.unmapped());
        let mut recent = former.recent.lock().unwrap_or_else(PoisonError::into_inner);
        self.recent = Mutex::new(std::mem::take(&mut *recent));
    }
}
