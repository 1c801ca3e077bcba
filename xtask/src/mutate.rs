//! `mutate`: files of every kind that Taper reads, damaged by a seed, through the readers.

use crate::args::{Mutate, in_workspace};
use anyhow::{Context, Result, bail};
use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::{properties::WriterProperties, writer::SerializedFileWriter};
use safetensors::{Dtype, tensor::TensorView};
use std::collections::BTreeMap;
use std::io::{Cursor, Write};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::sync::Arc;
use std::{fs, path::Path, time::Instant};
use taper_data::mutation::{decode_file, mutate};
use taper_data::{Class, Vectors};
use taper_models::WeightFile;

/// A file that is read right.
struct Seed {
    /// The kind of file, for the table.
    kind: &'static str,
    /// Its name in a folder of its own.
    name: &'static str,
    content: Vec<u8>,
    /// Files that lie beside it.
    beside: Vec<(&'static str, Vec<u8>)>,
}

/// What became of the inputs of a kind.
#[derive(Default)]
struct Outcomes {
    read: u64,
    refused: u64,
    panicked: Vec<u64>,
    wordless: Vec<u64>,
    seconds: f64,
}

/// Reads `asked.inputs` damaged files and prints what became of them, by kind.
///
/// Fails if a reader panicked, gave no message of one line, or took more memory than the bound.
pub(crate) fn run(asked: &Mutate) -> Result<()> {
    let seeds = seeds()?;
    let folder = tempfile::tempdir().context("no temporary folder")?;
    // a reader's panic is counted and named by its input's number
    std::panic::set_hook(Box::new(|_| {}));
    let start = Instant::now();
    let mut kinds: BTreeMap<&'static str, Outcomes> = BTreeMap::new();
    for (place, seed) in seeds.iter().enumerate() {
        let own = folder.path().join(place.to_string());
        fs::create_dir(&own)?;
        for (name, content) in &seed.beside {
            fs::write(own.join(name), content)?;
        }
        if let Err(problem) = read(seed, &seed.content, &own) {
            bail!("the {} file is not read before it is damaged: {problem}", seed.kind);
        }
    }
    for input in 0..asked.inputs {
        let place = (input % seeds.len() as u64) as usize;
        let seed = &seeds[place];
        let outcomes = kinds.entry(seed.kind).or_default();
        let content = mutate(&seed.content, asked.seed, input);
        let began = Instant::now();
        let own = folder.path().join(place.to_string());
        match catch_unwind(AssertUnwindSafe(|| read(seed, &content, &own))) {
            Ok(Ok(())) => outcomes.read += 1,
            Ok(Err(problem)) if problem.is_empty() || problem.contains('\n') => outcomes.wordless.push(input),
            Ok(Err(_)) => outcomes.refused += 1,
            Err(_) => outcomes.panicked.push(input),
        }
        outcomes.seconds += began.elapsed().as_secs_f64();
    }
    let _ = std::panic::take_hook();
    println!("{:14} {:>8} {:>8} {:>8} {:>8} {:>9}", "kind", "read", "refused", "panicked", "wordless", "seconds");
    for (kind, Outcomes { read, refused, panicked, wordless, seconds }) in &kinds {
        println!("{kind:14} {read:8} {refused:8} {:8} {:8} {seconds:9.1}", panicked.len(), wordless.len());
    }
    let peak = peak();
    println!("{} inputs in {:.0} s, at most {} MiB of memory", asked.inputs, start.elapsed().as_secs_f64(), peak >> 20);
    let bad: Vec<String> = kinds
        .iter()
        .flat_map(|(kind, outcomes)| {
            outcomes.panicked.iter().chain(&outcomes.wordless).take(5).map(move |input| format!("{kind} {input}"))
        })
        .collect();
    if !bad.is_empty() {
        bail!("inputs that a reader panicked on or refused without one line: {}", bad.join(", "));
    }
    if peak > asked.memory << 20 {
        bail!("{} MiB of memory, more than {}", peak >> 20, asked.memory);
    }
    Ok(())
}

/// The most memory that this process has held, in bytes; 0 where the system does not say.
fn peak() -> u64 {
    let status = fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find_map(|line| line.strip_prefix("VmHWM:"));
    line.and_then(|line| line.split_whitespace().next()?.parse::<u64>().ok()).unwrap_or(0) << 10
}

/// Reads a file as the program does, down to its last image.
fn read(seed: &Seed, content: &[u8], folder: &Path) -> Result<(), String> {
    if seed.kind.starts_with("image") {
        return decode_file(content).map(drop);
    }
    let path = folder.join(seed.name);
    fs::write(&path, content).map_err(|error| error.to_string())?;
    if seed.kind.starts_with("weights") {
        return WeightFile::read(&path).map(drop).map_err(|error| error.to_string());
    }
    let opened = if seed.kind == "table" { taper_data::open(folder) } else { taper_data::open(&path) };
    let data = opened.map_err(|error| error.to_string())?;
    for item in 0..data.labels().len() {
        if data.vector(item).is_none() {
            data.image(item).map_err(|error| error.to_string())?;
        }
    }
    Ok(())
}

/// One file of every kind, and images of every format.
fn seeds() -> Result<Vec<Seed>> {
    let seed = |kind, name, content| Seed { kind, name, content, beside: Vec::new() };
    let image = |level: u8| -> Result<Vec<u8>> {
        let mut file = Cursor::new(Vec::new());
        image::GrayImage::from_pixel(9, 9, image::Luma([level])).write_to(&mut file, image::ImageFormat::Png)?;
        Ok(file.into_inner())
    };
    let images = [image(10)?, image(90)?, image(170)?, image(250)?];
    let names = ["set/a/1.png", "set/a/2.png", "set/b/3.png", "set/b/4.png"];
    let mut seeds = Vec::new();
    for (kind, text) in [
        ("image", include_str!("../../crates/taper-data/golden/formats.txt")),
        ("image, JPEG", include_str!("../../tests/golden/jpegs.txt")),
    ] {
        let files = text.lines().filter(|line| !line.starts_with('#')).filter_map(|line| line.split(' ').nth(4));
        let byte = |file: &str, at: usize| file.get(at..at + 2).and_then(|digits| u8::from_str_radix(digits, 16).ok());
        let files = files.map(|file| (0..file.len()).step_by(2).filter_map(|at| byte(file, at)).collect::<Vec<u8>>());
        // what this build does not read is no seed
        seeds.extend(files.filter(|file| decode_file(file).is_ok()).map(|content| seed(kind, "image", content)));
    }
    // the images are many: the other kinds come as often as all of them together
    let others = [
        seed("zip", "set.zip", zip_of(&names, &images)?),
        seed("tar", "set.tar", tar_of(names.iter().copied().zip(images.iter().cloned()))?),
        seed("WebDataset", "shard.tar", webdataset(&images)?),
        seed("Parquet", "rows.parquet", rows(&images)?),
        seed("NumPy", "vectors.npz", npz()?),
        seed("safetensors", "vectors.safetensors", safetensors_of("features", "labels")?),
        seed("weights, torch", "tiny.pth", fs::read(in_workspace("tests/golden/tiny.pth"))?),
        seed("weights, old", "tiny.pth", fs::read(in_workspace("tests/golden/tiny-legacy.pth"))?),
        seed("weights", "tiny.safetensors", safetensors_of("conv1.weight", "fc.bias")?),
        Seed {
            kind: "table",
            name: "labels.csv",
            content: b"file,label,split\n1.png,red,train\n2.png,blue,train\n3.png,red,test\n".to_vec(),
            beside: ["1.png", "2.png", "3.png"].into_iter().zip(images.iter().cloned()).collect(),
        },
    ];
    let repeats = seeds.len().div_ceil(others.len()).max(1);
    for _ in 0..repeats {
        for Seed { kind, name, content, beside } in &others {
            seeds.push(Seed { kind, name, content: content.clone(), beside: beside.clone() });
        }
    }
    Ok(seeds)
}

fn zip_of(names: &[&str], files: &[Vec<u8>]) -> Result<Vec<u8>> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, file) in names.iter().zip(files) {
        zip.start_file(*name, zip::write::SimpleFileOptions::default())?;
        zip.write_all(file)?;
    }
    Ok(zip.finish()?.into_inner())
}

fn tar_of(files: impl Iterator<Item = (&'static str, Vec<u8>)>) -> Result<Vec<u8>> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, file) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(file.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, file.as_slice())?;
    }
    Ok(tar.into_inner()?)
}

fn webdataset(images: &[Vec<u8>]) -> Result<Vec<u8>> {
    let files = [
        ("0.png", images[0].clone()),
        ("0.cls", b"0".to_vec()),
        ("1.png", images[1].clone()),
        ("1.json", br#"{"label": "dog"}"#.to_vec()),
    ];
    tar_of(files.into_iter())
}

fn rows(images: &[Vec<u8>]) -> Result<Vec<u8>> {
    let schema = "message schema { optional group image { optional binary bytes; } optional int64 label; }";
    let schema = Arc::new(parquet::schema::parser::parse_message_type(schema)?);
    let properties = WriterProperties::builder().set_compression(parquet::basic::Compression::SNAPPY).build();
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties))?;
    let mut group = writer.next_row_group()?;
    let values: Vec<ByteArray> = images.iter().map(|image| image.clone().into()).collect();
    let mut column = group.next_column()?.context("a column of images")?;
    column.typed::<ByteArrayType>().write_batch(&values, Some(&vec![2; images.len()]), None)?;
    column.close()?;
    let mut column = group.next_column()?.context("a column of labels")?;
    let labels: Vec<i64> = (0..images.len() as i64).map(|row| row % 2).collect();
    column.typed::<Int64Type>().write_batch(&labels, Some(&vec![1; images.len()]), None)?;
    column.close()?;
    group.close()?;
    Ok(writer.into_inner()?)
}

fn npz() -> Result<Vec<u8>> {
    let class = |name: &str| Class { name: name.into(), group: String::new() };
    let values = (0..12).map(|value| value as f32).collect();
    let (classes, labels) = (vec![class("a"), class("b")], vec![0, 1, 0, 1]);
    let vectors = Vectors::new("vectors", (3, values), (classes, labels), Vec::new(), Vec::new())?;
    let mut file = Cursor::new(Vec::new());
    vectors.write_npz(&mut file)?;
    Ok(file.into_inner())
}

fn safetensors_of(values: &str, labels: &str) -> Result<Vec<u8>> {
    let (numbers, counts) = ([1u8; 4 * 12], [0u8; 8 * 4]);
    let tensors = [
        (values, TensorView::new(Dtype::F32, vec![4, 3], &numbers)?),
        (labels, TensorView::new(Dtype::I64, vec![4], &counts)?),
    ];
    Ok(safetensors::serialize(tensors, None)?)
}
