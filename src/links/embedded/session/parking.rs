//! How a device that has used up its allowance is slowed: its publications wait among the answers.

use tokio::time::Instant;

use super::super::publications::{Pending, Reply, publication};
use super::super::roster::Place;
use super::Session;

impl Session<'_> {
    /// Whether a publication has to wait for its turn: one does already, or the allowance is used up.
    pub(super) fn must_park(&self) -> bool {
        self.held_since.is_some() || !self.gauge.due(std::time::Instant::now()).is_zero()
    }

    /// Hands on what is parked, as far as the allowance goes; and up to the last that a person waits
    /// for, on credit.
    pub(super) async fn hand_on_parked(&mut self, place: &Place) {
        let Some(since) = self.held_since else {
            return;
        };
        let now = Instant::now();
        self.gauge.held(now - since);
        self.held_since = Some(now);
        // Whoever is held isn't silent: it waits for us.
        self.heard_at = now;
        let urgent = |pending: &Pending| matches!(pending, Pending::Parked { urgent: true, .. });
        let hurried = match self.gauge.may_hurry(now.into_std()) {
            true => self.answers.iter().rposition(urgent),
            false => None,
        };
        for at in 0..self.answers.len() {
            let Some(Pending::Parked { .. }) = self.answers.get(at) else {
                continue;
            };
            let hurries = hurried.is_some_and(|last| at <= last);
            if !hurries && !self.gauge.due(std::time::Instant::now()).is_zero() {
                return;
            }
            self.hand_on(at, place).await;
        }
        self.held_since = None;
    }

    async fn hand_on(&mut self, at: usize, place: &Place) {
        let Some(pending) = self.answers.get_mut(at) else {
            return;
        };
        let Pending::Parked { publish, .. } =
            std::mem::replace(pending, Pending::Ready(Reply::Nothing))
        else {
            return;
        };
        *pending = publication(self.shared, self.device, place, *publish, self.wire.five()).await;
    }
}
