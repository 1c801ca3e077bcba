//! A method's answers on a task.

use serde::{Deserialize, Serialize};

/// A method's answers on one task.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct ScoredTask {
    /// The data set's classes that the task holds, one per label.
    pub classes: Vec<u32>,
    /// Support images of all classes together.
    pub support_images: usize,
    /// Images that the support is drawn from; `None` if they are the images that tasks ask.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub pool_images: Option<usize>,
    /// One answer per query.
    pub decisions: Vec<Decision>,
}

/// A method's answer to one query.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
pub struct Decision {
    /// The query's index in the data set.
    pub image: usize,
    /// The query's class, one of the data set's.
    pub class: u32,
    /// The predicted class, one of the data set's; `None` if the method failed on the task, which
    /// counts as a guess.
    pub predicted: Option<u32>,
}

impl ScoredTask {
    /// Share of queries classified correctly; a guess counts as `1 / ways`.
    pub fn accuracy(&self) -> f64 {
        let correct: f64 = self.decisions.iter().map(|decision| decision.correct(self.classes.len())).sum();
        correct / self.decisions.len() as f64
    }

    /// The same answers with classes and images renumbered from these numbers on.
    pub fn shifted(&self, class: u32, image: usize) -> Self {
        let decision = |decision: &Decision| Decision {
            image: decision.image + image,
            class: decision.class + class,
            predicted: decision.predicted.map(|predicted| predicted + class),
        };
        Self {
            classes: self.classes.iter().map(|one| one + class).collect(),
            support_images: self.support_images,
            pool_images: self.pool_images,
            decisions: self.decisions.iter().map(decision).collect(),
        }
    }

    /// Returns `true` if the task has the same queries and classes as `other`.
    pub fn asks_the_same(&self, other: &Self) -> bool {
        self.classes == other.classes
            && self.decisions.len() == other.decisions.len()
            && self.decisions.iter().zip(&other.decisions).all(|(a, b)| (a.image, a.class) == (b.image, b.class))
    }
}

impl Decision {
    /// 1 if correct, 0 if not, `1 / ways` for a guess.
    pub fn correct(&self, ways: usize) -> f64 {
        match self.predicted {
            Some(predicted) => f64::from(u8::from(predicted == self.class)),
            None => 1.0 / ways as f64,
        }
    }
}
