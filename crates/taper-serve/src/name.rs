//! From what people call a class to the name of its folder.

use crate::problem::{Problem, Result};

/// Characters of a name, at most: 60 of four bytes each fit into a file name.
const LONGEST: usize = 60;

/// Names that Windows gives to devices.
const DEVICES: [&str; 4] = ["con", "prn", "aux", "nul"];

/// The name of a class's folder: the name given, with spaces joined, and with `-` for characters that some system
/// does not allow in names.
///
/// # Errors
/// Returns an error if nothing is left, or the name is that of a file of a system.
pub(crate) fn folder_name(given: &str) -> Result<String> {
    let joined = given.split_whitespace().collect::<Vec<_>>().join(" ");
    let safe = |c: char| if c.is_control() || r#"/\:*?"<>|"#.contains(c) || is_invisible(c) { '-' } else { c };
    let name: String = joined.chars().map(safe).take(LONGEST).collect();
    let name = name.trim_start_matches(['.', ' ']).trim_end_matches(['.', ' ']).to_string();
    let lower = name.to_lowercase();
    let stem = lower.split('.').next().unwrap_or_default();
    let numbered = ["com", "lpt"].iter().any(|port| stem.strip_prefix(port).is_some_and(|number| number.len() == 1));
    if !name.chars().any(char::is_alphanumeric) && name.is_ascii()
        || DEVICES.contains(&stem)
        || numbered
        || taper_data::is_left_behind(&name)
    {
        return Err(Problem::BadName);
    }
    Ok(name)
}

/// Characters that change how a name reads without being seen.
fn is_invisible(c: char) -> bool {
    matches!(c, '\u{200b}'..='\u{200f}' | '\u{2028}'..='\u{202e}' | '\u{2060}'..='\u{206f}' | '\u{feff}' | '\u{fff9}'..='\u{fffb}')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_name_stays_as_it_is_where_it_can() {
        for name in ["heart", "my house", "心", "Été", "♥", "7", "a.b", "train"] {
            assert_eq!(folder_name(name).unwrap(), name);
        }
        assert_eq!(folder_name("  my \t house\n").unwrap(), "my house");
    }

    #[test]
    fn no_name_leads_out_of_the_folder_or_means_something_to_a_system() {
        assert_eq!(folder_name("../../etc/passwd").unwrap(), "-..-etc-passwd");
        assert_eq!(folder_name("C:\\Windows").unwrap(), "C--Windows");
        assert_eq!(folder_name(".hidden").unwrap(), "hidden");
        assert_eq!(folder_name("a\u{202e}b\0c.").unwrap(), "a-b-c");
        assert_eq!(folder_name(&"長".repeat(500)).unwrap().chars().count(), LONGEST);
        for name in ["", " ", ".", "..", "///", "con", "NUL.png", "com1", "__MACOSX", "Thumbs.db", "--"] {
            assert_eq!(folder_name(name), Err(Problem::BadName), "{name}");
        }
    }
}
