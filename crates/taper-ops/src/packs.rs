//! Weights that several items of a step share, packed once for all of them.
//!
//! Kernels read weights in a special order (`kernels/pack.rs`), and each convolution packs its
//! weights into it. The tasks of a meta-batch begin with the same weights, and exact MAML uses those
//! four times in each task: [`PackedOnce`] stores the packed weights while it lives.

use crate::convolution::fast::Kernel;
use crate::kernels::winograd::Algorithm;
use crate::threads::lock;
use candle_core::{Tensor, TensorId};
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex};

/// While it lives, convolutions by given weights, or by leaves of tapes made of them, pack them once.
/// The weights must not be changed in place in the meantime. Results have the same bits without it.
///
/// ```
/// use taper_ops::{Convolution, PackedOnce, conv2d, rng, uniform};
/// let weight = uniform(&mut rng(0, "weight", 0), (4, 1, 3, 3), -0.5, 0.5)?;
/// let packed = PackedOnce::new([&weight]);
/// for step in 0..3 {
///     let images = uniform(&mut rng(0, "images", step), (2, 8, 8, 1), 0.0, 1.0)?;
///     conv2d(&images, &weight, Convolution::default())?;
/// }
/// drop(packed);
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Debug)]
pub struct PackedOnce(Vec<TensorId>);

impl PackedOnce {
    /// Shares packed forms of these tensors; those that no convolution uses cost nothing.
    pub fn new<'a>(weights: impl IntoIterator<Item = &'a Tensor>) -> Self {
        let kernels = weights.into_iter().filter(|weight| weight.rank() == 4);
        let ids: Vec<TensorId> = kernels.map(Tensor::id).collect();
        lock(&PACKS).extend(ids.iter().map(|&id| (id, Arc::default())));
        Self(ids)
    }
}

impl Drop for PackedOnce {
    fn drop(&mut self) {
        forget(&self.0);
    }
}

static PACKS: LazyLock<Mutex<HashMap<TensorId, Arc<Packs>>>> = LazyLock::new(Mutex::default);

/// One tensor's weights in the order in which kernels read them.
#[derive(Default)]
pub(crate) struct Packs(Mutex<Vec<(Use, Arc<Kernel>)>>);

/// What the order of packed weights depends on, besides their shape.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Use {
    /// Whether the weights are packed for the input gradient.
    pub(crate) back: bool,
    pub(crate) algorithm: Option<Algorithm>,
    pub(crate) groups: usize,
}

impl Packs {
    /// The packed forms of a tensor, if it is shared.
    pub(crate) fn of(weight: &Tensor) -> Option<Arc<Self>> {
        lock(&PACKS).get(&weight.id()).cloned()
    }

    /// The kernel of a use, packed at the first call.
    pub(crate) fn kernel(&self, of: Use, pack: impl FnOnce() -> Kernel) -> Arc<Kernel> {
        let mut packs = lock(&self.0);
        if let Some((_, kernel)) = packs.iter().find(|(other, _)| *other == of) {
            return kernel.clone();
        }
        let kernel = Arc::new(pack());
        packs.push((of, kernel.clone()));
        kernel
    }
}

/// Gives `tensor`, which has the values of `other`, its packed forms, if it is shared.
pub(crate) fn same(tensor: &Tensor, other: &Tensor) {
    let mut packs = lock(&PACKS);
    if let Some(shared) = packs.get(&other.id()).cloned() {
        packs.insert(tensor.id(), shared);
    }
}

/// Forgets the packed forms of some tensors.
pub(crate) fn forget(tensors: &[TensorId]) {
    let mut packs = lock(&PACKS);
    for id in tensors {
        packs.remove(id);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::random;
    use crate::{Convolution, Tape, conv2d};
    use candle_core::DType;

    fn bits(tensor: &Tensor) -> Vec<u32> {
        tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap().into_iter().map(f32::to_bits).collect()
    }

    /// A convolution and its gradients with respect to leaves made of `weight`, at two sizes, the second of
    /// which uses another algorithm.
    fn results(weight: &Tensor) -> Vec<Vec<u32>> {
        let mut results = Vec::new();
        for side in [8, 2] {
            let tape = Tape::default();
            let x = tape.leaf(&random("x", (2, side, side, 16)).to_dtype(DType::F32).unwrap()).unwrap();
            let w = tape.leaf(weight).unwrap();
            let y = conv2d(&x, &w, Convolution { padding: 1, ..Convolution::default() }).unwrap();
            let slopes = tape.gradients(&y.sqr().unwrap().sum_all().unwrap()).unwrap();
            results.extend([&y, slopes.get(&x).unwrap(), slopes.get(&w).unwrap()].map(bits));
        }
        results
    }

    #[test]
    fn shared_weights_are_packed_once_for_each_use_and_give_the_same_bits() {
        let weight = random("w", (16, 16, 3, 3)).to_dtype(DType::F32).unwrap();
        let alone = results(&weight);
        let once = PackedOnce::new([&weight]);
        let packs = Packs::of(&weight).unwrap();
        for _ in 0..2 {
            assert_eq!(results(&weight), alone);
            assert_eq!(lock(&packs.0).len(), 4, "two sizes, there and back");
        }
        drop(once);
        assert!(Packs::of(&weight).is_none());
    }

    #[test]
    fn a_leaf_s_packs_end_with_its_tape() {
        let weight = random("w", (16, 16, 3, 3)).to_dtype(DType::F32).unwrap();
        let _once = PackedOnce::new([&weight]);
        let tape = Tape::default();
        let leaf = tape.leaf(&weight).unwrap();
        assert!(Packs::of(&leaf).is_some());
        drop(tape);
        assert!(Packs::of(&leaf).is_none());
    }
}
