//! The JSON output that `docs/guide/json.md` promises: one object per line, nothing else on standard
//! output, and the result as the last one.

use serde_json::Value;
use taper_tests::drawings::Drawings;
use taper_tests::program::taper_ok;

#[test]
fn every_command_ends_with_a_result_of_the_promised_form() {
    let at = tempfile::tempdir().unwrap();
    Drawings::default().write(&at.path().join("data"));
    let tasks = "--ways 3 --queries 2";
    let small = format!("{tasks} --backbone conv4-4");
    let lines = [
        format!("compare data {small} --episodes 6 --images 100 --tune-steps 2 --out compared"),
        format!("meta-train data {small} --steps 4 --meta-batch-size 1 --out learned"),
        format!("meta-train data {small} --method multitask --epochs 1 --out shared"),
        "train data --backbone conv4-4 --epochs 2 --out trained".to_string(),
        "adapt learned data --out adapted".to_string(),
        format!("evaluate learned data {tasks} --episodes 5"),
        "evaluate trained data".to_string(),
        "predict adapted data/c00 data/c01/00.png".to_string(),
        "inspect data".to_string(),
        "inspect adapted".to_string(),
        "inspect learned".to_string(),
        "inspect".to_string(),
    ];
    for line in &lines {
        let run = taper_ok(at.path(), &format!("{line} --json"));
        let events = run.events();
        let Some((result, before)) = events.split_last() else { panic!("{line}: no event") };
        for event in before {
            assert!(event["event"].is_string() && event["event"] != "result", "{line}: {event}");
        }
        check(line, result);
    }
}

/// `{"event":"result","command","seconds","methods":[…],"out"}`.
fn check(line: &str, result: &Value) {
    let command = line.split_whitespace().next().unwrap();
    assert_eq!((&result["event"], &result["command"]), (&"result".into(), &command.into()), "{line}: {result}");
    assert!(result["seconds"].as_f64().is_some_and(|seconds| seconds >= 0.0), "{line}: {result}");
    assert!(result["out"].is_string() || result["out"].is_null(), "{line}: {result}");
    assert_eq!(result["out"].is_string(), line.contains("--out") || line == "inspect learned", "{line}: {result}");
    let methods = result["methods"].as_array().unwrap();
    match command {
        "compare" => assert_eq!(methods.len(), 9, "{result}"),
        "train" | "evaluate" | "meta-train" => assert_eq!(methods.len(), 1, "{line}: {result}"),
        _ => assert!(methods.is_empty(), "{line}: {result}"),
    }
    for method in methods {
        assert!(method["name"].is_string(), "{line}: {method}");
        let kinds = ["floor", "scratch", "transfer", "meta"];
        assert!(method["kind"].as_str().is_some_and(|kind| kinds.contains(&kind)), "{line}: {method}");
        let (accuracy, low, high) =
            (number(&method["accuracy"]), number(&method["ci95"][0]), number(&method["ci95"][1]));
        assert!((0.0..=1.0).contains(&accuracy) && low <= accuracy && accuracy <= high, "{line}: {method}");
        for seconds in ["train_seconds", "adapt_seconds"] {
            assert!(number(&method[seconds]) >= 0.0, "{line}: {method}");
        }
    }
    if command == "compare" {
        assert!(result["verdict"].is_string());
        assert!(methods.iter().any(|method| number(&method["from_best"]["difference"]) == 0.0), "{result}");
    }
}

fn number(value: &Value) -> f64 {
    value.as_f64().unwrap_or_else(|| panic!("{value} is not a number"))
}
