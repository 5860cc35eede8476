//! Defects that real balancers shipped, each as a policy that has it: the conformance suite must find every one.
//!
//! Not among them: results of checks that were counted although not consecutive (Caddy #7625) is a matter of health: the tests of lb-health's `check`
//! hold that only results in a row count.

#[path = "broken/copies.rs"]
mod broken;
