//! Who is let in.

mod basic;
mod forward;
mod jwt;
