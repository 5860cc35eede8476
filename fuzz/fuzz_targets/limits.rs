//! Any sequence of operations keeps the promises of the limits.
#![no_main]

use libfuzzer_sys::fuzz_target;

fuzz_target!(|input: &[u8]| operations::run(input));

#[path = "../../crates/lb-ratelimit/tests/properties/operations.rs"]
mod operations;
