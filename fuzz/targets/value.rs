//! Any bytes as a tree: CBOR and JSON.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| linli_fuzz::light::tree::value(bytes));
