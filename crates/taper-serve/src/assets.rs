//! The page's own files, which are part of the program.

/// A file of the page: its name, its type, its content.
type Asset = (&'static str, &'static str, &'static [u8]);

const SCRIPT: &str = "text/javascript; charset=utf-8";

/// The page.
pub(crate) const PAGE: &str = include_str!("../assets/index.html");

const ASSETS: [Asset; 9] = [
    ("style.css", "text/css; charset=utf-8", include_bytes!("../assets/style.css")),
    ("icon.svg", "image/svg+xml", include_bytes!("../assets/icon.svg")),
    ("main.js", SCRIPT, include_bytes!("../assets/main.js")),
    ("server.js", SCRIPT, include_bytes!("../assets/server.js")),
    ("words.js", SCRIPT, include_bytes!("../assets/words.js")),
    ("sheet.js", SCRIPT, include_bytes!("../assets/sheet.js")),
    ("photographs.js", SCRIPT, include_bytes!("../assets/photographs.js")),
    ("guess.js", SCRIPT, include_bytes!("../assets/guess.js")),
    ("cards.js", SCRIPT, include_bytes!("../assets/cards.js")),
];

/// The type and content of the file of this name.
pub(crate) fn asset(name: &str) -> Option<(&'static str, &'static [u8])> {
    ASSETS.iter().find(|(known, _, _)| *known == name).map(|(_, kind, content)| (*kind, *content))
}
