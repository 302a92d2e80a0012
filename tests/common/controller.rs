//! A bank's controller that says event by event what a courier and a resident do, over any client.
#![allow(dead_code, clippy::unwrap_used, clippy::expect_used, clippy::panic)]

use cloud_protocol::downlink::{ExpectedParcel, Proof, Size, Zone};
use cloud_protocol::{Downlink, badge_digest};
use firmware_protocols::Kind;
use firmware_protocols::event::{Done, Door, Secret};
use reference_cloud::Cloud;

use crate::common::{ident, wait_until};

/// The controller of `bank-a`.
pub trait Controller {
    /// Publishes an event.
    async fn say(&mut self, kind: Kind);

    /// The next command to open, with its compartment.
    async fn opened(&mut self) -> (String, u16);

    /// Waits until everything published is acknowledged.
    async fn settle(&mut self);

    /// Lets a courier bring one parcel; returns its code.
    async fn deposit(&mut self, cloud: &Cloud) -> Secret {
        let gateway = ident("test-site");
        let courier = Downlink::Courier {
            courier: "c-1".to_owned(),
            proof: Proof::Badge(badge_digest("badge-1")),
            valid_until: 4_000_000_000_000,
        };
        cloud.push(&gateway, &courier).await.unwrap();
        let parcel = ExpectedParcel {
            parcel: "p-1".to_owned(),
            recipient: "r-1".to_owned(),
            size: Size::S,
            zone: Zone::Ambient,
            point: ident("bank-a"),
            deadline: 4_000_000_000_000,
            consent: true,
            items: None,
            low: false,
            return_of: None,
        };
        cloud.announce(&gateway, &parcel).await.unwrap();
        let code = wait_until("the code to reach the cloud", async || {
            cloud.codes(&gateway).await.unwrap().remove("p-1")
        })
        .await;
        for symbol in ["badge-1", "p-1"] {
            let symbol = Secret::new(symbol);
            self.say(Kind::Scan { symbol }).await;
        }
        let (command, compartment) = self.opened().await;
        self.hand_over(command, compartment).await;
        Secret::new(code.reveal())
    }

    /// Door open, door closed on a parcel that is still there: the code stays good.
    async fn hand_over(&mut self, command: String, compartment: u16) {
        let done = Kind::Result {
            command,
            outcome: Done::Done,
            reason: None,
        };
        self.say(done).await;
        for door in [Door::Open, Door::Closed] {
            self.say(Kind::Compartment {
                compartment,
                door,
                occupied: Some(true),
            })
            .await;
        }
        self.settle().await;
    }
}
