//! The cloud's acknowledgements and problems.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| linli_fuzz::light::cloud::cloud_answer(bytes));
