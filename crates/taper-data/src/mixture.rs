//! Several data sets as one.

use crate::{Class, DataError, Dataset, Hash, Image, Result};
use std::sync::Arc;

/// Several data sets as one: the classes and images of the first, then those of the second, and
/// so on. Each one's name becomes its classes' outermost group (`omniglot/Greek`), so that tasks
/// can be drawn within a source.
pub struct Mixture {
    name: String,
    parts: Vec<Arc<dyn Dataset>>,
    /// The number of each part's first image, and the number of all images.
    starts: Vec<usize>,
    classes: Vec<Class>,
    labels: Vec<u32>,
    held_out: Vec<usize>,
    skipped: Vec<(String, String)>,
}

impl Mixture {
    /// The data sets as one.
    ///
    /// Errs when there are none, or two have the same name, for their classes could not be told
    /// apart.
    pub fn new(parts: Vec<Arc<dyn Dataset>>) -> Result<Self> {
        if parts.is_empty() {
            return Err(DataError::Invalid("a mixture of no data sets, give at least one".to_string()));
        }
        let names: Vec<&str> = parts.iter().map(|part| part.name()).collect();
        if let Some(name) =
            names.iter().enumerate().find_map(|(place, name)| names[..place].contains(name).then_some(name))
        {
            return Err(DataError::Invalid(format!("two data sets are called `{name}`, rename one or leave one out")));
        }
        let mut mixture = Self {
            name: names.join("+"),
            starts: vec![0],
            classes: Vec::new(),
            labels: Vec::new(),
            held_out: Vec::new(),
            skipped: Vec::new(),
            parts: Vec::new(),
        };
        for part in parts {
            let (first_class, first_image) = (mixture.classes.len() as u32, mixture.labels.len());
            let named = |class: &Class| Class {
                name: class.name.clone(),
                group: if class.group.is_empty() {
                    part.name().to_string()
                } else {
                    format!("{}/{}", part.name(), class.group)
                },
            };
            mixture.classes.extend(part.classes().iter().map(named));
            mixture.labels.extend(part.labels().iter().map(|label| first_class + label));
            mixture.held_out.extend(part.held_out().iter().map(|index| first_image + index));
            let within = |(path, reason): &(String, String)| (format!("{}/{path}", part.name()), reason.clone());
            mixture.skipped.extend(part.skipped().iter().map(within));
            mixture.starts.push(mixture.labels.len());
            mixture.parts.push(part);
        }
        Ok(mixture)
    }

    /// The data sets, in order.
    pub fn parts(&self) -> &[Arc<dyn Dataset>] {
        &self.parts
    }

    /// The part that an image comes from, and its number there.
    fn part(&self, index: usize) -> Result<(&dyn Dataset, usize)> {
        let place = self.starts.partition_point(|&start| start <= index) - 1;
        let part = self.parts.get(place).ok_or_else(|| {
            let images = self.labels.len();
            DataError::Invalid(format!("{} has no image {index}, use a number below {images}", self.name))
        })?;
        Ok((part.as_ref(), index - self.starts[place]))
    }
}

impl Dataset for Mixture {
    fn name(&self) -> &str {
        &self.name
    }

    fn classes(&self) -> &[Class] {
        &self.classes
    }

    fn labels(&self) -> &[u32] {
        &self.labels
    }

    fn image(&self, index: usize) -> Result<Image> {
        let (part, index) = self.part(index)?;
        part.image(index)
    }

    fn size(&self, index: usize) -> Result<(usize, usize, usize)> {
        let (part, index) = self.part(index)?;
        part.size(index)
    }

    fn content_hash(&self, index: usize) -> Result<Hash> {
        let (part, index) = self.part(index)?;
        part.content_hash(index)
    }

    fn image_name(&self, index: usize) -> String {
        match self.part(index) {
            Ok((part, index)) => format!("{}/{}", part.name(), part.image_name(index)),
            Err(_) => format!("{} image {index}", self.name),
        }
    }

    fn held_out(&self) -> &[usize] {
        &self.held_out
    }

    fn skipped(&self) -> &[(String, String)] {
        &self.skipped
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{EpisodeSampler, Scope, TaskShape};

    /// Two classes of three 1x1 images each, whose sample is `first` + the image's number.
    struct Toy {
        name: &'static str,
        first: u8,
        classes: Vec<Class>,
    }

    impl Dataset for Toy {
        fn name(&self) -> &str {
            self.name
        }
        fn classes(&self) -> &[Class] {
            &self.classes
        }
        fn labels(&self) -> &[u32] {
            &[0, 0, 0, 1, 1, 1]
        }
        fn image(&self, index: usize) -> Result<Image> {
            Ok(Image { width: 1, height: 1, channels: 1, pixels: vec![self.first + index as u8] })
        }
        fn content_hash(&self, index: usize) -> Result<Hash> {
            Ok(Hash::of(&[self.first + index as u8]))
        }
        fn held_out(&self) -> &[usize] {
            &[2, 5]
        }
    }

    fn toy(name: &'static str, group: &str, first: u8) -> Arc<dyn Dataset> {
        let classes = ["x", "y"].map(|name| Class { name: name.into(), group: group.into() }).to_vec();
        Arc::new(Toy { name, first, classes })
    }

    #[test]
    fn images_and_classes_follow_each_other_under_their_part_s_name() {
        let mixture = Mixture::new(vec![toy("one", "", 0), toy("two", "Greek", 100)]).unwrap();
        let names: Vec<String> = mixture.classes().iter().map(Class::full_name).collect();
        assert_eq!(names, ["one/x", "one/y", "two/Greek/x", "two/Greek/y"]);
        assert_eq!(mixture.labels(), [0, 0, 0, 1, 1, 1, 2, 2, 2, 3, 3, 3]);
        assert_eq!(mixture.held_out(), [2, 5, 8, 11]);
        let level = |index| mixture.image(index).unwrap().pixels[0];
        assert_eq!([level(0), level(5), level(6), level(11)], [0, 5, 100, 105]);
        assert_eq!(mixture.content_hash(7).unwrap(), Hash::of(&[101]));
        assert_eq!((mixture.image_name(7), mixture.name()), ("two/two image 1".into(), "one+two"));
        assert!(mixture.image(12).unwrap_err().to_string().contains("below 12"));
    }

    #[test]
    fn tasks_can_stay_within_a_source() {
        let mixture = Mixture::new(vec![toy("one", "", 0), toy("two", "Greek", 100)]).unwrap();
        let shape = TaskShape::fixed(2, 1, 1).unwrap();
        let sampler = EpisodeSampler::new(&mixture, &[0, 1, 2, 3], shape, Scope::Group).unwrap();
        assert_eq!(sampler.sources().collect::<Vec<_>>(), ["one", "two/Greek"]);
        for index in 0..20 {
            let drawn = sampler.draw(0, index);
            assert_eq!(drawn.classes[0] / 2, drawn.classes[1] / 2, "both classes of one source");
        }
    }

    #[test]
    fn two_data_sets_of_one_name_are_refused_and_so_are_none() {
        assert!(Mixture::new(vec![toy("one", "", 0), toy("one", "", 9)]).err().unwrap().to_string().contains("`one`"));
        assert!(Mixture::new(Vec::new()).is_err());
    }
}
