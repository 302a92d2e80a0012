//! What really is the case in a bank's compartments, whatever sensors and boards say: doors, locks
//! and what lies inside. People and locks both work on it.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex};

use crate::device::lock;

/// What really is the case in a compartment, whatever the sensors say.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Compartment {
    /// The door is open.
    pub open: bool,
    /// The parcels inside, in the order in which they were put in.
    pub inside: Vec<String>,
    /// The lock doesn't move.
    pub jammed: bool,
}

/// Told the number of each compartment whose door moved, by a lock or a hand.
pub type Moved = Box<dyn Fn(u16) + Send + Sync>;

/// The compartments of a bank, numbered from 1. Clones are the same ones.
#[derive(Clone)]
pub struct Compartments(Arc<Inner>);

struct Inner {
    all: Mutex<Vec<Compartment>>,
    moved: Mutex<Vec<Moved>>,
    unlocked: Mutex<Vec<Moved>>,
    looks: Vec<AtomicU64>,
}

impl Compartments {
    /// So many, all closed and empty.
    pub fn new(count: u16) -> Self {
        Self(Arc::new(Inner {
            all: Mutex::new(vec![Compartment::default(); usize::from(count)]),
            moved: Mutex::default(),
            unlocked: Mutex::default(),
            looks: (0..count).map(|_| AtomicU64::new(0)).collect(),
        }))
    }

    /// How many there are.
    pub fn count(&self) -> u16 {
        u16::try_from(lock(&self.0.all).len()).unwrap_or(u16::MAX)
    }

    /// What is the case in each, from number 1.
    pub fn all(&self) -> Vec<Compartment> {
        lock(&self.0.all).clone()
    }

    /// One of them.
    pub fn get(&self, compartment: u16) -> Option<Compartment> {
        self.with(compartment, |c| c.clone())
    }

    /// Whether its door is open, as its sensor feels it; `None` if there is no such compartment.
    pub fn is_open(&self, compartment: u16) -> Option<bool> {
        if let Some(looks) = self.looks_at(compartment) {
            looks.fetch_add(1, Ordering::Relaxed);
        }
        self.with(compartment, |c| c.open)
    }

    /// The parcels in one; none if there is no such compartment.
    pub fn inside(&self, compartment: u16) -> Vec<String> {
        let inside = self.with(compartment, |c| c.inside.clone());
        inside.unwrap_or_default()
    }

    /// Puts a parcel into an open one, beside what is inside; false if it isn't open.
    pub fn put(&self, compartment: u16, parcel: &str) -> bool {
        let put = self.with(compartment, |c| {
            if c.open {
                c.inside.push(parcel.to_string());
            }
            c.open
        });
        put.unwrap_or(false)
    }

    /// Takes the first parcel inside an open one of which `wanted` says that it is one's own.
    pub fn take(&self, compartment: u16, wanted: impl Fn(&str) -> bool) -> Option<String> {
        let take = |c: &mut Compartment| {
            let mine = c.inside.iter().position(|parcel| wanted(parcel))?;
            c.open.then(|| c.inside.remove(mine))
        };
        self.with(compartment, take).flatten()
    }

    /// Pushes a door shut. Returns whether it moved.
    pub fn close(&self, compartment: u16) -> bool {
        let shut = self.with(compartment, |c| std::mem::take(&mut c.open));
        let moved = shut == Some(true);
        if moved {
            self.tell(compartment);
        }
        moved
    }

    /// The lock is let go, and the door springs open unless it is jammed. Returns whether it is open
    /// now; `None` if there is no such compartment.
    pub fn unlock(&self, compartment: u16) -> Option<bool> {
        let (moved, open) = self.with(compartment, |c| {
            let springs = !c.open && !c.jammed;
            c.open |= springs;
            (springs, c.open)
        })?;
        if moved {
            self.tell(compartment);
        }
        if open {
            for unlocked in lock(&self.0.unlocked).iter() {
                unlocked(compartment);
            }
        }
        Some(open)
    }

    /// Fault: a lock that doesn't move any more, or does again.
    pub fn jam(&self, compartment: u16, jammed: bool) {
        self.with(compartment, |c| c.jammed = jammed);
    }

    /// Calls `moved` whenever a door moved. It mustn't wait, nor move a door itself.
    pub fn on_move(&self, moved: Moved) {
        lock(&self.0.moved).push(moved);
    }

    /// Calls `unlocked` whenever a lock was let go and the door is open, also if it was before. The same
    /// holds for it.
    pub fn on_unlock(&self, unlocked: Moved) {
        lock(&self.0.unlocked).push(unlocked);
    }

    /// How often its door's sensor was asked.
    pub fn looks(&self, compartment: u16) -> u64 {
        let looks = self.looks_at(compartment);
        looks.map_or(0, |looks| looks.load(Ordering::Relaxed))
    }

    fn looks_at(&self, compartment: u16) -> Option<&AtomicU64> {
        self.0.looks.get(usize::from(compartment).checked_sub(1)?)
    }

    fn tell(&self, compartment: u16) {
        for moved in lock(&self.0.moved).iter() {
            moved(compartment);
        }
    }

    fn with<T>(&self, compartment: u16, act: impl FnOnce(&mut Compartment) -> T) -> Option<T> {
        let index = usize::from(compartment).checked_sub(1)?;
        lock(&self.0.all).get_mut(index).map(act)
    }
}
