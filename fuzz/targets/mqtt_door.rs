//! The first packet of a client.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| linli_fuzz::gateway::door::mqtt_door(bytes));
