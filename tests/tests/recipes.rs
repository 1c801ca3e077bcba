//! The two programs that Taper grew from, each as one command: what they print, line by line.

use candle_core::Tensor;
use taper_models::read_weights;
use taper_tests::drawings::Drawings;
use taper_tests::program::{Run, root, taper_ok};
use tempfile::TempDir;

fn folder(drawings: Drawings) -> TempDir {
    let at = tempfile::tempdir().unwrap();
    drawings.write(&at.path().join("data"));
    at
}

fn recipe(name: &str) -> String {
    format!("--config {}", root().join("data/configs").join(name).display())
}

/// The lines that start with `Epoch: `.
fn epochs(run: &Run) -> Vec<&str> {
    run.stdout.lines().filter(|line| line.starts_with("Epoch: ")).collect()
}

/// `text` is a share such as `94.1`, with this many decimals.
fn is_percentage(text: &str, decimals: usize) -> bool {
    let places = text.split_once('.').map_or(0, |(_, fraction)| fraction.len());
    places == decimals && text.parse::<f64>().is_ok_and(|value| (0.0..=100.0).contains(&value))
}

#[test]
fn seed_transfer_prints_an_epoch_a_line_as_published_or_not() {
    let at = folder(Drawings { classes: 3, images: 8, ..Drawings::default() });
    // the recipe's ResNet-50 takes too long for a test
    let line = format!("train data {} --backbone cifar-resnet20 --epochs 3", recipe("seed-transfer.toml"));
    for how in ["", "--as-published"] {
        let run = taper_ok(at.path(), &format!("{line} {how}"));
        let told = epochs(&run);
        assert_eq!(told.len(), 3, "{run:?}");
        for (number, line) in told.iter().enumerate() {
            let start = format!("Epoch: {}, Validation Accuracy: ", number + 1);
            let share = line.strip_prefix(&start).and_then(|rest| rest.strip_suffix(" %"));
            assert!(share.is_some_and(|share| is_percentage(share, 1)), "{line}");
        }
    }
}

#[test]
fn seed_transfer_replaces_the_head_by_two_layers_and_trains_nothing_else() {
    let at = folder(Drawings { classes: 3, images: 4, ..Drawings::default() });
    let line = format!("train data {} --backbone cifar-resnet20", recipe("seed-transfer.toml"));
    taper_ok(at.path(), &format!("{line} --epochs 1 --out one"));
    taper_ok(at.path(), &format!("{line} --epochs 2 --out two"));
    let inspected = taper_ok(at.path(), "inspect one/model --json").result();
    // 64 features -> 1024 -> 3 classes, in addition to the backbone's 269,722 - 650, of one channel, not three
    let head = 64 * 1024 + 1024 + 3 * 1024 + 3;
    assert_eq!(inspected["parameters"], 269_722 - 650 - 288 + head);

    let weights = |run: &str| read_weights(&at.path().join(run).join("model/model.safetensors")).unwrap();
    let (one, two) = (weights("one"), weights("two"));
    assert_eq!(one.len(), two.len());
    for (name, before) in &one {
        let values = |tensor: &Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let same = values(before) == values(&two[name]);
        assert_eq!(same, !name.starts_with("linear."), "{name}");
    }
}

#[test]
fn seed_meta_prints_each_task_of_each_epoch() {
    let at = folder(Drawings { classes: 24, images: 4, groups: 2, ..Drawings::default() });
    let run = taper_ok(at.path(), &format!("meta-train data {} --epochs 3 --out run", recipe("seed-meta.toml")));
    let told = epochs(&run);
    let starts = [0, 1, 2].into_iter().flat_map(|epoch| ["g0", "g1"].map(|task| (epoch, task)));
    assert_eq!(told.len(), 6, "{run:?}");
    for (line, (epoch, task)) in told.iter().zip(starts) {
        let start = format!("Epoch: {epoch}, Task: {task}, Test Accuracy: ");
        let share = line.strip_prefix(&start).and_then(|rest| rest.strip_suffix(" %"));
        assert!(share.is_some_and(|share| is_percentage(share, 0)), "{line}");
    }
    let inspected = taper_ok(at.path(), "inspect run --json").result();
    assert_eq!(inspected["what"], "run");
    let model = taper_ok(at.path(), "inspect run/model").stdout;
    assert!(model.contains("128 x 1600"), "the first linear layer takes 64 x 5 x 5 features: {model}");
}
