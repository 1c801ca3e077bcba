#![doc = include_str!("../README.md")]

mod card;
mod drawing;
mod error;
mod folder;
mod graph;
mod matching;
mod metadata;
mod network;
mod onnx;
mod preprocessing;
pub mod proto;
mod quantized;
mod transformer;
mod trust;

pub use card::{CARD, CardFacts, is_card};
pub use error::{ExportError, Result};
pub use folder::{Files, timm, transformers};
pub use onnx::{OnnxOptions, Precision, onnx};
