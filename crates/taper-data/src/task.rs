//! The shape of a task.

use crate::{DataError, Dataset, Result, images_by_class};
use std::fmt;
use std::str::FromStr;

/// A number, or a range of numbers to draw from: `5`, or `5-20` (both ends included).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Count {
    low: usize,
    high: usize,
}

impl Count {
    /// Always `n`.
    pub fn fixed(n: usize) -> Self {
        Self { low: n, high: n }
    }

    /// The smallest number drawn.
    pub fn low(self) -> usize {
        self.low
    }

    /// The largest number drawn.
    pub fn high(self) -> usize {
        self.high
    }
}

impl fmt::Display for Count {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if self.low == self.high { write!(f, "{}", self.low) } else { write!(f, "{}-{}", self.low, self.high) }
    }
}

impl FromStr for Count {
    type Err = DataError;

    fn from_str(text: &str) -> Result<Self> {
        let wrong = || DataError::Invalid(format!("`{text}` is neither a number nor a range: use 5 or 5-20"));
        let number = |part: &str| part.trim().parse::<usize>().map_err(|_| wrong());
        let (low, high) = match text.split_once('-') {
            Some((low, high)) => (number(low)?, number(high)?),
            None => (number(text)?, number(text)?),
        };
        if low > high { Err(wrong()) } else { Ok(Self { low, high }) }
    }
}

/// The size of tasks: classes, support images per class, query images per class.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct TaskShape {
    ways: Count,
    shots: Count,
    queries: Count,
}

impl TaskShape {
    /// A shape of these numbers.
    ///
    /// # Errors
    /// Returns an error if a task would have fewer than two classes, no support images or no
    /// query images.
    pub fn new(ways: Count, shots: Count, queries: Count) -> Result<Self> {
        for (what, count, least) in [("ways", ways, 2), ("shots", shots, 1), ("queries", queries, 1)] {
            if count.low < least {
                return Err(DataError::Invalid(format!("{what} is {count}: it must be at least {least}")));
            }
        }
        Ok(Self { ways, shots, queries })
    }

    /// A shape of fixed numbers.
    pub fn fixed(ways: usize, shots: usize, queries: usize) -> Result<Self> {
        Self::new(Count::fixed(ways), Count::fixed(shots), Count::fixed(queries))
    }

    /// Classes per task.
    pub fn ways(&self) -> Count {
        self.ways
    }

    /// Support images per class.
    pub fn shots(&self) -> Count {
        self.shots
    }

    /// Query images per class.
    pub fn queries(&self) -> Count {
        self.queries
    }

    /// Checks that every class of a data set has enough images for a task.
    ///
    /// # Errors
    /// Returns [`DataError::ClassTooSmall`] for the smallest class, with the largest numbers that fit.
    pub fn check(&self, dataset: &dyn Dataset) -> Result<()> {
        let images = images_by_class(dataset);
        let needed = self.images_per_class();
        match dataset.classes().iter().zip(&images).min_by_key(|(_, images)| images.len()) {
            Some((class, images)) if images.len() < needed => Err(DataError::ClassTooSmall {
                dataset: dataset.name().to_string(),
                class: class.full_name(),
                images: images.len(),
                needed,
                shots: self.shots.low.min(images.len().saturating_sub(1)),
            }),
            _ => Ok(()),
        }
    }

    /// The fewest images that a class needs.
    pub fn images_per_class(&self) -> usize {
        self.shots.low + self.queries.low
    }
}

impl fmt::Display for TaskShape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}-way {}-shot with {} queries per class", self.ways, self.shots, self.queries)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn counts_are_numbers_or_ranges() {
        assert_eq!("5".parse::<Count>().unwrap(), Count::fixed(5));
        assert_eq!("5-20".parse::<Count>().unwrap().high(), 20);
        assert!("20-5".parse::<Count>().is_err() && "five".parse::<Count>().is_err());
    }

    #[test]
    fn a_task_needs_two_classes() {
        assert!(TaskShape::fixed(1, 1, 1).unwrap_err().to_string().contains("at least 2"));
    }
}
