//! A server on the loopback address, asked as a page asks it, and as an attacker does.
#![allow(clippy::unwrap_used, clippy::print_stdout, reason = "a test may fail, and says what it has measured")]

mod client;
mod hostile;
mod page;
