//! A device's payload in CBOR.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| linli_fuzz::light::events::event(bytes));
