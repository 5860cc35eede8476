//! Defects of health checking that real balancers shipped, each as a copy that has it: the rule that ours keeps must find it.

#[path = "broken/copies.rs"]
mod broken;
