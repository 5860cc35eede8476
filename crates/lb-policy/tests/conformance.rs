//! Every policy of this crate, held to its promises. The first test file to fail when a policy changes its mind.

#[path = "conformance/policies.rs"]
mod conformance;
