//! Learning to learn: one file a method, each an `Objective` to train with and an `Adapt` to use,
//! and a `Method` that says so to the registry.

mod anil;
mod embedded;
mod inner_loop;
mod maml;
mod maml_plus_plus;
mod meta_sgd;
mod multitask;
mod proto_maml;
mod protonet;
mod reptile;
#[cfg(test)]
mod test_support;

pub use anil::{ANIL, Anil};
pub use inner_loop::Order;
pub use maml::{AdaptedMaml, FIRST_ORDER_MAML, MAML, Maml};
pub use maml_plus_plus::{MAML_PLUS_PLUS, MamlPlusPlus};
pub use meta_sgd::{META_SGD, MetaSgd};
pub use multitask::SharedTasks;
pub use proto_maml::{PROTO_MAML, ProtoMaml};
pub use protonet::{PROTONET, ProtoNet};
pub use reptile::{REPTILE, Reptile};
