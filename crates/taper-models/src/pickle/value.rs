//! What a pickle describes.

use super::tensor::{StorageRef, Strided};
use candle_core::DType;
use std::rc::Rc;

/// A value on the machine's stack.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value {
    /// Python's `None`.
    None,
    Bool(bool),
    Int(i64),
    /// One of the names that tensors need.
    Global(Global),
    /// Something nobody asks for: a float, bytes, a type.
    Opaque,
    /// An index into the arena.
    Object(usize),
}

/// The names a pickle may ask for.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Global {
    OrderedDict,
    /// `torch.Size`, a tuple.
    Size,
    RebuildTensor,
    RebuildParameter,
    Storage(DType),
}

/// A value with parts.
#[derive(Debug)]
pub(super) enum Object {
    Text(Rc<str>),
    Tuple(Vec<Value>),
    List(Vec<Value>),
    Dict(Vec<(Value, Value)>),
    Storage(StorageRef),
    Tensor(Strided),
}

/// What a pickle made.
#[derive(Debug)]
pub(super) struct Pickle {
    pub(super) root: Value,
    pub(super) objects: Vec<Object>,
    /// Its length in bytes.
    pub(super) length: usize,
}

impl Pickle {
    pub(super) fn object(&self, value: Value) -> Option<&Object> {
        match value {
            Value::Object(index) => self.objects.get(index),
            _ => None,
        }
    }

    pub(super) fn text(&self, value: Value) -> Option<&str> {
        match self.object(value)? {
            Object::Text(text) => Some(text),
            _ => None,
        }
    }

    pub(super) fn dict(&self, value: Value) -> Option<&[(Value, Value)]> {
        match self.object(value)? {
            Object::Dict(pairs) => Some(pairs),
            _ => None,
        }
    }

    pub(super) fn list(&self, value: Value) -> Option<&[Value]> {
        match self.object(value)? {
            Object::List(values) => Some(values),
            _ => None,
        }
    }

    /// Every storage that it names.
    pub(super) fn storages(&self) -> impl Iterator<Item = &StorageRef> {
        self.objects.iter().filter_map(|object| match object {
            Object::Storage(storage) => Some(storage),
            _ => None,
        })
    }
}
