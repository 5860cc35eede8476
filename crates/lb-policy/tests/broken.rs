//! Defects that real balancers shipped, each as a policy that has it: the conformance suite must find every one.
//!
//! Not among them: results of checks that were counted although not consecutive (Caddy #7625) is a matter of health.

#[path = "broken/copies.rs"]
mod broken;
