//! The built-in learner classifies a dozen symbols that nobody has drawn before: letters of a
//! vector font of our own, by a shaky pen, with one support drawing each.
#![allow(clippy::unwrap_used, reason = "a test may fail")]

use image::{GrayImage, Luma};
use rand::Rng as _;
use std::fs;
use std::path::Path;
use taper_tests::program::{taper, taper_ok};

/// Corners of one movement of the pen.
type Stroke = &'static [(f32, f32)];

/// Each symbol as strokes on a grid of 8 by 8.
const SYMBOLS: [(&str, &[Stroke]); 12] = [
    ("gate", &[&[(0., 8.), (0., 0.), (8., 0.), (8., 8.)], &[(0., 4.), (8., 4.)]]),
    ("flag", &[&[(1., 8.), (1., 0.), (7., 2.), (1., 4.)]]),
    ("zig", &[&[(0., 0.), (8., 0.), (0., 8.), (8., 8.)]]),
    ("fork", &[&[(4., 8.), (4., 3.)], &[(0., 0.), (0., 3.), (8., 3.), (8., 0.)], &[(4., 3.), (4., 0.)]]),
    ("box", &[&[(1., 1.), (7., 1.), (7., 7.), (1., 7.), (1., 1.)], &[(1., 1.), (7., 7.)]]),
    ("tent", &[&[(0., 8.), (4., 0.), (8., 8.)], &[(2., 6.), (6., 6.)]]),
    ("arrow", &[&[(0., 4.), (8., 4.)], &[(5., 1.), (8., 4.), (5., 7.)]]),
    ("ladder", &[&[(2., 0.), (2., 8.)], &[(6., 0.), (6., 8.)], &[(2., 2.), (6., 2.)], &[(2., 5.), (6., 5.)]]),
    ("star", &[&[(4., 0.), (4., 8.)], &[(0., 2.), (8., 6.)], &[(8., 2.), (0., 6.)]]),
    ("hook", &[&[(6., 0.), (6., 6.), (4., 8.), (1., 8.), (0., 6.)]]),
    ("hourglass", &[&[(0., 0.), (8., 0.), (0., 8.), (8., 8.), (0., 0.)]]),
    ("stairs", &[&[(0., 8.), (0., 5.), (3., 5.), (3., 2.), (6., 2.), (6., 0.), (8., 0.)]]),
];

/// How a person draws: size of the sheet and of the drawing, pen and colors.
struct Hand {
    sheet: (u32, u32),
    size: f32,
    pen: f32,
    light_on_dark: bool,
    number: u64,
}

/// A symbol by a shaky hand: every corner is slightly off, every line wavers.
fn draw(strokes: &[Stroke], symbol: usize, hand: &Hand) -> GrayImage {
    let rng = &mut taper_ops::rng(hand.number, "hand", symbol as u64);
    let (width, height) = hand.sheet;
    let cell = hand.size / 8.0;
    let (left, top) = ((width as f32 - hand.size) * 0.6, (height as f32 - hand.size) * 0.4);
    let mut sheet = GrayImage::from_pixel(width, height, Luma([if hand.light_on_dark { 25 } else { 235 }]));
    let ink = Luma([if hand.light_on_dark { 240 } else { 30 }]);
    for stroke in strokes {
        let mut off = || rng.random_range(-0.35f32..0.35);
        let corners: Vec<(f32, f32)> =
            stroke.iter().map(|(x, y)| (left + (x + off()) * cell, top + (y + off()) * cell)).collect();
        for line in corners.windows(2) {
            let [(x0, y0), (x1, y1)] = [line[0], line[1]];
            let steps = (x1 - x0).hypot(y1 - y0).ceil().max(1.0);
            let (bulge, phase) = (rng.random_range(-0.25f32..0.25) * cell, rng.random_range(0.0f32..3.0));
            for step in 0..=steps as u32 {
                let t = step as f32 / steps;
                let waver = bulge * (std::f32::consts::PI * t).sin() + 0.06 * cell * (9.0 * t + phase).sin();
                let length = (x1 - x0).hypot(y1 - y0).max(1e-3);
                let (x, y) =
                    (x0 + t * (x1 - x0) - waver * (y1 - y0) / length, y0 + t * (y1 - y0) + waver * (x1 - x0) / length);
                let reach = hand.pen.ceil() as i32;
                for (dx, dy) in (-reach..=reach).flat_map(|dy| (-reach..=reach).map(move |dx| (dx, dy))) {
                    let (column, row) = (x.round() as i32 + dx, y.round() as i32 + dy);
                    let under = (dx * dx + dy * dy) as f32 <= hand.pen * hand.pen;
                    if under && (0..width as i32).contains(&column) && (0..height as i32).contains(&row) {
                        sheet.put_pixel(column as u32, row as u32, ink);
                    }
                }
            }
        }
    }
    sheet
}

fn save(folder: &Path, hand: &Hand) {
    for (number, (name, strokes)) in SYMBOLS.iter().enumerate() {
        let folder = folder.join(name);
        fs::create_dir_all(&folder).unwrap();
        draw(strokes, number, hand).save(folder.join("drawing.png")).unwrap();
    }
}

#[test]
fn one_drawing_each_of_a_dozen_made_up_symbols_is_enough() {
    let folder = tempfile::tempdir().unwrap();
    save(
        &folder.path().join("support"),
        &Hand { sheet: (160, 120), size: 84.0, pen: 2.5, light_on_dark: false, number: 0 },
    );
    save(
        &folder.path().join("queries"),
        &Hand { sheet: (300, 340), size: 190.0, pen: 5.0, light_on_dark: true, number: 1 },
    );
    let adapted = taper_ok(folder.path(), "adapt support --out mine");
    assert!(adapted.stderr.contains("using the built-in learner"), "{adapted:?}");
    let predicted = taper_ok(folder.path(), "predict mine queries --json");
    let events = predicted.events();
    let predictions = events.iter().filter(|event| event["event"] == "prediction");
    let right = predictions.filter(|event| {
        let image = event["image"].as_str().unwrap();
        image.contains(&format!("{}{}", std::path::MAIN_SEPARATOR, event["class"].as_str().unwrap()))
    });
    let right = right.count();
    assert!(right >= 11, "{right} of 12 correct");

    let at_once = taper_ok(folder.path(), "predict support queries --json").events();
    let predictions = |events: &[serde_json::Value]| -> Vec<serde_json::Value> {
        events.iter().filter(|event| event["event"] == "prediction").cloned().collect()
    };
    assert_eq!(predictions(&at_once), predictions(&events), "adapting first makes no difference");
    GrayImage::from_pixel(40, 40, Luma([255])).save(folder.path().join("blank.png")).unwrap();
    let blank = taper(folder.path(), "predict mine blank.png");
    assert!(blank.code == Some(1) && blank.stderr.contains("is blank"), "{blank:?}");
}

#[test]
fn light_on_dark_is_inverted_and_said_once_and_what_is_no_drawing_is_refused() {
    let folder = tempfile::tempdir().unwrap();
    save(&folder.path().join("dark"), &Hand { sheet: (90, 90), size: 60.0, pen: 2.0, light_on_dark: true, number: 2 });
    let adapted = taper_ok(folder.path(), "adapt dark --out mine");
    assert_eq!(adapted.stderr.matches("light on dark").count(), 1, "{adapted:?}");

    let problem = |name: &str, image: GrayImage| {
        image.save(folder.path().join("dark/flag/other.png")).unwrap();
        let refused = taper(folder.path(), &format!("adapt dark --out {name}"));
        assert_eq!(refused.code, Some(1), "{refused:?}");
        assert!(!folder.path().join(name).exists(), "nothing half done is left");
        refused.stderr
    };
    let blank = problem("blank", GrayImage::from_pixel(50, 50, Luma([255])));
    assert!(blank.contains("flag/other.png: is blank"), "{blank}");
    let photograph = problem("photograph", GrayImage::from_fn(80, 80, |x, y| Luma([(2 * x + y / 2) as u8])));
    assert!(photograph.contains("not line drawings") && photograph.contains("fetch-weights"), "{photograph}");

    fs::create_dir_all(folder.path().join("one")).unwrap();
    fs::rename(folder.path().join("dark/gate"), folder.path().join("one/gate")).unwrap();
    let one = taper(folder.path(), "adapt one --out none");
    assert!(one.code == Some(1) && one.stderr.contains("only one class"), "{one:?}");
}
