//! Laying transparent pictures over a ground on which they can be seen.

/// What a transparent picture is laid over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Ground {
    /// White: the default.
    White,
    /// Black, for pictures whose ink is white or nearly so and would vanish on white.
    Black,
}

impl Ground {
    fn level(self) -> u32 {
        if self == Self::White { 255 } else { 0 }
    }
}

/// The mean distance from white, in gray levels, below which ink counts as white.
const WHITE_INK: f64 = 24.0;

/// The standard deviation over white, in gray levels, from which a picture shows something.
const SHOWS: f64 = 8.0;

/// The ground for pixels of `N` samples, the last of each its opacity; `None` if all are opaque.
///
/// Black where the ink, weighted by its opacity, is white or nearly so in all channels and nothing of
/// it shows over white; else white. A white page with clear corners stays on white, for what is
/// printed on it shows. A picture without any ink is on white, and blank.
pub(super) fn ground<const N: usize>(samples: &[u8]) -> Option<Ground> {
    let (mut ink, mut sum, mut squares, mut pixels) = (0.0, 0.0, 0.0, 0.0);
    for pixel in samples.chunks_exact(N) {
        let opacity = f64::from(pixel[N - 1]) / 255.0;
        let darkest = pixel[..N - 1].iter().copied().min().unwrap_or(255);
        let from_white = f64::from(255 - darkest) * opacity;
        ink += opacity;
        sum += from_white;
        squares += from_white * from_white;
        pixels += 1.0;
    }
    if ink == pixels {
        return None;
    }
    if ink == 0.0 {
        return Some(Ground::White);
    }
    let mean: f64 = sum / pixels;
    let deviation = (squares / pixels - mean * mean).max(0.0).sqrt();
    Some(if sum / ink < WHITE_INK && deviation < SHOWS { Ground::Black } else { Ground::White })
}

/// Pixels of `N` samples, the last of each its opacity, laid over a ground.
pub(super) fn lay_over<const N: usize>(samples: &[u8], ground: Ground) -> Vec<u8> {
    let mut flat = Vec::with_capacity(samples.len() / N * (N - 1));
    for pixel in samples.chunks_exact(N) {
        let opacity = u32::from(pixel[N - 1]);
        let blend = |&sample: &u8| ((u32::from(sample) * opacity + ground.level() * (255 - opacity) + 127) / 255) as u8;
        flat.extend(pixel[..N - 1].iter().map(blend));
    }
    flat
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A hundred pixels: `share` of them ink of this color, the others clear white.
    fn drawing(share: usize, color: [u8; 3]) -> Vec<u8> {
        let pixel = |place: usize| if place < share { [color[0], color[1], color[2], 255] } else { [255, 255, 255, 0] };
        (0..100).flat_map(pixel).collect()
    }

    #[test]
    fn white_and_nearly_white_ink_is_laid_over_black_however_much_there_is() {
        for share in [1, 10, 50, 99] {
            assert_eq!(ground::<4>(&drawing(share, [255; 3])), Some(Ground::Black));
            assert_eq!(ground::<4>(&drawing(share, [240; 3])), Some(Ground::Black));
            for ink in [[0, 0, 0], [255, 255, 0], [200, 200, 200], [90, 20, 240]] {
                assert_eq!(ground::<4>(&drawing(share, ink)), Some(Ground::White), "{ink:?}");
            }
        }
    }

    #[test]
    fn opaque_and_empty_pictures_and_pages_with_clear_corners_stay_on_white() {
        assert_eq!(ground::<4>(&drawing(100, [255; 3])), None);
        assert_eq!(ground::<4>(&drawing(0, [255; 3])), Some(Ground::White));
        let mut page = drawing(97, [255; 3]);
        page[..4 * 4].copy_from_slice(&[0, 0, 0, 255].repeat(4));
        assert_eq!(ground::<4>(&page), Some(Ground::White));
    }

    #[test]
    fn gray_with_opacity_is_laid_over_too() {
        assert_eq!(ground::<2>(&[255, 255, 0, 0, 255, 128]), Some(Ground::Black));
        assert_eq!(lay_over::<2>(&[255, 255, 0, 0, 255, 51], Ground::Black), [255, 0, 51]);
        assert_eq!(lay_over::<2>(&[0, 255, 0, 0, 0, 51], Ground::White), [0, 255, 204]);
    }
}
