//! The headers of a signed request.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| linli_fuzz::light::secure::signature_headers(bytes));
