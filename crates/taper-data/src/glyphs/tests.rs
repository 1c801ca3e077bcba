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
