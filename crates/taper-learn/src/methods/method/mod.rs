//! What a method is: where it comes from, its typed settings, and how its objective and its learner
//! are made from them.
//!
//! A method is a struct of its settings that implements [`TypedMethod`], and Rust code uses it as
//! that struct. A registry is a list of `&dyn` [`Method`], with the types erased; [`Registered`]
//! converts the former to the latter.

mod context;
mod erased;
mod info;
mod own;
mod settings;
mod typed;

pub use context::Context;
pub use erased::{ConfiguredMethod, Method, Registered};
pub use info::{Kind, MethodInfo, Training};
pub use own::{OWN, is_own, network_part, own_params};
pub use settings::{MethodSettings, SettingInfo, SettingValues};
pub use typed::TypedMethod;
