//! The uplink as the cloud reads it.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| linli_fuzz::light::cloud::uplink_item(bytes));
