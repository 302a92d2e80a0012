//! "Send it now": what a technician asks for, and what came of it.
//!
//! An urging ends the pauses of all loops (but those that the cloud asked for), and what isn't urgent
//! goes too. Each loop says what it did by the time that nothing more was to do, or at its first
//! failure.

use std::collections::BTreeMap;
use std::time::Duration;

use cloud_protocol::Lane;
use tokio::sync::watch;

use super::Shared;
use super::failure::Failure;
use super::meter::Cost;
use super::requests::Told;
use super::status::Way;

/// How long the loops may take until it is said that they still are at it.
const PATIENCE: Duration = Duration::from_secs(120);

/// What a loop did since it was urged.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct Done {
    /// Items that the cloud took, by lane.
    pub items: BTreeMap<Lane, u64>,
    /// Items that came down.
    pub received_items: u64,
    /// Bytes to the cloud.
    pub sent: u64,
    /// Bytes from it.
    pub received: u64,
}

/// What the loops say of the last urging: its number, and what came of it.
pub(super) struct Outcomes {
    fulfilment: watch::Sender<Outcome>,
    rest: watch::Sender<Outcome>,
    down: watch::Sender<Outcome>,
}

type Outcome = (u64, Result<Done, Told>);

impl Default for Outcomes {
    fn default() -> Self {
        let none = || watch::Sender::new((0, Ok(Done::default())));
        Self {
            fulfilment: none(),
            rest: none(),
            down: none(),
        }
    }
}

impl Outcomes {
    fn of(&self, way: Way) -> &watch::Sender<Outcome> {
        match way {
            Way::Fulfilment => &self.fulfilment,
            Way::Rest => &self.rest,
            Way::Down => &self.down,
        }
    }

    async fn wait(&self, way: Way, number: u64) -> Result<Done, Told> {
        let mut outcome = self.of(way).subscribe();
        let outcome = outcome.wait_for(|(of, _)| *of >= number).await;
        outcome.map_or_else(|_| Ok(Done::default()), |outcome| outcome.1.clone())
    }
}

/// What one loop does for the last urging.
pub(super) struct Errand<'a> {
    shared: &'a Shared,
    way: Way,
    urged: watch::Receiver<u64>,
    /// The urging that isn't answered yet.
    number: Option<u64>,
    begins: bool,
    done: Done,
}

impl<'a> Errand<'a> {
    pub fn new(shared: &'a Shared, way: Way) -> Self {
        Self {
            shared,
            way,
            urged: shared.contact.urged(),
            number: None,
            begins: false,
            done: Done::default(),
        }
    }

    /// Whether there is one; looks for a new one.
    pub fn is_on(&mut self) -> bool {
        if self.urged.has_changed().unwrap_or(false) {
            self.number = Some(*self.urged.borrow_and_update());
            self.done = Done::default();
            self.begins = true;
        }
        self.number.is_some()
    }

    /// Whether there is one that has just come up: once for each.
    pub fn begins(&mut self) -> bool {
        self.is_on() && std::mem::take(&mut self.begins)
    }

    /// A request was answered.
    pub fn cost(&mut self, cost: &Cost) {
        self.done.sent += cost.sent;
        self.done.received += cost.received;
    }

    /// The cloud took so many items of a lane.
    pub fn took(&mut self, lane: Lane, items: u64) {
        *self.done.items.entry(lane).or_default() += items;
    }

    /// So many items came down.
    pub fn received(&mut self, items: usize) {
        self.done.received_items += items as u64;
    }

    /// Nothing more is to do.
    pub fn is_done(&mut self) {
        let done = std::mem::take(&mut self.done);
        self.ends(Ok(done));
    }

    /// It didn't work.
    pub fn failed(&mut self, failure: &Failure) {
        self.ends(Err(Told {
            what: failure.to_string(),
            remedy: failure.remedy().map(str::to_owned),
        }));
    }

    fn ends(&mut self, outcome: Result<Done, Told>) {
        if let Some(number) = self.number.take() {
            let to = self.shared.outcomes.of(self.way);
            let _ = to.send_replace((number, outcome));
        }
    }
}

/// Sends what waits in every lane, and says what the cloud took and what it cost.
pub(super) async fn uplink_now(shared: &Shared) -> Result<Done, Told> {
    within(shared, async |number| {
        let outcomes = &shared.outcomes;
        let mut done = outcomes.wait(Way::Fulfilment, number).await?;
        let rest = outcomes.wait(Way::Rest, number).await?;
        done.items.extend(rest.items);
        done.sent += rest.sent;
        done.received += rest.received;
        Ok(done)
    })
    .await
}

/// Asks for what is to come down, and says what came.
pub(super) async fn downlink_now(shared: &Shared) -> Result<Done, Told> {
    within(shared, async |number| {
        shared.outcomes.wait(Way::Down, number).await
    })
    .await
}

async fn within(
    shared: &Shared,
    wait: impl AsyncFnOnce(u64) -> Result<Done, Told>,
) -> Result<Done, Told> {
    if let Some(left) = shared.contact.quiet_for() {
        return Err(Told {
            what: format!(
                "the cloud has asked to be left alone for another {} s",
                left.as_secs() + 1
            ),
            remedy: Some("wait until then; what waits goes by itself".to_owned()),
        });
    }
    let number = shared.contact.urge();
    match tokio::time::timeout(PATIENCE, wait(number)).await {
        Ok(outcome) => outcome,
        Err(_) => Err(Told {
            what: format!(
                "it still goes on after {} s: the line is slow, or much waits",
                PATIENCE.as_secs()
            ),
            remedy: Some("it goes on by itself; look again with linli sync".to_owned()),
        }),
    }
}
