//! A load balancer for HTTP services.
fn main() {}
