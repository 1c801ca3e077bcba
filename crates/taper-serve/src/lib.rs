#![doc = include_str!("../README.md")]

mod api;
mod assets;
mod error;
mod gallery;
mod guard;
mod learner;
mod limits;
mod name;
mod problem;
mod rate;
mod server;
mod studio;
mod worker;

pub use error::{Result, ServeError};
pub use server::{Content, DEFAULT_PORT, ServeOptions, Server, Stopper};
pub use studio::Photographs;
