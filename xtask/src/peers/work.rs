//! The works that both programs do, and how Taper does them: with the objectives, networks and
//! training loop that every user gets.

use super::material;
use anyhow::{Context as _, Result, bail};
use clap::ValueEnum;
use std::path::Path;
use std::process::Command;
use std::time::{Duration, Instant};
use taper_data::{Batch, Episode, View};
use taper_learn::{
    Context, Event, Flow, Observer, Plan, Progress, TaskNorm, TypedMethod, fit,
    training::{Objective, Optimizer, Supervised, Targeted, Trainable},
};
use taper_meta::{FirstOrderMaml, Maml, ProtoNet};
use taper_models::{Architecture, Frozen, Head, Network, Norm, catalog::Preprocessing};
use taper_ops::{rng, uniform};
use taper_transfer::Features;

/// A piece of work with all sizes fixed.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, ValueEnum)]
pub(crate) enum Work {
    /// Exact MAML, Conv4-64, 5-way 1-shot, 32 tasks per step, 1 inner step
    #[value(name = "maml-1-step")]
    Maml1Step,
    /// The same with 5 inner steps
    #[value(name = "maml-5-steps")]
    Maml5Steps,
    /// First-order MAML with 1 inner step
    MamlFirstOrder,
    /// ProtoNet episodes, Conv4-64, 20-way 5-shot with 15 queries
    Protonet,
    /// Features of a frozen ResNet-18, batches of 16 images of 224x224
    #[value(name = "resnet18-features")]
    Resnet18Features,
    /// Training of the whole ResNet-18, batches of 16 images of 224x224
    #[value(name = "resnet18-fine-tune")]
    Resnet18FineTune,
    /// Features of a frozen ResNet-50, batches of 16 images of 224x224
    #[value(name = "resnet50-features")]
    Resnet50Features,
    /// Features of a frozen EfficientNet-Lite0, batches of 16 images of 224x224
    #[value(name = "efficientnet-lite0-features")]
    EfficientnetLite0Features,
    /// Features of a frozen DINOv2-small, batches of 16 images of 224x224
    #[value(name = "dinov2-small-features")]
    Dinov2SmallFeatures,
    /// Features of the frozen image tower of CLIP ViT-B/32, batches of 16 images of 224x224
    #[value(name = "clip-vit-b32-features")]
    ClipVitB32Features,
    /// Training of DINOv2-small's layer norms and a head, batches of 16 images of 224x224
    #[value(name = "dinov2-small-norms")]
    Dinov2SmallNorms,
    /// Features of a frozen ConvNeXt-tiny, batches of 16 images of 224x224
    ConvnextTinyFeatures,
    /// Training of the whole EfficientNet-Lite0, batches of 32 images of 224x224
    #[value(name = "efficientnet-lite0-fine-tune")]
    EfficientnetLite0FineTune,
    /// Training of a CIFAR ResNet-20, batches of 128
    #[value(name = "cifar-resnet20-train")]
    CifarResnet20Train,
    /// Features of a folder of JPEGs of 512x384 by a frozen EfficientNet-Lite0, from files to features
    FolderFeatures,
    /// From the start of a process to its answer about one image, by a small classifier
    ColdStart,
}

const INNER_LR: f64 = 0.4;

impl Work {
    /// Its name, as the command line takes it.
    pub(crate) fn name(self) -> String {
        self.to_possible_value().map(|value| value.get_name().to_string()).unwrap_or_default()
    }

    /// The unit of its rate.
    pub(crate) fn unit(self) -> &'static str {
        match self {
            Self::Maml1Step | Self::Maml5Steps | Self::MamlFirstOrder => "steps/s",
            Self::Protonet => "episodes/s",
            Self::ColdStart => "starts/s",
            _ => "images/s",
        }
    }

    /// Whether it reads files that [`material`] writes.
    pub(crate) fn reads_files(self) -> bool {
        matches!(self, Self::FolderFeatures | Self::ColdStart)
    }

    /// Taper's rate: the median over calls that take `seconds` in total, after one warm-up call. A work that reads files
    /// finds them in `folder`.
    pub(crate) fn rate(self, seconds: f64, folder: Option<&Path>) -> Result<f64> {
        let folder = || folder.context("this work reads files: give their --folder");
        match self {
            Self::Maml1Step => maml(1, true, seconds),
            Self::Maml5Steps => maml(5, true, seconds),
            Self::MamlFirstOrder => maml(1, false, seconds),
            Self::Protonet => protonet(seconds),
            Self::Resnet18Features => features("resnet18", seconds),
            Self::Resnet50Features => features("resnet50", seconds),
            Self::EfficientnetLite0Features => features("efficientnet-lite0", seconds),
            Self::Dinov2SmallFeatures => features("dinov2-small", seconds),
            Self::ClipVitB32Features => features("clip-vit-b32", seconds),
            Self::ConvnextTinyFeatures => features("convnext-tiny", seconds),
            Self::FolderFeatures => folder_features(folder()?, seconds),
            Self::ColdStart => cold_start(folder()?, seconds),
            Self::Dinov2SmallNorms => {
                let network = network("dinov2-small", (3, 224, 224), Head::Linear { outputs: 10 })?;
                let layers = network.backbone().norms();
                let in_norm = |name: &str| {
                    layers
                        .iter()
                        .any(|layer| name.strip_prefix(layer.as_str()).is_some_and(|rest| rest.starts_with('.')))
                };
                let names = network.param_specs().into_iter().map(|spec| spec.name);
                let trained = names.filter(|name| in_norm(name) || network.in_head(name)).collect();
                supervised(&network, Trainable::Named(trained), (16, 224), Optimizer::adam(), seconds)
            }
            Self::Resnet18FineTune => {
                let head = Head::Mlp { hidden: 1024, outputs: 10 };
                let network = network("resnet18", (3, 224, 224), head)?;
                supervised(&network, Trainable::All, (16, 224), Optimizer::adam(), seconds)
            }
            Self::EfficientnetLite0FineTune => {
                let head = Head::Mlp { hidden: 1024, outputs: 10 };
                let network = network("efficientnet-lite0", (3, 224, 224), head)?;
                supervised(&network, Trainable::All, (32, 224), Optimizer::adam(), seconds)
            }
            Self::CifarResnet20Train => {
                let sgd = Optimizer::Sgd { momentum: 0.9, nesterov: false, weight_decay: 1e-4 };
                let network = network("cifar-resnet20", (3, 32, 32), Head::Linear { outputs: 10 })?;
                supervised(&network, Trainable::All, (128, 32), sgd, seconds)
            }
        }
    }
}

fn network(name: &str, input: (usize, usize, usize), head: Head) -> Result<Network> {
    Ok(Network::new(name.parse::<Architecture>()?.backbone(input)?, head))
}

/// Random images, equally many per class.
fn batch(stream: &str, ways: usize, each: usize, (c, h, w): (usize, usize, usize)) -> Result<Batch> {
    let images = uniform(&mut rng(0, stream, 0), (ways * each, c, h, w), 0.0, 1.0)?;
    let labels: Vec<u32> = (0..ways * each).map(|image| (image / each) as u32).collect();
    Ok(Batch::new(images, &labels, ways)?)
}

fn episode(index: usize, ways: usize, shots: usize, queries: usize) -> Result<Episode> {
    Ok(Episode {
        support: batch(&format!("support {index}"), ways, shots, (1, 28, 28))?,
        query: batch(&format!("query {index}"), ways, queries, (1, 28, 28))?,
        query_images: (0..ways * queries).collect(),
        classes: (0..ways as u32).collect(),
        source: "noise".into(),
    })
}

fn maml(inner_steps: usize, exact: bool, seconds: f64) -> Result<f64> {
    const TASKS: usize = 32;
    let network = network("conv4-64", (1, 28, 28), Head::Linear { outputs: 5 })?;
    let episodes = (0..TASKS).map(|task| episode(task, 5, 1, 1)).collect::<Result<Vec<_>>>()?;
    let context = Context::new(network.clone(), TaskNorm::Batch);
    let maml = Maml { inner_lr: INNER_LR, inner_steps, ..Maml::default() };
    let objective = if exact { maml.objective(&context)? } else { FirstOrderMaml(maml).objective(&context)? };
    train(&network, objective.as_ref(), &episodes, Optimizer::adam(), seconds)
}

fn protonet(seconds: f64) -> Result<f64> {
    let network = network("conv4-64", (1, 28, 28), Head::Identity)?;
    let objective = ProtoNet {}.objective(&Context::new(network.clone(), TaskNorm::Batch))?;
    train(&network, objective.as_ref(), &[episode(0, 20, 5, 15)?], Optimizer::adam(), seconds)
}

/// Images per second of training on batches of `images` images of `side` pixels.
fn supervised(
    network: &Network,
    trainable: Trainable,
    (images, side): (usize, usize),
    optimizer: Optimizer,
    seconds: f64,
) -> Result<f64> {
    let inputs = uniform(&mut rng(0, "images", 0), (images, 3, side, side), 0.0, 1.0)?;
    let labels: Vec<u32> = (0..images).map(|image| (image % 10) as u32).collect();
    let batch = Batch::new(inputs, &labels, 10)?;
    let objective = Supervised::new(network.clone(), trainable, Norm::Batch);
    let batch = Targeted::of(&batch, None, 0.0)?;
    Ok(images as f64 * train(network, &objective, &[batch], optimizer, seconds)?)
}

/// Steps per second of the training loop, each over all `items`.
fn train<O: Objective + ?Sized>(
    network: &Network,
    objective: &O,
    items: &[O::Item],
    optimizer: Optimizer,
    seconds: f64,
) -> Result<f64>
where
    O::Item: Clone,
{
    let plan = Plan { steps: u64::MAX, items: items.len(), optimizer, ..Plan::default() };
    let item = |draw: taper_learn::Draw| Ok(items[draw.number as usize % items.len()].clone());
    let mut watch = Stopwatch::new(seconds);
    fit(Progress::new(network.init(0)?), &plan, objective, item, |_| Ok(0.0), &mut watch)?;
    Ok(watch.rate())
}

fn features(name: &str, seconds: f64) -> Result<f64> {
    const IMAGES: usize = 16;
    let network = network(name, (3, 224, 224), Head::Identity)?;
    let frozen = Frozen::new(network.backbone().clone(), network.init(0)?);
    let inputs = uniform(&mut rng(0, "images", 0), (IMAGES, 3, 224, 224), 0.0, 1.0)?;
    let mut watch = Stopwatch::new(seconds);
    loop {
        frozen.features(&inputs)?;
        if watch.lap() {
            return Ok(IMAGES as f64 * watch.rate());
        }
    }
}

/// Images per second from a folder of images to their features, as `taper features` makes them without a cache.
fn folder_features(folder: &Path, seconds: f64) -> Result<f64> {
    let architecture = "efficientnet-lite0".parse::<Architecture>()?;
    let mut watch = Stopwatch::new(seconds);
    loop {
        // a view keeps transformed images: each lap opens the folder anew
        let view =
            View::new(taper_data::open(folder)?, Preprocessing::default_for(architecture).steps(None)?.parse()?)?;
        let network = Network::new(architecture.backbone(view.shape())?, Head::Identity);
        let images: Vec<usize> = (0..view.dataset().labels().len()).collect();
        Features::compute(&view, &images, &network, &network.init(0)?, None, |_, _| Ok(()))?;
        if watch.lap() {
            return Ok(images.len() as f64 * watch.rate());
        }
    }
}

/// Starts per second of `taper predict`, which is beside this program.
fn cold_start(folder: &Path, seconds: f64) -> Result<f64> {
    let [classifier, image] = material::cold_start(folder);
    let program = std::env::current_exe()?.with_file_name("taper").with_extension(std::env::consts::EXE_EXTENSION);
    let mut watch = Stopwatch::new(seconds);
    loop {
        let output = Command::new(&program).arg("predict").args([&classifier, &image]).output();
        let output = output.with_context(|| format!("{} does not start", program.display()))?;
        if !output.status.success() {
            bail!("taper predict failed: {}", String::from_utf8_lossy(&output.stderr).trim());
        }
        if watch.lap() {
            return Ok(watch.rate());
        }
    }
}

/// Times laps from the end of the first, which warms up.
struct Stopwatch {
    last: Instant,
    until: Instant,
    laps: Vec<f64>,
    warm: bool,
    span: Duration,
}

impl Stopwatch {
    fn new(seconds: f64) -> Self {
        let now = Instant::now();
        Self { last: now, until: now, laps: Vec::new(), warm: false, span: Duration::from_secs_f64(seconds) }
    }

    /// Ends a lap; returns `true` if the time is over and there were at least three laps.
    fn lap(&mut self) -> bool {
        let now = Instant::now();
        if self.warm {
            self.laps.push((now - self.last).as_secs_f64());
        } else {
            (self.warm, self.until) = (true, now + self.span);
        }
        self.last = now;
        now >= self.until && self.laps.len() >= 3
    }

    fn rate(mut self) -> f64 {
        self.laps.sort_by(f64::total_cmp);
        1.0 / self.laps[self.laps.len() / 2]
    }
}

impl Observer for Stopwatch {
    fn on(&mut self, event: Event<'_>) -> taper_learn::Result<Flow> {
        Ok(match event {
            Event::Step { .. } if self.lap() => Flow::Stop,
            _ => Flow::Continue,
        })
    }
}
