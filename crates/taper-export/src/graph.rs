//! A graph under construction: nodes, and the constants that they share.

use crate::proto::{
    Attribute, AttributeKind, Dimension, ElementKind, Graph, Node, Shape, Size, TensorData, TensorKind, ValueInfo,
    ValueKind,
};
use crate::quantized::Quantized;
use crate::{ExportError, Precision, Result};
use candle_core::{DType, Tensor};
use safetensors::View as _;
use std::collections::HashMap;

/// The name of a value.
pub(crate) type Value = String;

/// Nodes in order, each of which makes values that later ones take.
#[derive(Default)]
pub(crate) struct Builder {
    nodes: Vec<Node>,
    constants: Vec<TensorData>,
    /// Small constants by their content.
    known: HashMap<Vec<u8>, Value>,
    /// Parameters by their names: a network that runs several times takes the same ones.
    weights: HashMap<String, Value>,
    made: usize,
    precision: Precision,
}

impl Builder {
    /// A graph with weights stored like this.
    pub(crate) fn new(precision: Precision) -> Self {
        Self { precision, ..Self::default() }
    }

    fn fresh(&mut self, what: &str) -> Value {
        self.made += 1;
        format!("{what}_{}", self.made)
    }

    /// The output of an operator.
    pub(crate) fn node(&mut self, operator: &str, inputs: &[&str], attributes: Vec<Attribute>) -> Value {
        let output = self.fresh(operator);
        self.named_node(operator, inputs, &output, attributes);
        output
    }

    /// The same, with the output's name.
    pub(crate) fn named_node(&mut self, operator: &str, inputs: &[&str], output: &str, attributes: Vec<Attribute>) {
        self.add(operator, inputs, vec![output.to_string()], attributes);
    }

    /// The first of an operator's outputs.
    pub(crate) fn first_of(
        &mut self,
        operator: &str,
        inputs: &[&str],
        outputs: usize,
        attributes: Vec<Attribute>,
    ) -> Value {
        let outputs: Vec<Value> = (0..outputs).map(|_| self.fresh(operator)).collect();
        let first = outputs.first().cloned().unwrap_or_default();
        self.add(operator, inputs, outputs, attributes);
        first
    }

    fn add(&mut self, operator: &str, inputs: &[&str], output: Vec<Value>, attribute: Vec<Attribute>) {
        let input = inputs.iter().map(|name| name.to_string()).collect();
        let name = output.first().map(|output| format!("make_{output}")).unwrap_or_default();
        self.nodes.push(Node { input, output, name, op_type: operator.into(), attribute });
    }

    /// Parameters, stored as weights are; they are computed with in f32. Vectors, which are small, always keep 32 bits.
    pub(crate) fn weight(&mut self, name: &str, tensor: &Tensor) -> Result<Value> {
        if let Some(known) = self.weights.get(name) {
            return Ok(known.clone());
        }
        let precision = match self.precision {
            Precision::Half | Precision::Int8 if tensor.rank() < 2 => Precision::Single,
            precision => precision,
        };
        let mut stored = |tensor: &Tensor, data_type: ElementKind, raw_data: Vec<u8>| {
            let dims = tensor.dims().iter().map(|&size| size as i64).collect();
            self.constants.push(TensorData { dims, data_type: data_type.into(), name: name.into(), raw_data });
        };
        let value = match precision {
            Precision::Single => {
                let tensor = tensor.to_dtype(DType::F32)?.contiguous()?;
                stored(&tensor, ElementKind::F32, tensor.data().into_owned());
                name.to_string()
            }
            Precision::Int8 => {
                let Quantized { levels, scales } = Quantized::new(name, tensor)?;
                stored(tensor, ElementKind::I8, levels.into_iter().map(|level| level as u8).collect());
                let scales = self.floats(&scales, &[scales.len()]);
                self.node("DequantizeLinear", &[name, &scales], vec![int("axis", 0)])
            }
            Precision::Half => {
                let tensor = tensor.to_dtype(DType::F16)?.contiguous()?;
                // the largest 16-bit number is 65504
                let sum = tensor.to_dtype(DType::F32)?.abs()?.sum_all()?.to_scalar::<f32>()?;
                if !sum.is_finite() {
                    return Err(ExportError::NotFinite { weight: name.to_string(), bits: 16 });
                }
                stored(&tensor, ElementKind::F16, tensor.data().into_owned());
                self.node("Cast", &[name], vec![int("to", ElementKind::F32 as i64)])
            }
        };
        self.weights.insert(name.to_string(), value.clone());
        Ok(value)
    }

    fn constant(&mut self, kind: ElementKind, dims: &[usize], raw_data: Vec<u8>) -> Value {
        let dims: Vec<i64> = dims.iter().map(|&size| size as i64).collect();
        let key = [format!("{kind:?} {dims:?} ").into_bytes(), raw_data.clone()].concat();
        if let Some(known) = self.known.get(&key) {
            return known.clone();
        }
        let name = self.fresh("constant");
        self.constants.push(TensorData { dims, data_type: kind.into(), name: name.clone(), raw_data });
        self.known.insert(key, name.clone());
        name
    }

    /// A list of whole numbers.
    pub(crate) fn ints(&mut self, values: &[i64]) -> Value {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(ElementKind::I64, &[values.len()], bytes)
    }

    /// A whole number without dimensions.
    pub(crate) fn whole(&mut self, value: i64) -> Value {
        self.constant(ElementKind::I64, &[], value.to_le_bytes().to_vec())
    }

    /// A truth value without dimensions.
    pub(crate) fn truth(&mut self, value: bool) -> Value {
        self.constant(ElementKind::Bool, &[], vec![u8::from(value)])
    }

    /// Numbers of a shape; without dimensions, one number.
    pub(crate) fn floats(&mut self, values: &[f32], dims: &[usize]) -> Value {
        let bytes = values.iter().flat_map(|value| value.to_le_bytes()).collect();
        self.constant(ElementKind::F32, dims, bytes)
    }

    /// A number.
    pub(crate) fn float(&mut self, value: f32) -> Value {
        self.floats(&[value], &[])
    }

    /// The part of `x` from `first` to before `end` along dimensions, all lists of one number per dimension.
    pub(crate) fn slice(&mut self, x: &str, first: &str, end: &str, dimensions: &[i64]) -> Value {
        let dimensions = self.ints(dimensions);
        self.node("Slice", &[x, first, end, &dimensions], vec![])
    }

    /// The same with fixed places.
    pub(crate) fn part(&mut self, x: &str, first: i64, end: i64, dimension: i64) -> Value {
        let (first, end) = (self.ints(&[first]), self.ints(&[end]));
        self.slice(x, &first, &end, &[dimension])
    }

    /// The size of a dimension, as a list of one whole number.
    pub(crate) fn size(&mut self, x: &str, dimension: i64) -> Value {
        self.node("Shape", &[x], vec![int("start", dimension), int("end", dimension + 1)])
    }

    /// In another shape: -1 is what remains, 0 the same as before.
    pub(crate) fn reshape(&mut self, x: &str, shape: &[i64]) -> Value {
        let shape = self.ints(shape);
        self.node("Reshape", &[x, &shape], vec![])
    }

    /// With the dimensions in another order.
    pub(crate) fn transpose(&mut self, x: &str, order: &[i64]) -> Value {
        self.node("Transpose", &[x], vec![ints("perm", order)])
    }

    /// As another kind of number.
    pub(crate) fn cast(&mut self, x: &str, kind: ElementKind) -> Value {
        self.node("Cast", &[x], vec![int("to", kind as i64)])
    }

    /// A reduction over dimensions, which remain with the size 1 if `keep`.
    pub(crate) fn reduce(&mut self, operator: &str, x: &str, dimensions: &[i64], keep: bool) -> Value {
        let dimensions = self.ints(dimensions);
        self.node(operator, &[x, &dimensions], vec![int("keepdims", i64::from(keep))])
    }

    /// Rows `(n, d)` of length 1; shorter ones than 1e-12 are divided by that.
    pub(crate) fn unit_length(&mut self, x: &str) -> Value {
        let length = self.reduce("ReduceL2", x, &[1], true);
        let least = self.float(1e-12);
        let length = self.node("Max", &[&length, &least], vec![]);
        self.node("Div", &[x, &length], vec![])
    }

    /// Mirrored along dimensions.
    pub(crate) fn flip(&mut self, x: &str, dimensions: &[i64]) -> Value {
        let all = |value: i64| vec![value; dimensions.len()];
        let (first, end, step) = (self.ints(&all(-1)), self.ints(&all(i64::MIN)), self.ints(&all(-1)));
        let dimensions = self.ints(dimensions);
        self.node("Slice", &[x, &first, &end, &dimensions, &step], vec![])
    }

    /// What `make` adds, as a graph of its own, whose nodes may take the values of this one.
    pub(crate) fn inner(&mut self, make: impl FnOnce(&mut Self) -> Result<Graph>) -> Result<Graph> {
        let outside = std::mem::take(&mut self.nodes);
        let made = make(self);
        let node = std::mem::replace(&mut self.nodes, outside);
        Ok(Graph { node, ..made? })
    }

    /// The finished graph.
    pub(crate) fn finish(self, input: ValueInfo, output: Vec<ValueInfo>) -> Graph {
        let (node, initializer) = (self.nodes, self.constants);
        Graph { node, name: "classifier".into(), initializer, input: vec![input], output }
    }
}

/// An attribute that is a whole number.
pub(crate) fn int(name: &str, value: i64) -> Attribute {
    Attribute { name: name.into(), kind: AttributeKind::Int.into(), i: Some(value), ..Attribute::default() }
}

/// An attribute that is a number.
pub(crate) fn number(name: &str, value: f32) -> Attribute {
    Attribute { name: name.into(), kind: AttributeKind::Float.into(), f: Some(value), ..Attribute::default() }
}

/// An attribute that is a word.
pub(crate) fn word(name: &str, value: &str) -> Attribute {
    Attribute { name: name.into(), kind: AttributeKind::String.into(), s: Some(value.into()), ..Attribute::default() }
}

/// An attribute that is a list of whole numbers.
pub(crate) fn ints(name: &str, values: &[i64]) -> Attribute {
    Attribute { name: name.into(), kind: AttributeKind::Ints.into(), ints: values.to_vec(), ..Attribute::default() }
}

/// An attribute that is a graph.
pub(crate) fn graph(name: &str, value: Graph) -> Attribute {
    Attribute { name: name.into(), kind: AttributeKind::Graph.into(), g: Some(Box::new(value)), ..Attribute::default() }
}

/// A size that is known, or a name for one that differs from call to call.
pub(crate) enum Sized<'a> {
    /// Known.
    Known(usize),
    /// Differs.
    Any(&'a str),
}

/// An input or output of a graph.
pub(crate) fn declared(name: &str, element: ElementKind, sizes: &[Sized], doc: &str) -> ValueInfo {
    let dimension = |size: &Sized| Dimension {
        size: Some(match *size {
            Sized::Known(size) => Size::Fixed(size as i64),
            Sized::Any(name) => Size::Named(name.into()),
        }),
    };
    let shape = Some(Shape { dim: sizes.iter().map(dimension).collect() });
    let tensor = Some(TensorKind { element: element.into(), shape });
    ValueInfo { name: name.into(), kind: Some(ValueKind { tensor }), doc_string: doc.into() }
}

/// An output whose shape its nodes tell.
pub(crate) fn undeclared(name: &str, element: ElementKind) -> ValueInfo {
    let tensor = Some(TensorKind { element: element.into(), shape: None });
    ValueInfo { name: name.into(), kind: Some(ValueKind { tensor }), doc_string: String::new() }
}
