//! A method together with what it is set up for: what objectives and heads of this crate are made of.

use taper_learn::Context;

/// A method with its context.
#[derive(Debug, Clone)]
pub(crate) struct WithContext<M> {
    pub(crate) method: M,
    pub(crate) context: Context,
}

impl<M: Clone> WithContext<M> {
    pub(crate) fn new(method: &M, context: &Context) -> Self {
        Self { method: method.clone(), context: context.clone() }
    }
}
