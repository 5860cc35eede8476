//! The comparison is `benches/peers.rs`; cargo only wants a library beside it.
