//! Load-balancing selection policies: exact, lock-free, free of clocks and runtimes.
