//! Bringing 16-bit samples to 8 bits.

/// The depths that cameras, scanners and microscopes write into 16-bit files, least first.
const DEPTHS: [u32; 4] = [8, 10, 12, 14];

/// The number of bits that samples use of their 16, if it is fewer: the least of 8, 10, 12 and 14 that
/// holds the largest sample. `None` for samples that use the whole range, and where all are 0.
///
/// A file does not say that its samples are, say, of 12 bits. Divided by 256 they would leave 16 of
/// 256 gray levels, a black picture. The depth and not the largest sample is taken for white, so that
/// pictures of one device keep their brightness against each other.
pub(super) fn bits_used(largest: u16) -> Option<u32> {
    DEPTHS.into_iter().find(|bits| u32::from(largest) < 1 << bits).filter(|_| largest > 0)
}

/// A 16-bit sample in 8 bits, rounded, where `bits` of the 16 are used.
pub(super) fn to_eight(sample: u16, bits: Option<u32>) -> u8 {
    let white = (1u32 << bits.unwrap_or(16)) - 1;
    ((u32::from(sample) * 255 + white / 2) / white).min(255) as u8
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_depth_is_the_least_that_holds_the_largest_sample() {
        let used = [0, 1, 255, 256, 1023, 1500, 4095, 16_383, 16_384, 65_535].map(bits_used);
        let depths = [None, Some(8), Some(8), Some(10), Some(10), Some(12), Some(12), Some(14), None, None];
        assert_eq!(used, depths);
    }

    #[test]
    fn black_and_white_stay_and_full_range_is_divided_by_257() {
        for bits in [None, Some(8), Some(10), Some(12), Some(14)] {
            let white = ((1u32 << bits.unwrap_or(16)) - 1) as u16;
            assert_eq!((to_eight(0, bits), to_eight(white, bits)), (0, 255));
        }
        assert!((0..=u16::MAX).all(|sample| u32::from(to_eight(sample, None)) == (u32::from(sample) + 128) / 257));
    }
}
