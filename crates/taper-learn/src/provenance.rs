//! What a model was trained, validated and chosen on, image by image: scores on images that it
//! learned from would not be fair.
//!
//! An image is identified by the first 8 bytes of its content hash, so that the same picture is
//! recognized under any name, and equal names of different pictures are not confused. A wrong match
//! among a million recorded and a million other images has a probability of 5e-8.

use crate::{LearnError, Result, models::Origin};
use safetensors::SafeTensors;
use safetensors::tensor::{Dtype, TensorView};
use serde::{Deserialize, Serialize};
use std::collections::{BTreeSet, HashMap};
use taper_data::{Dataset, Hash};
use taper_ops::map_in_order;

/// The data that a model has used.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Provenance {
    /// Data that its parameters were fitted to.
    pub trained_on: Vec<UsedData>,
    /// Data that chose among its checkpoints or stopped its training.
    pub validated_on: Vec<UsedData>,
    /// Data that chose it among other models, or chose its settings.
    pub chosen_on: Vec<UsedData>,
}

/// Images of one data set that a model has used.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct UsedData {
    /// The data set's name.
    pub name: String,
    /// Full names of the images' classes, for people; images identify the data.
    pub classes: Vec<String>,
    /// Shortened content hashes, ascending and distinct; `None` if they were not recorded.
    images: Option<Vec<u64>>,
}

/// How many of a class's images a model has used.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq)]
pub struct SeenClass {
    /// Images of the class.
    pub images: usize,
    /// Those it was trained on.
    pub trained: usize,
    /// Those it was validated on.
    pub validated: usize,
    /// Those it was chosen on.
    pub chosen: usize,
    /// Those it has used in any of the three ways.
    pub met: usize,
}

/// How much of a class a model must have used for the class to count as seen.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Overlap {
    /// One image is enough.
    Any,
    /// Every image.
    All,
}

impl UsedData {
    /// The images `indices` of a data set.
    ///
    /// # Errors
    /// Returns an error if an image can't be read.
    pub fn of_images(dataset: &dyn Dataset, indices: &[usize]) -> Result<Self> {
        let hashes = map_in_order(indices, |_, &index| dataset.content_hash(index));
        let hashes = hashes.into_iter().collect::<taper_data::Result<Vec<_>>>()?;
        let labels: BTreeSet<u32> = indices.iter().filter_map(|&index| dataset.labels().get(index).copied()).collect();
        let classes = labels.iter().filter_map(|&label| dataset.classes().get(label as usize));
        Ok(Self {
            name: dataset.name().to_string(),
            classes: classes.map(|class| class.full_name()).collect(),
            images: Some(distinct(hashes.iter().map(shortened).collect())),
        })
    }

    /// All images of the classes `classes` of a data set.
    ///
    /// # Errors
    /// Returns an error if an image can't be read.
    pub fn of_classes(dataset: &dyn Dataset, classes: &[u32]) -> Result<Self> {
        let classes: BTreeSet<u32> = classes.iter().copied().collect();
        let images = dataset.labels().iter().enumerate().filter(|(_, label)| classes.contains(label));
        Self::of_images(dataset, &images.map(|(index, _)| index).collect::<Vec<_>>())
    }

    /// Data whose images are not known, such as those of published weights.
    pub fn unrecorded(name: &str, classes: &[String]) -> Self {
        Self { name: name.to_string(), classes: classes.to_vec(), images: None }
    }

    /// How many different images there are; `None` if they were not recorded.
    pub fn count(&self) -> Option<usize> {
        self.images.as_ref().map(Vec::len)
    }

    /// Whether the image with this content is one of them; `false` if they were not recorded.
    pub fn contains(&self, image: &Hash) -> bool {
        self.images.as_ref().is_some_and(|images| images.binary_search(&shortened(image)).is_ok())
    }

    /// The images of both, which are of one data set.
    fn and(self, other: Self) -> Self {
        let mut classes = self.classes;
        classes.extend(other.classes);
        classes.sort();
        classes.dedup();
        let images = self.images.into_iter().chain(other.images).flatten().collect();
        Self { name: self.name, classes, images: Some(distinct(images)) }
    }
}

impl Provenance {
    /// What is known about a model whose images were not recorded: its origin.
    pub fn unrecorded(origin: &Origin) -> Self {
        Self { trained_on: vec![UsedData::unrecorded(&origin.on, &origin.classes)], ..Self::default() }
    }

    /// Whether the images of all data are recorded, so that images that are not found were never used.
    pub fn is_complete(&self) -> bool {
        self.parts().into_iter().flatten().all(|data| data.images.is_some())
    }

    /// The data of both, as for a classifier that a learner has made from new images.
    #[must_use]
    pub fn and(self, other: Self) -> Self {
        Self {
            trained_on: joined(self.trained_on, other.trained_on),
            validated_on: joined(self.validated_on, other.validated_on),
            chosen_on: joined(self.chosen_on, other.chosen_on),
        }
    }

    /// Those of the images `indices` of a data set that the model was trained on, in their order.
    ///
    /// # Errors
    /// Returns an error if an image can't be read.
    pub fn trained_images(&self, dataset: &dyn Dataset, indices: &[usize]) -> Result<Vec<usize>> {
        let found = map_in_order(indices, |_, &index| {
            Ok::<_, LearnError>(contains(&self.trained_on, &dataset.content_hash(index)?).then_some(index))
        });
        found.into_iter().filter_map(Result::transpose).collect()
    }

    /// For each class of a data set, how many of its images the model has used, under any class
    /// name.
    ///
    /// # Errors
    /// Returns an error if an image can't be read.
    pub fn seen(&self, dataset: &dyn Dataset) -> Result<Vec<SeenClass>> {
        let images: Vec<usize> = (0..dataset.labels().len()).collect();
        let met = map_in_order(&images, |_, &index| {
            let hash = dataset.content_hash(index)?;
            Ok::<_, LearnError>(self.parts().map(|part| contains(part, &hash)))
        });
        let mut seen = vec![SeenClass::default(); dataset.classes().len()];
        for (met, &label) in met.into_iter().zip(dataset.labels()) {
            let [trained, validated, chosen] = met?;
            let Some(class) = seen.get_mut(label as usize) else { continue };
            class.images += 1;
            class.trained += usize::from(trained);
            class.validated += usize::from(validated);
            class.chosen += usize::from(chosen);
            class.met += usize::from(trained || validated || chosen);
        }
        Ok(seen)
    }

    /// The classes of a data set that the model has seen.
    ///
    /// # Errors
    /// Returns an error if an image can't be read.
    pub fn seen_classes(&self, dataset: &dyn Dataset, overlap: Overlap) -> Result<Vec<u32>> {
        let seen = self.seen(dataset)?;
        Ok((0..).zip(&seen).filter(|(_, class)| class.is_seen(overlap)).map(|(class, _)| class).collect())
    }

    fn parts(&self) -> [&Vec<UsedData>; 3] {
        [&self.trained_on, &self.validated_on, &self.chosen_on]
    }

    /// A safetensors file: names in its metadata, the hashes of each data set as one tensor of
    /// unsigned 64-bit integers. A million images take 8 MB.
    pub(crate) fn to_bytes(&self) -> Result<Vec<u8>> {
        let listed = self.parts().map(|part| part.iter().map(Listed::of).collect::<Vec<_>>());
        let listed = serde_json::to_string(&listed).map_err(|error| LearnError::Invalid(error.to_string()))?;
        let mut tensors: Vec<(String, Vec<u8>)> = Vec::new();
        for (part, data) in self.parts().into_iter().enumerate() {
            for (place, data) in data.iter().enumerate() {
                let bytes = data.images.iter().flatten().flat_map(|image| image.to_le_bytes()).collect();
                tensors.push((tensor_name(part, place), bytes));
            }
        }
        let views =
            tensors.iter().map(|(name, bytes)| Ok((name, TensorView::new(Dtype::U64, vec![bytes.len() / 8], bytes)?)));
        let views = views.collect::<std::result::Result<Vec<_>, safetensors::SafeTensorError>>();
        let metadata = HashMap::from([(METADATA.to_string(), listed)]);
        views
            .and_then(|views| safetensors::serialize(views, Some(metadata)))
            .map_err(|error| LearnError::Invalid(error.to_string()))
    }

    /// The inverse of [`Self::to_bytes`]; errors as text.
    pub(crate) fn from_bytes(bytes: &[u8]) -> std::result::Result<Self, String> {
        let (_, metadata) = SafeTensors::read_metadata(bytes).map_err(|error| error.to_string())?;
        let listed = metadata.metadata().as_ref().and_then(|words| words.get(METADATA)).ok_or("it names no data")?;
        let listed: [Vec<Listed>; 3] = serde_json::from_str(listed).map_err(|error| error.to_string())?;
        let tensors = SafeTensors::deserialize(bytes).map_err(|error| error.to_string())?;
        let mut parts = <[Vec<UsedData>; 3]>::default();
        for (part, listed) in listed.into_iter().enumerate() {
            for (place, Listed { name, classes, recorded }) in listed.into_iter().enumerate() {
                let tensor = tensors.tensor(&tensor_name(part, place)).map_err(|error| error.to_string())?;
                let (images, rest) = tensor.data().as_chunks::<8>();
                if tensor.dtype() != Dtype::U64 || !rest.is_empty() {
                    return Err(format!("the images of {name} are {:?}, not U64", tensor.dtype()));
                }
                let images = recorded.then(|| distinct(images.iter().copied().map(u64::from_le_bytes).collect()));
                parts[part].push(UsedData { name, classes, images });
            }
        }
        let [trained_on, validated_on, chosen_on] = parts;
        Ok(Self { trained_on, validated_on, chosen_on })
    }
}

impl SeenClass {
    /// Whether the class counts as seen. A class without images never does.
    pub fn is_seen(&self, overlap: Overlap) -> bool {
        self.met > 0 && (overlap == Overlap::Any || self.met == self.images)
    }
}

/// What the file says about one data set besides its hashes.
#[derive(Serialize, Deserialize)]
struct Listed {
    name: String,
    classes: Vec<String>,
    recorded: bool,
}

impl Listed {
    fn of(data: &UsedData) -> Self {
        Self { name: data.name.clone(), classes: data.classes.clone(), recorded: data.images.is_some() }
    }
}

const METADATA: &str = "taper";

fn tensor_name(part: usize, place: usize) -> String {
    format!("{}/{place}", ["trained_on", "validated_on", "chosen_on"][part])
}

fn shortened(hash: &Hash) -> u64 {
    let [a, b, c, d, e, f, g, h, ..] = hash.0;
    u64::from_le_bytes([a, b, c, d, e, f, g, h])
}

fn distinct(mut images: Vec<u64>) -> Vec<u64> {
    images.sort_unstable();
    images.dedup();
    images
}

fn contains(data: &[UsedData], image: &Hash) -> bool {
    data.iter().any(|data| data.contains(image))
}

/// Both lists; recorded images of data sets of one name become one entry.
fn joined(one: Vec<UsedData>, other: Vec<UsedData>) -> Vec<UsedData> {
    let mut all: Vec<UsedData> = Vec::new();
    for data in one.into_iter().chain(other) {
        let same = |known: &UsedData| known.name == data.name && known.images.is_some() == data.images.is_some();
        match all.iter().position(same) {
            Some(place) if data.images.is_some() => {
                let known = all.swap_remove(place);
                all.push(known.and(data));
            }
            Some(place) if all[place] == data => {}
            _ => all.push(data),
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;
    use taper_data::{Class, Image};

    /// A data set whose images are named by a number: equal numbers, equal pictures.
    struct Pictures {
        name: &'static str,
        classes: Vec<Class>,
        labels: Vec<u32>,
        pictures: Vec<u64>,
    }

    /// Classes with their pictures.
    fn pictures(name: &'static str, classes: &[(&str, &[u64])]) -> Pictures {
        let class = |(name, _): &(&str, &[u64])| Class { name: name.to_string(), group: String::new() };
        let labels = (0..).zip(classes).flat_map(|(label, (_, images))| vec![label; images.len()]).collect();
        let pictures = classes.iter().flat_map(|(_, images)| images.to_vec()).collect();
        Pictures { name, classes: classes.iter().map(class).collect(), labels, pictures }
    }

    impl Dataset for Pictures {
        fn name(&self) -> &str {
            self.name
        }
        fn classes(&self) -> &[Class] {
            &self.classes
        }
        fn labels(&self) -> &[u32] {
            &self.labels
        }
        fn image(&self, index: usize) -> taper_data::Result<Image> {
            let pixels = self.pictures[index].to_le_bytes().to_vec();
            Ok(Image { width: 8, height: 1, channels: 1, pixels })
        }
        fn content_hash(&self, index: usize) -> taper_data::Result<Hash> {
            Ok(Hash::of(&self.image(index)?.pixels))
        }
    }

    fn trained_on(data: &Pictures, classes: &[u32]) -> Provenance {
        Provenance { trained_on: vec![UsedData::of_classes(data, classes).unwrap()], ..Provenance::default() }
    }

    #[test]
    fn the_same_pictures_under_other_class_names_are_recognized() {
        let animals = pictures("animals", &[("cat", &[1, 2, 3]), ("dog", &[4, 5, 6])]);
        let renamed = pictures("unknown", &[("a", &[4, 5, 6]), ("b", &[7, 8]), ("c", &[9, 3])]);
        let provenance = trained_on(&animals, &[0, 1]);
        assert_eq!(provenance.seen_classes(&renamed, Overlap::Any).unwrap(), [0, 2]);
        assert_eq!(provenance.seen_classes(&renamed, Overlap::All).unwrap(), [0]);
        assert_eq!(provenance.trained_images(&renamed, &[6, 0, 3]).unwrap(), [6, 0]);
    }

    #[test]
    fn two_data_sets_with_equal_class_names_do_not_collide() {
        let one = pictures("numbers", &[("1", &[1, 2]), ("2", &[3, 4])]);
        let other = pictures("numbers", &[("1", &[11, 12]), ("2", &[13, 14])]);
        let provenance = trained_on(&one, &[0, 1]);
        assert_eq!(provenance.seen_classes(&other, Overlap::Any).unwrap(), [0; 0]);
        assert_eq!(provenance.seen_classes(&one, Overlap::All).unwrap(), [0, 1]);
    }

    #[test]
    fn classes_that_validated_or_chose_a_model_are_seen_but_not_trained_on() {
        let data = pictures("data", &[("a", &[1, 2]), ("b", &[3, 4]), ("c", &[5, 6]), ("d", &[7, 8])]);
        let used = |class| vec![UsedData::of_classes(&data, &[class]).unwrap()];
        let provenance = Provenance { trained_on: used(0), validated_on: used(1), chosen_on: used(2) };
        assert_eq!(provenance.seen_classes(&data, Overlap::Any).unwrap(), [0, 1, 2]);
        assert_eq!(provenance.trained_images(&data, &[0, 2, 4, 6]).unwrap(), [0]);
        let seen = provenance.seen(&data).unwrap();
        assert_eq!(seen[1], SeenClass { images: 2, trained: 0, validated: 2, chosen: 0, met: 2 });
    }

    #[test]
    fn provenance_comes_back_from_its_file_as_it_was_with_eight_bytes_per_image() {
        let many: Vec<u64> = (0..10_000).collect();
        let data = pictures("data", &[("a", &many), ("b", &[3, 20_000])]);
        let provenance = Provenance {
            validated_on: vec![UsedData::unrecorded("elsewhere", &["x".into()])],
            chosen_on: vec![UsedData::of_images(&data, &[]).unwrap()],
            ..trained_on(&data, &[0, 1])
        };
        assert_eq!(provenance.trained_on[0].count(), Some(10_001), "one picture of two classes is one picture");
        let bytes = provenance.to_bytes().unwrap();
        assert!(bytes.len() < 8 * 10_001 + 1000, "{} bytes", bytes.len());
        assert_eq!(Provenance::from_bytes(&bytes).unwrap(), provenance);
        assert!(Provenance::from_bytes(&bytes[..bytes.len() - 1]).is_err());
        assert!(!provenance.is_complete() && trained_on(&data, &[0]).is_complete());
    }

    #[test]
    fn a_classifier_made_by_a_learner_has_met_the_data_of_both() {
        let before = pictures("before", &[("a", &[1, 2])]);
        let (support, more) = (pictures("mine", &[("b", &[3])]), pictures("mine", &[("c", &[3, 4])]));
        let elsewhere = Provenance { trained_on: vec![UsedData::unrecorded("mine", &[])], ..Provenance::default() };
        let all = trained_on(&before, &[0]).and(trained_on(&support, &[0])).and(trained_on(&more, &[0]));
        let all = all.and(elsewhere.clone()).and(elsewhere);
        let counts: Vec<(&str, Option<usize>)> =
            all.trained_on.iter().map(|data| (data.name.as_str(), data.count())).collect();
        assert_eq!(counts, [("before", Some(2)), ("mine", Some(2)), ("mine", None)]);
        assert_eq!(all.trained_on[1].classes, ["b", "c"]);
    }
}
