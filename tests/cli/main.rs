//! The technician's commands, by the real binary, against a real control server over a real store.
//!
//! * `answers` — what each command shows, to people and to programs.
//! * `opening` — a compartment opened by hand, and what became of it.
//! * `desk` — what the staff does, and that no pickup code is seen on its way.
//! * `ledgers` — what is at the desks, which commands were made, what in them needs a look.
//! * `errors` — every exit code, each with its remedy.
//! * `evidence` — the parcels' history verified, exported and checked.
//! * `init` — the first set-up, by flags and on a terminal, and a daemon that starts from it.
//! * `bounds` — what a client can't do to the others.
//! * `config` — the configuration checked, shown and tried against the world.
//! * `reloading` — a new configuration that was taken over, or refused.
//! * `syncing` — what is asked of the sync client, and that no token is seen on its way.
//! * `walk` — the walk test of a bank, and its record.

#![allow(clippy::unwrap_used, clippy::expect_used, clippy::panic)]

mod answers;
mod bed;
mod bounds;
mod config;
mod desk;
mod errors;
mod evidence;
mod init;
mod ledgers;
mod opening;
mod reloading;
mod syncing;
mod walk;
