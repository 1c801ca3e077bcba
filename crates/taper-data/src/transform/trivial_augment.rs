//! TrivialAugment (Müller and Hutter 2021): one operation, drawn evenly from fourteen, at a strength
//! drawn evenly from 31. The strengths are the paper's wide space as torchvision has it, the
//! operations Pillow's.

use super::Planes;
use super::levels::Levels;
use rand::Rng as _;
use taper_ops::Rng;

/// Strengths of an operation.
const BINS: u8 = 31;
/// Operations to draw from.
const OPERATIONS: u8 = 14;

/// One operation at one strength.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Operation {
    Identity,
    /// Pixels across per pixel down.
    ShearX(f64),
    /// Pixels down per pixel across.
    ShearY(f64),
    /// Pixels to the right.
    TranslateX(f64),
    /// Pixels down.
    TranslateY(f64),
    /// Degrees, counterclockwise.
    Rotate(f64),
    /// A factor, like the next three: 0 is black, 1 the image.
    Brightness(f32),
    /// 0 is gray.
    Color(f32),
    /// 0 is the mean gray everywhere.
    Contrast(f32),
    /// 0 is smooth.
    Sharpness(f32),
    /// The number of bits kept, of eight.
    Posterize(u8),
    /// Levels from here on are inverted.
    Solarize(f64),
    AutoContrast,
    Equalize,
}

/// Applies a randomly drawn operation to `planes`, samples of 0 to 1.
pub(crate) fn trivial_augment(planes: Planes, rng: &mut Rng) -> Planes {
    Operation::draw(rng).apply(planes)
}

impl Operation {
    fn draw(rng: &mut Rng) -> Self {
        let operation = rng.random_range(0..OPERATIONS);
        let strength = f64::from(rng.random_range(0..BINS)) / f64::from(BINS - 1);
        let signed = if rng.random() { strength } else { -strength };
        let factor = (1.0 + 0.99 * signed) as f32;
        match operation {
            0 => Self::Identity,
            1 => Self::ShearX(0.99 * signed),
            2 => Self::ShearY(0.99 * signed),
            3 => Self::TranslateX((32.0 * signed).trunc()),
            4 => Self::TranslateY((32.0 * signed).trunc()),
            5 => Self::Rotate(135.0 * signed),
            6 => Self::Brightness(factor),
            7 => Self::Color(factor),
            8 => Self::Contrast(factor),
            9 => Self::Sharpness(factor),
            10 => Self::Posterize(8 - (6.0 * strength).round() as u8),
            11 => Self::Solarize(255.0 * (1.0 - strength)),
            12 => Self::AutoContrast,
            _ => Self::Equalize,
        }
    }

    fn apply(self, planes: Planes) -> Planes {
        if self == Self::Identity {
            return planes;
        }
        let image = Levels::of(&planes);
        let changed = match self {
            Self::Identity => image,
            Self::ShearX(slant) => image.moved([1.0, slant, 0.0, 0.0, 1.0, 0.0]),
            Self::ShearY(slant) => image.moved([1.0, 0.0, 0.0, slant, 1.0, 0.0]),
            Self::TranslateX(right) => image.moved([1.0, 0.0, -right, 0.0, 1.0, 0.0]),
            Self::TranslateY(down) => image.moved([1.0, 0.0, 0.0, 0.0, 1.0, -down]),
            Self::Rotate(degrees) => image.turned(degrees),
            Self::Brightness(factor) => image.from(&image.even(0), factor),
            Self::Color(factor) => image.from(&image.gray(), factor),
            Self::Contrast(factor) => image.from(&image.even(image.mean()), factor),
            Self::Sharpness(factor) => image.from(&image.smooth(), factor),
            Self::Posterize(bits) => image.map(|level| level & !(0xff_u8.checked_shr(bits.into()).unwrap_or(0))),
            Self::Solarize(from) => image.map(|level| if f64::from(level) < from { level } else { 255 - level }),
            Self::AutoContrast => image.stretched(),
            Self::Equalize => image.equalized(),
        };
        changed.planes()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Image;
    use taper_ops::rng;

    /// The picture that `golden/trivial_augment.py` draws.
    fn picture((width, height): (usize, usize), channels: usize) -> Planes {
        let sample = |x: usize, y: usize, c: usize| 20 + ((x * x * 7 + y * 31 + x * y * (c + 3) + c * 50) % 216) as u8;
        let places = (0..height).flat_map(|y| (0..width).map(move |x| (x, y)));
        let pixels = places.flat_map(|(x, y)| (0..channels).map(move |c| sample(x, y, c))).collect();
        Planes::of(&Image { width, height, channels, pixels })
    }

    fn operation(name: &str, strength: f64) -> Operation {
        match name {
            "shear-x" => Operation::ShearX(strength),
            "shear-y" => Operation::ShearY(strength),
            "translate-x" => Operation::TranslateX(strength),
            "translate-y" => Operation::TranslateY(strength),
            "rotate" => Operation::Rotate(strength),
            "brightness" => Operation::Brightness(strength as f32),
            "color" => Operation::Color(strength as f32),
            "contrast" => Operation::Contrast(strength as f32),
            "sharpness" => Operation::Sharpness(strength as f32),
            "posterize" => Operation::Posterize(strength as u8),
            "solarize" => Operation::Solarize(strength),
            "auto-contrast" => Operation::AutoContrast,
            "equalize" => Operation::Equalize,
            _ => panic!("{name}"),
        }
    }

    #[test]
    fn every_operation_is_pillows_to_the_level() {
        let mut seen = std::collections::BTreeSet::new();
        let golden = include_str!("../../golden/trivial_augment.txt");
        for line in golden.lines().filter(|line| !line.starts_with('#')) {
            let words: Vec<&str> = line.split(' ').collect();
            let [name, strength, channels, ref theirs @ ..] = *words.as_slice() else { panic!("{line}") };
            let size = if name == "equalize" { (25, 22) } else { (11, 8) };
            let image = picture(size, channels.parse().unwrap());
            let ours = operation(name, strength.parse().unwrap()).apply(image.clone());
            let levels = |planes: &Planes| planes.values.iter().map(|v| (v * 255.0).round() as u8).collect::<Vec<_>>();
            let theirs: Vec<u8> = theirs.iter().map(|level| level.parse().unwrap()).collect();
            assert_eq!(levels(&ours), theirs, "{name} {strength} of {channels} channels");
            assert_eq!(theirs == levels(&image), name == "color" && channels == "1", "{name} is to change the picture");
            seen.insert(name);
        }
        assert_eq!(seen.len(), usize::from(OPERATIONS) - 1, "all but the identity: {seen:?}");
    }

    #[test]
    fn operations_and_their_strengths_are_drawn_evenly_from_the_whole_wide_space() {
        const DRAWS: u64 = 14_000;
        let mut drawn: [Vec<f64>; OPERATIONS as usize] = std::array::from_fn(|_| Vec::new());
        for index in 0..DRAWS {
            let (kind, strength) = match Operation::draw(&mut rng(0, "test", index)) {
                Operation::Identity => (0, 0.0),
                Operation::ShearX(slant) => (1, slant),
                Operation::ShearY(slant) => (2, slant),
                Operation::TranslateX(right) => (3, right),
                Operation::TranslateY(down) => (4, down),
                Operation::Rotate(degrees) => (5, degrees),
                Operation::Brightness(factor) => (6, factor.into()),
                Operation::Color(factor) => (7, factor.into()),
                Operation::Contrast(factor) => (8, factor.into()),
                Operation::Sharpness(factor) => (9, factor.into()),
                Operation::Posterize(bits) => (10, bits.into()),
                Operation::Solarize(from) => (11, from),
                Operation::AutoContrast => (12, 0.0),
                Operation::Equalize => (13, 0.0),
            };
            drawn[kind].push(strength);
        }
        // the weakest and the strongest to either side, and how many there are: 30 to a side, and none
        let (slant, shift, turn, factor) =
            ((-0.99, 0.99, 61), (-32.0, 32.0, 61), (-135.0, 135.0, 61), (0.01, 1.99, 61));
        let (nothing, bits, level) = ((0.0, 0.0, 1), (2.0, 8.0, 7), (0.0, 255.0, 31));
        let space =
            [nothing, slant, slant, shift, shift, turn, factor, factor, factor, factor, bits, level, nothing, nothing];
        for (kind, (strengths, (least, most, count))) in drawn.iter_mut().zip(space).enumerate() {
            assert!((850..1150).contains(&strengths.len()), "operation {kind}: {}", strengths.len());
            strengths.sort_by(f64::total_cmp);
            let (first, last) = (strengths[0], strengths[strengths.len() - 1]);
            assert!((first - least).abs() < 1e-6 && (last - most).abs() < 1e-6, "operation {kind}: {first} to {last}");
            strengths.dedup_by(|a, b| (*a - *b).abs() < 1e-9);
            assert_eq!(strengths.len(), count, "operation {kind}: {strengths:?}");
        }
    }
}
