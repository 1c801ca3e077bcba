//! Small archives and tables, as other programs write them.

use parquet::data_type::{ByteArray, ByteArrayType, Int64Type};
use parquet::file::{properties::WriterProperties, writer::SerializedFileWriter};
use safetensors::{Dtype, tensor::TensorView};
use std::io::{Cursor, Write};
use std::sync::Arc;
use taper_data::{Class, Vectors};
use zip::CompressionMethod;
use zip::write::SimpleFileOptions;

pub(crate) fn png(level: u8) -> Vec<u8> {
    let mut file = Cursor::new(Vec::new());
    image::GrayImage::from_pixel(9, 9, image::Luma([level])).write_to(&mut file, image::ImageFormat::Png).unwrap();
    file.into_inner()
}

pub(crate) fn zip(files: &[(&str, Vec<u8>)], how: CompressionMethod) -> Vec<u8> {
    let mut zip = zip::ZipWriter::new(Cursor::new(Vec::new()));
    for (name, file) in files {
        zip.start_file(*name, SimpleFileOptions::default().compression_method(how)).unwrap();
        zip.write_all(file).unwrap();
    }
    zip.finish().unwrap().into_inner()
}

pub(crate) fn tar(files: &[(&str, Vec<u8>)]) -> Vec<u8> {
    let mut tar = tar::Builder::new(Vec::new());
    for (name, file) in files {
        let mut header = tar::Header::new_gnu();
        header.set_size(file.len() as u64);
        header.set_mode(0o644);
        tar.append_data(&mut header, name, file.as_slice()).unwrap();
    }
    tar.into_inner().unwrap()
}

pub(crate) fn gzip(content: &[u8]) -> Vec<u8> {
    let mut packed = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::best());
    packed.write_all(content).unwrap();
    packed.finish().unwrap()
}

/// An IDX file of bytes.
pub(crate) fn idx(dimensions: &[u32], bytes: &[u8]) -> Vec<u8> {
    let mut file = vec![0, 0, 8, dimensions.len() as u8];
    dimensions.iter().for_each(|dimension| file.extend(dimension.to_be_bytes()));
    file.extend(bytes);
    file
}

/// Rows of images and labels, as `datasets` writes them.
pub(crate) fn parquet(images: &[Vec<u8>]) -> Vec<u8> {
    let schema = "message schema { optional group image { optional binary bytes; } optional int64 label; }";
    let schema = Arc::new(parquet::schema::parser::parse_message_type(schema).unwrap());
    let properties = WriterProperties::builder().set_compression(parquet::basic::Compression::SNAPPY).build();
    let mut writer = SerializedFileWriter::new(Vec::new(), schema, Arc::new(properties)).unwrap();
    let mut group = writer.next_row_group().unwrap();
    let values: Vec<ByteArray> = images.iter().map(|image| image.clone().into()).collect();
    let mut column = group.next_column().unwrap().unwrap();
    column.typed::<ByteArrayType>().write_batch(&values, Some(&vec![2; images.len()]), None).unwrap();
    column.close().unwrap();
    let mut column = group.next_column().unwrap().unwrap();
    let labels: Vec<i64> = (0..images.len() as i64).map(|row| row % 2).collect();
    column.typed::<Int64Type>().write_batch(&labels, Some(&vec![1; images.len()]), None).unwrap();
    column.close().unwrap();
    group.close().unwrap();
    writer.into_inner().unwrap()
}

/// Four vectors of two classes.
pub(crate) fn npz() -> Vec<u8> {
    let class = |name: &str| Class { name: name.into(), group: String::new() };
    let values = (0..12).map(|value| value as f32).collect();
    let labeled = (vec![class("a"), class("b")], vec![0, 1, 0, 1]);
    let vectors = Vectors::new("vectors", (3, values), labeled, Vec::new(), Vec::new()).unwrap();
    let mut file = Cursor::new(Vec::new());
    vectors.write_npz(&mut file).unwrap();
    file.into_inner()
}

pub(crate) fn safetensors(values: &str, labels: &str) -> Vec<u8> {
    let (numbers, counts) = ([1u8; 4 * 12], [0u8; 8 * 4]);
    let tensors = [
        (values, TensorView::new(Dtype::F32, vec![4, 3], &numbers).unwrap()),
        (labels, TensorView::new(Dtype::I64, vec![4], &counts).unwrap()),
    ];
    safetensors::serialize(tensors, None).unwrap()
}
