//! How far an answer can be trusted, as further outputs: familiarity, and the p-value of each class.

use crate::graph::{Builder, Value, int};
use crate::network::Classified;
use crate::proto::ElementKind;
use crate::{ExportError, Result};
use taper_learn::support::{Assessor, NoveltyRule};
use taper_learn::{LearnError, Model};

/// The output that is the share of known images that look at least as foreign, `(n)`.
pub(crate) const FAMILIARITY: &str = "familiarity";
/// The output that is the p-value of each class, `(n, classes)`.
pub(crate) const P_VALUES: &str = "p_values";

/// What tells foreign images from known ones, if the model keeps what that takes.
///
/// # Errors
/// Returns an error if what it keeps does not fit its network.
pub(crate) fn assessor(model: &Model) -> Result<Option<Assessor>> {
    let Some(support) = &model.support else { return Ok(None) };
    match Assessor::new(&model.network, &model.state, support) {
        Ok(assessor) => Ok(Some(assessor)),
        Err(LearnError::NothingHeldOut) => Ok(None),
        Err(error) => Err(ExportError::Learn(error)),
    }
}

/// Adds both outputs, or the p-values alone if the assessor does not tell foreign images.
///
/// # Errors
/// Returns an error if the labeled images' features can't be written.
pub(crate) fn trust(builder: &mut Builder, model: &Model, assessor: &Assessor, made: &Classified) -> Result<()> {
    let temperature = builder.float(assessor.temperature() as f32);
    let cooled = builder.node("Div", &[&made.logits, &temperature], vec![]);
    let probabilities = builder.node("Softmax", &[&cooled], vec![int("axis", -1)]);
    if assessor.tells_foreign() {
        familiarity(builder, model, assessor, (made, &probabilities))?;
    }

    let one = builder.float(1.0);
    let misfit = builder.node("Sub", &[&one, &probabilities], vec![]);
    let last = builder.ints(&[2]);
    let misfit = builder.node("Unsqueeze", &[&misfit, &last], vec![]);
    let ranked = share_at_least(builder, assessor.held_out_misfit(), &misfit);
    builder.named_node("Identity", &[&ranked], P_VALUES, vec![]);
    Ok(())
}

fn familiarity(
    builder: &mut Builder,
    model: &Model,
    assessor: &Assessor,
    (made, probabilities): (&Classified, &str),
) -> Result<()> {
    let [distance, direction] = match &made.matched {
        Some(matched) => {
            let nearest = matched.nearest(builder, model.network.backbone().layout());
            let foreign = builder.node("Neg", &[&nearest], vec![]);
            [foreign.clone(), foreign]
        }
        None => foreignness(builder, assessor, &made.features)?,
    };
    let highest = builder.reduce("ReduceMax", probabilities, &[1], true);
    let doubt = builder.node("Neg", &[&highest], vec![]);
    let NoveltyRule { factors, offset } = assessor.rule();
    let mut novelty = builder.float(offset as f32);
    for (sign, factor) in [distance, direction, doubt].iter().zip(factors) {
        let factor = builder.float(factor as f32);
        let part = builder.node("Mul", &[sign, &factor], vec![]);
        novelty = builder.node("Add", &[&part, &novelty], vec![]);
    }
    let ranked = share_at_least(builder, assessor.held_out_novelty(), &novelty);
    builder.named_node("Identity", &[&ranked], FAMILIARITY, vec![]);
    Ok(())
}

/// Both signs `(n, 1)` of [`taper_learn::support::Similarity::foreignness`] by cosines.
fn foreignness(builder: &mut Builder, assessor: &Assessor, features: &str) -> Result<[Value; 2]> {
    let Some(directions) = assessor.similarity().directions() else {
        return Err(ExportError::Learn(LearnError::Invalid("features that have no cosines".into())));
    };
    // the cosine about the mean, from products with the labeled images' directions, which are so stored only once
    let lengths = directions.unit.broadcast_sub(directions.mean)?.sqr()?.sum(1)?.maximum(1e-24)?.sqrt()?;
    let lengths = lengths.to_vec1::<f32>()?;
    let mean = directions.mean.flatten_all()?.to_vec1::<f32>()?;
    let known = builder.weight("labeled.directions", directions.unit)?;
    let known = builder.transpose(&known, &[1, 0]);
    let (mean, column) = (builder.floats(&mean, &[1, mean.len()]), builder.floats(&mean, &[mean.len(), 1]));
    let lengths = builder.floats(&lengths, &[1, lengths.len()]);
    let (zero, two) = (builder.float(0.0), builder.float(2.0));

    let unit = builder.unit_length(features);
    let cosines = builder.node("MatMul", &[&unit, &known], vec![]);
    let nearest = builder.reduce("ReduceMax", &cosines, &[1], true);
    let twice = builder.node("Mul", &[&nearest, &two], vec![]);
    let square = builder.node("Sub", &[&two, &twice], vec![]);
    let square = builder.node("Max", &[&square, &zero], vec![]);
    let distance = builder.node("Sqrt", &[&square], vec![]);

    let about_mean = builder.node("Sub", &[&unit, &mean], vec![]);
    let about_mean = builder.unit_length(&about_mean);
    let whole = builder.node("MatMul", &[&about_mean, &known], vec![]);
    let of_mean = builder.node("MatMul", &[&about_mean, &column], vec![]);
    let products = builder.node("Sub", &[&whole, &of_mean], vec![]);
    let cosines = builder.node("Div", &[&products, &lengths], vec![]);
    let nearest = builder.reduce("ReduceMax", &cosines, &[1], true);
    Ok([distance, builder.node("Neg", &[&nearest], vec![])])
}

/// The share of `scores`, the value itself counted among them, that are at least each value along the last dimension of
/// `x`, which has the size 1 and goes. It is smaller by a hair, so that rounding to 32 bits leaves a share of exactly 5%
/// at most 0.05.
fn share_at_least(builder: &mut Builder, scores: &[f64], x: &str) -> Value {
    const HAIR: f32 = 1.0 + 1e-6;
    let count = (scores.len() as f32 + 1.0) * HAIR;
    let scores: Vec<f32> = scores.iter().map(|&score| score as f32).collect();
    let scores = builder.floats(&scores, &[scores.len()]);
    let reached = builder.node("GreaterOrEqual", &[&scores, x], vec![]);
    let reached = builder.cast(&reached, ElementKind::F32);
    let reached = builder.reduce("ReduceSum", &reached, &[-1], false);
    let (one, count) = (builder.float(1.0), builder.float(count));
    let with_itself = builder.node("Add", &[&reached, &one], vec![]);
    builder.node("Div", &[&with_itself, &count], vec![])
}
