//! Command-line options that solve errors of the libraries, which don't know about options.

use taper_compare::CompareError;
use taper_data::{DataError, one_line};
use taper_export::ExportError;
use taper_learn::LearnError;
use taper_models::ModelError;
use taper_transfer::TransferError;

/// The whole chain of causes in one line, with the options that its advice is about.
pub(crate) fn with_hint(error: &anyhow::Error) -> String {
    let hint = error.chain().find_map(of_cause).map(|hint| format!(" ({hint})")).unwrap_or_default();
    let text = format!("{}{hint}", causes(error)).replace('\n', " ");
    // names may hold other control characters
    one_line(&text).into_owned()
}

/// The whole chain of causes. One that an error's own message ends with is not repeated.
pub(crate) fn causes(error: &anyhow::Error) -> String {
    error.chain().fold(String::new(), |text, cause| match cause.to_string() {
        cause if text.is_empty() => cause,
        cause if text.ends_with(&cause) => text,
        cause => format!("{text}: {cause}"),
    })
}

fn of_cause(cause: &(dyn std::error::Error + 'static)) -> Option<String> {
    if let Some(error) = cause.downcast_ref::<CompareError>() {
        return of_comparison(error);
    }
    if let Some(error) = cause.downcast_ref::<TransferError>() {
        return of_transfer(error);
    }
    if let Some(error) = cause.downcast_ref::<LearnError>() {
        return of_learning(error);
    }
    if let Some(error) = cause.downcast_ref::<ModelError>() {
        return of_model(error);
    }
    if let Some(error) = cause.downcast_ref::<ExportError>() {
        return of_export(error);
    }
    of_data(cause.downcast_ref()?)
}

fn of_export(error: &ExportError) -> Option<String> {
    match error {
        ExportError::Learner { .. } => Some("use `taper adapt`".into()),
        ExportError::Vectors { .. } | ExportError::Transform { .. } => Some("use --bare".into()),
        // a head on stages or several views, which no other program has
        ExportError::Foreign { problem, .. } if problem.contains("staged") => {
            Some("use --format onnx, or keep a classifier of train --plain".into())
        }
        ExportError::Foreign { .. } => Some("use --format onnx".into()),
        ExportError::Learn(error) => of_learning(error),
        _ => None,
    }
}

fn of_comparison(error: &CompareError) -> Option<String> {
    match error {
        CompareError::TooFewClasses { classes, .. } => Some(format!("use --ways {classes}")),
        CompareError::Learn(error) => of_learning(error),
        CompareError::Data(error) => of_data(error),
        CompareError::Model(error) => of_model(error),
        _ => None,
    }
}

fn of_transfer(error: &TransferError) -> Option<String> {
    match error {
        // three times leaves some for trying candidates, and for slower minutes
        TransferError::BudgetTooShort { needed, .. } => {
            Some(format!("use --budget {}s or more", (3.0 * needed).ceil()))
        }
        TransferError::NothingScored => Some("use a longer --budget".into()),
        TransferError::ClassTooSmall { .. } => {
            Some("add images of it, or use --min-images 2 to go on without such classes".into())
        }
        TransferError::DamagedFile { .. } => Some("use --force".into()),
        TransferError::NoFiniteLoss => Some("see `taper inspect`".into()),
        TransferError::Learn(error) => of_learning(error),
        _ => None,
    }
}

fn of_learning(error: &LearnError) -> Option<String> {
    let hint = match error {
        LearnError::Exists { what: "run", .. } => "use --resume, --force or another --out",
        LearnError::Exists { .. } => "use --force or another --out",
        LearnError::Checkpoint { .. } => "use --force",
        LearnError::InnerDiverged { .. } | LearnError::StepDiverged { .. } => "use a smaller --inner-lr",
        LearnError::Diverged { .. } | LearnError::NotFinite { .. } => "use a smaller --lr or --meta-lr",
        LearnError::OutOfTime => "use a longer --budget",
        LearnError::Stage { problem, .. } => return of_learning(problem),
        LearnError::Data(error) => return of_data(error),
        LearnError::Model(error) => return of_model(error),
        _ => return None,
    };
    Some(hint.to_string())
}

fn of_data(error: &DataError) -> Option<String> {
    match error {
        DataError::ClassTooSmall { images, shots, .. } if *shots > 0 => {
            Some(format!("use --shots {shots} --queries {}", images - shots))
        }
        DataError::Unfillable { ways: Some(ways @ 2..), .. } => Some(format!("use --ways {ways}")),
        DataError::Unfillable { ways: None, .. } => Some("use a smaller --shots or --queries".into()),
        DataError::BadFile { problem, .. }
            if problem.ends_with("name the column of files") || problem.ends_with("name the column of labels") =>
        {
            Some("use --labels-from with --file-column and --label-column".into())
        }
        DataError::BadFile { problem, .. } if problem.ends_with("name the one to use") => {
            Some("use --labels-from FILE".into())
        }
        _ => None,
    }
}

fn of_model(error: &ModelError) -> Option<String> {
    match error {
        ModelError::ImageSize { side, .. } => Some(format!("use --image-size {side}")),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_of_a_library_gets_the_option_that_helps() {
        let small = ModelError::ImageSize {
            network: "conv4".into(),
            takes: "images of at least 16x16".into(),
            side: 16,
            given: (1, 8, 8),
        };
        let line = with_hint(&anyhow::Error::from(LearnError::from(small)).context("training"));
        let expected =
            "training: conv4 takes images of at least 16x16, not 8x8 with 1 channel(s) (use --image-size 16)";
        assert_eq!(line, expected);

        let wide = DataError::Unfillable { asked: "8-way".into(), limit: "too few".into(), ways: Some(6) };
        assert!(with_hint(&CompareError::from(wide).into()).ends_with("(use --ways 6)"));
        let deep = DataError::Unfillable { asked: "5-way".into(), limit: "too few".into(), ways: None };
        assert!(with_hint(&deep.into()).ends_with("(use a smaller --shots or --queries)"));
        assert_eq!(with_hint(&anyhow::anyhow!("no\nadvice")), "no advice");
    }

    #[test]
    fn each_cause_is_told_once_and_control_characters_are_escaped() {
        let source = std::io::Error::other("disk on fire");
        let file = anyhow::Error::from(LearnError::File { path: "run/config.toml".into(), source });
        assert_eq!(with_hint(&file.context("photos")), "photos: run/config.toml: disk on fire");
        let plain = anyhow::anyhow!("disk on fire").context("reading").context("photos");
        assert_eq!(with_hint(&plain), "photos: reading: disk on fire");
        assert_eq!(with_hint(&anyhow::anyhow!("no class `\u{1b}[2Jcat`")), r"no class `\u{1b}[2Jcat`");
    }
}
