//! Zip archives as `torch.save` writes them, from mapped bytes.
//!
//! Crates for zip archives allocate memory for the number of entries that an archive claims, and read
//! entries of the sizes that it claims. This reader trusts no such number: the directory is bounded by
//! [`limits::ZIP_DIRECTORY_BYTES`], a stored entry is a slice of the file, no two entries that are
//! read may overlap, and a compressed one unpacks to its declared size at most, within a budget
//! for the whole archive.

use super::{Read, limits};
use flate2::Crc;
use flate2::bufread::DeflateDecoder;
use std::borrow::Cow;
use std::cell::{Cell, RefCell};
use std::collections::{BTreeMap, BTreeSet};
use std::io::Read as _;

const END: &[u8] = b"PK\x05\x06";
const END64_LOCATOR: &[u8] = b"PK\x06\x07";
const END64: &[u8] = b"PK\x06\x06";
const CENTRAL: &[u8] = b"PK\x01\x02";
const LOCAL: &[u8] = b"PK\x03\x04";

/// Length of the end record without its comment.
const END_LENGTH: usize = 22;
/// Length of an entry of the directory without its name.
const CENTRAL_LENGTH: usize = 46;
/// Length of the header before an entry's bytes, without its name.
const LOCAL_LENGTH: usize = 30;

/// A zip archive in memory.
pub(super) struct Archive<'a> {
    bytes: &'a [u8],
    entries: BTreeMap<&'a str, Entry>,
    /// Ranges of the file that were read, by their start.
    taken: RefCell<BTreeMap<usize, usize>>,
    /// Headers of entries whose checksums were verified.
    verified: RefCell<BTreeSet<u64>>,
    /// Bytes that may still be unpacked.
    budget: Cell<u64>,
}

/// An entry, as the directory describes it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Entry {
    method: u16,
    encrypted: bool,
    crc: u32,
    compressed: u64,
    size: u64,
    /// Where its header begins.
    header: u64,
}

impl Entry {
    /// Its length in bytes when unpacked, as declared.
    pub(super) fn size(&self) -> u64 {
        self.size
    }
}

fn broken(what: &str) -> String {
    format!("is a broken zip archive ({what}): download it again")
}

impl<'a> Archive<'a> {
    /// Reads the directory of an archive.
    ///
    /// Fails if it is broken or longer than the limit.
    pub(super) fn new(bytes: &'a [u8]) -> Read<Self> {
        let (mut directory, count) = directory(bytes)?;
        let mut entries = BTreeMap::new();
        for _ in 0..count {
            let (name, entry, rest) = central(directory).ok_or_else(|| broken("its directory"))?;
            directory = rest;
            // nothing that is read here has a name that is not UTF-8
            if let Ok(name) = std::str::from_utf8(name) {
                entries.insert(name, entry);
            }
        }
        let budget = (bytes.len() as u64).saturating_mul(limits::INFLATED_BYTES_PER_FILE_BYTE);
        let budget = Cell::new(budget + limits::SMALL_FILE_BYTES);
        Ok(Self { bytes, entries, taken: RefCell::default(), verified: RefCell::default(), budget })
    }

    /// The names of its entries, sorted.
    pub(super) fn names(&self) -> impl Iterator<Item = &'a str> {
        self.entries.keys().copied()
    }

    /// The entry of a name.
    pub(super) fn entry(&self, name: &str) -> Option<Entry> {
        self.entries.get(name).copied()
    }

    /// The bytes of an entry that is at most `limit` long, its checksum verified.
    pub(super) fn read(&self, entry: Entry, limit: u64) -> Read<Cow<'a, [u8]>> {
        if entry.encrypted {
            return Err(
                "is a zip archive with a password, which torch.save never sets: unpack and save it again".into()
            );
        }
        if entry.size > limit {
            return Err(broken("an entry is longer than it may be"));
        }
        let stored = self.stored(entry).ok_or_else(|| broken("an entry lies outside the file"))?;
        let bytes = match entry.method {
            0 if entry.size == entry.compressed => Cow::Borrowed(stored),
            0 => return Err(broken("an entry has two sizes")),
            8 => Cow::Owned(self.inflate(stored, entry.size)?),
            _ => {
                return Err(
                    "is a zip archive packed in an unusual way: unpack it and pack it without compression".into()
                );
            }
        };
        // once for each entry: many tensors may be views of one storage
        if self.verified.borrow().contains(&entry.header) {
            return Ok(bytes);
        }
        let mut crc = Crc::new();
        crc.update(&bytes);
        if crc.sum() != entry.crc {
            return Err(broken("a checksum is wrong"));
        }
        self.verified.borrow_mut().insert(entry.header);
        Ok(bytes)
    }

    /// The packed bytes of an entry; `None` if they are outside the file or overlap another entry's.
    fn stored(&self, entry: Entry) -> Option<&'a [u8]> {
        let start = usize::try_from(entry.header).ok()?;
        let header = self.bytes.get(start..)?.strip_prefix(LOCAL)?;
        let extra = usize::from(u16_at(header, 22)?) + usize::from(u16_at(header, 24)?);
        let first = start.checked_add(LOCAL_LENGTH + extra)?;
        let last = first.checked_add(usize::try_from(entry.compressed).ok()?)?;
        let stored = self.bytes.get(first..last)?;
        let mut taken = self.taken.borrow_mut();
        let before = taken.range(..last).next_back();
        match before {
            // the same entry again
            Some((&other, &end)) if (other, end) == (start, last) => {}
            Some((_, &end)) if end > start => return None,
            _ => {
                taken.insert(start, last);
            }
        }
        Some(stored)
    }

    /// Unpacks to `size` bytes.
    fn inflate(&self, packed: &[u8], size: u64) -> Read<Vec<u8>> {
        let budget = self.budget.get().checked_sub(size);
        self.budget
            .set(budget.ok_or("is a zip archive that unpacks to many times its length: unpack it yourself first")?);
        // memory grows with the actual content, not with the declared size
        let mut bytes = Vec::new();
        let read = DeflateDecoder::new(packed).take(size + 1).read_to_end(&mut bytes);
        read.map_err(|error| broken(&error.to_string()))?;
        if bytes.len() as u64 != size { Err(broken("an entry has two sizes")) } else { Ok(bytes) }
    }
}

/// The bytes of the directory, and the number of its entries.
fn directory(bytes: &[u8]) -> Read<(&[u8], u64)> {
    let none = || "is a zip archive that is cut off at its end: get or save it again".to_string();
    // a comment of at most 65,535 bytes may follow the end record
    let first = bytes.len().saturating_sub(END_LENGTH + usize::from(u16::MAX));
    let last = bytes.len().checked_sub(END_LENGTH).ok_or_else(none)?;
    let end = (first..=last).rev().find(|&at| bytes[at..].starts_with(END)).ok_or_else(none)?;
    let record = &bytes[end..];
    let short = || -> Option<(u64, u64, u64)> {
        Some((u16_at(record, 10)?.into(), u32_at(record, 12)?.into(), u32_at(record, 16)?.into()))
    };
    let long = || -> Option<(u64, u64, u64)> {
        let locator = bytes.get(end.checked_sub(20)?..end)?;
        let at = locator.starts_with(END64_LOCATOR).then(|| u64_at(locator, 8))??;
        let record = bytes.get(usize::try_from(at).ok()?..)?.get(..56)?;
        let record = record.starts_with(END64).then_some(record)?;
        Some((u64_at(record, 32)?, u64_at(record, 40)?, u64_at(record, 48)?))
    };
    let (count, length, start) = long().or_else(short).ok_or_else(none)?;
    if length > limits::ZIP_DIRECTORY_BYTES as u64 {
        return Err("is a zip archive with too many entries for a state dict: save the state dict by itself".into());
    }
    let (length, start) = (length as usize, usize::try_from(start).map_err(|_| none())?);
    let directory = start.checked_add(length).and_then(|end| bytes.get(start..end)).ok_or_else(none)?;
    Ok((directory, count))
}

/// The first entry of a directory, its name, and the rest of the directory.
fn central(directory: &[u8]) -> Option<(&[u8], Entry, &[u8])> {
    let header = directory.starts_with(CENTRAL).then_some(directory)?;
    let name = usize::from(u16_at(header, 28)?);
    let extra = usize::from(u16_at(header, 30)?);
    let comment = usize::from(u16_at(header, 32)?);
    let mut entry = Entry {
        encrypted: u16_at(header, 8)? & 1 != 0,
        method: u16_at(header, 10)?,
        crc: u32_at(header, 16)?,
        compressed: u32_at(header, 20)?.into(),
        size: u32_at(header, 24)?.into(),
        header: u32_at(header, 42)?.into(),
    };
    let rest = header.get(CENTRAL_LENGTH..)?;
    let (name, rest) = rest.split_at_checked(name)?;
    let (extra, rest) = rest.split_at_checked(extra)?;
    entry.widen(extra)?;
    Some((name, entry, rest.get(comment..)?))
}

impl Entry {
    /// Takes numbers that do not fit 32 bits from the extra field of zip64 (kind 1), which has them
    /// in this order.
    fn widen(&mut self, mut extra: &[u8]) -> Option<()> {
        while extra.len() >= 4 {
            let (kind, length) = (u16_at(extra, 0)?, usize::from(u16_at(extra, 2)?));
            let (mut field, rest) = extra[4..].split_at_checked(length)?;
            extra = rest;
            if kind != 1 {
                continue;
            }
            for number in [&mut self.size, &mut self.compressed, &mut self.header] {
                if *number == u64::from(u32::MAX) {
                    *number = u64_at(field, 0)?;
                    field = &field[8..];
                }
            }
        }
        Some(())
    }
}

fn u16_at(bytes: &[u8], at: usize) -> Option<u16> {
    Some(u16::from_le_bytes(bytes.get(at..at + 2)?.try_into().ok()?))
}

fn u32_at(bytes: &[u8], at: usize) -> Option<u32> {
    Some(u32::from_le_bytes(bytes.get(at..at + 4)?.try_into().ok()?))
}

fn u64_at(bytes: &[u8], at: usize) -> Option<u64> {
    Some(u64::from_le_bytes(bytes.get(at..at + 8)?.try_into().ok()?))
}
