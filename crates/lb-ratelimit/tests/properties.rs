//! The limits against naive versions of themselves that count in exact fractions or keep every event in a list.

#[path = "properties/algorithms.rs"]
mod algorithms;
#[path = "properties/budget.rs"]
mod budget;
#[path = "properties/gcra.rs"]
mod gcra;
#[path = "properties/keyed.rs"]
mod keyed;
#[path = "properties/operations.rs"]
mod operations;
