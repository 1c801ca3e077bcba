//! Where the rows that are multiplied lie, and where the sums go.

/// Where the rows of a product's left side lie, each of `width` values.
pub(crate) enum Rows<'a> {
    /// `taps` lists of `pixels` addresses, each checked against its slice when it was listed.
    Listed(List<'a>),
    /// One row per pixel, `stride` apart.
    Strided { values: &'a [f32], stride: usize, width: usize },
}

/// Addresses of rows of `width` values.
pub(crate) struct List<'a> {
    addresses: Vec<*const f32>,
    source: &'a [f32],
    zeros: &'a [f32],
    width: usize,
}

impl<'a> List<'a> {
    /// An empty list, with room for some rows of `source`, or of `zeros`, which holds one row.
    pub(crate) fn new(source: &'a [f32], zeros: &'a [f32], width: usize, room: usize) -> Self {
        assert!(zeros.len() >= width, "a row of zeros is too short");
        Self { addresses: Vec::with_capacity(room), source, zeros, width }
    }

    /// Lists `count` rows, the first at `source[offset]`, the others `step` further on each.
    pub(crate) fn push(&mut self, offset: usize, step: usize, count: usize) {
        if count == 0 {
            return;
        }
        assert!(offset + (count - 1) * step + self.width <= self.source.len(), "rows outside their slice");
        let first = self.source[offset..].as_ptr();
        // SAFETY: the last row ends inside the slice, as just checked.
        self.addresses.extend((0..count).map(|index| unsafe { first.add(index * step) }));
    }

    /// Lists zeros `count` times.
    pub(crate) fn push_zeros(&mut self, count: usize) {
        self.addresses.extend(std::iter::repeat_n(self.zeros.as_ptr(), count));
    }
}

impl Rows<'_> {
    pub(super) fn width(&self) -> usize {
        match self {
            Self::Listed(list) => list.width,
            Self::Strided { width, .. } => *width,
        }
    }

    /// Returns `true` if there are `taps` rows for each of `pixels` pixels.
    pub(super) fn cover(&self, taps: usize, pixels: usize) -> bool {
        match self {
            Self::Listed(list) => list.addresses.len() == taps * pixels,
            Self::Strided { values, stride, width } => {
                taps == 1 && (pixels == 0 || (pixels - 1) * stride + width <= values.len())
            }
        }
    }

    pub(super) fn source(&self) -> Source {
        match self {
            Self::Listed(list) => Source::Listed(list.addresses.as_ptr()),
            Self::Strided { values, stride, .. } => Source::Strided(values.as_ptr(), *stride),
        }
    }
}

#[derive(Clone, Copy)]
pub(super) enum Source {
    Listed(*const *const f32),
    Strided(*const f32, usize),
}

impl Source {
    /// # Safety
    /// `index` counts the row within what [`Rows::cover`] has checked.
    #[inline(always)]
    pub(super) unsafe fn row(self, index: usize) -> *const f32 {
        // SAFETY: the caller's promise.
        unsafe {
            match self {
                Self::Listed(list) => *list.add(index),
                Self::Strided(first, stride) => first.add(index * stride),
            }
        }
    }

    /// The addresses of value number `input` in each of `P` rows, from the row `index` on.
    ///
    /// # Safety
    /// As [`Source::row`], for all of them; `input` is at most the rows' width.
    #[inline(always)]
    pub(super) unsafe fn rows<const P: usize>(self, index: usize, input: usize) -> [*const f32; P] {
        let mut rows = [std::ptr::null::<f32>(); P];
        // SAFETY: the caller's promise.
        unsafe {
            match self {
                Self::Listed(list) => {
                    for p in 0..P {
                        rows[p] = (*list.add(index + p)).add(input);
                    }
                }
                Self::Strided(first, stride) => {
                    for p in 0..P {
                        rows[p] = first.add((index + p) * stride + input);
                    }
                }
            }
        }
        rows
    }
}

/// Where the pixels of an output begin; they do not overlap.
pub(crate) struct Offsets {
    pub(super) values: Vec<usize>,
    /// The greatest of them, which [`Product::run`] checks against the output.
    pub(super) greatest: Option<usize>,
}

impl FromIterator<usize> for Offsets {
    fn from_iter<I: IntoIterator<Item = usize>>(offsets: I) -> Self {
        let values: Vec<usize> = offsets.into_iter().collect();
        let greatest = values.iter().max().copied();
        Self { values, greatest }
    }
}

impl Offsets {
    pub(crate) fn iter(&self) -> impl Iterator<Item = usize> + '_ {
        self.values.iter().copied()
    }

    /// Pixels.
    pub(crate) fn len(&self) -> usize {
        self.values.len()
    }
}
