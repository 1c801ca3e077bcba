//! Text from anywhere, made safe to look at. Names of files and classes come from other people: what would not be
//! seen, or would change the order in which text is read, is shown as its code. Markup is escaped by the templates.

use serde_json::Value;
use std::fmt::Write as _;

/// The text with characters that can't be seen, or that reorder others, as `\u{202e}`. Line breaks stay.
pub(crate) fn shown(text: &str) -> String {
    let mut safe = String::with_capacity(text.len());
    for letter in text.chars() {
        if letter != '\n' && is_unsafe(letter) {
            // writing to a string can't fail
            let _ = write!(safe, "{}", letter.escape_unicode());
        } else {
            safe.push(letter);
        }
    }
    safe
}

/// Control characters, and those that change direction or have no width.
fn is_unsafe(letter: char) -> bool {
    letter.is_control()
        || matches!(letter, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{2069}' | '\u{feff}')
}

/// The value with every text in it [`shown`].
pub(crate) fn all_shown(value: Value) -> Value {
    match value {
        Value::String(text) => Value::String(shown(&text)),
        Value::Array(all) => all.into_iter().map(all_shown).collect(),
        Value::Object(fields) => fields.into_iter().map(|(name, value)| (name, all_shown(value))).collect(),
        other => other,
    }
}

/// `61.3`, of a share in percent, never `-0.0`.
pub(crate) fn percent(share: f64) -> String {
    let rounded = (share * 1000.0).round() / 10.0;
    format!("{:.1}", if rounded == 0.0 { 0.0 } else { rounded })
}

/// `+4.1`, of a difference in points, with a true minus sign.
pub(crate) fn points(difference: f64) -> String {
    let text = percent(difference.abs());
    match text.as_str() {
        "0.0" => text,
        _ if difference < 0.0 => format!("−{text}"),
        _ => format!("+{text}"),
    }
}

/// Seconds with a suitable unit; `–` for none.
pub(crate) fn duration(seconds: f64) -> String {
    match seconds {
        s if s >= 7200.0 => format!("{:.1} h", s / 3600.0),
        s if s >= 90.0 => format!("{:.1} min", s / 60.0),
        s if s >= 1.0 => format!("{s:.1} s"),
        s if s >= 1e-3 => format!("{:.1} ms", s * 1e3),
        s if s > 0.0 => format!("{:.0} µs", s * 1e6),
        _ => "–".into(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn letters_that_would_not_be_seen_are_shown_as_their_code() {
        assert_eq!(shown("a\u{202e}gpj.exe\u{7}\t"), "a\\u{202e}gpj.exe\\u{7}\\u{9}");
        assert_eq!(shown("猫 <b>\né"), "猫 <b>\né");
    }

    #[test]
    fn figures_have_one_decimal_and_no_negative_zero() {
        assert_eq!([percent(0.6134), percent(-0.0001)], ["61.3", "0.0"]);
        assert_eq!([points(0.041), points(-0.041), points(-0.0001)], ["+4.1", "−4.1", "0.0"]);
        assert_eq!(
            [duration(0.0), duration(0.25), duration(3.0), duration(240.0)],
            ["–", "250.0 ms", "3.0 s", "4.0 min"]
        );
    }
}
