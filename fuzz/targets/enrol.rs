//! Enrolment, changes of key, and what the cloud says of a gateway.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| linli_fuzz::light::secure::enrol(bytes));
