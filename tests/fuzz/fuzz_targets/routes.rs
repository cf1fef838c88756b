#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| stickfast_fuzz::routes::holds(data));
