//! Learning to learn: one file a method, each an `Objective` to train with and an `Adapt` to use.

mod maml;
mod multitask;
mod protonet;

pub use maml::{AdaptedMaml, FIRST_ORDER_MAML, MAML, Maml, Order};
pub use multitask::SharedTasks;
pub use protonet::{PROTONET, ProtoNet};
