//! Hugging Face data sets: Parquet files with a column of encoded images and one of labels, as `datasets` and
//! the hub write them (<https://huggingface.co/docs/hub/datasets-image>).

use super::files::{Limits, Listing, open_labeled};
use super::labels::Labels;
use super::layout::Layout;
use super::limits::{FILE, FILES, unpacked};
use super::names::{bytes_text, composed, one_line, some_of};
use super::shards::{Shard, parts_text, shards};
use super::source::{Listed, SharedFile, Source, regular};
use super::table::label_rank;
use super::{bad_file, unreadable};
use crate::{Dataset, Part, Result};
use bytes::Bytes;
use parquet::basic::Type;
use parquet::column::reader::{ColumnReader, ColumnReaderImpl};
use parquet::data_type::{ByteArray, DataType};
use parquet::errors::{ParquetError, Result as ParquetResult};
use parquet::file::reader::{ChunkReader, FileReader, Length};
use parquet::file::serialized_reader::SerializedFileReader;
use serde_json::Value;
use std::collections::BTreeSet;
use std::io::{BufReader, Read, Seek, SeekFrom};
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

/// Rows that are read at once, and kept for the next ones.
const ROWS: usize = 16;
/// Stretches of rows that are kept.
const KEPT: usize = 8;

/// Opens one Parquet file, see [`open`](crate::open).
pub(crate) fn open_parquet(path: &Path) -> Result<Arc<dyn Dataset>> {
    let name = path.file_name().unwrap_or(path.as_os_str()).to_string_lossy().into_owned();
    open(path, &[Shard { name, path: path.to_path_buf(), part: Some(Part::Train) }], path.file_stem())
}

/// Opens a folder of Parquet files.
pub(crate) fn open_parquets(folder: &Path) -> Result<Arc<dyn Dataset>> {
    open(folder, &shards(folder, "parquet")?, folder.file_name())
}

fn open(root: &Path, shards: &[Shard], name: Option<&std::ffi::OsStr>) -> Result<Arc<dyn Dataset>> {
    let (mut rows, mut files, mut of_files) = (Rows::default(), Vec::new(), Vec::new());
    let mut why = vec![parts_text(shards)];
    for (number, shard) in shards.iter().enumerate() {
        let broken = |problem: String| bad_file(&shard.path, problem);
        let file = regular(&shard.path).map_err(|error| unreadable(&shard.path, &error))?;
        let length = file.metadata().map_err(|error| unreadable(&shard.path, &error))?.len();
        let file = File { file: SharedFile::new(file), length };
        let (table, labels) = guarded(|| {
            let table = Table::open(file)?;
            let labels = table.labels()?;
            Ok((table, labels))
        })
        .map_err(broken)?;
        if number == 0 {
            why.push(format!("images are those of column `{}`, labels `{}`", table.image.name, table.label.name));
        }
        for (group, count) in table.groups().into_iter().enumerate() {
            let bytes = table.bytes_per_row(group, count);
            for row in 0..count {
                let name = format!("{}/{}", shard.name, of_files.len() - rows.first_row(number));
                files.push(Listed { name, place: rows.places.len(), bytes });
                rows.places.push((number, group, row));
                let label = labels.get(of_files.len() - rows.first_row(number)).cloned().flatten();
                of_files.push(label.and_then(|label| Some((label, shard.part?))));
            }
        }
        if files.len() > FILES {
            return Err(bad_file(root, format!("holds more than {FILES} rows: split it")));
        }
        rows.tables.push(table);
        rows.ends.push(of_files.len());
    }
    let name = name.unwrap_or(root.as_os_str()).to_string_lossy().into_owned();
    let source = Source::Rows(rows);
    let listing = Listing { name, root: root.to_path_buf(), files, source, left_out: Vec::new() };
    let labels = Labels { of_files, conflicting: BTreeSet::new(), from: "the Parquet files" };
    let text = "rows of Parquet files".to_string();
    let layout = Layout { classes: Vec::new(), places: Vec::new(), text, why, notes: Vec::new() };
    let layout = labels.layout(root, &listing.files, layout)?;
    open_labeled(listing, layout, Limits::default())
}

/// Runs a part of the Parquet reader. It checks most of what a file says; what it trusts ends in a panic, which is
/// an error like the others here.
fn guarded<T>(f: impl FnOnce() -> std::result::Result<T, String>) -> std::result::Result<T, String> {
    catch_unwind(AssertUnwindSafe(f)).unwrap_or_else(|_| Err(damaged("its numbers contradict each other")))
}

fn damaged(problem: impl std::fmt::Display) -> String {
    let problem = problem.to_string();
    format!("is a damaged Parquet file ({}): get it again", one_line(&problem))
}

/// What is wrong by an error of the Parquet reader, and what to do.
fn problem(error: &ParquetError) -> String {
    let text = error.to_string();
    match text.rsplit_once("Disabled feature at compile time: ") {
        Some((_, codec)) => {
            format!(
                "is packed with {}, which is not read here: write it again with snappy, gzip or zstd",
                one_line(codec)
            )
        }
        None => damaged(text),
    }
}

/// A file that many threads read, whose declared sizes are checked before anything is allocated for them.
#[derive(Clone)]
struct File {
    file: SharedFile,
    length: u64,
}

impl Length for File {
    fn len(&self) -> u64 {
        self.length
    }
}

impl ChunkReader for File {
    type T = BufReader<SharedFile>;

    /// What starts at `start`: a page's header, whose sizes are checked.
    fn get_read(&self, start: u64) -> ParquetResult<Self::T> {
        let mut file = self.file.clone();
        file.seek(SeekFrom::Start(start))?;
        let mut reader = BufReader::new(file);
        let mut first = Vec::with_capacity(32);
        reader.by_ref().take(32).read_to_end(&mut first)?;
        if let Some([large, packed]) = page_sizes(&first)
            && large > unpacked(packed, FILE)
        {
            let problem = format!("a page says that it unpacks from {packed} bytes to {large}");
            return Err(ParquetError::General(problem));
        }
        reader.seek(SeekFrom::Start(start))?;
        Ok(reader)
    }

    fn get_bytes(&self, start: u64, length: usize) -> ParquetResult<Bytes> {
        if start.saturating_add(length as u64) > self.length {
            return Err(ParquetError::EOF("a part lies behind the end of the file".to_string()));
        }
        let mut file = self.file.clone();
        file.seek(SeekFrom::Start(start))?;
        let mut bytes = Vec::new();
        file.take(length as u64).read_to_end(&mut bytes)?;
        if bytes.len() != length {
            return Err(ParquetError::EOF("the file is cut short".to_string()));
        }
        Ok(bytes.into())
    }
}

/// Bytes of a page unpacked and packed, by its header, whose first fields are kind and sizes as numbers in
/// Thrift's compact protocol; `None` for anything else.
fn page_sizes(header: &[u8]) -> Option<[u64; 2]> {
    /// A field of number one more than the one before, of 32 bits.
    const NEXT_I32: u8 = 0x15;
    let mut at = 0;
    let mut next = || {
        (*header.get(at)? == NEXT_I32).then_some(())?;
        at += 1;
        let mut value = 0u64;
        for shift in (0..35).step_by(7) {
            let byte = *header.get(at)?;
            at += 1;
            value |= u64::from(byte & 0x7f) << shift;
            if byte < 0x80 {
                // zigzag; negative sizes are refused by the reader
                return Some(value >> 1);
            }
        }
        None
    };
    next()?;
    Some([next()?, next()?])
}

/// A leaf of the schema.
#[derive(Debug, Clone)]
struct Leaf {
    number: usize,
    /// The name of its top column.
    name: String,
    physical: Type,
    /// The definition level of a value that is there.
    defined: i16,
}

/// An open Parquet file with the columns that count.
struct Table {
    reader: SerializedFileReader<File>,
    image: Leaf,
    label: Leaf,
    /// Names of classes by number, if the file has them.
    names: Option<Vec<String>>,
}

impl Table {
    fn open(file: File) -> std::result::Result<Self, String> {
        let reader = SerializedFileReader::new(file).map_err(|error| problem(&error))?;
        let schema = reader.metadata().file_metadata().schema_descr();
        let features = features(reader.metadata().file_metadata().key_value_metadata());
        let is_feature = |name: &str, kind: &str| features[name]["_type"] == kind;
        let leaves: Vec<(Leaf, Vec<String>)> = (0..schema.num_columns())
            .map(|number| {
                let column = schema.column(number);
                let path: Vec<String> = column.path().parts().to_vec();
                let defined = if column.max_rep_level() == 0 { column.max_def_level() } else { -1 };
                let name = path.first().cloned().unwrap_or_default();
                (Leaf { number, name, physical: column.physical_type(), defined }, path)
            })
            .filter(|(leaf, _)| leaf.defined >= 0)
            .collect();
        let all = || some_of(leaves.iter().map(|(leaf, _)| &leaf.name).collect::<BTreeSet<_>>());
        let may_be_image = |(leaf, path): &&(Leaf, Vec<String>)| {
            leaf.physical == Type::BYTE_ARRAY
                && (path.get(1).is_some_and(|inner| inner == "bytes") || (path.len() == 1 && is_binary(schema, leaf)))
        };
        let images: Vec<&Leaf> = leaves.iter().filter(may_be_image).map(|(leaf, _)| leaf).collect();
        let usual = |leaf: &&&Leaf| ["image", "img", "picture", "photo"].contains(&leaf.name.to_lowercase().as_str());
        let image = images
            .iter()
            .find(|leaf| is_feature(&leaf.name, "Image"))
            .or_else(|| images.iter().find(usual))
            .or(images.first());
        let Some(&image) = image else {
            return Err(format!("has no column of images (it has {}): give a data set of images", all()));
        };
        let image = image.clone();
        let may_be_label = |(leaf, path): &&(Leaf, Vec<String>)| {
            let kinds = [Type::INT32, Type::INT64, Type::BYTE_ARRAY];
            path.len() == 1 && kinds.contains(&leaf.physical) && leaf.number != image.number && !is_binary(schema, leaf)
        };
        let labels: Vec<&Leaf> = leaves.iter().filter(may_be_label).map(|(leaf, _)| leaf).collect();
        let classes: Vec<&&Leaf> = labels.iter().filter(|leaf| is_feature(&leaf.name, "ClassLabel")).collect();
        let by_name = |among: &[&&Leaf]| {
            // of CIFAR-100's two, the finer one
            let rank = |leaf: &&Leaf| match leaf.name.as_str() {
                "fine_label" => Some(0),
                name => label_rank(name),
            };
            let ranked = among.iter().filter_map(|&&leaf| Some((rank(&leaf)?, leaf)));
            ranked.min_by_key(|(rank, _)| *rank).map(|(_, leaf)| leaf.clone())
        };
        let label = by_name(&classes)
            .or_else(|| classes.first().map(|&&leaf| leaf.clone()))
            .or_else(|| by_name(&labels.iter().collect::<Vec<_>>()))
            .or_else(|| (labels.len() == 1).then(|| labels[0].clone()));
        let Some(label) = label else {
            return Err(format!("has no column that is plainly the label (it has {}), call it `label`", all()));
        };
        let names = features[&label.name]["names"]
            .as_array()
            .map(|names| names.iter().map(|name| composed(name.as_str().unwrap_or_default()).into_owned()).collect());
        Ok(Self { reader, image, label, names })
    }

    /// The number of rows of each group.
    fn groups(&self) -> Vec<usize> {
        let groups = self.reader.metadata().row_groups();
        groups.iter().map(|group| usize::try_from(group.num_rows()).unwrap_or(0)).collect()
    }

    /// The mean size of an image of a group.
    fn bytes_per_row(&self, group: usize, rows: usize) -> u64 {
        let columns = self.reader.metadata().row_group(group).columns();
        let bytes = columns.get(self.image.number).map_or(0, |column| column.uncompressed_size());
        u64::try_from(bytes).unwrap_or(0) / rows.max(1) as u64
    }

    /// The labels of all rows, by name where there are names.
    fn labels(&self) -> std::result::Result<Vec<Option<String>>, String> {
        let mut labels = Vec::new();
        let total: u64 = self.groups().iter().map(|&rows| rows as u64).sum();
        if total > FILES as u64 {
            return Err(format!("says that it has {total} rows, more than {FILES}: split it"));
        }
        for (group, rows) in self.groups().into_iter().enumerate() {
            let number = |number: i64| match (&self.names, usize::try_from(number)) {
                // -1 stands for no label
                (_, Err(_)) => None,
                (Some(names), Ok(place)) => names.get(place).cloned(),
                (None, Ok(_)) => Some(number.to_string()),
            };
            let column = self.reader.get_row_group(group).and_then(|group| group.get_column_reader(self.label.number));
            let found: Vec<Option<String>> = match column.map_err(|error| problem(&error))? {
                ColumnReader::Int32ColumnReader(column) => {
                    values(column, self.label.defined, 0, rows)?.into_iter().map(|v| number(v?.into())).collect()
                }
                ColumnReader::Int64ColumnReader(column) => {
                    values(column, self.label.defined, 0, rows)?.into_iter().map(|v| number(v?)).collect()
                }
                ColumnReader::ByteArrayColumnReader(column) => {
                    let name = |name: Option<ByteArray>| Some(composed(bytes_text(name?.data()).trim()).into_owned());
                    let names = values(column, self.label.defined, 0, rows)?.into_iter().map(name);
                    names.map(|name| name.filter(|name| !name.is_empty())).collect()
                }
                _ => return Err(format!("has labels of an unusual type in column `{}`", self.label.name)),
            };
            if found.len() != rows {
                return Err(damaged("a column has fewer rows than the file"));
            }
            labels.extend(found);
        }
        Ok(labels)
    }

    /// The images of some rows of a group, from `first` on; `None` where there is none.
    fn images(&self, group: usize, first: usize) -> std::result::Result<Vec<Option<ByteArray>>, String> {
        let column = self.reader.get_row_group(group).and_then(|group| group.get_column_reader(self.image.number));
        match column.map_err(|error| problem(&error))? {
            ColumnReader::ByteArrayColumnReader(column) => values(column, self.image.defined, first, ROWS),
            _ => Err(damaged("a column of images has another type")),
        }
    }
}

/// Whether a column of byte arrays is not text.
fn is_binary(schema: &parquet::schema::types::SchemaDescriptor, leaf: &Leaf) -> bool {
    let column = schema.column(leaf.number);
    leaf.physical == Type::BYTE_ARRAY
        && column.logical_type_ref().is_none()
        && column.converted_type() == parquet::basic::ConvertedType::NONE
}

/// What the `datasets` library notes about the columns.
fn features(metadata: Option<&Vec<parquet::file::metadata::KeyValue>>) -> Value {
    let noted = metadata.into_iter().flatten().find(|noted| noted.key == "huggingface");
    let text = noted.and_then(|noted| noted.value.as_deref()).unwrap_or_default();
    let value: Value = serde_json::from_str(text).unwrap_or_default();
    value["info"]["features"].clone()
}

/// Up to `count` values of a column that is not repeated, from row `first` on; `None` where there is none.
fn values<T: DataType>(
    mut column: ColumnReaderImpl<T>,
    defined: i16,
    first: usize,
    count: usize,
) -> std::result::Result<Vec<Option<T::T>>, String> {
    let (mut levels, mut values) = (Vec::new(), Vec::new());
    if first > 0 {
        column.skip_records(first).map_err(|error| problem(&error))?;
    }
    while values.len().max(levels.len()) < count {
        let left = count - values.len().max(levels.len());
        let (read, _, _) =
            column.read_records(left, Some(&mut levels), None, &mut values).map_err(|error| problem(&error))?;
        if read == 0 {
            break;
        }
    }
    if defined == 0 {
        return Ok(values.into_iter().map(Some).collect());
    }
    let mut there = values.into_iter();
    Ok(levels.into_iter().map(|level| if level == defined { there.next() } else { None }).collect())
}

type Kept = Vec<((usize, usize, usize), Arc<Vec<Option<ByteArray>>>)>;

/// The rows of Parquet files.
#[derive(Default)]
pub(super) struct Rows {
    tables: Vec<Table>,
    /// The table, its group and the row there of each place.
    places: Vec<(usize, usize, usize)>,
    /// The number of rows up to the end of each table.
    ends: Vec<usize>,
    /// The stretches that were read last, by table, group and first row, the latest at the end.
    kept: Mutex<Kept>,
}

impl Rows {
    /// The number of rows before a table.
    fn first_row(&self, table: usize) -> usize {
        table.checked_sub(1).and_then(|before| self.ends.get(before)).copied().unwrap_or(0)
    }

    /// The encoded image of a place. The error says what is wrong and what to do.
    pub(super) fn bytes(&self, place: usize) -> std::result::Result<Box<[u8]>, String> {
        let (table, group, row) = self.places[place];
        let key = (table, group, row / ROWS * ROWS);
        let kept = || self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let found = kept().iter().find(|(other, _)| *other == key).map(|(_, rows)| rows.clone());
        let rows = match found {
            Some(rows) => rows,
            None => {
                let rows = Arc::new(guarded(|| self.tables[table].images(group, key.2))?);
                let mut kept = kept();
                if kept.len() >= KEPT {
                    kept.remove(0);
                }
                kept.push((key, rows.clone()));
                rows
            }
        };
        match rows.get(row - key.2) {
            Some(Some(image)) if image.data().len() as u64 > FILE => {
                Err(format!("is larger than {} MiB: scale it down", FILE >> 20))
            }
            Some(Some(image)) => Ok(image.data().into()),
            Some(None) => Err("has no bytes but perhaps a path: write the data set with its images embedded".into()),
            None => Err(damaged("a column has fewer rows than the file")),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::super::samples::png;
    use super::*;
    use image::{GrayImage, Luma};
    use parquet::data_type::{ByteArrayType, Int64Type};
    use parquet::file::metadata::KeyValue;
    use parquet::file::properties::WriterProperties;
    use parquet::file::writer::SerializedFileWriter;
    use parquet::schema::parser::parse_message_type;
    use std::fs;

    const SCHEMA: &str = "message schema {
        optional group image { optional binary bytes; optional binary path (UTF8); }
        optional int64 label;
    }";

    const NAMES: &str = r#"{"info": {"features": {"image": {"_type": "Image"},
        "label": {"names": ["zebra", "ant"], "_type": "ClassLabel"}}}}"#;

    /// A file as `datasets` writes it, in row groups: gray levels and labels; level 0 stands for no image.
    fn parquet_of(schema: &str, noted: Option<&str>, groups: &[&[(u8, i64)]]) -> Vec<u8> {
        let noted = noted.map(|text| vec![KeyValue::new("huggingface".into(), text.to_string())]);
        let properties = WriterProperties::builder()
            .set_compression(parquet::basic::Compression::SNAPPY)
            .set_key_value_metadata(noted)
            .build();
        let schema = Arc::new(parse_message_type(schema).unwrap());
        let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties)).unwrap();
        for rows in groups {
            let mut group = writer.next_row_group().unwrap();
            let images: Vec<ByteArray> = rows
                .iter()
                .filter(|(level, _)| *level > 0)
                .map(|&(level, _)| png(GrayImage::from_pixel(9, 9, Luma([level]))).into())
                .collect();
            let levels: Vec<i16> = rows.iter().map(|(level, _)| if *level > 0 { 2 } else { 1 }).collect();
            let mut column = group.next_column().unwrap().unwrap();
            column.typed::<ByteArrayType>().write_batch(&images, Some(&levels), None).unwrap();
            column.close().unwrap();
            let mut column = group.next_column().unwrap().unwrap();
            let paths: Vec<ByteArray> = rows.iter().map(|_| "a.png".into()).collect();
            column.typed::<ByteArrayType>().write_batch(&paths, Some(&vec![2; rows.len()]), None).unwrap();
            column.close().unwrap();
            let mut column = group.next_column().unwrap().unwrap();
            let labels: Vec<i64> = rows.iter().map(|(_, label)| *label).collect();
            column.typed::<Int64Type>().write_batch(&labels, Some(&vec![1; rows.len()]), None).unwrap();
            column.close().unwrap();
            group.close().unwrap();
        }
        writer.into_inner().unwrap()
    }

    fn described(data: &dyn Dataset) -> Vec<(String, String, Part, u8)> {
        let class = |image: usize| data.classes()[data.labels()[image] as usize].full_name();
        let level = |image: usize| data.image(image).unwrap().pixels[0];
        (0..data.labels().len()).map(|at| (data.image_name(at), class(at), data.part(at), level(at))).collect()
    }

    #[test]
    fn shards_of_the_hub_get_their_labels_names_and_parts() {
        let folder = tempfile::tempdir().unwrap();
        let put = |name: &str, groups: &[&[(u8, i64)]]| {
            let path = folder.path().join(name);
            fs::create_dir_all(path.parent().unwrap()).unwrap();
            fs::write(path, parquet_of(SCHEMA, Some(NAMES), groups)).unwrap();
        };
        put("data/train-00000-of-00002.parquet", &[&[(10, 1), (20, 0)], &[(30, 1)]]);
        put("data/train-00001-of-00002.parquet", &[&[(40, 0), (0, 1)]]);
        put("data/test-00000-of-00001.parquet", &[&[(50, 0), (60, -1)]]);
        fs::write(folder.path().join("README.md"), "words").unwrap();
        let data = crate::open(folder.path()).unwrap();
        let row = |name: &str, class: &str, part, level| (format!("data/{name}"), class.to_string(), part, level);
        assert_eq!(
            described(data.as_ref()),
            [
                row("test-00000-of-00001.parquet/0", "zebra", Part::Test, 50),
                row("train-00000-of-00002.parquet/0", "ant", Part::Train, 10),
                row("train-00000-of-00002.parquet/1", "zebra", Part::Train, 20),
                row("train-00000-of-00002.parquet/2", "ant", Part::Train, 30),
                row("train-00001-of-00002.parquet/0", "zebra", Part::Train, 40),
            ]
        );
        let notes = data.notes().join("\n");
        assert!(notes.contains("1 image without a label left out: data/test-00000-of-00001.parquet/1"), "{notes}");
        assert!(data.skipped().iter().any(|(_, problem)| problem.contains("images embedded")), "{:?}", data.skipped());
    }

    #[test]
    fn many_rows_come_back_each_with_its_own_image_in_any_order() {
        let folder = tempfile::tempdir().unwrap();
        let rows: Vec<(u8, i64)> = (0..100).map(|row| (row + 100, i64::from(row % 3))).collect();
        let path = folder.path().join("rows.parquet");
        fs::write(&path, parquet_of(SCHEMA, None, &[&rows[..70], &rows[70..]])).unwrap();
        let data = crate::open(&path).unwrap();
        assert_eq!(data.classes().iter().map(|class| class.full_name()).collect::<Vec<_>>(), ["0", "1", "2"]);
        let found = described(data.as_ref());
        for (row, (name, class, _, level)) in found.iter().enumerate() {
            let own: usize = name.rsplit('/').next().unwrap().parse().unwrap();
            assert_eq!((usize::from(*level), class.as_str()), (own + 100, &*(own % 3).to_string()), "row {row}");
        }
        let again = described(data.as_ref());
        assert_eq!(found, again);
    }

    #[test]
    fn other_tables_and_damaged_files_are_refused_in_one_line() {
        let folder = tempfile::tempdir().unwrap();
        let error = |content: &[u8]| {
            let path = folder.path().join("a.parquet");
            fs::write(&path, content).unwrap();
            crate::open(&path).err().unwrap().to_string()
        };
        let whole = parquet_of(SCHEMA, None, &[&[(10, 1), (20, 0)]]);
        let text = SCHEMA.replace("optional binary bytes", "optional binary bytes_of (UTF8)");
        let text = parquet_of(&text, None, &[&[(10, 1), (20, 0)]]);
        assert!(error(&text).contains("has no column of images (it has image, label)"), "{}", error(&text));
        assert!(error(&whole[..whole.len() - 9]).contains("damaged Parquet file"), "{}", error(&whole));
        assert!(!error(&whole[..20]).contains('\n'));
        let codec = problem(&ParquetError::General("Disabled feature at compile time: lz4".into()));
        assert_eq!(codec, "is packed with lz4, which is not read here: write it again with snappy, gzip or zstd");
    }

    #[test]
    fn a_page_that_unpacks_to_gigabytes_is_refused_before_it_is_unpacked() {
        let huge = [0x15, 0, 0x15, 0xfe, 0xff, 0xff, 0xff, 0x0f, 0x15, 20];
        assert_eq!(page_sizes(&huge), Some([0x7fff_ffff, 10]));
        let length = huge.len() as u64;
        let mut file = tempfile::tempfile().unwrap();
        std::io::Write::write_all(&mut file, &huge).unwrap();
        let file = File { file: SharedFile::new(file), length };
        assert!(file.get_read(0).err().unwrap().to_string().contains("2147483647"));
    }
}
