//! Seeking in what can only be read forwards: what was read is kept.

use std::io::{self, BufRead, Read, Seek, SeekFrom};

/// Bytes read at once.
const STEP: usize = 16 << 10;

/// A reader that keeps what it has read, so that decoders may go back. It reads no more than it is
/// asked for.
pub(super) struct Growing<'a> {
    source: &'a mut dyn Read,
    bytes: Vec<u8>,
    at: usize,
    ended: bool,
}

impl<'a> Growing<'a> {
    pub(super) fn new(source: &'a mut dyn Read) -> Self {
        Self { source, bytes: Vec::new(), at: 0, ended: false }
    }

    /// Reads until `end` bytes are kept, or all there are.
    fn grow(&mut self, end: usize) -> io::Result<()> {
        while self.bytes.len() < end && !self.ended {
            let more = (end - self.bytes.len()).max(STEP) as u64;
            self.ended = (&mut *self.source).take(more).read_to_end(&mut self.bytes)? < more as usize;
        }
        Ok(())
    }
}

impl Read for Growing<'_> {
    fn read(&mut self, buffer: &mut [u8]) -> io::Result<usize> {
        let mut kept = self.fill_buf()?;
        let read = kept.read(buffer)?;
        self.consume(read);
        Ok(read)
    }
}

impl BufRead for Growing<'_> {
    fn fill_buf(&mut self) -> io::Result<&[u8]> {
        if self.at >= self.bytes.len() {
            self.grow(self.at.saturating_add(1))?;
        }
        Ok(self.bytes.get(self.at..).unwrap_or_default())
    }

    fn consume(&mut self, amount: usize) {
        self.at += amount;
    }
}

impl Seek for Growing<'_> {
    fn seek(&mut self, to: SeekFrom) -> io::Result<u64> {
        let at = match to {
            SeekFrom::Start(at) => usize::try_from(at).ok(),
            SeekFrom::Current(by) => isize::try_from(by).ok().and_then(|by| self.at.checked_add_signed(by)),
            SeekFrom::End(by) => {
                self.grow(usize::MAX)?;
                isize::try_from(by).ok().and_then(|by| self.bytes.len().checked_add_signed(by))
            }
        };
        self.at = at.ok_or(io::ErrorKind::InvalidInput)?;
        Ok(self.at as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_reads_what_is_asked_for_and_goes_back() {
        let all: Vec<u8> = (0..100_000u32).map(|number| number as u8).collect();
        let mut source = &all[..];
        let mut growing = Growing::new(&mut source);
        let mut four = [0; 4];
        growing.seek(SeekFrom::Start(1000)).unwrap();
        growing.read_exact(&mut four).unwrap();
        assert_eq!((four[0], growing.bytes.len()), (1000u32 as u8, STEP));
        growing.seek(SeekFrom::Start(2)).unwrap();
        growing.read_exact(&mut four).unwrap();
        assert_eq!(four, [2, 3, 4, 5]);
        assert_eq!(growing.seek(SeekFrom::End(-1)).unwrap(), 99_999);
        assert!(growing.read_exact(&mut four).is_err());
        growing.seek(SeekFrom::Start(u64::MAX / 4)).unwrap();
        assert_eq!(growing.read(&mut four).unwrap(), 0);
        assert!(growing.seek(SeekFrom::Current(-i64::MAX)).is_err());
    }
}
