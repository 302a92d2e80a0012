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
    match dice.below(202) {
        0..=19 => Deed::Announce(resident),
        20..=21 => Deed::AnnounceReturn(resident),
        22..=23 => Deed::CloudAgain,
        24..=25 => Deed::Cancel,
        26..=27 => Deed::Extend,
        28..=29 => Deed::Reissue,
        30..=32 => Deed::Courier(courier),
        33 => Deed::Settings,
        34..=63 => Deed::Brings(courier),
        64..=66 => Deed::ScansAnything(courier),
        67..=72 => Deed::TakesBack(courier),
        73..=104 => Deed::Collects(resident),
        105..=107 => Deed::Returns(resident),
        108..=109 => Deed::Astray(resident),
        110..=111 => Deed::Guesses,
        112..=119 => Deed::Lock,
        120..=131 => Deed::AtDoor,
        132..=134 => Deed::State,
        135 => Deed::BankHello,
        136..=139 => Deed::BankOpens(resident),
        140..=142 => Deed::Again,
        143..=145 => Deed::Arrives,
        146 => Deed::Unreadable,
        147 => Deed::DeviceStarts,
        148..=152 => Deed::Neighbours,
        153..=154 => Deed::HandsOver(resident),
        155 => Deed::Receives,
        156..=159 => Deed::Claims,
        160..=162 => Deed::Transfers,
        163..=164 => Deed::Retrieves,
        165 => Deed::DeskReissues,
        166 => Deed::DeskExtends,
        167..=169 => Deed::OpensByHand,
        170 => Deed::Disables,
        171..=180 => Deed::Seconds,
        181..=188 => Deed::Minutes,
        189..=191 => Deed::Hours,
        192..=193 => Deed::Clock,
        194 => Deed::ClockKnown,
        195..=196 => Deed::Restart,
        197 => Deed::PowerCut,
        198..=199 => Deed::DiskFull,
        _ => Deed::Gather,
    }
}
