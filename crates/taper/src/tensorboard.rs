//! Event files for TensorBoard: the figures of `metrics.jsonl` as scalars, one file for each stage of training, so
//! that TensorBoard shows the stages as runs of its own. A file is a list of TFRecords, each a protocol buffer
//! `tensorflow.Event`.

use crc32c::crc32c;
use serde_json::Value;
use std::collections::BTreeMap;
use std::fs::{File, OpenOptions};
use std::io::Write as _;
use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};
use taper_learn::runs::write_atomically;
use taper_learn::{LearnError, RunDirectory};

/// The event files of a run.
pub(crate) struct EventFiles<'a> {
    run: &'a RunDirectory,
    /// By stage.
    files: BTreeMap<String, File>,
}

impl<'a> EventFiles<'a> {
    pub(crate) fn new(run: &'a RunDirectory) -> Self {
        Self { run, files: BTreeMap::new() }
    }

    /// Begins a stage's file with what earlier sessions logged: steps that are taken again are not there twice.
    pub(crate) fn begin(&mut self, stage: &str) -> Result<(), LearnError> {
        let path = self.run.file(&format!("tensorboard/{stage}/events.out.tfevents.taper"))?;
        let log = std::fs::read_to_string(self.run.path().join("metrics.jsonl")).unwrap_or_default();
        let earlier: Vec<Value> = log
            .lines()
            .filter_map(|line| serde_json::from_str(line).ok())
            .filter(|event: &Value| event["stage"] == stage)
            .collect();
        let seconds = earlier.iter().filter_map(|event| event["seconds"].as_f64()).fold(0.0, f64::max);
        let mut bytes = record(&version_event(now()));
        let mut time = now() - seconds;
        for event in &earlier {
            time = event["seconds"].as_f64().map_or(time, |at| now() - seconds + at);
            bytes.extend(records(event, time));
        }
        write_atomically(&path, &bytes)?;
        let file = OpenOptions::new().append(true).open(&path).map_err(|source| failed(&path, source))?;
        self.files.insert(stage.to_string(), file);
        Ok(())
    }

    /// Adds the figures of an event, as `metrics.jsonl` has it.
    pub(crate) fn add(&mut self, event: &Value) -> Result<(), LearnError> {
        let Some(file) = event["stage"].as_str().and_then(|stage| self.files.get_mut(stage)) else { return Ok(()) };
        let bytes = records(event, now());
        file.write_all(&bytes).map_err(|source| failed(self.run.path(), source))
    }
}

fn failed(path: &Path, source: std::io::Error) -> LearnError {
    LearnError::File { path: path.to_path_buf(), source }
}

/// Seconds since 1970.
fn now() -> f64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0.0, |since| since.as_secs_f64())
}

/// A record for each figure of an event: all its numbers but those that count steps and time.
fn records(event: &Value, time: f64) -> Vec<u8> {
    let (Some(fields), Some(step)) = (event.as_object(), event["step"].as_u64()) else { return Vec::new() };
    let counts = ["step", "steps", "seconds"];
    let figures = fields.iter().filter(|(name, _)| !counts.contains(&name.as_str()));
    let scalars = figures.filter_map(|(name, value)| Some((name.as_str(), value.as_f64()?)));
    let named = |name| if name == "score" { "validation" } else { name };
    scalars.flat_map(|(name, value)| record(&scalar_event(time, step, named(name), value as f32))).collect()
}

/// A TFRecord: length, its checksum, the data, their checksum; little endian.
fn record(data: &[u8]) -> Vec<u8> {
    let length = (data.len() as u64).to_le_bytes();
    [&length[..], &masked_checksum(&length), data, &masked_checksum(data)].concat()
}

/// The checksum as TFRecords have it: CRC-32C, rotated and moved, so that data with checksums inside can have one too.
fn masked_checksum(data: &[u8]) -> [u8; 4] {
    crc32c(data).rotate_right(15).wrapping_add(0xa282_ead8).to_le_bytes()
}

/// `Event { wall_time = 1, file_version = 3 }`, which begins a file.
fn version_event(time: f64) -> Vec<u8> {
    [fixed64(1, time), bytes_field(3, b"brain.Event:2")].concat()
}

/// `Event { wall_time = 1, step = 2, summary = 5 { value = 1 { tag = 1, simple_value = 2 } } }`.
fn scalar_event(time: f64, step: u64, tag: &str, value: f32) -> Vec<u8> {
    let value = [bytes_field(1, tag.as_bytes()), vec![2 << 3 | 5], value.to_le_bytes().to_vec()].concat();
    let summary = bytes_field(1, &value);
    [fixed64(1, time), vec![2 << 3], varint(step), bytes_field(5, &summary)].concat()
}

fn fixed64(field: u8, value: f64) -> Vec<u8> {
    [&[field << 3 | 1][..], &value.to_le_bytes()].concat()
}

fn bytes_field(field: u8, bytes: &[u8]) -> Vec<u8> {
    [vec![field << 3 | 2], varint(bytes.len() as u64), bytes.to_vec()].concat()
}

/// Seven bits a byte, the lowest first; all but the last byte have the highest bit set.
fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value as u8 | 0x80);
        value >>= 7;
    }
    bytes.push(value as u8);
    bytes
}

#[cfg(test)]
mod tests {
    use super::*;
    use serde_json::json;
    use taper_learn::runs::Existing;

    /// The data of all records, every length and checksum checked.
    fn parsed(mut bytes: &[u8]) -> Vec<Vec<u8>> {
        let mut all = Vec::new();
        while !bytes.is_empty() {
            let (length, rest) = bytes.split_at(8);
            let (checksum, rest) = rest.split_at(4);
            assert_eq!(checksum, masked_checksum(length));
            let (data, rest) = rest.split_at(u64::from_le_bytes(length.try_into().unwrap()) as usize);
            let (checksum, rest) = rest.split_at(4);
            assert_eq!(checksum, masked_checksum(data));
            all.push(data.to_vec());
            bytes = rest;
        }
        all
    }

    #[test]
    fn the_checksum_is_that_of_tensorflow_and_long_numbers_take_several_bytes() {
        // RFC 3720, B.4: 32 bytes of zeros; then masked by hand
        assert_eq!(crc32c(&[0; 32]), 0x8a91_36aa);
        let masked = 0x8a91_36aau32.rotate_right(15).wrapping_add(0xa282_ead8);
        assert_eq!(masked_checksum(&[0; 32]), masked.to_le_bytes());
        assert_eq!((varint(127), varint(300)), (vec![127], vec![0xac, 2]));
    }

    #[test]
    fn an_event_has_the_bytes_that_protocol_buffers_give_it() {
        let event = scalar_event(1.5, 300, "loss", 0.25);
        let expected = [
            &[0x09][..],
            &1.5f64.to_le_bytes(),
            &[0x10, 0xac, 0x02, 0x2a, 13, 0x0a, 11, 0x0a, 4],
            b"loss",
            &[0x15],
            &0.25f32.to_le_bytes(),
        ];
        assert_eq!(event, expected.concat());
    }

    #[test]
    fn a_resumed_stage_has_each_step_once() {
        let folder = tempfile::tempdir().unwrap();
        let run = RunDirectory::create(&folder.path().join("run"), "", Existing::Refuse).unwrap();
        let step =
            |step: u64| json!({"event": "step", "stage": "a", "step": step, "steps": 9, "loss": 0.5, "seconds": 1.0});
        let path = run.path().join("tensorboard/a/events.out.tfevents.taper");
        let mut files = EventFiles::new(&run);
        files.begin("a").unwrap();
        for at in 1..=3 {
            files.add(&step(at)).unwrap();
            run.log(&step(at)).unwrap();
        }
        assert_eq!(parsed(&std::fs::read(&path).unwrap()).len(), 1 + 3);
        run.rewind_log("a", 2).unwrap();
        let mut files = EventFiles::new(&run);
        files.begin("a").unwrap();
        files.add(&step(3)).unwrap();
        files.add(&json!({"event": "validation", "stage": "a", "step": 3, "score": 0.75, "best": true})).unwrap();
        let all = parsed(&std::fs::read(&path).unwrap());
        assert_eq!(all.len(), 1 + 3 + 1);
        assert!(all[4].windows(10).any(|part| part == b"validation"));
    }
}
