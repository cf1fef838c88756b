#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| stickfast_fuzz::haproxy::holds(data));
