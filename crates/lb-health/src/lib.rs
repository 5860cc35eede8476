//! Health state machines for load balancing: active checks, outlier detection, breaker, slow start.
