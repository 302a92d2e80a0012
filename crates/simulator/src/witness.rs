//! What a bystander sees of the evening: for a screen, a log, a test. Never a code.

use firmware_protocols::Ident;

/// Somebody who looks on. Called from many tasks; must not wait.
pub trait Witness: Send + Sync {
    /// Something was seen at `at_ms`, ms since the Unix epoch by the clock of the play.
    fn saw(&self, at_ms: i64, sight: Sight);
}

/// Nobody looks on.
#[derive(Debug, Clone, Copy)]
pub struct Nobody;

impl Witness for Nobody {
    fn saw(&self, _: i64, _: Sight) {}
}

/// Something to be seen in the estate.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Sight {
    /// A courier starts a round.
    CourierCame {
        /// Who.
        courier: String,
        /// With how many parcels.
        parcels: usize,
    },
    /// A courier goes; what couldn't be delivered goes back.
    CourierWent {
        /// Who.
        courier: String,
        /// Parcels that stay in the van.
        undelivered: usize,
    },
    /// A parcel was put into a compartment or onto a desk's shelf.
    Brought {
        /// The parcel.
        parcel: String,
        /// The bank or desk.
        point: Ident,
        /// The compartment, at a bank.
        compartment: Option<u16>,
    },
    /// A courier closed a compartment and forgot to put the parcel in.
    Forgotten {
        /// The parcel.
        parcel: String,
        /// The bank.
        point: Ident,
        /// The compartment.
        compartment: u16,
    },
    /// The point refused a courier.
    NotTaken {
        /// The parcel.
        parcel: String,
        /// The bank or desk.
        point: Ident,
        /// Its words; empty if it said nothing.
        said: String,
    },
    /// A resident has a parcel.
    Collected {
        /// The parcel.
        parcel: String,
        /// The bank or desk.
        point: Ident,
        /// The compartment, at a bank.
        compartment: Option<u16>,
    },
    /// A courier took back what goes back.
    TakenBack {
        /// The parcel.
        parcel: String,
        /// The bank or desk.
        point: Ident,
        /// The compartment, at a bank.
        compartment: Option<u16>,
    },
    /// A resident opened the right compartment and closed it with the parcel still inside.
    LeftInside {
        /// The parcel.
        parcel: String,
        /// The bank.
        point: Ident,
        /// The compartment.
        compartment: u16,
    },
    /// A resident can't go: the notice with the code hasn't come.
    NoNotice {
        /// The parcel.
        parcel: String,
    },
    /// The point refused digits.
    Refused {
        /// The bank or desk.
        point: Ident,
        /// Whether a stranger typed them.
        stranger: bool,
        /// Its words; empty if it said nothing.
        said: String,
    },
    /// A compartment opened for somebody whose parcel isn't in it: that must never be.
    WrongDoor {
        /// The bank.
        point: Ident,
        /// The compartment.
        compartment: u16,
    },
    /// Somebody at a door.
    AtDoor {
        /// The door.
        door: Ident,
        /// Whether they were let in.
        granted: bool,
    },
    /// A household wishes to buy.
    Wish {
        /// What.
        item: String,
        /// How many.
        quantity: u32,
    },
    /// A fault was made on purpose.
    Fault {
        /// The device.
        device: Ident,
        /// What happens to it.
        what: &'static str,
    },
}
