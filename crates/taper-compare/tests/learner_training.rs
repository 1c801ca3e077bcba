//! Learners that are kept: meta-trained from a small network's weights, and used again.

#![allow(clippy::unwrap_used, reason = "a test")]

mod stripes;

use std::sync::Arc;
use stripes::{Stripes, weights};
use taper_compare::{
    CompareError, Comparison, ComparisonData, LabelStart, LearnerData, LearnerTraining, OwnTask, OwnTaskData,
};
use taper_data::Count;
use taper_learn::{Model, NoopObserver, training::Average};
use taper_models::catalog::{Pretrained, WeightHints};
use taper_transfer::LabelCount;

fn training(method: &str) -> LearnerTraining {
    LearnerTraining {
        method: method.into(),
        ways: Count::fixed(2),
        queries: Count::fixed(2),
        steps: Some(3),
        image_size: Some(8),
        validation_episodes: 2,
        ..LearnerTraining::default()
    }
}

fn pretrained(folder: &tempfile::TempDir, seed: u64) -> Pretrained {
    Pretrained::read(&weights(folder.path(), seed), &WeightHints::default()).unwrap()
}

/// A learner that was meta-trained from weights on pictures of its own, as it is read back.
fn kept(folder: &tempfile::TempDir, pretrained: &Pretrained) -> Model {
    let training = training("protonet");
    let data = LearnerData { pretrained: Some(pretrained), ..LearnerData::of(Arc::new(Stripes::new("other", 12, 8))) };
    let prepared = training.prepare(&data, &mut NoopObserver).unwrap();
    let trained = prepared.train(None, &mut NoopObserver).unwrap();
    let tests = prepared.test(&trained, &mut NoopObserver).unwrap();
    assert_eq!(tests[0].evaluation.accuracies.len(), 200);
    let path = folder.path().join("learner");
    trained.model.save(&path).unwrap();
    Model::load(&path).unwrap()
}

fn compared(
    learner: &Model,
    pretrained: &Pretrained,
    first: usize,
) -> taper_compare::Result<taper_compare::OwnTaskReport> {
    let own = OwnTask {
        labels: vec![LabelCount::Of(1), LabelCount::Of(2)],
        methods: vec!["nearest-mean".into()],
        budget: Some(3600.0),
        image_size: Some(8),
        ..OwnTask::default()
    };
    let data = OwnTaskData {
        dataset: Arc::new(Stripes { first, ..Stripes::new("mine", 3, 8) }),
        pretrained: Some(pretrained),
        meta_data: None,
        learners: vec![("ProtoNet (kept)".into(), learner.clone())],
    };
    own.run(&data, None, &mut NoopObserver)
}

#[test]
fn a_learner_meta_trained_from_weights_is_a_row_of_later_comparisons_without_training() {
    let folder = tempfile::tempdir().unwrap();
    let pretrained = pretrained(&folder, 3);
    let learner = kept(&folder, &pretrained);
    let report = compared(&learner, &pretrained, 0).unwrap();
    let row = report.methods.iter().find(|curve| curve.name == "ProtoNet (kept)").unwrap();
    assert_eq!((row.start, row.train_seconds, row.points.len()), (LabelStart::WeightsAndMeta, 0.0, 2));
    assert!(row.trained_on.starts_with("weights-3.safetensors, other ("), "{}", row.trained_on);
    // its last stage has moved, so its figures are its own
    assert_ne!(row.points, report.methods[0].points);
}

#[test]
fn a_learner_from_other_weights_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let learner = kept(&folder, &pretrained(&folder, 3));
    let error = compared(&learner, &pretrained(&folder, 4), 0).err().unwrap();
    assert!(matches!(error, CompareError::OtherWeights { .. }), "{error}");
}

#[test]
fn a_learner_that_was_trained_on_the_images_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    let pretrained = pretrained(&folder, 3);
    let learner = kept(&folder, &pretrained);
    let error = compared(&learner, &pretrained, 100_000).err().unwrap();
    assert!(matches!(error, CompareError::SeenByLearner { images: 1.., .. }), "{error}");
}

#[test]
fn what_can_not_start_from_weights_is_refused_before_training() {
    let folder = tempfile::tempdir().unwrap();
    let pretrained = pretrained(&folder, 3);
    let data = LearnerData { pretrained: Some(&pretrained), ..LearnerData::of(Arc::new(Stripes::new("other", 12, 8))) };
    let refused = |training: LearnerTraining| training.prepare(&data, &mut NoopObserver).err().unwrap().to_string();
    assert!(refused(training("maml")).contains("can't be meta-trained from pretrained weights: use protonet"));
    let averaged = LearnerTraining { average: Average::Last(2), ..training("protonet") };
    assert!(refused(averaged).contains("averages nothing"));
}

#[test]
fn with_weights_photographs_are_not_learned_from_nothing_too() {
    let folder = tempfile::tempdir().unwrap();
    let pretrained = pretrained(&folder, 3);
    let comparison = Comparison {
        methods: ["pixels", "nearest-mean", "protonet"].map(String::from).to_vec(),
        ways: Count::fixed(2),
        queries: Count::fixed(2),
        episodes: 5,
        images: 800,
        image_size: Some(16),
        ..Comparison::default()
    };
    let dataset = Arc::new(Stripes::new("mine", 12, 8));
    let data = ComparisonData { dataset: dataset.clone(), split: None, meta_data: dataset };
    let report = comparison.run(&data, Some(&pretrained), None, &mut NoopObserver).unwrap();
    let names: Vec<&str> = report.methods.iter().map(|method| method.name.as_str()).collect();
    assert_eq!(names.len(), 3, "{names:?}");
    assert!(names[1..].iter().all(|name| name.starts_with("cifar-resnet20, ")), "{names:?}");
}
