//! Taper's ONNX files, run by tract: see `tests/onnx_files.rs`.
