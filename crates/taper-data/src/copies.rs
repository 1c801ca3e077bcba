//! Several copies of each image, for scores that are averaged over them.

use crate::{DataError, Image, Inputs, Planes, Result, Transform, View};
use candle_core::Tensor;
use taper_ops::{Rng, rng};

/// A view in which each image comes as several: itself, and copies that the transform's random
/// steps make.
pub struct Copies<'a> {
    view: &'a View,
    copies: usize,
    seed: u64,
}

impl<'a> Copies<'a> {
    /// `copies` of each of `view`'s images, the image itself included. They depend only on the seed and
    /// the image's number.
    ///
    /// # Errors
    /// Returns an error if `copies` is 0, or is more than 1 and the transform has no random step, so that
    /// all copies would be the same.
    pub fn new(view: &'a View, copies: usize, seed: u64) -> Result<Self> {
        check(view.transform(), copies)?;
        Ok(Self { view, copies, seed })
    }

    /// Copies per image, the image itself included.
    pub fn count(&self) -> usize {
        self.copies
    }
}

impl Inputs for Copies<'_> {
    /// `(n, copies, c, h, w)`, each image itself first.
    fn inputs(&self, indices: &[usize], _: Option<&mut Rng>) -> Result<Tensor> {
        let itself = self.view.inputs(indices, None)?.unsqueeze(1)?;
        let mut parts = vec![itself];
        for copy in 1..self.copies as u64 {
            let images = indices.iter().map(|&index| {
                let rng = &mut rng(self.seed, "copies", (index as u64) << 16 | copy);
                self.view.inputs(&[index], Some(rng))
            });
            parts.push(Tensor::cat(&images.collect::<Result<Vec<_>>>()?, 0)?.unsqueeze(1)?);
        }
        Ok(Tensor::cat(&parts, 1)?)
    }
}

/// An image through a transform: the image itself, and `copies` − 1 that its random steps make.
///
/// # Errors
/// Returns an error if [`Copies::new`] does, or the transform can't be done on the image.
pub fn copies(transform: &Transform, image: &Image, copies: usize, seed: u64) -> Result<Vec<Planes>> {
    check(transform, copies)?;
    let copy = |number: u64| match number {
        0 => transform.apply(image, None),
        _ => transform.apply(image, Some(&mut rng(seed, "copies", number))),
    };
    (0..copies as u64).map(copy).collect()
}

fn check(transform: &Transform, copies: usize) -> Result<()> {
    if copies == 0 {
        return Err(DataError::Invalid("0 views of an image: use 1 or more".to_string()));
    }
    if copies > 1 && !transform.is_random() {
        return Err(DataError::Invalid(format!(
            "all {copies} views of an image would be identical because the transform `{transform}` has no random step: \
             use 1 view, or train with a random step such as random-warp"
        )));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{Glyphs, GlyphsSize};
    use std::sync::Arc;

    fn view(transform: &str) -> View {
        let glyphs = Glyphs::new(0, GlyphsSize { alphabets: 1, characters: 2, drawings: 2 }).unwrap();
        View::new(Arc::new(glyphs), transform.parse().unwrap()).unwrap()
    }

    #[test]
    fn the_first_copy_is_the_image_itself_and_the_others_differ() {
        let view = view("random-warp(degrees=20) resize(9)");
        let copies = Copies::new(&view, 3, 0).unwrap().inputs(&[2, 1], None).unwrap();
        assert_eq!(copies.dims(), [2, 3, 1, 9, 9]);
        let of = |tensor: Tensor| tensor.flatten_all().unwrap().to_vec1::<f32>().unwrap();
        let copy = |row: usize, copy: usize| of(copies.get(row).unwrap().get(copy).unwrap());
        assert_eq!(copy(0, 0), of(view.inputs(&[2], None).unwrap()));
        assert!(copy(0, 1) != copy(0, 0) && copy(0, 2) != copy(0, 1));
        let image = view.dataset().image(2).unwrap();
        assert_eq!(super::copies(view.transform(), &image, 2, 0).unwrap()[0].values, copy(0, 0));
    }

    #[test]
    fn copies_that_could_not_differ_are_refused() {
        let view = view("resize(9)");
        assert!(Copies::new(&view, 8, 0).err().unwrap().to_string().contains("no random step"));
        assert!(Copies::new(&view, 1, 0).is_ok() && Copies::new(&view, 0, 0).is_err());
    }
}
