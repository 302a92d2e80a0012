//! A stream of bytes on a serial line.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| linli_fuzz::light::link::link_frame(bytes));
