//! The default preprocessing of images.

use crate::Result;
use taper_data::{Look, Transform};
use taper_models::Architecture;

/// Preprocessing chosen by what the images look like, for a network that takes `channels` channels: drawings
/// become light on dark, photographs are cropped to squares and normalized. `side` replaces the
/// architecture's default side, in pixels. Networks for vectors get no steps.
///
/// # Errors
/// Returns an error if the side is 0.
pub fn default_transform(
    architecture: Architecture,
    look: Look,
    channels: usize,
    side: Option<usize>,
) -> Result<Transform> {
    if let Architecture::Adapter(_) = architecture {
        return Ok("".parse()?); // vectors are taken as they are
    }
    let side = side.unwrap_or(match architecture {
        Architecture::Conv4(_) if channels == 3 => 42,
        other => other.default_side(),
    });
    let invert = if look.dark_on_light { " invert" } else { "" };
    let text = match (channels, look.channels) {
        (1, _) => format!("gray resize({side}x{side}){invert}"),
        (_, 1) => format!("resize({side}x{side}) color{invert}"),
        _ => format!(
            "color resize-short({side}) center-crop({side}) normalize(mean=0.485,0.456,0.406,std=0.229,0.224,0.225)"
        ),
    };
    Ok(text.parse()?)
}
