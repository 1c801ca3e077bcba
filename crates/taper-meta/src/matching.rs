//! Matching Networks (Vinyals et al. 2016, "Matching Networks for One Shot Learning"): a query's
//! label is the sum of the support's labels, weighted by attention to their images.
//!
//! Full-context embeddings (section 2.1.2, appendix A) are an option: the support is read by a
//! bidirectional LSTM, each query by an LSTM that attends to the support. The paper's attention is a
//! softmax of plain cosines, which are within [−1, 1] and hardly differ; here a learned factor
//! scales them.

use crate::embedded::Embedded;
use crate::with_context::WithContext;
use candle_core::{Device, Tensor};
use taper_data::{Batch, Episode};
use taper_learn::heads::{FeatureHead, TaskEmbedding, unit_length};
use taper_learn::{
    Adapt, Classifier, Context, Draw, Result, TaskNorm, TypedMethod, method_settings,
    methods::{Kind, MethodInfo, OWN, Registered, Training, own_params},
    training::{Gradient, Objective},
};
use taper_models::{Buffers, Head, Params, State};
use taper_ops::{log_softmax, matmul, matmul_nt, one_hot, rng, sigmoid, uniform};

/// Matching networks in a registry.
pub const MATCHING: Registered<Matching> = Registered::new();

method_settings! {
    /// Learns an embedding in which attention to the support set gives the label.
    pub struct Matching {
        /// Whether images are embedded in the context of the support.
        pub full_context: bool = false;
        /// How often a query reads the support set, in full context.
        pub readings: usize = 3;
    }
}

impl TypedMethod for Matching {
    const INFO: MethodInfo = MethodInfo {
        name: "matching",
        title: "Matching Networks",
        kind: Kind::Meta,
        paper: "Vinyals et al. 2016",
        transductive: false,
        norm: TaskNorm::Support,
        training: Training::Episodes { pretrained: false },
    };

    fn head(_ways: usize) -> Head {
        Head::Identity
    }

    /// The factor of cosines, as its logarithm; in full context, three LSTMs as wide as the features.
    fn own(&self, context: &Context, seed: u64) -> Result<State> {
        let mut own: Vec<(String, Tensor)> = vec![("scale".into(), Tensor::full(10f32.ln(), (), &Device::Cpu)?)];
        if self.full_context {
            let d = context.network.backbone().width();
            for (name, inputs) in [("forwards", d), ("backwards", d), ("query", 2 * d)] {
                own.extend(Lstm::init(name, inputs, d, seed)?);
            }
        }
        let params: Params = own.into_iter().collect();
        Ok(State { params: params.prefixed(OWN), buffers: Buffers::default() })
    }

    fn objective(&self, context: &Context) -> Result<Box<dyn Objective<Item = Episode>>> {
        Ok(Box::new(WithContext::new(self, context)))
    }

    fn learner(&self, context: &Context, state: State) -> Result<Box<dyn Adapt>> {
        let head = MatchingHead { matching: self.clone(), own: own_params(&state.params) };
        Ok(context.on_features(head, &state))
    }
}

impl Matching {
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
            let attention = log_softmax(&matmul_nt(&h, support)?)?.exp()?;
            let r = matmul(&attention, support)?;
            memory = lstm.step(&Tensor::cat(&[features, &r], 1)?, &Memory { output: h, cell: memory.cell })?;
            h = (&memory.output + features)?;
        }
        Ok(h)
    }

    /// Logarithms of eq. 1, P(y | x, S) = Σ a(x, xᵢ) yᵢ: `(m, ways)`.
    fn logits(&self, own: &Params, query: &Tensor, support: &Tensor, labels: &Batch) -> Result<Tensor> {
        let support = self.support(own, support)?;
        let query = self.query(own, query, &support)?;
        let cosines = matmul_nt(&unit_length(&query)?, &unit_length(&support)?)?;
        let attention = log_softmax(&cosines.broadcast_mul(&own.get("scale")?.exp()?)?)?.exp()?;
        let probability = matmul(&attention, &one_hot(&labels.labels, labels.ways, attention.dtype())?)?;
        Ok((probability + 1e-12)?.log()?)
    }
}

impl Objective for WithContext<Matching> {
    type Item = Episode;

    fn gradient(&self, state: &State, episode: &Episode, at: Draw) -> Result<Gradient> {
        let embedded = Embedded::new(&self.context, state, episode, at)?;
        let own = own_params(&embedded.params);
        let logits = self.method.logits(&own, &embedded.query, &embedded.support, &episode.support)?;
        embedded.cross_entropy(&logits, episode)
    }
}

/// Matching with what it has learned.
#[derive(Debug, Clone)]
struct MatchingHead {
    matching: Matching,
    own: Params,
}

impl FeatureHead for MatchingHead {
    fn fit(&self, features: &Tensor, support: &Batch, task: TaskEmbedding, _seed: u64) -> Result<Box<dyn Classifier>> {
        Ok(Box::new(Matched { head: self.clone(), task, features: features.clone(), support: support.clone() }))
    }
}

struct Matched {
    head: MatchingHead,
    task: TaskEmbedding,
    features: Tensor,
    support: Batch,
}

impl Classifier for Matched {
    fn logits(&self, inputs: &Tensor) -> Result<Tensor> {
        let query = self.task.query(inputs)?;
        let MatchingHead { matching, own } = &self.head;
        Ok(matching.logits(own, &query, &self.features, &self.support)?.detach())
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
    /// PyTorch's initialization: uniform within ±1/√d.
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
        let gates =
            (matmul_nt(x, &self.input)? + matmul_nt(&memory.output, &self.hidden)?)?.broadcast_add(&self.bias)?;
        let d = self.hidden.dim(1)?;
        let gate = |place: usize| gates.narrow(1, place * d, d)?.contiguous();
        let (input, forget) = (sigmoid(&gate(0)?)?, sigmoid(&gate(1)?)?);
        let (candidate, output) = (gate(2)?.tanh()?, sigmoid(&gate(3)?)?);
        let cell = ((forget * &memory.cell)? + (input * candidate)?)?;
        Ok(Memory { output: (output * cell.tanh()?)?, cell })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::{largest_error, start, task};

    #[test]
    fn the_gradient_equals_finite_differences_with_and_without_full_context() {
        for full_context in [false, true] {
            let method = Matching { full_context, ..Matching::default() };
            let (context, state) = start(&method, TaskNorm::Support, 1);
            let error = largest_error(method.objective(&context).unwrap().as_ref(), &state);
            assert!(error < 1e-7, "full context {full_context}: relative error {error:e}");
        }
    }

    #[test]
    fn probabilities_of_the_classes_add_up_to_one_and_queries_are_classified_separately() {
        let method = Matching { full_context: true, ..Matching::default() };
        let (context, state) = start(&method, TaskNorm::Support, 1);
        let episode = task();
        let classifier = method.learner(&context, state).unwrap().adapt(&episode.support, 0).unwrap();
        let rows = |inputs: &Tensor| classifier.logits(inputs).unwrap().exp().unwrap().to_vec2::<f64>().unwrap();
        let (together, alone) = (rows(&episode.query.inputs), rows(&episode.query.inputs.narrow(0, 1, 1).unwrap()));
        assert!(together.iter().all(|row| (row.iter().sum::<f64>() - 1.0).abs() < 1e-6));
        assert!(together[1].iter().zip(&alone[0]).all(|(a, b)| (a - b).abs() < 1e-12));
    }
}
