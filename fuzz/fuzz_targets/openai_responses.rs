//! Arbitrary bytes as an answer of responses.

#![no_main]

use libfuzzer_sys::{fuzz_mutator, fuzz_target};
use omni_providers::Protocol;

fuzz_target!(|data: &[u8]| omni_fuzz::answer::run(Protocol::OpenaiResponses, data));
fuzz_mutator!(|data: &mut [u8], size: usize, max_size: usize, seed: u32| {
    omni_fuzz::mutate::run(data, size, max_size, seed)
});
