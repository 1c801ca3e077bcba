//! A method together with its context: the basis of this crate's objectives and heads.

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
