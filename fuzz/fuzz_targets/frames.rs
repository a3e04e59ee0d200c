#![no_main]

libfuzzer_sys::fuzz_target!(|data: &[u8]| yak_fuzz::frames(data));
