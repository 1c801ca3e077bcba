//! Derivatives with respect to the leaves of a [`Tape`], without candle's bookkeeping.
//!
//! candle's `backward` makes zeros for every gradient and adds to them, on one thread, and both
//! become part of the graph that the next derivative runs through. Here an operation of this crate
//! whose input depends on a leaf of a tape is recorded on the tape. Its result is a variable to
//! candle, so candle's own graph ends there. [`Tape::gradients`] walks the records backwards: the
//! first gradient of a tensor is used directly, and only further ones are added. What candle
//! computes between operations (a reshape, a loss) is a piece of candle's graph, whose `backward`
//! ends at variables.
//!
//! The backward pass consists of operations too, which are recorded in the same way, so gradients of
//! gradients are exact to any order. Tensors that depend on no tape are differentiated by candle.

use crate::threads::{is_unrecorded, lock, unrecorded};
use crate::{composed, packs, weighted_sum};
use candle_core::backend::{BackendDevice, BackendStorage};
use candle_core::op::BackpropOp;
use candle_core::{
    CpuStorage, CudaStorage, CustomOp1, CustomOp2, CustomOp3, Layout, MetalStorage, Result, Shape, Storage, Tensor,
    TensorId, Var, bail,
};
use std::collections::HashMap;
use std::sync::{Arc, LazyLock, Mutex, Weak};

/// Records what is computed from its leaves, so that it can be differentiated with respect to them.
///
/// Records are kept until the tape is dropped.
///
/// ```
/// use candle_core::{Device, Tensor};
/// use taper_ops::{Tape, relu};
///
/// let tape = Tape::default();
/// let x = tape.leaf(&Tensor::new(&[3f32, -2.0], &Device::Cpu)?)?;
/// let loss = relu(&x)?.sqr()?.sum_all()?;
/// let gradients = tape.gradients(&loss)?;
/// assert_eq!(gradients.get(&x).map(|g| g.to_vec1::<f32>()).transpose()?, Some(vec![6.0, 0.0]));
/// # Ok::<(), candle_core::Error>(())
/// ```
#[derive(Debug, Default)]
pub struct Tape(Arc<Records>);

impl Tape {
    /// A variable with the value of `tensor`, detached from its graph. Only this tape can
    /// differentiate with respect to it: candle's `backward` ends at the first operation of this crate.
    ///
    /// # Errors
    /// Returns an error if candle cannot make a variable of `tensor`.
    pub fn leaf(&self, tensor: &Tensor) -> Result<Tensor> {
        let leaf = Var::from_tensor(&tensor.detach())?.into_inner();
        self.0.own(&leaf);
        packs::same(&leaf, tensor);
        Ok(leaf)
    }

    /// ∂loss/∂leaf for the leaves that the scalar `loss` depends on, as values without a graph.
    ///
    /// # Errors
    /// Returns an error if the graph of `loss` also contains leaves of another tape, or an operation
    /// without a derivative.
    pub fn gradients(&self, loss: &Tensor) -> Result<Gradients> {
        self.vector_products(&[(loss.clone(), loss.ones_like()?)])
    }

    /// Like [`Tape::gradients`], but tracked, so that the gradients can be differentiated again.
    ///
    /// # Errors
    /// Returns the errors of [`Tape::gradients`].
    pub fn tracked_gradients(&self, loss: &Tensor) -> Result<Gradients> {
        self.0.pull_back(&[(loss.clone(), loss.ones_like()?)])
    }

    /// ∂(Σ ⟨y, v⟩)/∂leaf over pairs (y, v) of equal shapes, for the leaves that some y depends on, as
    /// values without a graph.
    ///
    /// # Errors
    /// Returns an error if the shapes of a pair differ, and the errors of [`Tape::gradients`].
    pub fn vector_products(&self, pairs: &[(Tensor, Tensor)]) -> Result<Gradients> {
        unrecorded(|| self.0.pull_back(pairs))
    }
}

/// An operation, its inputs and its result.
#[derive(Debug)]
struct Record {
    operation: Operation,
    inputs: Vec<Tensor>,
    result: Tensor,
}

/// The records of one tape in the order of computation: each result comes after its inputs.
#[derive(Debug, Default)]
struct Records {
    made: Mutex<Vec<Arc<Record>>>,
    /// The leaves and results of this tape in [`TAPES`].
    owned: Mutex<Vec<TensorId>>,
}

/// The tape of each leaf and result: candle's tensors have no field for it.
static TAPES: LazyLock<Mutex<HashMap<TensorId, Weak<Records>>>> = LazyLock::new(Mutex::default);

impl Records {
    fn own(self: &Arc<Self>, tensor: &Tensor) {
        lock(&TAPES).insert(tensor.id(), Arc::downgrade(self));
        lock(&self.owned).push(tensor.id());
    }

    fn record(
        self: &Arc<Self>,
        operation: Operation,
        inputs: Vec<Tensor>,
        (values, shape): (CpuStorage, Shape),
    ) -> Tensor {
        let result = Tensor::from_storage(Storage::Cpu(values), shape, BackpropOp::none(), true);
        self.own(&result);
        lock(&self.made).push(Arc::new(Record { operation, inputs, result: result.clone() }));
        result
    }

    fn pull_back(&self, pairs: &[(Tensor, Tensor)]) -> Result<Gradients> {
        let mut gradients = Gradients::default();
        let mut place = lock(&self.made).len();
        for (y, v) in pairs {
            if y.dims() != v.dims() {
                bail!("derivative: a vector of shape {:?} does not fit values of shape {:?}", v.dims(), y.dims());
            }
            self.add(&mut gradients, y, v.clone())?;
        }
        while place > 0 {
            place -= 1;
            let record = lock(&self.made)[place].clone();
            let Some(gradient) = gradients.0.remove(&record.result.id()) else { continue };
            let slopes = record.operation.backward(&record.inputs, &record.result, &gradient)?;
            for (input, slope) in record.inputs.iter().zip(slopes) {
                if let Some(slope) = slope {
                    self.add(&mut gradients, input, slope)?;
                }
            }
        }
        Ok(gradients)
    }

    /// Adds `slope` to the gradient of the tensor `of` if it is a variable, and otherwise to the
    /// gradients of the variables that candle computed it from.
    fn add(&self, gradients: &mut Gradients, of: &Tensor, slope: Tensor) -> Result<()> {
        if of.is_variable() {
            return gradients.add(of.id(), slope);
        }
        if !of.track_op() {
            return Ok(());
        }
        let piece = of.apply_op1(Seed(slope))?.backward()?;
        for &id in piece.get_ids() {
            let tape = lock(&TAPES).get(&id).and_then(Weak::upgrade);
            match (tape, piece.get_id(id)) {
                (Some(tape), Some(slope)) if std::ptr::eq(&*tape, self) => {
                    gradients.add(id, if is_unrecorded() { slope.detach() } else { slope.clone() })?;
                }
                (Some(_), _) => return two_tapes(),
                _ => {}
            }
        }
        Ok(())
    }
}

/// Gradients with respect to the leaves of a tape.
#[derive(Debug, Default)]
pub struct Gradients(HashMap<TensorId, Tensor>);

impl Gradients {
    /// The gradient with respect to `leaf`; `None` if the result does not depend on it.
    pub fn get(&self, leaf: &Tensor) -> Option<&Tensor> {
        self.0.get(&leaf.id())
    }

    fn add(&mut self, id: TensorId, slope: Tensor) -> Result<()> {
        let sum = match self.0.remove(&id) {
            Some(sum) => weighted_sum(1.0, &sum, 1.0, &slope)?,
            None => slope,
        };
        self.0.insert(id, sum);
        Ok(())
    }
}

impl Drop for Records {
    fn drop(&mut self) {
        let owned = lock(&self.owned);
        packs::forget(&owned);
        let mut tapes = lock(&TAPES);
        for id in owned.iter() {
            tapes.remove(id);
        }
    }
}

fn two_tapes<T>() -> Result<T> {
    bail!("derivative: a graph depends on leaves of two tapes: make all leaves with one tape")
}

/// A scalar with a given gradient with respect to its input.
struct Seed(Tensor);

impl CustomOp1 for Seed {
    fn name(&self) -> &'static str {
        "seed"
    }

    fn cpu_fwd(&self, x: &CpuStorage, _layout: &Layout) -> Result<(CpuStorage, Shape)> {
        zero(x)
    }

    fn cuda_fwd(&self, x: &CudaStorage, _layout: &Layout) -> Result<(CudaStorage, Shape)> {
        zero(x)
    }

    fn metal_fwd(&self, x: &MetalStorage, _layout: &Layout) -> Result<(MetalStorage, Shape)> {
        zero(x)
    }

    fn bwd(&self, _x: &Tensor, _result: &Tensor, _gradient: &Tensor) -> Result<Option<Tensor>> {
        Ok(Some(self.0.clone()))
    }
}

/// A scalar on the device of `like`; nothing reads its value.
fn zero<S: BackendStorage>(like: &S) -> Result<(S, Shape)>
where
    S::Device: BackendDevice<Storage = S>,
{
    Ok((like.device().zeros_impl(&().into(), like.dtype())?, ().into()))
}

/// An operation in candle's form.
enum Operation {
    One(Box<dyn CustomOp1 + Send + Sync>),
    Two(Box<dyn CustomOp2 + Send + Sync>),
    Three(Box<dyn CustomOp3 + Send + Sync>),
}

impl std::fmt::Debug for Operation {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            Self::One(operation) => operation.name(),
            Self::Two(operation) => operation.name(),
            Self::Three(operation) => operation.name(),
        })
    }
}

impl Operation {
    /// The gradient with respect to each input.
    fn backward(&self, inputs: &[Tensor], result: &Tensor, gradient: &Tensor) -> Result<Vec<Option<Tensor>>> {
        Ok(match (self, inputs) {
            (Self::One(operation), [a]) => vec![operation.bwd(a, result, gradient)?],
            (Self::Two(operation), [a, b]) => {
                let (da, db) = operation.bwd(a, b, result, gradient)?;
                vec![da, db]
            }
            (Self::Three(operation), [a, b, c]) => {
                let (da, db, dc) = operation.bwd(a, b, c, result, gradient)?;
                vec![da, db, dc]
            }
            _ => bail!("{self:?}: does not take {} inputs", inputs.len()),
        })
    }
}

/// How the result of an operation is differentiated.
enum Differentiation {
    /// By candle, if at all.
    Candle,
    /// Not at all.
    Value,
    /// By a tape.
    Recorded(Arc<Records>),
}

impl Differentiation {
    /// How an operation on `inputs` is differentiated.
    ///
    /// Fails if the inputs belong to two tapes, or are on a device without kernels.
    fn of(inputs: &[&Tensor]) -> Result<Self> {
        if inputs.iter().any(|input| composed::needed(input)) {
            bail!("kernels run on the CPU: move all inputs to one device");
        }
        if is_unrecorded() {
            return Ok(Self::Value);
        }
        let mut how = Self::Candle;
        for input in inputs.iter().filter(|input| input.is_variable()) {
            let tape = lock(&TAPES).get(&input.id()).and_then(Weak::upgrade);
            how = match (how, tape) {
                (how, None) => how,
                (Self::Recorded(one), Some(other)) if !Arc::ptr_eq(&one, &other) => return two_tapes(),
                (_, Some(tape)) => Self::Recorded(tape),
            };
        }
        Ok(how)
    }
}

fn on_cpu(storage: &Storage) -> Result<&CpuStorage> {
    match storage {
        Storage::Cpu(values) => Ok(values),
        _ => bail!("kernels run on the CPU: move all inputs there"),
    }
}

/// Applies an operation as candle does, or records it if an input depends on a leaf of a tape.
pub(crate) trait Apply {
    fn apply1<C: CustomOp1 + Send + Sync + 'static>(&self, operation: C) -> Result<Tensor>;
    fn apply2<C: CustomOp2 + Send + Sync + 'static>(&self, other: &Tensor, operation: C) -> Result<Tensor>;
    fn apply3<C: CustomOp3 + Send + Sync + 'static>(&self, b: &Tensor, c: &Tensor, operation: C) -> Result<Tensor>;
}

impl Apply for Tensor {
    fn apply1<C: CustomOp1 + Send + Sync + 'static>(&self, operation: C) -> Result<Tensor> {
        match Differentiation::of(&[self])? {
            Differentiation::Candle => self.apply_op1(operation),
            Differentiation::Value => self.apply_op1_no_bwd(&operation),
            Differentiation::Recorded(tape) => {
                let (a, la) = self.storage_and_layout();
                let made = operation.cpu_fwd(on_cpu(&a)?, la)?;
                Ok(tape.record(Operation::One(Box::new(operation)), vec![self.clone()], made))
            }
        }
    }

    fn apply2<C: CustomOp2 + Send + Sync + 'static>(&self, other: &Tensor, operation: C) -> Result<Tensor> {
        match Differentiation::of(&[self, other])? {
            Differentiation::Candle => self.apply_op2(other, operation),
            Differentiation::Value => self.apply_op2_no_bwd(other, &operation),
            Differentiation::Recorded(tape) => {
                let ((a, la), (b, lb)) = (self.storage_and_layout(), other.storage_and_layout());
                let made = operation.cpu_fwd(on_cpu(&a)?, la, on_cpu(&b)?, lb)?;
                Ok(tape.record(Operation::Two(Box::new(operation)), vec![self.clone(), other.clone()], made))
            }
        }
    }

    fn apply3<C: CustomOp3 + Send + Sync + 'static>(&self, b: &Tensor, c: &Tensor, operation: C) -> Result<Tensor> {
        match Differentiation::of(&[self, b, c])? {
            Differentiation::Candle => self.apply_op3(b, c, operation),
            Differentiation::Value => self.apply_op3_no_bwd(b, c, &operation),
            Differentiation::Recorded(tape) => {
                let inputs = vec![self.clone(), b.clone(), c.clone()];
                let ((a, la), (b, lb), (c, lc)) =
                    (self.storage_and_layout(), b.storage_and_layout(), c.storage_and_layout());
                let made = operation.cpu_fwd(on_cpu(&a)?, la, on_cpu(&b)?, lb, on_cpu(&c)?, lc)?;
                Ok(tape.record(Operation::Three(Box::new(operation)), inputs, made))
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::test_support::random;
    use crate::{Convolution, conv2d, relu};

    fn scalar(tensor: &Tensor) -> f64 {
        tensor.to_scalar::<f64>().unwrap()
    }

    #[test]
    fn a_third_derivative_runs_through_two_backward_passes_and_candles_pieces_between() {
        let (tape, at) = (Tape::default(), 0.7f64);
        let x = tape.leaf(&Tensor::new(&[at], &candle_core::Device::Cpu).unwrap()).unwrap();
        // x⁵ by our operations, with candle's reshapes and powers between them
        let square = weighted_sum(1.0, &x.sqr().unwrap(), 0.0, &x).unwrap();
        let y = crate::dot(
            &square.reshape((1, 1)).unwrap(),
            &relu(&x).unwrap().powf(3.0).unwrap().reshape((1, 1)).unwrap(),
        );
        let mut y = y.unwrap();
        for (order, right) in [5.0 * at.powi(4), 20.0 * at.powi(3), 60.0 * at.powi(2)].into_iter().enumerate() {
            let grads = tape.tracked_gradients(&y).unwrap();
            y = grads.get(&x).unwrap().reshape(()).unwrap();
            assert!((scalar(&y) - right).abs() < 1e-12, "order {}: {} for {right}", order + 1, scalar(&y));
        }
    }

    #[test]
    fn plain_gradients_are_values_that_no_tape_records() {
        let tape = Tape::default();
        let x = tape.leaf(&random("x", (1, 3, 3, 1))).unwrap();
        let y = conv2d(&x, &random("w", (1, 1, 3, 3)), Convolution::default()).unwrap();
        let before = lock(&tape.0.made).len();
        let grads = tape.gradients(&y.sum_all().unwrap()).unwrap();
        assert!(!grads.get(&x).unwrap().track_op());
        assert_eq!(lock(&tape.0.made).len(), before);
    }

    #[test]
    fn a_dropped_tape_leaves_no_entries() {
        let tape = Tape::default();
        let x = tape.leaf(&random("x", 3)).unwrap();
        let y = relu(&x).unwrap();
        assert!(lock(&TAPES).contains_key(&y.id()));
        drop(tape);
        assert!(!lock(&TAPES).contains_key(&y.id()) && !lock(&TAPES).contains_key(&x.id()));
        // the result is now a plain value
        assert_eq!(relu(&y).unwrap().to_vec1::<f64>().unwrap(), y.to_vec1::<f64>().unwrap());
    }

    #[test]
    fn leaves_of_two_tapes_do_not_mix() {
        let (one, other) = (Tape::default(), Tape::default());
        let (x, y) = (one.leaf(&random("x", 3)).unwrap(), other.leaf(&random("y", 3)).unwrap());
        assert!(crate::dot(&x, &y).unwrap_err().to_string().contains("two tapes"));
        let mixed = x.mul(&y).unwrap().sum_all().unwrap();
        assert!(one.gradients(&mixed).unwrap_err().to_string().contains("two tapes"));
    }
}
