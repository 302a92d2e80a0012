//! What a device gets: commands and receipts.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| linli_fuzz::light::commands::receipt_command(bytes));
