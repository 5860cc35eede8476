//! tower layers for load balancing: balance, rate limit, retry.
