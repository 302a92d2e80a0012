//! The decoders of the two protocol crates: what devices, gateway and cloud say to each other.

pub mod boards;
pub mod cloud;
pub mod commands;
pub mod deterministic;
pub mod disguise;
pub mod events;
pub mod link;
pub mod link_session;
pub mod secure;
pub mod topic;
pub mod tree;

use crate::Target;

/// Every target of this group.
pub const TARGETS: &[Target] = &[
    ("value", tree::value),
    ("event_cbor", events::event),
    ("event_json", events::event),
    ("senml", events::senml),
    ("receipt_command", commands::receipt_command),
    ("downlink", cloud::downlink),
    ("cloud_answer", cloud::cloud_answer),
    ("uplink_item", cloud::uplink_item),
    ("signature_headers", secure::signature_headers),
    ("packed_body", secure::packed_body),
    ("enrol", secure::enrol),
    ("topic", topic::topic),
    ("link_frame", link::link_frame),
    ("link_session", link_session::link_session),
    ("board_frame", boards::board_frame),
];

/// The longest reason that a reader may give, in characters: reasons are stored and shown.
pub const REASON_MAX: usize = 400;

/// A reason is there, and no longer than what can be stored of thousands.
pub fn sound_reason(reason: &str) {
    let length = reason.chars().count();
    assert!(
        (1..=REASON_MAX).contains(&length),
        "a reason of {length} characters: {}",
        reason.chars().take(80).collect::<String>()
    );
}
