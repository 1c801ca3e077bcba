//! Tensors as PyTorch stores them: a view, by offset and strides, into a storage.

use super::Read;
use candle_core::{DType, Device, Tensor};
use std::borrow::Cow;

/// The type of a storage's elements.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash)]
pub(super) struct ElementType {
    /// Bytes of one element; 0 if that is not known either.
    pub(super) size: usize,
    /// The same type here; `None` if it is not supported.
    pub(super) dtype: Option<DType>,
}

impl ElementType {
    /// Plain bytes, of no type yet.
    pub(super) const BYTES: Self = Self { size: 1, dtype: None };

    fn of(dtype: DType) -> Self {
        Self { size: dtype.size_in_bytes(), dtype: Some(dtype) }
    }

    fn unsupported(size: usize) -> Self {
        Self { size, dtype: None }
    }

    /// The type of a class of storages in `torch`, such as `FloatStorage`.
    pub(super) fn of_storage(class: &str) -> Self {
        match class {
            "DoubleStorage" => Self::of(DType::F64),
            "FloatStorage" => Self::of(DType::F32),
            "HalfStorage" => Self::of(DType::F16),
            "BFloat16Storage" => Self::of(DType::BF16),
            "LongStorage" => Self::of(DType::I64),
            "IntStorage" => Self::of(DType::I32),
            "ShortStorage" => Self::of(DType::I16),
            "ByteStorage" | "BoolStorage" => Self::of(DType::U8),
            "CharStorage" | "QInt8Storage" | "QUInt8Storage" => Self::unsupported(1),
            "QInt32Storage" => Self::unsupported(4),
            "ComplexFloatStorage" => Self::unsupported(8),
            "ComplexDoubleStorage" => Self::unsupported(16),
            _ => Self::unsupported(0),
        }
    }

    /// The type by its name in `torch`, such as `float32`; `None` if the name is not a type's.
    pub(super) fn of_name(name: &str) -> Option<Self> {
        Some(match name {
            "float64" | "double" => Self::of(DType::F64),
            "float32" | "float" => Self::of(DType::F32),
            "float16" | "half" => Self::of(DType::F16),
            "bfloat16" => Self::of(DType::BF16),
            "int64" | "long" => Self::of(DType::I64),
            "int32" | "int" => Self::of(DType::I32),
            "int16" | "short" => Self::of(DType::I16),
            "uint8" | "bool" => Self::of(DType::U8),
            "uint32" => Self::of(DType::U32),
            "int8" | "float8_e4m3fn" | "float8_e5m2" | "float8_e4m3fnuz" | "float8_e5m2fnuz" => Self::unsupported(1),
            "uint16" => Self::unsupported(2),
            "uint64" | "complex64" => Self::unsupported(8),
            "complex128" => Self::unsupported(16),
            _ => return None,
        })
    }
}

/// A storage, or a stretch of one, by its key in the file.
#[derive(Debug, Clone)]
pub(super) struct StorageRef<'a> {
    pub(super) key: &'a str,
    pub(super) element: ElementType,
    /// Elements of the whole storage.
    pub(super) length: usize,
    /// Where the stretch begins, in elements.
    pub(super) offset: usize,
}

impl StorageRef<'_> {
    /// Bytes of the whole storage.
    pub(super) fn bytes(&self) -> Read<usize> {
        let bytes = self.length.checked_mul(self.element.size);
        bytes.ok_or_else(|| format!("has a storage of {} elements: the file is broken", self.length))
    }

    /// The same bytes as elements of another type.
    pub(super) fn of_type(self, element: ElementType) -> Self {
        let per = |elements: usize| elements.saturating_mul(self.element.size).checked_div(element.size).unwrap_or(0);
        Self { length: per(self.length), offset: per(self.offset), element, ..self }
    }
}

/// A tensor by its storage, offset, sizes and strides, in elements.
#[derive(Debug)]
pub(super) struct Strided<'a> {
    pub(super) storage: StorageRef<'a>,
    pub(super) offset: usize,
    pub(super) sizes: Vec<usize>,
    pub(super) strides: Vec<usize>,
}

impl Strided<'_> {
    /// The number of elements.
    ///
    /// Fails unless all of them lie in the storage, which holds at least as many.
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
        let dtype = self.storage.element.dtype.ok_or("has an element type that is not supported")?;
        let gathered = self.gather(bytes, count);
        let sizes = self.sizes.as_slice();
        let made = match dtype {
            // copied once: candle copies twice where the bytes don't lie as numbers do
            DType::F32 => Tensor::from_vec(numbers(&gathered), sizes, &Device::Cpu),
            _ => Tensor::from_raw_buffer(&gathered, dtype, sizes, &Device::Cpu),
        };
        made.map_err(|error| format!("cannot be made: {error}"))
    }

    /// The bytes of the elements in row-major order.
    fn gather<'b>(&self, bytes: &'b [u8], count: usize) -> Cow<'b, [u8]> {
        let (size, start) = (self.storage.element.size, self.storage.offset + self.offset);
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

/// Little-endian numbers of four bytes.
fn numbers(bytes: &[u8]) -> Vec<f32> {
    let (numbers, _) = bytes.as_chunks::<4>();
    numbers.iter().map(|&number| f32::from_le_bytes(number)).collect()
}
