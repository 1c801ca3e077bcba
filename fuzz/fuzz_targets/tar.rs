#![no_main]

libfuzzer_sys::fuzz_target!(|content: &[u8]| taper_fuzz::read(hostile_files::Kind::Tar, content));
