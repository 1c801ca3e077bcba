//! The two element types that operations compute in, and access to a tensor's values.

use candle_core::{CpuStorage, DType, Layout, Result, Shape, WithDType, bail};
use std::ops::{Add, AddAssign, Div, Mul, Sub};

/// f32 (training) or f64 (the reference of tests).
pub(crate) trait Element:
    WithDType
    + Default
    + Copy
    + Send
    + Sync
    + PartialOrd
    + AddAssign
    + Add<Output = Self>
    + Mul<Output = Self>
    + Div<Output = Self>
    + Sub<Output = Self>
    + 'static
{
    const ZERO: Self;
    fn of(value: f64) -> Self;
    fn is_not_a_number(self) -> bool;
    fn root(self) -> Self;
}

macro_rules! element {
    ($type:ty) => {
        impl Element for $type {
            const ZERO: Self = 0.0;
            fn of(value: f64) -> Self {
                value as $type
            }
            #[inline(always)]
            fn is_not_a_number(self) -> bool {
                self.is_nan()
            }
            #[inline(always)]
            fn root(self) -> Self {
                self.sqrt()
            }
        }
    };
}
element!(f32);
element!(f64);

/// Bytes above which [`elements`] asks the allocator before a result is computed.
const LARGE: usize = 1 << 32;

/// The number of values of a result of these sizes.
///
/// Fails if it cannot be counted, or if a large result would not fit in memory: allocating it would
/// end the process.
pub(crate) fn elements(op: &str, dims: &[usize]) -> Result<usize> {
    let count = dims.iter().try_fold(1usize, |count, &size| count.checked_mul(size));
    let bytes =
        count.and_then(|count| count.checked_mul(size_of::<f64>())).filter(|&bytes| bytes < isize::MAX as usize);
    match (count, bytes) {
        (Some(count), Some(bytes)) if bytes < LARGE || Vec::<u8>::new().try_reserve_exact(bytes).is_ok() => Ok(count),
        _ => bail!("{op}: {dims:?} values do not fit in memory: use smaller sizes"),
    }
}

/// The values of a contiguous tensor.
pub(crate) fn values<'a, T: Element>(storage: &'a CpuStorage, layout: &Layout, op: &str) -> Result<&'a [T]> {
    match layout.contiguous_offsets() {
        Some((start, end)) => Ok(&T::cpu_storage_as_slice(storage)?[start..end]),
        None => bail!("{op}: takes contiguous tensors only: call .contiguous() first"),
    }
}

pub(crate) fn stored<T: Element>(values: Vec<T>, shape: impl Into<Shape>) -> (CpuStorage, Shape) {
    (T::to_cpu_storage_owned(values), shape.into())
}

pub(crate) fn float(dtype: DType, op: &str) -> Result<()> {
    match dtype {
        DType::F32 | DType::F64 => Ok(()),
        other => bail!("{op}: takes f32 or f64, not {other:?}"),
    }
}

/// Runs a function that is generic in the element on the type that a storage holds.
macro_rules! by_type {
    ($storage:expr, $op:expr, $function:ident ( $($argument:expr),* )) => {
        match $storage.dtype() {
            candle_core::DType::F32 => $function::<f32>($($argument),*),
            candle_core::DType::F64 => $function::<f64>($($argument),*),
            other => candle_core::bail!("{}: takes f32 or f64, not {:?}", $op, other),
        }
    };
}
pub(crate) use by_type;
