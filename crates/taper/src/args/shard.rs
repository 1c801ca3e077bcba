//! One part of a job, such as 3/8.

use std::fmt;
use std::path::PathBuf;
use std::str::FromStr;

/// Part `part` (from 1) of `parts`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Shard {
    pub(crate) part: usize,
    pub(crate) parts: usize,
}

impl Shard {
    /// Whether the item with this number, from 0, belongs to the part: items are dealt out in turn.
    pub(crate) fn owns(self, item: usize) -> bool {
        item % self.parts + 1 == self.part
    }

    /// The items of the part.
    ///
    /// # Errors
    /// Returns a usage error if some part would have none.
    pub(crate) fn of<T>(self, items: Vec<T>, what: &str) -> Result<Vec<T>, super::UsageError> {
        self.check(items.len(), what)?;
        let own = items.into_iter().enumerate().filter(|(number, _)| self.owns(*number));
        Ok(own.map(|(_, item)| item).collect())
    }

    /// # Errors
    /// Returns a usage error if there are more parts than items.
    pub(crate) fn check(self, items: usize, what: &str) -> Result<(), super::UsageError> {
        if self.parts > items {
            return Err(super::UsageError(format!(
                "--shard {self}: there are only {items} {what} to divide: use at most {items} parts"
            )));
        }
        Ok(())
    }
}

impl FromStr for Shard {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let numbers = text.split_once('/').and_then(|(part, parts)| Some((part.parse().ok()?, parts.parse().ok()?)));
        match numbers {
            Some((part, parts)) if 1 <= part && part <= parts => Ok(Self { part, parts }),
            _ => Err("give a part and the number of parts, such as 3/8 for the third of eight".into()),
        }
    }
}

impl fmt::Display for Shard {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{}", self.part, self.parts)
    }
}

/// Options of `taper merge`.
#[derive(clap::Args, Clone)]
pub(crate) struct Merge {
    /// All parts of one command, in any order: what each --shard I/N wrote to its --out
    #[arg(required = true, value_name = "PART")]
    pub(crate) parts: Vec<PathBuf>,
    /// Where to write the model that a comparison chose; without it, the model is not kept
    #[arg(long, value_name = "DIR")]
    pub(crate) out: Option<PathBuf>,
    /// Overwrite the model in --out
    #[arg(long)]
    pub(crate) force: bool,
    #[command(flatten)]
    pub(crate) common: super::CommonOptions,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_item_belongs_to_one_part() {
        let parts: Vec<Shard> = (1..=3).map(|part| Shard { part, parts: 3 }).collect();
        for item in 0..10 {
            assert_eq!(parts.iter().filter(|shard| shard.owns(item)).count(), 1);
        }
        assert_eq!(parts[1].of((0..7).collect(), "tasks").unwrap(), [1, 4]);
        let error = parts[0].of(vec![0, 1], "tasks").unwrap_err().to_string();
        assert_eq!(error, "--shard 1/3: there are only 2 tasks to divide: use at most 2 parts");
    }

    #[test]
    fn a_part_is_written_as_it_is_read() {
        assert_eq!("3/8".parse::<Shard>().unwrap().to_string(), "3/8");
        for wrong in ["", "3", "0/8", "9/8", "3/0", "a/b", "-1/2", "1/2/3"] {
            assert!(wrong.parse::<Shard>().is_err(), "{wrong}");
        }
    }
}
