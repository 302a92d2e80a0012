//! The local API: what a technician at the box may ask the running daemon, over a Unix socket.
//!
//! * [`wire`] — requests and replies, one JSON object a line.
//! * [`views`] — the shapes of the answers; they are also the CLI's `--json`.
//! * [`secret`] — a pickup code or an enrolment token on its way.
//! * [`sync`] — what is asked of the sync client while it runs.
//! * [`audit`] — the parcels' history, verified and exported.
//! * [`health`] — what is wrong, if anything.
//! * [`server`] — the socket, its bounds.
//! * [`client`] — the other end, for the CLI.
//!
//! Who may ask is decided by the socket's mode (0660) and folder; who asks is taken from the
//! kernel, never from the client's word.
//!
//! Invariant: nothing here writes to the store, and no request can hold up the journal: answers are
//! read on connections of their own, and a client that doesn't take its answer loses its connection.

mod act;
mod answer;
pub mod audit;
mod backend;
pub mod client;
mod conversation;
pub mod health;
pub mod knocks;
mod known;
mod monitor;
mod open;
mod operator;
mod pair;
pub mod profiles;
pub mod reload;
pub mod secret;
pub mod server;
mod socket;
pub mod sync;
pub mod views;
pub mod wire;

pub use act::HOURS_MAX;
pub use answer::PARCEL_STATES;
pub use backend::{Backend, memory_rss_bytes};
pub use server::{Limits, serve, serve_within};
pub use socket::SocketError;
