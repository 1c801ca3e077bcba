//! A classifier as one ONNX file.

use crate::graph::{Builder, Sized, declared, int};
use crate::metadata::{metadata, sentence};
use crate::network::network;
use crate::preprocessing::preprocessing;
use crate::proto::{self, ElementKind};
use crate::trust::{FAMILIARITY, P_VALUES, assessor, trust};
use crate::{ExportError, Result};
use prost::Message as _;
use taper_data::Transform;
use taper_learn::{Model, models::CLASSIFIER};

/// What an ONNX file holds.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct OnnxOptions {
    /// Without the preprocessing: the input is what the network takes.
    pub bare: bool,
    /// How weights are stored. The arithmetic is in f32 in any case.
    pub precision: Precision,
}

/// How weights are stored.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub enum Precision {
    /// In 32 bits.
    #[default]
    Single,
    /// In 16 bits: half the size.
    Half,
    /// Matrices and kernels in 8 bits with a scale for each output channel: a quarter of the size.
    Int8,
}

/// The version of the operators: the first whose `Resize` averages over the pixels that it merges.
const OPSET: i64 = 18;
const IR_VERSION: i64 = 8;

/// The content of an ONNX file (opset 18) that classifies as `model` does.
///
/// Its input is `images`, 8-bit pixels `(n, height, width, channels)` of any size, the same for the images of a batch;
/// or, with [`OnnxOptions::bare`], `inputs`, transformed images `(n, channels, height, width)`. Outputs are `logits` and
/// `probabilities`, `(n, classes)`, and if the model keeps scores of labeled images that were held out, `familiarity`, `(n)`,
/// and `p_values`, `(n, classes)`: what [`taper_learn::support::Assessor`] computes. The class names, the transform and
/// where the model comes from are in the metadata.
///
/// # Errors
/// Returns an error if the model is a learner without classes, its network can't be described, or it takes no images
/// and preprocessing is asked for.
///
/// ```
/// use taper_export::{OnnxOptions, onnx};
/// use taper_learn::{Model, methods::SettingValues, models::Origin, provenance::Provenance};
/// use taper_models::{Architecture, Head, Network};
///
/// let backbone = "conv4-4".parse::<Architecture>()?.backbone((1, 16, 16))?;
/// let network = Network::new(backbone, Head::Linear { outputs: 2 });
/// let model = Model {
///     state: network.init(0)?,
///     network,
///     labels: vec!["cat".into(), "dog".into()],
///     transform: "gray resize(16x16)".into(),
///     origin: Origin {
///         method: "classifier".into(),
///         on: "pets".into(),
///         classes: Vec::new(),
///         settings: SettingValues::new(),
///         norm: "stored".into(),
///         revised: false,
///     },
///     provenance: Provenance::default(),
///     support: None,
/// };
/// let bytes = onnx(&model, OnnxOptions::default())?;
/// assert!(bytes.len() > 1000); // std::fs::write("pets.onnx", bytes)
/// # Ok::<(), Box<dyn std::error::Error>>(())
/// ```
pub fn onnx(model: &Model, options: OnnxOptions) -> Result<Vec<u8>> {
    Ok(message(model, options)?.encode_to_vec())
}

/// The file before it is encoded.
pub(crate) fn message(model: &Model, options: OnnxOptions) -> Result<proto::Model> {
    use Sized::{Any, Known};
    let classes = model.network.head().outputs();
    if model.origin.method != CLASSIFIER || classes == 0 {
        return Err(ExportError::Learner { method: model.origin.method.clone() });
    }
    let mut builder = Builder::new(options.precision);
    let (channels, height, width) = model.network.backbone().input();
    let (inputs, input) = if options.bare {
        let sizes = [Any("batch"), Known(channels), Known(height), Known(width)];
        let doc = format!("Images after `{}`.", model.transform);
        ("inputs".to_string(), declared("inputs", ElementKind::F32, &sizes, &doc))
    } else {
        let transform: Transform = model.transform.parse()?;
        let channels = channels_of_images(model, &transform)?;
        let inputs = preprocessing(&mut builder, &transform, channels, "images")?;
        let sizes = [Any("batch"), Any("height"), Any("width"), Known(channels)];
        let doc = if channels == 3 { "Pixels, red, green and blue." } else { "Pixels, gray." };
        (inputs, declared("images", ElementKind::U8, &sizes, doc))
    };
    let made = network(&mut builder, &model.network, &model.state, &inputs)?;
    builder.named_node("Identity", &[&made.logits], "logits", vec![]);
    builder.named_node("Softmax", &["logits"], "probabilities", vec![int("axis", -1)]);
    let output = |name: &str, doc| declared(name, ElementKind::F32, &[Any("batch"), Known(classes)], doc);
    let mut outputs = vec![
        output("probabilities", "The probability of each class, in the order of the metadata's `labels`."),
        output("logits", "Unnormalized log-probabilities."),
    ];
    // 8-bit weights move features away from those of the held-out images, which the shares are counted among
    let assessor = if options.precision == Precision::Int8 { None } else { assessor(model)? };
    if let Some(assessor) = assessor {
        trust(&mut builder, model, &assessor, &made)?;
        let doc = "The share of known images that look at least as foreign: refuse an image whose share is at most r, and \
                   about the share r of known images is refused.";
        if assessor.tells_foreign() {
            outputs.push(declared(FAMILIARITY, ElementKind::F32, &[Any("batch")], doc));
        }
        let doc = "The share of known images whose right class fits at most as well as this class fits the image: the \
                   classes above 1 - c hold the right one for the share c of known images.";
        outputs.push(output(P_VALUES, doc));
    }
    let entry = |(key, value)| proto::Entry { key, value };
    Ok(proto::Model {
        ir_version: IR_VERSION,
        opset_import: vec![proto::OperatorSet { domain: String::new(), version: OPSET }],
        producer_name: "taper".into(),
        producer_version: env!("CARGO_PKG_VERSION").into(),
        doc_string: sentence(model),
        graph: Some(builder.finish(input, outputs)),
        metadata_props: metadata(model)?.into_iter().map(entry).collect(),
    })
}

/// The channels of images as they are decoded: 3, or 1 if the transform takes only gray images.
fn channels_of_images(model: &Model, transform: &Transform) -> Result<usize> {
    let expected = model.network.backbone().input();
    if (expected.1, expected.2) == (1, 1) {
        return Err(ExportError::Vectors { network: model.network.backbone().name() });
    }
    // a photograph, and an image that has the network's size already
    let sizes = [(480, 640), (expected.1, expected.2)];
    let fits = |channels: usize| {
        sizes
            .iter()
            .any(|&(height, width)| transform.shape((channels, height, width)).is_ok_and(|made| made == expected))
    };
    let refused = || ExportError::Transform { transform: transform.to_string(), expected };
    [3, 1].into_iter().find(|&channels| fits(channels)).ok_or_else(refused)
}
