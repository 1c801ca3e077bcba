//! Every rule of the verdict, on made-up answers.

use super::*;
use taper_learn::evaluation::Cost;
use taper_learn::statistics::{Decision, ScoredTask};

const CLASSES: u32 = 20;
const IMAGES: usize = 20;

/// Answers to 95 tasks of two classes each: `right` of each class's 20 images are classified correctly,
/// one more or less in every other class.
fn scores(right: usize) -> Evaluation {
    let mut tasks = Vec::new();
    for a in 0..CLASSES {
        for b in (a + 1..CLASSES).step_by(2) {
            let answer = |class: u32, other: u32, image: usize| {
                let limit = (right + class as usize % 2).min(IMAGES);
                Decision {
                    image: class as usize * IMAGES + image,
                    class,
                    predicted: Some(if image < limit { class } else { other }),
                }
            };
            let decisions = (0..IMAGES).flat_map(|image| [answer(a, b, image), answer(b, a, image)]).collect();
            tasks.push(ScoredTask { classes: vec![a, b], support_images: 2, pool_images: None, decisions });
        }
    }
    Evaluation {
        accuracies: tasks.iter().map(ScoredTask::accuracy).collect(),
        sources: vec!["made up".into(); tasks.len()],
        tasks,
        cost: Cost { adapt_seconds: 0.5, predict_seconds: 0.1 },
        ..Evaluation::default()
    }
}

/// A method with its scores on validation and test tasks, in correct images of 20.
struct Row {
    name: &'static str,
    kind: Kind,
    start: Start,
    validation: Vec<Evaluation>,
    test: Vec<Evaluation>,
    train_seconds: f64,
}

fn row(name: &'static str, kind: Kind, validation: usize, test: usize) -> Row {
    Row {
        name,
        kind,
        start: Start::Nothing,
        validation: vec![scores(validation)],
        test: vec![scores(test)],
        train_seconds: 60.0,
    }
}

fn from_weights(name: &'static str, kind: Kind, validation: usize, test: usize) -> Row {
    Row { start: Start::Elsewhere("ImageNet".into()), ..row(name, kind, validation, test) }
}

fn scored(row: &Row) -> Scored<'_> {
    Scored {
        name: row.name,
        kind: row.kind,
        start: &row.start,
        validation: &row.validation,
        test: &row.test,
        train_seconds: row.train_seconds,
    }
}

fn verdict(rows: &[Row]) -> Verdict {
    Verdict::new(&rows.iter().map(scored).collect::<Vec<_>>()).unwrap()
}

#[test]
fn a_clear_difference_names_the_winner_and_the_points() {
    let verdict = verdict(&[
        row("pixels", Kind::Floor, 8, 8),
        row("probe", Kind::Transfer, 12, 12),
        row("protonet", Kind::Meta, 16, 16),
    ]);
    assert_eq!(verdict.winner.as_deref(), Some("protonet"));
    assert!((verdict.difference.unwrap().mean - 0.2).abs() < 1e-9);
    let words = &verdict.words;
    assert!(
        words
            .starts_with("Meta-learning wins: protonet is 20.0 points more accurate than probe on new classes (95% CI"),
        "{words}"
    );
    assert!(words.contains("of one training run each"), "{words}");
    assert!(words.ends_with("Every other method beats comparing pixels."), "{words}");
}

#[test]
fn the_best_of_a_kind_is_chosen_on_validation_tasks_whatever_the_test_tasks_say() {
    let verdict = verdict(&[
        row("chosen", Kind::Transfer, 15, 10),
        row("lucky", Kind::Transfer, 14, 19),
        row("protonet", Kind::Meta, 12, 14),
    ]);
    assert_eq!(verdict.winner.as_deref(), Some("protonet"));
    assert_eq!((verdict.claims[0].first.as_str(), verdict.claims[0].second.as_str()), ("protonet", "chosen"));
}

#[test]
fn several_methods_to_choose_from_need_validation_scores() {
    let rows = [row("a", Kind::Transfer, 15, 10), row("b", Kind::Transfer, 15, 10), row("c", Kind::Meta, 15, 10)];
    let methods: Vec<Scored<'_>> = rows.iter().map(|row| Scored { validation: &[], ..scored(row) }).collect();
    assert!(Verdict::new(&methods).unwrap_err().to_string().contains("a was not scored on validation tasks"));
    // one of each leaves nothing to choose
    assert!(Verdict::new(&methods[1..]).is_ok());
}

#[test]
fn what_does_not_beat_pixels_or_a_fresh_network_does_not_pay() {
    for kind in [Kind::Floor, Kind::Scratch] {
        let verdict = verdict(&[
            row("plain", kind, 18, 18),
            row("probe", Kind::Transfer, 12, 12),
            row("maml", Kind::Meta, 14, 14),
        ]);
        assert_eq!(verdict.winner, None);
        let words = &verdict.words;
        assert!(words.starts_with("Neither kind of learning is shown to pay on new classes: maml"), "{words}");
        assert!(words.contains("is less accurate than plain"), "{words}");
    }
}

#[test]
fn a_difference_within_its_interval_is_not_a_win() {
    let mut uneven = row("maml", Kind::Meta, 14, 14);
    // a few classes fail altogether
    for task in &mut uneven.test[0].tasks {
        let [a, b] = [task.classes[0], task.classes[1]];
        for decision in task.decisions.iter_mut().filter(|decision| decision.class % 7 == 0) {
            decision.predicted = Some(if decision.class == a { b } else { a });
        }
    }
    let verdict = verdict(&[row("probe", Kind::Transfer, 11, 11), uneven]);
    assert_eq!((verdict.winner, verdict.claims[0].outcome), (None, Outcome::NotShown));
    assert!(verdict.words.starts_with("Neither kind of learning is shown to win on new classes"), "{}", verdict.words);
    assert!(verdict.difference.unwrap().contains(0.0));
}

#[test]
fn methods_within_a_point_are_as_good_as_equal_and_the_cheaper_one_is_named() {
    let slow = Row { train_seconds: 600.0, ..row("protonet", Kind::Meta, 15, 15) };
    let verdict = verdict(&[row("probe", Kind::Transfer, 15, 15), slow]);
    assert_eq!((verdict.winner, verdict.cheaper.as_deref()), (None, Some("probe")));
    assert!(verdict.words.contains("as good as equal"), "{}", verdict.words);
    assert!(verdict.words.contains("probe is cheaper (60 s against 10 min)"), "{}", verdict.words);
}

#[test]
fn weights_trained_elsewhere_do_not_decide_which_kind_wins_among_those_that_started_from_nothing() {
    let verdict = verdict(&[
        row("protonet", Kind::Meta, 12, 12),
        row("probe", Kind::Transfer, 15, 15),
        from_weights("the learner", Kind::Meta, 19, 19),
    ]);
    assert_eq!(verdict.winner.as_deref(), Some("probe"));
    let words = &verdict.words;
    assert!(words.contains("Transfer learning wins: probe"), "{words}");
    assert!(
        words.contains("The learner, trained before on ImageNet, is 20.0 points more accurate than probe"),
        "{words}"
    );
}

#[test]
fn kinds_that_start_from_the_same_weights_are_compared_too() {
    let verdict = verdict(&[
        row("protonet", Kind::Meta, 12, 12),
        row("probe", Kind::Transfer, 15, 15),
        from_weights("deep probe", Kind::Transfer, 17, 17),
        from_weights("deep protonet", Kind::Meta, 19, 19),
    ]);
    assert_eq!(verdict.winner.as_deref(), Some("probe"));
    let words = &verdict.words;
    assert!(words.contains("among methods trained before on ImageNet, meta-learning wins: deep protonet"), "{words}");
    let sentences = words.matches(". ").count() + 1;
    assert!(sentences <= 3, "{words}");
}

#[test]
fn weights_that_only_one_kind_starts_from_are_compared_with_learning_here_alone() {
    let verdict = verdict(&[from_weights("deep probe", Kind::Transfer, 17, 17), row("protonet", Kind::Meta, 12, 12)]);
    assert_eq!((verdict.winner, verdict.difference), (None, None));
    assert!(verdict.words.starts_with("Deep probe, trained before on ImageNet, is 25.0 points"), "{}", verdict.words);
}

#[test]
fn one_kind_by_itself_is_compared_with_the_floor() {
    let verdict = verdict(&[row("pixels", Kind::Floor, 8, 8), row("protonet", Kind::Meta, 15, 15)]);
    assert_eq!(verdict.words, "Every other method beats comparing pixels.");
}

#[test]
fn a_method_that_is_not_shown_to_beat_pixels_is_named() {
    let verdict = verdict(&[
        row("pixels", Kind::Floor, 12, 12),
        row("probe", Kind::Transfer, 12, 12),
        row("protonet", Kind::Meta, 15, 15),
    ]);
    assert!(verdict.words.ends_with("Not shown to beat comparing pixels: probe."), "{}", verdict.words);
    let floor = verdict.claims.iter().filter(|claim| claim.question == Question::BeatsFloor);
    assert_eq!(floor.count(), 2);
}

#[test]
fn several_training_runs_are_not_called_one_run() {
    let repeated = |row: Row| Row { test: vec![row.test[0].clone(); 3], ..row };
    let verdict =
        verdict(&[repeated(row("probe", Kind::Transfer, 12, 12)), repeated(row("protonet", Kind::Meta, 16, 16))]);
    assert!(!verdict.words.contains("one training run"), "{}", verdict.words);
    assert_eq!(verdict.claims[0].runs, 3);
}

#[test]
fn a_verdict_written_down_reads_back_without_null() {
    let verdict = verdict(&[row("probe", Kind::Transfer, 12, 12), row("protonet", Kind::Meta, 16, 16)]);
    let text = serde_json::to_string(&verdict).unwrap();
    assert!(!text.contains("null"), "{text}");
    let read: Verdict = serde_json::from_str(&text).unwrap();
    assert_eq!((&read.words, &read.winner, read.claims.len()), (&verdict.words, &verdict.winner, verdict.claims.len()));
    assert!((read.difference.unwrap().low - verdict.difference.unwrap().low).abs() < 1e-12);
}

#[test]
fn methods_scored_on_different_tasks_are_refused() {
    let mut other = row("protonet", Kind::Meta, 16, 16);
    other.test[0].tasks.pop();
    let rows = [row("probe", Kind::Transfer, 12, 12), other];
    let error = Verdict::new(&rows.iter().map(scored).collect::<Vec<_>>()).unwrap_err();
    assert!(error.to_string().contains("different tasks"), "{error}");
}
