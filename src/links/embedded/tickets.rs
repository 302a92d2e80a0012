//! One-time tickets: how the broker behind knows that a connection came through the front door.
//!
//! A ticket is 32 random bytes, bound to the address the door connects from and to the device that
//! logged in, good once, and void when the connection attempt is over.

use std::collections::HashMap;
use std::net::SocketAddr;
use std::sync::{Mutex, MutexGuard, PoisonError};

use firmware_protocols::Ident;
use ring::rand::{SecureRandom, SystemRandom};

type Secret = [u8; 32];

#[derive(Default)]
pub(super) struct Tickets {
    issued: Mutex<HashMap<SocketAddr, (Ident, Secret)>>,
}

/// Void when dropped.
pub(super) struct Ticket<'a> {
    tickets: &'a Tickets,
    address: SocketAddr,
    secret: Secret,
}

impl Tickets {
    /// A ticket for a connection from `address`. `None` if the system gives no random bytes.
    pub(super) fn issue(&self, address: SocketAddr, device: &Ident) -> Option<Ticket<'_>> {
        let mut secret = [0; 32];
        SystemRandom::new().fill(&mut secret).ok()?;
        self.lock().insert(address, (device.clone(), secret));
        Some(Ticket {
            tickets: self,
            address,
            secret,
        })
    }

    /// Whether `secret` is the ticket of `address` for `device`. Uses it up.
    pub(super) fn redeem(&self, address: SocketAddr, device: &str, secret: &[u8]) -> bool {
        let issued = self.lock().remove(&address);
        issued.is_some_and(|(owner, ticket)| owner.as_str() == device && ticket == secret)
    }

    fn lock(&self) -> MutexGuard<'_, HashMap<SocketAddr, (Ident, Secret)>> {
        self.issued.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Ticket<'_> {
    pub(super) fn secret(&self) -> &[u8] {
        &self.secret
    }
}

impl Drop for Ticket<'_> {
    fn drop(&mut self) {
        self.tickets.lock().remove(&self.address);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ticket_is_good_once_from_its_own_address_for_its_own_device() {
        let tickets = Tickets::default();
        let device = Ident::new("bank-a").unwrap();
        let (here, there) = (
            SocketAddr::from(([127, 0, 0, 1], 1)),
            SocketAddr::from(([127, 0, 0, 1], 2)),
        );
        let ticket = tickets.issue(here, &device).unwrap();
        let secret = ticket.secret().to_vec();
        assert!(!tickets.redeem(there, "bank-a", &secret));
        assert!(tickets.redeem(here, "bank-a", &secret));
        assert!(!tickets.redeem(here, "bank-a", &secret), "used up");
        drop(ticket);

        let ticket = tickets.issue(here, &device).unwrap();
        assert!(!tickets.redeem(here, "bank-b", ticket.secret()));
        let ticket = tickets.issue(here, &device).unwrap();
        let secret = ticket.secret().to_vec();
        drop(ticket);
        assert!(!tickets.redeem(here, "bank-a", &secret), "void");
    }
}
