use super::*;

fn glyphs(seed: u64, alphabets: usize, characters: usize, drawings: usize) -> Glyphs {
    Glyphs::new(seed, GlyphsSize { alphabets, characters, drawings }).unwrap()
}

#[test]
fn an_alphabet_is_the_same_whatever_the_size_asked_for() {
    let (small, large) = (glyphs(7, 2, 5, 3), glyphs(7, 4, 9, 6));
    for index in 0..small.labels().len() {
        let [alphabet, character, drawing] = small.place(index);
        let same = (alphabet * 9 + character) * 6 + drawing;
        assert_eq!(small.image(index).unwrap(), large.image(same).unwrap());
        assert_eq!(small.image_name(index), large.image_name(same));
    }
}

#[test]
fn people_with_habits_draw_the_same_alphabets_otherwise() {
    let size = GlyphsSize { alphabets: 2, characters: 10, drawings: 10 };
    let [even, own] = [Hands::Even, Hands::Own].map(|hands| Glyphs::by(hands, 7, size).unwrap());
    assert_eq!(even.classes(), own.classes());
    assert_eq!(even.image(0).unwrap(), glyphs(7, 2, 10, 10).image(0).unwrap());
    let pairs: Vec<(Image, Image)> = (0..200).map(|k| (even.image(k).unwrap(), own.image(k).unwrap())).collect();
    assert!(pairs.iter().filter(|(even, own)| even != own).count() > 190);
    // they draw as much ink, on the same sheets
    let ink = |image: &Image| image.pixels.iter().filter(|&&pixel| pixel == 0).count() as f64;
    let ratio =
        pairs.iter().map(|(_, own)| ink(own)).sum::<f64>() / pairs.iter().map(|(even, _)| ink(even)).sum::<f64>();
    assert!((0.9..1.2).contains(&ratio), "{ratio}");
}
