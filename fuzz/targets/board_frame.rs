//! Frames of locker boards in a stream of bytes.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| linli_fuzz::light::boards::board_frame(bytes));
