//! A body in zstd.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| linli_fuzz::light::secure::packed_body(bytes));
