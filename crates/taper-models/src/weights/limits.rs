//! The bounds of reading a weight file, whatever the file claims.
//!
//! | what is read | memory on top of the mapped file |
//! |---|---|
//! | the directory of a zip archive | its length, at most [`ZIP_DIRECTORY_BYTES`], about 3 times |
//! | a pickle | at most [`PICKLE_MEMORY`] |
//! | the header of a safetensors file | its length, at most [`SAFETENSORS_HEADER_BYTES`], about 8 times |
//! | an index of shards | its length, at most [`INDEX_BYTES`], about 4 times |
//! | tensors of stored entries | at most [`TENSOR_BYTES_PER_FILE_BYTE`] times the file's length as stored; widening half precision to f32 doubles that |
//! | tensors of compressed entries | at most [`INFLATED_BYTES_PER_FILE_BYTE`] times the file's length |
//!
//! Files are mapped, not read: only the parts that hold tensors of the network are touched.
//! Time is linear in the file's length; a pickle runs at most [`PICKLE_STEPS`] instructions.

/// Instructions that a pickle may have. A state dict has about thirty for each tensor.
pub const PICKLE_STEPS: usize = 8_000_000;

/// Bytes of memory that the values of a pickle may take.
pub const PICKLE_MEMORY: usize = 128 << 20;

/// Depth to which containers inside a checkpoint are searched for weights.
pub const CONTAINER_NESTING: usize = 4;

/// Depth of modules inside a module that was saved whole.
pub const NESTING: usize = 64;

/// Entries of containers that are searched for weights, counted each time they are reached.
pub const CONTAINER_ENTRIES: usize = 2_000_000;

/// Entries that a report lists by name.
pub const LISTED: usize = 100;

/// Dimensions that a tensor may have.
pub const DIMENSIONS: usize = 8;

/// Length of a name in a pickle's instructions, and of a tensor's name.
pub const NAME_BYTES: usize = 1024;

/// Tensors that a file may hold.
pub const TENSORS: usize = 20_000;

/// Length of a zip archive's directory. PyTorch writes about 100 bytes for each tensor.
pub const ZIP_DIRECTORY_BYTES: usize = 16 << 20;

/// Length of the header of a safetensors file.
pub const SAFETENSORS_HEADER_BYTES: u64 = 8 << 20;

/// Length of an index of shards.
pub const INDEX_BYTES: u64 = 16 << 20;

/// Bytes of distinct tensors per byte of the file. Tensors that share a
/// storage make this more than 1.
pub const TENSOR_BYTES_PER_FILE_BYTE: u64 = 2;

/// Unpacked bytes per byte of an archive with compressed entries.
pub const INFLATED_BYTES_PER_FILE_BYTE: u64 = 16;

/// Bytes allowed for tensors of any file, however short.
pub const SMALL_FILE_BYTES: u64 = 1 << 20;
