#![doc = include_str!("../README.md")]

mod anil;
mod dense_matching;
mod embedded;
mod inner_loop;
mod maml;
mod maml_plus_plus;
mod matching;
mod meta_baseline;
mod meta_opt_net;
mod meta_sgd;
mod multitask;
mod proto_maml;
mod protonet;
mod r2d2;
mod relation;
mod reptile;
mod svm;
#[cfg(test)]
mod test_support;

pub mod training;
mod trajectory;
mod transductive;
mod with_context;

pub use anil::{ANIL, Anil};
pub use dense_matching::{DENSE_MATCHING, DenseMatching};
pub use maml::{FIRST_ORDER_MAML, FirstOrderMaml, MAML, Maml};
pub use maml_plus_plus::{MAML_PLUS_PLUS, MamlPlusPlus};
pub use matching::{MATCHING, Matching};
pub use meta_baseline::{META_BASELINE, MetaBaseline};
pub use meta_opt_net::{META_OPT_NET, MetaOptNet};
pub use meta_sgd::{META_SGD, MetaSgd};
pub use multitask::SharedTasks;
pub use proto_maml::{PROTO_MAML, ProtoMaml};
pub use protonet::{PROTONET, ProtoNet};
pub use r2d2::{META_OPT_NET_RIDGE, MetaOptNetRidge, R2D2, R2d2};
pub use relation::{RELATION, Relation};
pub use reptile::{REPTILE, Reptile};
pub use transductive::{LAPLACIAN_SHOT, LaplacianShot, PT_MAP, PtMap, TIM_GD, TimGd};
