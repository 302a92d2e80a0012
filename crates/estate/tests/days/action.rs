//! A day as a list of actions. Each names who does what; everything else is decided when it is
//! played, by the action's own roll of the dice and by how the world stands then. So any action can be
//! left out and the rest still mean something, which is what shrinking needs.

use crate::common::Dice;

/// Something that somebody does, or that happens.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Deed {
    /// The cloud announces a parcel for a resident.
    Announce(u8),
    /// The cloud announces that a resident will bring a parcel back.
    AnnounceReturn(u8),
    /// The cloud says something of a parcel again, or something contradictory.
    CloudAgain,
    Cancel,
    Extend,
    Reissue,
    /// The cloud names a courier, with a badge or a code.
    Courier(u8),
    Settings,
    /// A courier identifies and brings a parcel.
    Brings(u8),
    /// A courier scans anything.
    ScansAnything(u8),
    /// A courier takes back what goes back.
    TakesBack(u8),
    /// A resident comes for a parcel.
    Collects(u8),
    /// A resident brings a return.
    Returns(u8),
    /// A resident types his code where it isn't good.
    Astray(u8),
    /// Somebody guesses.
    Guesses,
    /// A lock does what it was told, or doesn't.
    Lock,
    /// Somebody acts at an open door.
    AtDoor,
    /// A compartment says how it stands.
    State,
    /// A bank says what it is, or opens for a code by itself.
    BankHello,
    BankOpens(u8),
    /// Something comes twice, late, or in pieces.
    Again,
    Arrives,
    Unreadable,
    DeviceStarts,
    Neighbours,
    /// The staff.
    HandsOver(u8),
    Receives,
    Claims,
    Transfers,
    Retrieves,
    DeskReissues,
    DeskExtends,
    OpensByHand,
    Disables,
    /// Time, power, disk.
    Seconds,
    Minutes,
    Hours,
    Clock,
    ClockKnown,
    Restart,
    PowerCut,
    DiskFull,
    Gather,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Action {
    pub deed: Deed,
    pub roll: u64,
}

/// How many actions a day has.
pub const ACTIONS: usize = 300;

/// The day of a seed.
pub fn day(seed: u64) -> Vec<Action> {
    let mut dice = Dice::new(seed ^ 0x0DA1_0DA1);
    (0..ACTIONS)
        .map(|_| Action {
            deed: deed(&mut dice),
            roll: dice.next(),
        })
        .collect()
}

fn deed(dice: &mut Dice) -> Deed {
    let mut who = |n: u64| u8::try_from(dice.below(n)).unwrap();
    let (resident, courier) = (who(6), who(3));
    match dice.below(200) {
        0..=21 => Deed::Announce(resident),
        22..=23 => Deed::AnnounceReturn(resident),
        24..=25 => Deed::CloudAgain,
        26..=28 => Deed::Cancel,
        29..=30 => Deed::Extend,
        31..=32 => Deed::Reissue,
        33..=35 => Deed::Courier(courier),
        36 => Deed::Settings,
        37..=64 => Deed::Brings(courier),
        65..=67 => Deed::ScansAnything(courier),
        68..=74 => Deed::TakesBack(courier),
        75..=98 => Deed::Collects(resident),
        99..=101 => Deed::Returns(resident),
        102..=104 => Deed::Astray(resident),
        105..=108 => Deed::Guesses,
        109..=117 => Deed::Lock,
        118..=129 => Deed::AtDoor,
        130..=132 => Deed::State,
        133 => Deed::BankHello,
        134..=137 => Deed::BankOpens(resident),
        138..=140 => Deed::Again,
        141..=143 => Deed::Arrives,
        144 => Deed::Unreadable,
        145 => Deed::DeviceStarts,
        146..=149 => Deed::Neighbours,
        150..=152 => Deed::HandsOver(resident),
        153..=154 => Deed::Receives,
        155..=157 => Deed::Claims,
        158..=160 => Deed::Transfers,
        161..=163 => Deed::Retrieves,
        164 => Deed::DeskReissues,
        165 => Deed::DeskExtends,
        166..=167 => Deed::OpensByHand,
        168 => Deed::Disables,
        169..=178 => Deed::Seconds,
        179..=186 => Deed::Minutes,
        187..=189 => Deed::Hours,
        190..=191 => Deed::Clock,
        192 => Deed::ClockKnown,
        193..=194 => Deed::Restart,
        195 => Deed::PowerCut,
        196..=197 => Deed::DiskFull,
        _ => Deed::Gather,
    }
}
