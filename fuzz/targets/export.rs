//! The signed file of a parcel's history.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| linli_fuzz::gateway::export::export(bytes));
