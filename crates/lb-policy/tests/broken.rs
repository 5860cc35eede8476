//! Defects that real balancers shipped, each as a policy that has it: the conformance suite must find every one.
//!
//! Not among them: results of checks that were counted although they do not follow one another (Caddy #7625) are a matter of health, and a
//! copy of lb-health's own tests.

#[path = "broken/copies.rs"]
mod broken;
