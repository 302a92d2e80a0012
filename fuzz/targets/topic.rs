//! The topic of a publication or a will.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| linli_fuzz::light::topic::topic(bytes));
