//! Both sides of the Linli link, and what goes wrong between them.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| linli_fuzz::light::link_session::link_session(bytes));
