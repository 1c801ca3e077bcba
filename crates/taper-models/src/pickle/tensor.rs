//! Tensors as PyTorch stores them: a view, by offset and strides, into a storage.

use super::Read;
use candle_core::{DType, Device, Tensor};
use std::borrow::Cow;
use std::rc::Rc;

/// The type of a storage's elements, by its class in `torch`, such as `FloatStorage`.
pub(super) fn dtype_of_storage(class: &str) -> Option<DType> {
    Some(match class {
        "DoubleStorage" => DType::F64,
        "FloatStorage" => DType::F32,
        "HalfStorage" => DType::F16,
        "BFloat16Storage" => DType::BF16,
        "LongStorage" => DType::I64,
        "IntStorage" => DType::I32,
        "ShortStorage" => DType::I16,
        "ByteStorage" | "BoolStorage" => DType::U8,
        _ => return None,
    })
}

/// A storage, or a stretch of one, by its key in the file.
#[derive(Debug, Clone)]
pub(super) struct StorageRef {
    pub(super) key: Rc<str>,
    pub(super) dtype: DType,
    /// Elements of the whole storage.
    pub(super) length: usize,
    /// Where the stretch begins, in elements.
    pub(super) offset: usize,
}

impl StorageRef {
    /// Bytes of the whole storage.
    pub(super) fn bytes(&self) -> Read<usize> {
        let bytes = self.length.checked_mul(self.dtype.size_in_bytes());
        bytes.ok_or_else(|| format!("has a storage of {} elements: the file is broken", self.length))
    }
}

/// A tensor by its storage, offset, sizes and strides, in elements.
#[derive(Debug)]
pub(super) struct Strided {
    pub(super) storage: StorageRef,
    pub(super) offset: usize,
    pub(super) sizes: Vec<usize>,
    pub(super) strides: Vec<usize>,
}

impl Strided {
    /// How many elements it has; errs unless all of them lie in the storage, which holds at least as many.
    pub(super) fn count(&self) -> Read<usize> {
        self.checked_count().ok_or_else(|| {
            format!(
                "of shape {:?} and strides {:?} does not fit its storage of {} elements: the file is broken",
                self.sizes, self.strides, self.storage.length
            )
        })
    }

    fn checked_count(&self) -> Option<usize> {
        if self.sizes.len() != self.strides.len() {
            return None;
        }
        let mut count = 1usize;
        let mut last = self.start()?;
        for (&size, &stride) in self.sizes.iter().zip(&self.strides) {
            count = count.checked_mul(size)?;
            last = last.checked_add(size.saturating_sub(1).checked_mul(stride)?)?;
        }
        let fits = count == 0 || (last < self.storage.length && count <= self.storage.length);
        fits.then_some(count)
    }

    fn start(&self) -> Option<usize> {
        self.storage.offset.checked_add(self.offset)
    }

    /// The tensor, from its whole storage's bytes, little endian.
    pub(super) fn tensor(&self, bytes: &[u8]) -> Read<Tensor> {
        let (count, needed) = (self.count()?, self.storage.bytes()?);
        if bytes.len() != needed {
            return Err(format!("needs a storage of {needed} bytes and has {}: the file is broken", bytes.len()));
        }
        let gathered = self.gather(bytes, count);
        Tensor::from_raw_buffer(&gathered, self.storage.dtype, &self.sizes, &Device::Cpu)
            .map_err(|error| format!("cannot be made: {error}"))
    }

    /// The bytes of the elements in row-major order.
    fn gather<'a>(&self, bytes: &'a [u8], count: usize) -> Cow<'a, [u8]> {
        let (size, start) = (self.storage.dtype.size_in_bytes(), self.storage.offset + self.offset);
        if count == 0 {
            return Cow::Borrowed(&[]);
        }
        if self.contiguous() {
            return Cow::Borrowed(&bytes[start * size..(start + count) * size]);
        }
        let mut index = vec![0; self.sizes.len()];
        let mut gathered = Vec::with_capacity(count * size);
        for _ in 0..count {
            let at = start + index.iter().zip(&self.strides).map(|(i, stride)| i * stride).sum::<usize>();
            gathered.extend_from_slice(&bytes[at * size..(at + 1) * size]);
            for (i, &length) in index.iter_mut().zip(&self.sizes).rev() {
                *i += 1;
                if *i < length {
                    break;
                }
                *i = 0;
            }
        }
        Cow::Owned(gathered)
    }

    fn contiguous(&self) -> bool {
        let mut expected = 1;
        self.sizes.iter().zip(&self.strides).rev().all(|(&size, &stride)| {
            let fits = size == 1 || stride == expected;
            expected *= size;
            fits
        })
    }
}
