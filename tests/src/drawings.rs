//! Tiny data sets of drawings on disk: each class is three strokes, each image a shaky copy.

use image::{GrayImage, Luma};
use rand::Rng as _;
use std::fs;
use std::path::Path;

/// A folder of class folders.
#[derive(Debug, Clone, Copy)]
pub struct Drawings {
    /// Classes, `c00`, `c01` and so on.
    pub classes: usize,
    /// Images per class.
    pub images: usize,
    /// Groups that the classes are distributed to, `g0`, `g1` and so on; 0 for no groups.
    pub groups: usize,
    /// Side of an image in pixels.
    pub side: u32,
}

impl Default for Drawings {
    /// 20 classes of 6 images, 28 pixels wide, without groups: enough for three parts.
    fn default() -> Self {
        Self { classes: 20, images: 6, groups: 0, side: 28 }
    }
}

impl Drawings {
    /// Writes them all below `folder`.
    pub fn write(&self, folder: &Path) {
        for class in 0..self.classes {
            let group = if self.groups == 0 { String::new() } else { format!("g{}/", class % self.groups) };
            let folder = folder.join(format!("{group}c{class:02}"));
            fs::create_dir_all(&folder).expect("a folder can be made");
            for image in 0..self.images {
                let path = folder.join(format!("{image:02}.png"));
                drawing(class, image, self.side).save(path).expect("an image can be written");
            }
        }
    }
}

/// Black strokes on white.
fn drawing(class: usize, image: usize, side: u32) -> GrayImage {
    let (mut plan, mut hand) =
        (taper_ops::rng(class as u64, "character", 0), taper_ops::rng(class as u64, "drawing", image as u64));
    let mut paper = GrayImage::from_pixel(side, side, Luma([255]));
    let mut shaky = || (plan.random_range(0.1..0.9) + hand.random_range(-0.05..0.05)) * f64::from(side);
    for _ in 0..3 {
        let (x0, y0, x1, y1) = (shaky(), shaky(), shaky(), shaky());
        for step in 0..=2 * side {
            let t = f64::from(step) / f64::from(2 * side);
            let (x, y) = ((x0 + t * (x1 - x0)) as u32, (y0 + t * (y1 - y0)) as u32);
            for (dx, dy) in [(0, 0), (1, 0), (0, 1), (1, 1)] {
                if x + dx < side && y + dy < side {
                    paper.put_pixel(x + dx, y + dy, Luma([0]));
                }
            }
        }
    }
    paper
}
