//! The vocabulary of load balancing: time, endpoints, weights, outcomes and eligibility.
