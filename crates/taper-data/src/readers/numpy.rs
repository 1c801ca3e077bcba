//! NumPy's arrays, as `numpy.save` writes them (NEP 1, <https://numpy.org/neps/nep-0001-npy-format.html>), read and
//! written without pickles.

use super::limits::VECTORS;

const MAGIC: &[u8] = b"\x93NUMPY";

/// An array.
#[derive(Debug, Clone, PartialEq)]
pub(crate) struct Array {
    pub(crate) shape: Vec<usize>,
    pub(crate) values: Values,
}

/// The values of an array, the last axis fastest.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Values {
    /// Floating-point numbers.
    Floats(Vec<f32>),
    /// Whole numbers and truth values.
    Integers(Vec<i64>),
    /// Text.
    Texts(Vec<String>),
}

/// Whether the first bytes are those of an array.
pub(crate) fn starts_as_array(first: &[u8]) -> bool {
    first.starts_with(MAGIC)
}

impl Array {
    /// Reads a whole file. The error says what is wrong and what to do.
    pub(crate) fn read(file: &[u8]) -> Result<Self, String> {
        let broken = || "is a damaged NumPy array: save it again".to_string();
        let rest = file.strip_prefix(MAGIC).ok_or("is not a NumPy array: save it with numpy.save")?;
        let (length, start) = match (rest.first(), rest.get(2..4), rest.get(2..6)) {
            (Some(1), Some(&[a, b]), _) => (usize::from(u16::from_le_bytes([a, b])), 4),
            (Some(2 | 3), _, Some(&[a, b, c, d])) => (u32::from_le_bytes([a, b, c, d]) as usize, 6),
            _ => return Err(broken()),
        };
        let header = rest.get(start..).and_then(|rest| rest.get(..length)).ok_or_else(broken)?;
        let header = std::str::from_utf8(header).map_err(|_| broken())?;
        let data = &rest[start + length..];
        let value = |key: &str| {
            let at = header.find(&format!("'{key}':"))?;
            Some(header[at + key.len() + 3..].trim_start())
        };
        let kind = value("descr").ok_or_else(broken)?;
        let kind = kind.strip_prefix('\'').and_then(|kind| kind.split('\'').next());
        let Some(kind) = kind else {
            return Err("is an array of records: save an array of numbers".to_string());
        };
        let by_columns = value("fortran_order").ok_or_else(broken)?.starts_with("True");
        let shape = value("shape").and_then(|shape| shape.strip_prefix('(')?.split(')').next()).ok_or_else(broken)?;
        let shape: Vec<usize> = shape
            .split(',')
            .map(str::trim)
            .filter(|side| !side.is_empty())
            .map(|side| side.parse().map_err(|_| broken()))
            .collect::<Result<_, String>>()?;
        let count = shape.iter().try_fold(1usize, |count, &side| count.checked_mul(side)).ok_or_else(broken)?;
        let values = values(kind, count, data)?;
        let values = if by_columns && shape.len() == 2 { values.transposed(shape[1], shape[0]) } else { values };
        Ok(Self { shape, values })
    }

    /// The array as a file.
    pub(crate) fn write(&self) -> Vec<u8> {
        let longest = |texts: &[String]| texts.iter().map(|text| text.chars().count()).max().unwrap_or(0).max(1);
        let (kind, data): (String, Vec<u8>) = match &self.values {
            Values::Floats(values) => {
                ("<f4".to_string(), values.iter().flat_map(|value| value.to_le_bytes()).collect())
            }
            Values::Integers(values) => {
                ("<i8".to_string(), values.iter().flat_map(|value| value.to_le_bytes()).collect())
            }
            Values::Texts(texts) => {
                let width = longest(texts);
                let padded = |text: &String| {
                    let codes: Vec<u32> = text.chars().map(u32::from).chain(std::iter::repeat(0)).take(width).collect();
                    codes.into_iter().flat_map(u32::to_le_bytes).collect::<Vec<u8>>()
                };
                (format!("<U{width}"), texts.iter().flat_map(padded).collect())
            }
        };
        let shape: String = self.shape.iter().map(|side| format!("{side},")).collect();
        let mut header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({shape}), }}");
        // the data begin at a multiple of 64
        let unpadded = MAGIC.len() + 4 + header.len() + 1;
        header.push_str(&" ".repeat(unpadded.next_multiple_of(64) - unpadded));
        header.push('\n');
        [MAGIC, &[1, 0], &(header.len() as u16).to_le_bytes(), header.as_bytes(), &data].concat()
    }
}

/// Values of a type such as `<f4` or `|b1`.
pub(super) fn values(kind: &str, count: usize, data: &[u8]) -> Result<Values, String> {
    let unusual = || format!("is an array of type `{kind}`: save it as float32, int64 or text");
    let mut letters = kind.chars();
    let order = letters.next().filter(|order| "<>|=".contains(*order)).ok_or_else(unusual)?;
    let class = letters.next().ok_or_else(unusual)?;
    if class == 'O' {
        return Err("holds Python objects, which are never loaded: save arrays of numbers and texts".to_string());
    }
    let width: usize = letters.as_str().parse().map_err(|_| unusual())?;
    let bytes = if class == 'U' { width.checked_mul(4) } else { Some(width) }.filter(|&bytes| bytes > 0);
    let needed = bytes.and_then(|bytes| bytes.checked_mul(count));
    if needed.is_none_or(|needed| needed as u64 > VECTORS) {
        return Err(format!("says that it holds more than {} GiB: split it", VECTORS >> 30));
    }
    let (Some(bytes), Some(needed)) = (bytes, needed) else { return Err(unusual()) };
    if data.len() < needed {
        return Err(format!("is cut short: {needed} bytes of values are promised, {} are there", data.len()));
    }
    let items = data[..needed].chunks_exact(bytes);
    let little = |item: &[u8]| -> [u8; 8] {
        let mut whole = [0; 8];
        let places = whole.iter_mut().take(item.len());
        match order {
            '>' => places.zip(item.iter().rev()).for_each(|(place, byte)| *place = *byte),
            _ => places.zip(item).for_each(|(place, byte)| *place = *byte),
        }
        whole
    };
    Ok(match (class, bytes) {
        ('f', 4) => Values::Floats(items.map(|item| f32::from_bits(u64::from_le_bytes(little(item)) as u32)).collect()),
        ('f', 8) => Values::Floats(items.map(|item| f64::from_bits(u64::from_le_bytes(little(item))) as f32).collect()),
        ('f', 2) => Values::Floats(items.map(|item| half(u64::from_le_bytes(little(item)) as u16)).collect()),
        ('i', 1 | 2 | 4 | 8) => {
            let unused = 64 - 8 * bytes as u32;
            Values::Integers(items.map(|item| (i64::from_le_bytes(little(item)) << unused) >> unused).collect())
        }
        ('u', 1 | 2 | 4 | 8) | ('b', 1) => {
            Values::Integers(items.map(|item| u64::from_le_bytes(little(item)).min(i64::MAX as u64) as i64).collect())
        }
        ('U', _) => {
            let letter = |code: &[u8]| char::from_u32(u64::from_le_bytes(little(code)) as u32).unwrap_or('\u{fffd}');
            let text = |item: &[u8]| item.chunks_exact(4).map(letter).collect::<String>().trim_end_matches('\0').into();
            Values::Texts(items.map(text).collect())
        }
        ('S', _) => {
            let text = |item: &[u8]| super::names::bytes_text(item).trim_end_matches('\0').to_string();
            Values::Texts(items.map(text).collect())
        }
        _ => return Err(unusual()),
    })
}

/// A number of 16 bits (IEEE 754 binary16).
fn half(bits: u16) -> f32 {
    let (sign, exponent, fraction) = (bits >> 15, (bits >> 10) & 31, bits & 1023);
    let size = match (exponent, fraction) {
        (0, fraction) => f32::from(fraction) * 2f32.powi(-24),
        (31, 0) => f32::INFINITY,
        (31, _) => f32::NAN,
        (exponent, fraction) => (1.0 + f32::from(fraction) / 1024.0) * 2f32.powi(i32::from(exponent) - 15),
    };
    if sign == 1 { -size } else { size }
}

impl Values {
    /// Values of `(rows, columns)` as those of `(columns, rows)`.
    fn transposed(self, rows: usize, columns: usize) -> Self {
        fn turned<T: Clone>(values: &[T], rows: usize, columns: usize) -> Vec<T> {
            (0..columns).flat_map(|column| (0..rows).map(move |row| values[row * columns + column].clone())).collect()
        }
        match self {
            Self::Floats(values) => Self::Floats(turned(&values, rows, columns)),
            Self::Integers(values) => Self::Integers(turned(&values, rows, columns)),
            Self::Texts(values) => Self::Texts(turned(&values, rows, columns)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A file of this header and these values.
    fn file(header: &str, data: &[u8]) -> Vec<u8> {
        [MAGIC, &[1, 0], &(header.len() as u16).to_le_bytes(), header.as_bytes(), data].concat()
    }

    fn values_of(kind: &str, shape: &str, by_columns: &str, data: &[u8]) -> Values {
        let header = format!("{{'descr': '{kind}', 'fortran_order': {by_columns}, 'shape': ({shape}), }}\n");
        Array::read(&file(&header, data)).unwrap().values
    }

    #[test]
    fn numbers_of_every_width_and_order_are_read() {
        assert_eq!(values_of("<f4", "2,", "False", &[0, 0, 128, 63, 0, 0, 0, 192]), Values::Floats(vec![1.0, -2.0]));
        assert_eq!(values_of(">f8", "1,", "False", &1.5f64.to_be_bytes()), Values::Floats(vec![1.5]));
        assert_eq!(
            values_of("<f2", "3,", "False", &[0, 0x3c, 0, 0xc1, 1, 0]),
            Values::Floats(vec![1.0, -2.5, 5.9604645e-8])
        );
        assert_eq!(values_of("<i2", "2,", "False", &[255, 255, 2, 0]), Values::Integers(vec![-1, 2]));
        assert_eq!(values_of("|u1", "2,", "False", &[255, 1]), Values::Integers(vec![255, 1]));
        assert_eq!(values_of("|i1", "2, 3", "True", &[1, 2, 3, 4, 5, 6]), Values::Integers(vec![1, 3, 5, 2, 4, 6]));
        assert_eq!(values_of("|S3", "2,", "False", b"ab\0cde"), Values::Texts(vec!["ab".into(), "cde".into()]));
    }

    #[test]
    fn what_is_written_is_read_back_and_starts_at_a_multiple_of_64() {
        for values in [
            Values::Floats(vec![1.0, -0.5, 3.25, f32::MAX, 0.0, 7.0]),
            Values::Integers(vec![1, -2, i64::MAX, 4, 5, 6]),
            Values::Texts(["a", "", "caf\u{e9}", "\u{1f98a}", "b c", "d"].map(String::from).to_vec()),
        ] {
            let array = Array { shape: vec![3, 2], values };
            let file = array.write();
            assert_eq!(Array::read(&file).unwrap(), array);
            assert_eq!((10 + usize::from(u16::from_le_bytes([file[8], file[9]]))) % 64, 0);
        }
    }

    #[test]
    fn objects_and_damaged_arrays_are_refused_in_words() {
        let error = |kind: &str, shape: &str| {
            let header = format!("{{'descr': '{kind}', 'fortran_order': False, 'shape': ({shape}), }}\n");
            Array::read(&file(&header, &[0; 8])).unwrap_err()
        };
        assert!(error("|O", "1,").contains("never loaded"));
        assert!(error("<f4", "3,").contains("cut short"));
        assert!(error("<f4", "99999999999999").contains("more than 4 GiB"));
        assert!(error("<c8", "1,").contains("save it as float32"));
        assert!(Array::read(b"\x93NUMPY\x01").unwrap_err().contains("damaged"));
    }
}
