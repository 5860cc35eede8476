//! Rate limits, concurrency limits and retry budgets in bounded memory, without IO.
