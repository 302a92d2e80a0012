//! The estate as it stands: its points, its doors, and where every parcel really is.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex};

use firmware_protocols::Ident;
use tokio::sync::watch;

use crate::device::lock;
use crate::reading::Probe;
use crate::witness::{Sight, Witness};
use crate::{Bank, Desk, Device, Tempo};

/// Where a parcel really is, whatever anybody has been told.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Whereabouts {
    /// With the courier.
    Van,
    /// In a compartment.
    Compartment(Ident, u16),
    /// On a desk's shelf.
    Shelf(Ident),
    /// With its recipient.
    Home,
}

/// A pickup point.
#[derive(Clone)]
pub enum Point {
    /// A locker bank.
    Bank(Arc<Bank>),
    /// A desk.
    Desk(Arc<Desk>),
}

/// How residents get their codes: in life by a message from the operator's cloud.
pub trait Notices: Send + Sync {
    /// The code that the resident has been told for a parcel.
    fn code(&self, parcel: &str) -> Option<String>;

    /// Whether the labels of two parcels name the same recipient: only then may they lie in one
    /// compartment.
    fn same_recipient(&self, _: &str, _: &str) -> bool {
        false
    }
}

/// The estate. Shared by everybody in it.
pub struct World {
    /// The clock of the play.
    pub tempo: Tempo,
    /// By id.
    pub points: BTreeMap<Ident, Point>,
    /// Door readers, sensors, terminals: by id.
    pub devices: BTreeMap<Ident, Device>,
    /// Sensors that the gateway reads by itself: by id.
    pub probes: BTreeMap<Ident, Arc<dyn Probe>>,
    witness: Arc<dyn Witness>,
    notices: Arc<dyn Notices>,
    parcels: Mutex<BTreeMap<String, Whereabouts>>,
    moved: watch::Sender<()>,
    wrong_doors: Mutex<u64>,
    over: watch::Sender<bool>,
}

impl World {
    /// An estate without parcels.
    pub fn new(
        tempo: Tempo,
        points: Vec<Point>,
        devices: Vec<Device>,
        witness: Arc<dyn Witness>,
        notices: Arc<dyn Notices>,
    ) -> Self {
        Self {
            tempo,
            points: points.into_iter().map(|p| (p.id().clone(), p)).collect(),
            devices: devices.into_iter().map(|d| (d.id().clone(), d)).collect(),
            probes: BTreeMap::new(),
            witness,
            notices,
            parcels: Mutex::default(),
            moved: watch::channel(()).0,
            wrong_doors: Mutex::default(),
            over: watch::channel(false).0,
        }
    }

    /// With sensors that the gateway reads by itself.
    pub fn with_probes(mut self, probes: BTreeMap<Ident, Arc<dyn Probe>>) -> Self {
        self.probes = probes;
        self
    }

    /// Every device: those of the points, then the others.
    pub fn all_devices(&self) -> Vec<Device> {
        let points = self.points.values().map(|p| p.device().clone());
        points.chain(self.devices.values().cloned()).collect()
    }

    /// Where every known parcel is.
    pub fn parcels(&self) -> BTreeMap<String, Whereabouts> {
        lock(&self.parcels).clone()
    }

    /// How often a compartment opened for somebody whose parcel wasn't in it.
    pub fn wrong_doors(&self) -> u64 {
        *lock(&self.wrong_doors)
    }

    /// A parcel is somewhere else now.
    pub(crate) fn moved(&self, parcel: &str, to: Whereabouts) {
        lock(&self.parcels).insert(parcel.to_string(), to);
        self.moved.send_replace(());
    }

    /// Waits until a parcel is at its point, as its recipient hears from the courier.
    pub(crate) async fn until_brought(&self, parcel: &str) {
        let there = |_: &()| {
            let parcels = lock(&self.parcels);
            !matches!(parcels.get(parcel), None | Some(Whereabouts::Van))
        };
        let _ = self.moved.subscribe().wait_for(there).await;
    }

    pub(crate) fn code(&self, parcel: &str) -> Option<String> {
        self.notices.code(parcel)
    }

    pub(crate) fn same_recipient(&self, one: &str, other: &str) -> bool {
        self.notices.same_recipient(one, other)
    }

    /// The desk to which the words of a display send somebody, if they name one.
    pub(crate) fn sent_to(&self, said: &str) -> Option<&Ident> {
        let mut desks = self.points.values().filter_map(|point| match point {
            Point::Desk(desk) => Some(desk.id()),
            Point::Bank(_) => None,
        });
        desks.find(|desk| names(said, desk.as_str()))
    }

    /// Whether a parcel is with its recipient.
    pub(crate) fn is_home(&self, parcel: &str) -> bool {
        lock(&self.parcels).get(parcel) == Some(&Whereabouts::Home)
    }

    pub(crate) fn saw(&self, sight: Sight) {
        if matches!(sight, Sight::WrongDoor { .. }) {
            *lock(&self.wrong_doors) += 1;
        }
        self.witness.saw(self.tempo.now_ms(), sight);
    }

    /// The evening is over: nobody begins anything new; what is under way is brought to its end.
    pub fn call_it_a_day(&self) {
        self.over.send_replace(true);
    }

    /// What `wait` comes to, or `None` when the evening is over before.
    pub async fn before_the_end<T>(&self, wait: impl Future<Output = T>) -> Option<T> {
        let mut over = self.over.subscribe();
        tokio::select! {
            came = wait => Some(came),
            _ = over.wait_for(|over| *over) => None,
        }
    }

    /// Ends every device, in order: see [`Device::stop`].
    pub async fn stop(&self) {
        let stopping: Vec<_> = self
            .all_devices()
            .into_iter()
            .map(|device| tokio::spawn(async move { device.stop().await }))
            .collect();
        for device in stopping {
            let _ = device.await;
        }
    }
}

impl Point {
    /// Its id.
    pub fn id(&self) -> &Ident {
        match self {
            Self::Bank(bank) => bank.id(),
            Self::Desk(desk) => desk.id(),
        }
    }

    /// Its device: what it is reached by.
    pub fn device(&self) -> &Device {
        match self {
            Self::Bank(bank) => bank.device(),
            Self::Desk(desk) => desk.device(),
        }
    }

    /// Waits for one's turn at its keypad and scanner.
    pub async fn turn(&self) -> crate::front::Turn<'_> {
        match self {
            Self::Bank(bank) => bank.turn().await,
            Self::Desk(desk) => desk.turn().await,
        }
    }
}

/// Whether words name an id, and not only a longer one.
fn names(said: &str, id: &str) -> bool {
    let part = |c: char| c.is_ascii_alphanumeric() || c == '-';
    said.split(|c| !part(c)).any(|word| word == id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_display_names_a_desk_by_its_whole_id() {
        let said = "没有合适的空柜，请送至desk-1（Office） take the parcel to desk-1, Office";
        assert!(names(said, "desk-1"));
        assert!(!names(said, "desk"));
        assert!(!names("take it to desk-12", "desk-1"));
    }
}
