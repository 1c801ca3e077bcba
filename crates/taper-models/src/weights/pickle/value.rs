//! The values that a pickle describes.

use super::tensor::{ElementType, StorageRef, Strided};
use std::collections::BTreeSet;

/// A value on the machine's stack.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Value {
    /// Python's `None`.
    None,
    Bool(bool),
    Int(i64),
    /// A name that tensors need.
    Global(Global),
    /// A value without parts that nothing here reads: a float, bytes, a long number.
    Opaque,
    /// An index into the arena.
    Object(usize),
}

/// The names that mean something here.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Global {
    /// `collections.OrderedDict` and `dict`.
    Dict,
    /// `torch.Size`, a tuple.
    Size,
    /// `torch._utils._rebuild_tensor` and `_rebuild_tensor_v2`.
    RebuildTensor,
    /// `torch._utils._rebuild_tensor_v3`, which names the element type itself.
    RebuildTypedTensor,
    /// `torch._utils._rebuild_parameter` and `_rebuild_parameter_with_state`.
    RebuildParameter,
    /// `torch._tensor._rebuild_from_type_v2`, for subclasses of tensors.
    RebuildFromType,
    /// A class of storages, such as `torch.FloatStorage`.
    Storage(ElementType),
    /// `torch.storage.UntypedStorage`, counted in bytes.
    UntypedStorage,
    /// An element type, such as `torch.float32`.
    DType(ElementType),
}

/// A value with parts.
#[derive(Debug)]
pub(super) enum Object<'a> {
    Text(&'a str),
    Tuple(Vec<Value>),
    List(Vec<Value>),
    Dict(Vec<(Value, Value)>),
    Storage(Box<StorageRef<'a>>),
    Tensor(Box<Strided<'a>>),
    /// A class or function that is not known here. It is never called.
    Class(Class<'a>),
    /// A placeholder for what calling a [`Object::Class`] would have made.
    Foreign(Box<Foreign<'a>>),
}

/// A class or function by its name in Python.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Class<'a> {
    pub(super) module: &'a str,
    pub(super) name: &'a str,
}

/// A placeholder for an object of a foreign class.
#[derive(Debug)]
pub(super) struct Foreign<'a> {
    pub(super) class: Class<'a>,
    /// The entries set on it, if it is a kind of dict.
    pub(super) items: Vec<(Value, Value)>,
    /// Its attributes, as the pickle gives them.
    pub(super) state: Value,
}

/// The outcome of a pickle.
#[derive(Debug)]
pub(super) struct Pickle<'a> {
    pub(super) root: Value,
    pub(super) objects: Vec<Object<'a>>,
    /// Its length in bytes.
    pub(super) length: usize,
}

impl<'a> Pickle<'a> {
    pub(super) fn object(&self, value: Value) -> Option<&Object<'a>> {
        match value {
            Value::Object(index) => self.objects.get(index),
            _ => None,
        }
    }

    pub(super) fn text(&self, value: Value) -> Option<&'a str> {
        match self.object(value)? {
            Object::Text(text) => Some(text),
            _ => None,
        }
    }

    /// The entries of a dict, or of a foreign kind of dict.
    pub(super) fn dict(&self, value: Value) -> Option<&[(Value, Value)]> {
        match self.object(value)? {
            Object::Dict(pairs) => Some(pairs),
            Object::Foreign(foreign) if !foreign.items.is_empty() => Some(&foreign.items),
            _ => None,
        }
    }

    pub(super) fn list(&self, value: Value) -> Option<&[Value]> {
        match self.object(value)? {
            Object::List(values) => Some(values),
            _ => None,
        }
    }

    pub(super) fn tensor(&self, value: Value) -> Option<&Strided<'a>> {
        match self.object(value)? {
            Object::Tensor(tensor) => Some(tensor),
            _ => None,
        }
    }

    /// The value of an attribute of a foreign object.
    pub(super) fn attribute(&self, foreign: &Foreign<'a>, name: &str) -> Option<Value> {
        let pairs = self.dict(foreign.state)?;
        pairs.iter().find(|(key, _)| self.text(*key) == Some(name)).map(|&(_, value)| value)
    }

    /// Every storage that it names.
    pub(super) fn storages(&self) -> impl Iterator<Item = &StorageRef<'a>> {
        self.objects.iter().filter_map(|object| match object {
            Object::Storage(storage) => Some(&**storage),
            _ => None,
        })
    }

    /// The names of foreign classes of which it describes objects, sorted, each once.
    pub(super) fn foreign_classes(&self) -> Vec<String> {
        let classes = self.objects.iter().filter_map(|object| match object {
            Object::Foreign(foreign) => Some(foreign.class),
            _ => None,
        });
        let classes: BTreeSet<Class> = classes.collect();
        classes.into_iter().map(|class| format!("{}.{}", class.module, class.name)).collect()
    }
}
