//! Matching Networks (Vinyals et al. 2016, "Matching Networks for One Shot Learning"): a query's
//! label is the support's labels, each weighted by attention to its image.
//!
//! Full-context embeddings (section 2.1.2, appendix A) are an option: the support is read by a
//! bidirectional LSTM, each query by an LSTM that attends to the support. The paper's attention is a
//! softmax of plain cosines, which lie within [−1, 1] and hardly differ; here a learned factor
//! sharpens it.

use crate::embedded::{Embedded, unit};
use candle_core::{Device, Tensor};
use taper_data::{Batch, Episode};
use taper_learn::heads::{Embedding, TaskEmbedding};
use taper_learn::{
    Adapt, Classifier, Draw, Episodic, Gradient, Kind, Method, OWN, Objective, Result, Setting, Setup, TaskNorm,
    Training, own_params,
};
use taper_models::{Buffers, Head, Network, Params, State};
use taper_ops::{log_softmax, one_hot, rng, uniform};

/// Matching networks in the registry.
pub const MATCHING: Method = Method {
    name: "matching",
    title: "Matching Networks",
    kind: Kind::Meta,
    paper: "Vinyals et al. 2016",
    transductive: false,
    norm: TaskNorm::Support,
    settings: &[
        Setting { name: "full-context", default: 0.0, about: "1 to embed images in the context of the support" },
        Setting { name: "readings", default: 3.0, about: "times that a query reads the support, in full context" },
    ],
    training: Training::Episodes(Episodic {
        pretrained: false,
        head: |_| Head::Identity,
        own,
        objective: |setup| Ok(Box::new(Matching::of(setup)?)),
    }),
    learner: |setup, state| {
        let own = own_params(&state.params);
        Ok(Box::new(AdaptedMatching { matching: Matching::of(setup)?, own, embedding: Embedding::of(setup, state) }))
    },
};

/// The factor of cosines, as its logarithm; and three LSTMs as wide as the features.
fn own(setup: &Setup, seed: u64) -> Result<State> {
    let mut own: Vec<(String, Tensor)> = vec![("scale".into(), Tensor::full(10f32.ln(), (), &Device::Cpu)?)];
    if setup.settings.is_on("full-context")? {
        let d = setup.network.backbone().width();
        for (name, inputs) in [("forwards", d), ("backwards", d), ("query", 2 * d)] {
            own.extend(Lstm::init(name, inputs, d, seed)?);
        }
    }
    let params: Params = own.into_iter().collect();
    Ok(State { params: params.prefixed(OWN), buffers: Buffers::default() })
}

/// Learns an embedding in which attention to the support finds the label.
#[derive(Debug, Clone)]
pub struct Matching {
    network: Network,
    norm: TaskNorm,
    full_context: bool,
    readings: usize,
}

impl Matching {
    fn of(setup: &Setup) -> Result<Self> {
        Ok(Self {
            network: setup.network.clone(),
            norm: setup.norm,
            full_context: setup.settings.is_on("full-context")?,
            readings: setup.settings.count("readings")?,
        })
    }

    /// The support in its own context, `(n, d)`: g(xᵢ, S) = h→ᵢ + h←ᵢ + g′(xᵢ) (appendix A.2).
    fn support(&self, own: &Params, features: &Tensor) -> Result<Tensor> {
        if !self.full_context {
            return Ok(features.clone());
        }
        let n = features.dim(0)?;
        let read = |name: &str, order: &mut dyn Iterator<Item = usize>| -> Result<Vec<(usize, Tensor)>> {
            let lstm = Lstm::of(own, name)?;
            let mut memory = lstm.empty(1, features)?;
            let mut outputs = Vec::with_capacity(n);
            for row in order {
                memory = lstm.step(&features.narrow(0, row, 1)?, &memory)?;
                outputs.push((row, memory.output.clone()));
            }
            outputs.sort_by_key(|(row, _)| *row);
            Ok(outputs)
        };
        let stacked = |outputs: Vec<(usize, Tensor)>| {
            Tensor::cat(&outputs.into_iter().map(|(_, output)| output).collect::<Vec<_>>(), 0)
        };
        let (ahead, back) = (stacked(read("forwards", &mut (0..n))?)?, stacked(read("backwards", &mut (0..n).rev())?)?);
        Ok(((ahead + back)? + features)?)
    }

    /// Queries in the support's context, `(m, d)` (appendix A.1, eq. 3 to 6).
    fn query(&self, own: &Params, features: &Tensor, support: &Tensor) -> Result<Tensor> {
        if !self.full_context {
            return Ok(features.clone());
        }
        let lstm = Lstm::of(own, "query")?;
        let mut memory = lstm.empty(features.dim(0)?, features)?;
        let mut h = features.clone();
        for _ in 0..self.readings {
            let attention = log_softmax(&h.matmul(&support.t()?.contiguous()?)?)?.exp()?;
            let r = attention.matmul(support)?;
            memory = lstm.step(&Tensor::cat(&[features, &r], 1)?, &Memory { output: h, cell: memory.cell })?;
            h = (&memory.output + features)?;
        }
        Ok(h)
    }

    /// Logarithms of eq. 1, P(y | x, S) = Σ a(x, xᵢ) yᵢ: `(m, ways)`.
    fn logits(&self, own: &Params, query: &Tensor, support: &Tensor, labels: &Batch) -> Result<Tensor> {
        let support = self.support(own, support)?;
        let query = self.query(own, query, &support)?;
        let cosines = unit(&query)?.matmul(&unit(&support)?.t()?.contiguous()?)?;
        let attention = log_softmax(&cosines.broadcast_mul(&own.get("scale")?.exp()?)?)?.exp()?;
        let probability = attention.matmul(&one_hot(&labels.labels, labels.ways, attention.dtype())?)?;
        Ok((probability + 1e-12)?.log()?)
    }
}

impl Objective for Matching {
    type Item = Episode;

    fn gradient(&self, state: &State, episode: &Episode, at: Draw) -> Result<Gradient> {
        let embedded = Embedded::new(&self.network, self.norm, state, episode, at)?;
        let own = own_params(&embedded.params);
        let logits = self.logits(&own, &embedded.query, &embedded.support, &episode.support)?;
        embedded.cross_entropy(&logits, episode)
    }
}

struct AdaptedMatching {
    matching: Matching,
    own: Params,
    embedding: Embedding,
}

impl Adapt for AdaptedMatching {
    fn adapt(&self, support: &Batch, _seed: u64) -> Result<Box<dyn Classifier>> {
        let (features, task) = self.embedding.support(&support.inputs)?;
        let (matching, own) = (self.matching.clone(), self.own.clone());
        Ok(Box::new(Matched { matching, own, task, features, support: support.clone() }))
    }

    fn transductive(&self) -> bool {
        self.embedding.norm().transductive()
    }
}

struct Matched {
    matching: Matching,
    own: Params,
    task: TaskEmbedding,
    features: Tensor,
    support: Batch,
}

impl Classifier for Matched {
    fn logits(&self, inputs: &Tensor) -> Result<Tensor> {
        let query = self.task.query(inputs)?;
        Ok(self.matching.logits(&self.own, &query, &self.features, &self.support)?.detach())
    }
}

/// A long short-term memory cell (Hochreiter and Schmidhuber 1997), PyTorch's gates and order.
struct Lstm {
    input: Tensor,
    hidden: Tensor,
    bias: Tensor,
}

struct Memory {
    output: Tensor,
    cell: Tensor,
}

impl Lstm {
    /// PyTorch's beginning: uniform within ±1/√d.
    fn init(name: &str, inputs: usize, d: usize, seed: u64) -> Result<Vec<(String, Tensor)>> {
        let bound = 1.0 / (d as f32).sqrt();
        let parts = [("input", vec![4 * d, inputs]), ("hidden", vec![4 * d, d]), ("bias", vec![4 * d])];
        parts
            .into_iter()
            .map(|(part, shape)| {
                let name = format!("{name}.{part}");
                let values = uniform(&mut rng(seed, &name, 0), shape, -bound, bound)?;
                Ok((name, values))
            })
            .collect()
    }

    fn of(own: &Params, name: &str) -> Result<Self> {
        let part = |part: &str| own.get(&format!("{name}.{part}")).cloned();
        Ok(Self { input: part("input")?, hidden: part("hidden")?, bias: part("bias")? })
    }

    fn empty(&self, rows: usize, like: &Tensor) -> Result<Memory> {
        let zeros = Tensor::zeros((rows, self.hidden.dim(1)?), like.dtype(), like.device())?;
        Ok(Memory { output: zeros.clone(), cell: zeros })
    }

    fn step(&self, x: &Tensor, memory: &Memory) -> Result<Memory> {
        let gates = (x.matmul(&self.input.t()?.contiguous()?)?
            + memory.output.matmul(&self.hidden.t()?.contiguous()?)?)?
        .broadcast_add(&self.bias)?;
        let d = self.hidden.dim(1)?;
        let gate = |place: usize| gates.narrow(1, place * d, d)?.contiguous();
        let sigmoid = |x: Tensor| (x.neg()?.exp()? + 1.0)?.recip();
        let (input, forget) = (sigmoid(gate(0)?)?, sigmoid(gate(1)?)?);
        let (candidate, output) = (gate(2)?.tanh()?, sigmoid(gate(3)?)?);
        let cell = ((forget * &memory.cell)? + (input * candidate)?)?;
        Ok(Memory { output: (output * cell.tanh()?)?, cell })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{largest_error, objective, start, task};

    #[test]
    fn the_gradient_equals_finite_differences_with_and_without_full_context() {
        for full in [0.0, 1.0] {
            let (setup, state) = start(&MATCHING, TaskNorm::Support, &[("full-context", full)], 1);
            let error = largest_error(objective(&MATCHING, &setup).as_ref(), &state);
            assert!(error < 1e-7, "full context {full}: relative error {error:e}");
        }
    }

    #[test]
    fn probabilities_of_the_classes_add_up_to_one_and_queries_do_not_see_each_other() {
        let (setup, state) = start(&MATCHING, TaskNorm::Support, &[("full-context", 1.0)], 1);
        let episode = task();
        let classifier = (MATCHING.learner)(&setup, state).unwrap().adapt(&episode.support, 0).unwrap();
        let rows = |inputs: &Tensor| classifier.logits(inputs).unwrap().exp().unwrap().to_vec2::<f64>().unwrap();
        let (together, alone) = (rows(&episode.query.inputs), rows(&episode.query.inputs.narrow(0, 1, 1).unwrap()));
        assert!(together.iter().all(|row| (row.iter().sum::<f64>() - 1.0).abs() < 1e-6));
        assert!(together[1].iter().zip(&alone[0]).all(|(a, b)| (a - b).abs() < 1e-12));
    }
}
