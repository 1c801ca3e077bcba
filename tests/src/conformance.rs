//! What every method must do: one suite over a registry.
//!
//! Each check is a sentence about a learner's logits on a small task of noisy patterns.

use candle_core::{DType, Device, Tensor};
use taper_data::Batch;
use taper_learn::{
    Adapt, Context, Method, Result, TaskNorm,
    methods::{ConfiguredMethod, SettingValues, Training},
};
use taper_models::{Architecture, Head, Network, State};
use taper_ops::{normal, rng};

/// A method's theoretical exceptions from the rules.
#[derive(Debug, Clone, Copy, Default)]
pub struct Allowed {
    /// It starts a task with different random weights for each class, so that classes are not
    /// interchangeable.
    pub random_head: bool,
    /// Its dropout depends on an image's place in the support set, so that the order matters.
    pub dropout: bool,
    /// It weights a penalty, a shrinkage or votes by the number of images, so that duplicates
    /// count.
    pub counts_images: bool,
}

/// Classes of the task.
const WAYS: usize = 3;
/// Side of its images.
const SIDE: usize = 16;
/// Support images, with alternating classes.
const SUPPORT: [u32; 12] = [0, 1, 2, 0, 1, 2, 0, 1, 2, 0, 1, 2];

/// Images of the classes `labels`: each class's own pattern with noise from `stream`.
fn images(labels: &[u32], stream: &str) -> Result<Tensor> {
    let shape = (1, 1, SIDE, SIDE);
    let of = |(number, &class): (usize, &u32)| {
        let pattern = normal(&mut rng(1, "pattern", u64::from(class)), shape, 1.0)?;
        pattern + (normal(&mut rng(2, stream, number as u64), shape, 1.0)? * 0.5)?
    };
    let all = labels.iter().enumerate().map(of).collect::<candle_core::Result<Vec<_>>>()?;
    Ok(Tensor::cat(&all, 0)?)
}

fn rows(tensor: &Tensor, rows: &[usize]) -> Result<Tensor> {
    let rows = Tensor::from_iter(rows.iter().map(|&row| row as u32), &Device::Cpu)?;
    Ok(tensor.index_select(&rows, 0)?)
}

/// The support set's images `rows` with these labels.
fn support(of: &Tensor, at: &[usize], labels: &[u32]) -> Result<Batch> {
    Ok(Batch::new(rows(of, at)?, labels, WAYS)?)
}

fn logits(learner: &dyn Adapt, support: &Batch, queries: &Tensor) -> Result<Vec<Vec<f32>>> {
    let logits = learner.adapt(support, 0)?.logits(queries)?;
    Ok(logits.to_dtype(DType::F32)?.to_vec2::<f32>()?)
}

/// Largest difference of class probabilities.
fn apart(a: &[Vec<f32>], b: &[Vec<f32>]) -> f32 {
    let softmax = |row: &Vec<f32>| {
        let top = row.iter().copied().fold(f32::NEG_INFINITY, f32::max);
        let powers: Vec<f32> = row.iter().map(|v| (v - top).exp()).collect();
        let sum: f32 = powers.iter().sum();
        powers.into_iter().map(move |power| power / sum).collect::<Vec<_>>()
    };
    let pairs = a.iter().zip(b).flat_map(|(a, b)| softmax(a).into_iter().zip(softmax(b)).collect::<Vec<_>>());
    pairs.map(|(a, b)| (a - b).abs()).fold(0.0, f32::max)
}

/// Probabilities further apart than this differ by more than rounding.
const ROUNDING: f32 = 2e-3;

/// Checks a learner; returns the sentences that do not hold. `permuted` is the learner for the
/// classes renamed by [`RENAMED`], if that is another one.
pub fn check_learner(learner: &dyn Adapt, permuted: &dyn Adapt, allowed: Allowed) -> Result<Vec<String>> {
    let mut wrong = Vec::new();
    let mut expect = |holds: bool, sentence: String| {
        if !holds {
            wrong.push(sentence);
        }
    };
    let all = images(&SUPPORT, "support")?;
    let queries = images(&[0, 1, 2, 2, 1, 0, 1], "query")?;
    let places: Vec<usize> = (0..SUPPORT.len()).collect();
    let plain = support(&all, &places, &SUPPORT)?;
    let base = logits(learner, &plain, &queries)?;

    expect(base.iter().all(|row| row.len() == WAYS), "logits have a column per class".into());
    expect(logits(learner, &plain, &queries)? == base, "the same seed gives the same bits".into());
    for threads in [1, 2, 3, 8] {
        let found = taper_ops::in_pool(threads, || logits(learner, &plain, &queries));
        let found = found.map_err(|error| taper_learn::LearnError::Invalid(error.to_string()))??;
        expect(found == base, format!("{threads} threads give the same bits"));
    }

    let renamed: Vec<u32> = SUPPORT.iter().map(|&label| RENAMED[label as usize] as u32).collect();
    let found = logits(permuted, &support(&all, &places, &renamed)?, &queries)?;
    let back: Vec<Vec<f32>> = found.iter().map(|row| RENAMED.iter().map(|&class| row[class]).collect()).collect();
    let far = apart(&base, &back);
    expect((far < ROUNDING) != allowed.random_head, format!("renamed classes rename logits (differ by {far})"));

    let shuffled = [7usize, 3, 11, 0, 5, 9, 1, 8, 2, 10, 6, 4];
    let labels: Vec<u32> = shuffled.iter().map(|&place| SUPPORT[place]).collect();
    let far = apart(&base, &logits(learner, &support(&all, &shuffled, &labels)?, &queries)?);
    expect(allowed.dropout || far < ROUNDING, format!("the order of the support does not count (differ by {far})"));

    let twice = [places.clone(), places.clone()].concat();
    let doubled = logits(learner, &support(&all, &twice, &SUPPORT.repeat(2))?, &queries)?;
    let far = apart(&base, &doubled);
    expect(
        allowed.counts_images || far < ROUNDING,
        format!("a support of duplicates is that of single images (differ by {far})"),
    );

    let finite = |logits: &[Vec<f32>]| logits.iter().flatten().all(|value| value.is_finite());
    expect(finite(&base) && finite(&doubled), "logits are finite".into());
    expect(
        finite(&logits(learner, &support(&all, &[0, 1, 2], &[0, 1, 2])?, &queries)?),
        "one image per class works".into(),
    );
    let unequal = support(&all, &[0, 1, 2, 3, 6, 9], &[0, 1, 2, 0, 0, 0])?;
    expect(finite(&logits(learner, &unequal, &queries)?), "unequal numbers of images work".into());
    // the mean of four images is exact, so that centered features are zeros; that of twelve is not
    for images in [4, 12] {
        let constant = support(&all, &vec![0; images], &SUPPORT[..images])?;
        for (queries, which) in [(&queries, "other"), (&rows(&all, &[0, 0])?, "the same")] {
            let logits = logits(learner, &constant, queries)?;
            expect(finite(&logits), format!("{images} equal images give finite logits for {which} queries"));
        }
    }

    let classifier = learner.adapt(&plain, 0)?;
    let alone = classifier.logits(&queries.narrow(0, 0, 1)?)?.to_dtype(DType::F32)?.to_vec2::<f32>()?;
    let far = apart(&base[..1], &alone);
    expect(
        (far > ROUNDING) == learner.transductive(),
        format!("transductive is {} and a query alone differs by {far}", learner.transductive()),
    );
    Ok(wrong)
}

/// The new name of each class in the check of renamed classes.
pub const RENAMED: [usize; WAYS] = [2, 0, 1];

/// A state with the head's rows, and whatever a method keeps for each of them, in the order of
/// renamed classes.
fn renamed(network: &Network, state: &State) -> Result<State> {
    if !matches!(network.head(), Head::Linear { .. }) {
        return Ok(state.clone());
    }
    let head = network.backbone().head_name();
    let in_head = |name: &str| name.split('.').any(|part| part == head);
    let mut order = [0; WAYS];
    for (class, &new) in RENAMED.iter().enumerate() {
        order[new] = class;
    }
    let mut params = Vec::new();
    for (name, tensor) in state.params.iter() {
        let by_class = in_head(name) && tensor.rank() > 0 && tensor.dim(0)? == WAYS;
        params.push((name.to_string(), if by_class { rows(tensor, &order)? } else { tensor.clone() }));
    }
    Ok(State { params: params.into_iter().collect(), buffers: state.buffers.clone() })
}

/// Checks a method of a registry with its default settings; returns the sentences that do not hold.
pub fn check_method(method: &dyn Method, allowed: Allowed) -> Result<Vec<String>> {
    let info = method.info();
    let backbone = "conv4-8".parse::<Architecture>()?.backbone((1, SIDE, SIDE))?;
    let network = method.network(&Network::new(backbone, Head::Identity), WAYS);
    let configured = |norm: TaskNorm| -> Result<Box<dyn ConfiguredMethod>> {
        method.configure(&SettingValues::new(), Context { network: network.clone(), norm, steps: 10 })
    };
    let plain = configured(info.norm)?;
    let state = match info.training {
        Training::Episodes { .. } => plain.start(None, 1)?,
        _ => network.init(1)?,
    };
    let learner = plain.learner(state.clone())?;
    let permuted = plain.learner(renamed(&network, &state)?)?;
    let mut wrong = check_learner(learner.as_ref(), permuted.as_ref(), allowed)?;
    if learner.transductive() != info.transductive {
        wrong.push(format!("it says that it is{} transductive", if info.transductive { "" } else { " not" }));
    }
    for setting in method.settings()? {
        if setting.about.is_empty() || !method.has_setting(&setting.name) {
            wrong.push(format!("setting {} is documented", setting.name));
        }
    }
    if method.resolve(plain.settings())? != *plain.settings() {
        wrong.push("settings written down are read again".into());
    }
    let unknown = SettingValues::from_iter([("no-such-setting".to_string(), 1.into())]);
    match method.resolve(&unknown) {
        Err(error) if error.to_string().contains("has no setting `no-such-setting`") => {}
        _ => wrong.push("an unknown setting is an error that names it".into()),
    }
    Ok(wrong.into_iter().map(|sentence| format!("{}: {sentence}", info.name)).collect())
}
