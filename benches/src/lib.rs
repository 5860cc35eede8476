//! Benchmarks of the load-balancing crates.
