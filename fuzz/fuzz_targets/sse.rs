//! Arbitrary bytes as server-sent events.

#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target};

fuzz_target!(|data: &[u8]| omni_fuzz::sse::run(data));
fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    omni_fuzz::mutate::run(data, size, max_size, seed)
});
