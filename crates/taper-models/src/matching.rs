//! Dense matching of two images' features: place against place within a small window, softly and
//! in both directions, weighted by a learned attention; and the whole against the whole.
//!
//! The model has no single paper. The closest are DN4 (Li et al. 2019, "Revisiting local descriptor
//! based image-to-class measure for few-shot learning": local features against local features,
//! but the k best from anywhere) and cross attention (Hou et al. 2019, "Cross attention network
//! for few-shot classification"). Here a place is compared only with places near the same place, because
//! drawings of one character keep their arrangement.

use crate::{ParamSpec, Params, Result, Start};
use candle_core::{D, Tensor};
use taper_ops::{matmul_nt, softplus, window_match};

/// Places to each side that a place is compared with.
const REACH: usize = 2;
/// Places of a window.
const WINDOW: usize = (2 * REACH + 1) * (2 * REACH + 1);
/// A window's initial values: smaller for places farther away.
const NEAR_FIRST: [f32; WINDOW] = near_first();
/// Logarithms of 8, 15 and 10.
const SCALES: [f32; 3] = [2.079_441_5, 2.708_050_3, std::f32::consts::LN_10];
/// Pairs of images that are compared at once, which bounds memory at inference.
const PAIRS_AT_ONCE: usize = 800;

/// How a backbone's features `(n, d)` are laid out, for each view of an image in turn: features of
/// `side`² places, row by row, `local` values each; their attention, one value each; then an
/// embedding of the whole.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Layout {
    /// Views per image; the likeness is the mean over them.
    pub views: usize,
    /// Places down and across; 0 for a backbone without features of places.
    pub side: usize,
    /// Values per place.
    pub local: usize,
    /// Values of the embedding.
    pub global: usize,
}

impl Layout {
    /// d: values per image.
    pub fn width(&self) -> usize {
        self.views * self.width_of_view()
    }

    fn width_of_view(&self) -> usize {
        self.places() * (self.local + 1) + self.global
    }

    /// Places per view.
    pub fn places(&self) -> usize {
        self.side * self.side
    }
}

/// How similar images are, by several measures: each `(m, n)`, image i of one set against j of
/// the other.
#[derive(Debug, Clone)]
pub struct Likeness {
    /// By both of the following.
    pub both: Tensor,
    /// By their places; `None` for features without places.
    pub local: Option<Tensor>,
    /// By the whole.
    pub global: Tensor,
}

impl Likeness {
    fn plus(&self, other: &Self) -> Result<Self> {
        let local = self.local.iter().zip(&other.local).map(|(a, b)| a + b).next().transpose()?;
        Ok(Self { both: (&self.both + &other.both)?, local, global: (&self.global + &other.global)? })
    }

    fn times(&self, factor: f64) -> Result<Self> {
        let local = self.local.as_ref().map(|local| local * factor).transpose()?;
        Ok(Self { both: (&self.both * factor)?, local, global: (&self.global * factor)? })
    }
}

/// Dense matching with its learned parameters: `name.window (25)`, added to the likeness of two places by
/// their relative position in the window, and `name.scales (3)`, the logarithms of the window's
/// sharpness and of the weights of local and global likeness.
#[derive(Debug)]
pub struct Matching<'a> {
    params: &'a Params,
    name: &'a str,
    layout: Layout,
}

/// The parts of features.
struct Parts {
    /// `(n, places, local)`, of length 1 each.
    places: Tensor,
    /// `(n, places)`, sums to 1.
    attention: Tensor,
    /// `(n, global)`, of length 1.
    whole: Tensor,
}

impl<'a> Matching<'a> {
    /// Matching of features in this layout, with the parameters under `name`.
    pub fn new(params: &'a Params, name: &'a str, layout: Layout) -> Self {
        Self { params, name, layout }
    }

    /// The learned parameters under `name`, which start with a preference for near places, a soft window, and weights
    /// that learn quickly at first.
    pub(crate) fn param_specs(name: &str) -> [ParamSpec; 2] {
        [
            ParamSpec::param(format!("{name}.window"), &[WINDOW], Start::Values(&NEAR_FIRST)),
            ParamSpec::param(format!("{name}.scales"), &[3], Start::Values(&SCALES)),
        ]
    }

    /// The likeness of each of `queries (m, d)` to each of `support (n, d)`, tracked.
    ///
    /// # Errors
    ///
    /// Returns an error if the features' width is not the layout's.
    pub fn likeness(&self, queries: &Tensor, support: &Tensor) -> Result<Likeness> {
        let (views, width) = (self.layout.views, self.layout.width_of_view());
        let one = |view: usize| {
            let part = |features: &Tensor| features.narrow(1, view * width, width);
            self.in_a_view(&part(queries)?, &part(support)?)
        };
        let all = (1..views).try_fold(one(0)?, |sum, view| sum.plus(&one(view)?))?;
        if views == 1 { Ok(all) } else { all.times(1.0 / views as f64) }
    }

    fn in_a_view(&self, queries: &Tensor, support: &Tensor) -> Result<Likeness> {
        let (queries, support) = (self.parts(queries)?, self.parts(support)?);
        let scales = self.params.get(&format!("{}.scales", self.name))?.exp()?;
        let global = matmul_nt(&queries.whole, &support.whole)?.broadcast_mul(&scales.get(2)?)?;
        if self.layout.side == 0 {
            return Ok(Likeness { both: global.clone(), local: None, global });
        }
        let there = self.explained(&queries, &support, &scales)?;
        let back = self.explained(&support, &queries, &scales)?.t()?;
        let local = (there + back)?.broadcast_mul(&scales.get(1)?)?;
        Ok(Likeness { both: (&local + &global)?, local: Some(local), global })
    }

    /// Logits `(m, ways)` of `queries (m, d)`: the mean of [`Likeness::both`] over a class's images,
    /// `members (ways, n)` being each image's share. For inference: detached, some of the queries at a
    /// time.
    pub fn logits(&self, queries: &Tensor, support: &Tensor, members: &Tensor) -> Result<Tensor> {
        let (m, n) = (queries.dim(0)?, support.dim(0)?);
        let at_once = (PAIRS_AT_ONCE / n.max(1)).max(1);
        let parts = (0..m).step_by(at_once).map(|first| {
            let part = queries.narrow(0, first, at_once.min(m - first))?.detach();
            Ok(matmul_nt(&self.likeness(&part, support)?.both.detach(), members)?)
        });
        Ok(Tensor::cat(&parts.collect::<Result<Vec<_>>>()?, 0)?)
    }

    /// How much each place of `query (1, d)` adds to its local likeness to one of `support (1, d)`, row by row: as seen
    /// in the first view. `None` for features without places.
    ///
    /// # Errors
    ///
    /// Returns an error if the features' width is not the layout's.
    pub fn places(&self, query: &Tensor, support: &Tensor) -> Result<Option<Vec<f32>>> {
        if self.layout.side == 0 {
            return Ok(None);
        }
        let width = self.layout.width_of_view();
        let (query, support) = (self.parts(&query.narrow(1, 0, width)?)?, self.parts(&support.narrow(1, 0, width)?)?);
        let scales = self.params.get(&format!("{}.scales", self.name))?.exp()?;
        Ok(Some(self.explained_places(&query, &support, &scales)?.flatten_all()?.to_vec1()?))
    }

    fn parts(&self, features: &Tensor) -> Result<Parts> {
        let Layout { local, global, .. } = self.layout;
        let (n, places) = (features.dim(0)?, self.layout.places());
        let part = |first: usize, width: usize| features.narrow(1, first, width);
        let weight = softplus(&part(places * local, places)?)?;
        Ok(Parts {
            places: unit(&part(0, places * local)?.reshape((n, places, local))?)?,
            attention: weight.broadcast_div(&weight.sum_keepdim(1)?.affine(1.0, 1e-6)?)?,
            whole: unit(&part(places * (local + 1), global)?)?,
        })
    }

    /// How well each image of `one` is explained by each of `other`, `(m, n)`: for each place of
    /// `one`, the soft maximum of its likeness to the places of the window in the other
    /// (0 outside the image), averaged by attention.
    fn explained(&self, one: &Parts, other: &Parts, scales: &Tensor) -> Result<Tensor> {
        Ok(self.explained_places(one, other, scales)?.sum(0)?.broadcast_div(&scales.get(0)?)?)
    }

    /// The same before the sum over places and the division by the sharpness, `(places, m, n)`.
    fn explained_places(&self, one: &Parts, other: &Parts, scales: &Tensor) -> Result<Tensor> {
        let sharpness = scales.get(0)?;
        let window = self.params.get(&format!("{}.window", self.name))?;
        let mine = one.places.broadcast_mul(&sharpness)?;
        let best = window_match(&mine, &other.places, window, self.layout.side)?;
        let attention = one.attention.t()?.contiguous()?.unsqueeze(2)?;
        Ok(best.broadcast_mul(&attention)?)
    }
}

const fn near_first() -> [f32; WINDOW] {
    let mut values = [0.0; WINDOW];
    let mut place = 0;
    while place < WINDOW {
        let (down, right) = ((place / (2 * REACH + 1)).abs_diff(REACH), (place % (2 * REACH + 1)).abs_diff(REACH));
        values[place] = -0.1 * (down * down + right * right) as f32;
        place += 1;
    }
    values
}

/// Vectors along the last dimension, scaled to length 1.
fn unit(x: &Tensor) -> Result<Tensor> {
    let length = x.sqr()?.sum_keepdim(D::Minus1)?.affine(1.0, 1e-8)?.sqrt()?;
    Ok(x.broadcast_div(&length)?)
}

#[cfg(test)]
mod tests {
    use super::*;
    use candle_core::{DType, Device};
    use taper_ops::{normal, rng};

    const LAYOUT: Layout = Layout { views: 1, side: 3, local: 4, global: 5 };

    fn params() -> Params {
        let param_specs = Matching::param_specs("head").into_iter();
        param_specs.map(|slot| (slot.name.clone(), slot.draw(0).unwrap().to_dtype(DType::F64).unwrap())).collect()
    }

    fn features(stream: &str, images: usize) -> Tensor {
        normal(&mut rng(0, stream, 0), (images, LAYOUT.width()), 1.0).unwrap().to_dtype(DType::F64).unwrap()
    }

    #[test]
    fn local_likeness_is_the_windows_soft_maximum_in_the_mean_by_attention() {
        let (params, queries, support) = (params(), features("queries", 2), features("support", 3));
        let likeness = Matching::new(&params, "head", LAYOUT).likeness(&queries, &support).unwrap();
        let rows = |tensor: &Tensor| tensor.to_vec2::<f64>().unwrap();
        let (queries, support) = (rows(&queries), rows(&support));
        let unit = |part: &[f64]| {
            let length = (part.iter().map(|v| v * v).sum::<f64>() + 1e-8).sqrt();
            part.iter().map(|v| v / length).collect::<Vec<f64>>()
        };
        let dot = |a: &[f64], b: &[f64]| a.iter().zip(b).map(|(a, b)| a * b).sum::<f64>();
        let one_way = |one: &[f64], other: &[f64]| {
            let weights: Vec<f64> = one[36..45].iter().map(|v| (1.0 + v.exp()).ln()).collect();
            let total: f64 = weights.iter().sum::<f64>() + 1e-6;
            let place = |features: &[f64], place: usize| unit(&features[4 * place..4 * place + 4]);
            let mut sum = 0.0;
            for at in 0..9i64 {
                let mut best = 0.0;
                for (down, right) in (-2..=2).flat_map(|down| (-2..=2).map(move |right| (down, right))) {
                    let (row, column) = (at / 3 + down, at % 3 + right);
                    let inside = (0..3).contains(&row) && (0..3).contains(&column);
                    let alike = if inside {
                        dot(&place(one, at as usize), &place(other, (3 * row + column) as usize))
                    } else {
                        0.0
                    };
                    best += (8.0 * alike - 0.1 * (down * down + right * right) as f64).exp();
                }
                sum += weights[at as usize] / total * best.ln() / 8.0;
            }
            sum
        };
        let (local, global) = (rows(&likeness.local.unwrap()), rows(&likeness.global));
        for (i, query) in queries.iter().enumerate() {
            for (j, image) in support.iter().enumerate() {
                let right = 15.0 * (one_way(query, image) + one_way(image, query));
                assert!((local[i][j] - right).abs() < 1e-5, "{} for {right}", local[i][j]);
                let right = 10.0 * dot(&unit(&query[45..]), &unit(&image[45..]));
                assert!((global[i][j] - right).abs() < 1e-5, "{} for {right}", global[i][j]);
            }
        }
    }

    #[test]
    fn logits_are_the_mean_over_a_class_whatever_part_of_the_queries_is_asked() {
        let (params, queries, support) = (params(), features("queries", 5), features("support", 400));
        let matching = Matching::new(&params, "head", LAYOUT);
        let members: Vec<f64> = (0..800).map(|k| if k / 400 == k % 2 { 1.0 / 200.0 } else { 0.0 }).collect();
        let members = Tensor::from_vec(members, (2, 400), &Device::Cpu).unwrap();
        let together = matching.logits(&queries, &support, &members).unwrap().to_vec2::<f64>().unwrap();
        let both = matching.likeness(&queries, &support).unwrap().both.to_vec2::<f64>().unwrap();
        for (logits, row) in together.iter().zip(&both) {
            let even = row.iter().step_by(2).sum::<f64>() / 200.0;
            assert!((logits[0] - even).abs() < 1e-9);
        }
        let alone = matching.logits(&queries.narrow(0, 3, 1).unwrap(), &support, &members).unwrap();
        assert!((alone.to_vec2::<f64>().unwrap()[0][1] - together[3][1]).abs() < 1e-9);
    }
}
