//! Who is let in.

mod basic;
