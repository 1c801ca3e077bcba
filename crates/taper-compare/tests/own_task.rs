//! A comparison on a data set's own classes, from a small network's weights.

#![allow(clippy::unwrap_used, reason = "a test")]

mod stripes;

use std::sync::Arc;
use stripes::{Stripes, weights};
use taper_compare::{Approach, CompareError, LabelStart, OwnTask, OwnTaskData, OwnTaskReport};
use taper_data::Dataset;
use taper_learn::{Event, Flow, LearnError, NoopObserver, Observer, RunDirectory, runs::Existing};
use taper_models::catalog::{Pretrained, WeightHints};
use taper_transfer::LabelCount;

fn own(methods: &[&str]) -> OwnTask {
    OwnTask {
        labels: vec![LabelCount::Of(1), LabelCount::Of(4), LabelCount::All],
        methods: methods.iter().map(ToString::to_string).collect(),
        budget: Some(3600.0),
        image_size: Some(8),
        ..OwnTask::default()
    }
}

struct Fixture {
    folder: tempfile::TempDir,
    pretrained: Pretrained,
}

impl Fixture {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let pretrained = Pretrained::read(&weights(folder.path(), 3), &WeightHints::default()).unwrap();
        Self { folder, pretrained }
    }

    fn data(&self, dataset: Stripes, meta: Option<Stripes>) -> OwnTaskData<'_> {
        OwnTaskData {
            dataset: Arc::new(dataset),
            pretrained: Some(&self.pretrained),
            meta_data: meta.map(|meta| Arc::new(meta) as Arc<dyn Dataset>),
            learners: Vec::new(),
        }
    }

    /// A run that believes meta-training to be slow, so that an hour pays for few steps of it.
    fn run(&self, name: &str) -> RunDirectory {
        let run = RunDirectory::create(&self.folder.path().join(name), "", Existing::Refuse).unwrap();
        let times = r#"[{"what": "a meta-training step of protonet", "seconds": 10.0}]"#;
        std::fs::write(run.file("times.json").unwrap(), times).unwrap();
        run
    }
}

/// Name and accuracies of every row.
fn figures(report: &OwnTaskReport) -> Vec<(String, Vec<f64>)> {
    let points = |curve: &taper_compare::Curve| curve.points.iter().map(|point| point.accuracy.mean).collect();
    report.methods.iter().map(|curve| (curve.name.clone(), points(curve))).collect()
}

#[test]
fn both_kinds_start_from_the_same_weights_and_the_best_is_kept_as_a_classifier() {
    let fixture = Fixture::new();
    let data = fixture.data(Stripes::new("mine", 3, 12), Some(Stripes::new("other", 6, 12)));
    let methods = ["pixels", "nearest-mean", "fine-tune", "protonet"];
    let report = own(&methods).run(&data, Some(&fixture.run("run")), &mut NoopObserver).unwrap();
    let of = |approach| report.methods.iter().filter(|curve| curve.approach == approach).collect::<Vec<_>>();
    assert_eq!(of(Approach::FineTuning).len(), 2);
    assert_eq!(of(Approach::MetaLearning).len(), 2, "meta-trained, and fine-tuned after that");
    assert!(of(Approach::MetaLearning).iter().all(|curve| curve.start == LabelStart::WeightsAndMeta));
    assert!(of(Approach::FrozenFeatures).iter().all(|curve| curve.start == LabelStart::Weights));
    assert!(report.methods.iter().all(|curve| curve.points.len() == 3 && curve.points[0].draws == 20));
    let chosen = report.chosen.as_ref().unwrap();
    assert!(report.words.contains(&chosen.name), "{}", report.words);
    let model = report.model.as_ref().unwrap();
    assert_eq!(model.labels, ["mine 0", "mine 1", "mine 2"]);
    assert!(report.claims.iter().all(|claim| claim.difference.low <= claim.difference.high));
}

/// Asks to stop at one event.
struct StopAt(usize);

impl Observer for StopAt {
    fn on(&mut self, _: Event<'_>) -> taper_learn::Result<Flow> {
        self.0 = self.0.saturating_sub(1);
        Ok(if self.0 == 0 { Flow::Stop } else { Flow::Continue })
    }
}

#[test]
fn a_comparison_stopped_anywhere_resumes_to_the_same_figures() {
    let fixture = Fixture::new();
    let data = || fixture.data(Stripes::new("mine", 3, 8), Some(Stripes::new("other", 6, 12)));
    let own = own(&["pixels", "ridge", "fine-tune", "protonet"]);
    let unbroken = own.run(&data(), Some(&fixture.run("unbroken")), &mut NoopObserver).unwrap();
    for stop in [3, 12, 40, 120] {
        let run = fixture.run(&format!("stopped at {stop}"));
        let stopped = own.run(&data(), Some(&run), &mut StopAt(stop));
        assert!(matches!(stopped, Err(CompareError::Learn(LearnError::Stopped { .. }))), "{stop}: {:?}", stopped.err());
        let resumed = own.run(&data(), Some(&run), &mut NoopObserver).unwrap();
        assert_eq!(figures(&resumed), figures(&unbroken), "stopped at event {stop}");
        let bytes = |report: &OwnTaskReport| report.model.as_ref().unwrap().packed().unwrap();
        assert!(bytes(&resumed) == bytes(&unbroken), "the kept classifiers differ");
    }
}

#[test]
fn images_that_the_data_set_holds_too_are_not_meta_learned_from() {
    let fixture = Fixture::new();
    let same = Stripes { first: 0, ..Stripes::new("other", 6, 12) };
    let data = fixture.data(Stripes::new("mine", 3, 8), Some(same));
    let run = fixture.run("run");
    let report = own(&["nearest-mean", "protonet"]).run(&data, Some(&run), &mut NoopObserver).unwrap();
    let meta = report.data.meta_data.unwrap();
    // every other of the first 24 images shows a picture of the data set, which has half as many classes
    assert_eq!((meta.shared, meta.classes, meta.images), (12, 6, 60));
}

#[test]
fn what_can_not_be_compared_is_refused_before_anything_is_trained() {
    let fixture = Fixture::new();
    let run = |own: OwnTask, dataset: Stripes, meta: Option<Stripes>| {
        own.run(&fixture.data(dataset, meta), None, &mut NoopObserver).unwrap_err()
    };
    let mine = || Stripes::new("mine", 3, 8);
    let drawings = Stripes { channels: 1, ..Stripes::new("other", 6, 12) };
    let error = run(own(&["protonet"]), mine(), Some(drawings));
    assert!(matches!(error, CompareError::UnlikeMetaData { .. }), "{error}");
    let short = OwnTask { budget: Some(1e-9), ..own(&["ridge"]) };
    let error = run(short, mine(), None);
    assert!(matches!(error, CompareError::BudgetTooShort { images: 6, .. }), "{error}");
    let many = OwnTask { labels: vec![LabelCount::Of(99)], ..own(&["ridge"]) };
    let error = run(many, mine(), None);
    assert!(error.to_string().contains("no class has 99 images"), "{error}");
    let error = run(own(&["ridge"]), mine(), Some(Stripes::new("other", 2, 3)));
    assert!(matches!(error, CompareError::TooLittleMetaData { classes: 0, .. }), "{error}");
    let error = run(own(&["ridge"]), Stripes::new("mine", 2, 1), None);
    assert!(matches!(error, CompareError::NothingToTellApart { .. }), "{error}");
}

#[test]
fn a_run_whose_data_were_changed_meanwhile_is_not_resumed() {
    let fixture = Fixture::new();
    let (own, run) = (own(&["pixels", "ridge"]), fixture.run("run"));
    own.run(&fixture.data(Stripes::new("mine", 3, 8), None), Some(&run), &mut NoopObserver).unwrap();
    let more = own.run(&fixture.data(Stripes::new("mine", 3, 9), None), Some(&run), &mut NoopObserver);
    assert!(matches!(more, Err(CompareError::DataChanged { .. })), "{:?}", more.err());
}

#[test]
fn without_weights_only_what_needs_none_is_compared() {
    let data = OwnTaskData {
        dataset: Arc::new(Stripes::new("mine", 3, 8)),
        pretrained: None,
        meta_data: None,
        learners: Vec::new(),
    };
    let report = own(&["pixels", "ridge", "protonet"]).run(&data, None, &mut NoopObserver).unwrap();
    assert_eq!(figures(&report).len(), 1);
    assert!(report.chosen.is_none() && report.model.is_none());
}

#[test]
fn held_out_images_alone_measure() {
    let fixture = Fixture::new();
    let held_out: Vec<usize> = (24..36).collect();
    let data = fixture.data(Stripes { held_out, ..Stripes::new("mine", 3, 12) }, None);
    let report = own(&["pixels", "nearest-mean"]).run(&data, None, &mut NoopObserver).unwrap();
    assert_eq!((report.data.images, report.data.held_out), (24, 12));
    let all = report.methods[0].points.last().unwrap();
    assert_eq!((all.labels, all.per_class, all.draws), (LabelCount::All, 8.0, 1));
}
