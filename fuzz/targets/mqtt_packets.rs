//! What a client says after its CONNECT.
#![no_main]

libfuzzer_sys::fuzz_target!(|bytes: &[u8]| linli_fuzz::gateway::packets::mqtt_packets(bytes));
