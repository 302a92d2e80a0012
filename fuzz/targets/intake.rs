//! A device's payload as the links hand it in.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| linli_fuzz::gateway::intake::intake(bytes));
