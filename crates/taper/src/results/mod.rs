//! What commands find, as values: printed at once, or kept as parts and put together again.

mod comparison;
mod images;
mod part;
mod survey;
mod tasks;

pub(crate) use comparison::{comparison_json, show_comparison};
pub(crate) use images::ImagesResult;
pub(crate) use part::{Facts, Merged, PART_FILE, Part, check_free, merge};
pub(crate) use survey::show_survey;
pub(crate) use tasks::TasksResult;

use anyhow::{Result, bail};

/// The items of all parts in their own order: part 1 has items 0, n, 2n, …, part 2 items 1, n + 1, …
///
/// # Errors
/// Returns an error if a part lacks items, because its file was changed.
pub(crate) fn in_turn<T>(parts: Vec<Vec<T>>) -> Result<Vec<T>> {
    let total = parts.iter().map(Vec::len).sum();
    let count = parts.len().max(1);
    let mut parts: Vec<_> = parts.into_iter().map(Vec::into_iter).collect();
    let mut all = Vec::with_capacity(total);
    for number in 0..total {
        match parts[number % count].next() {
            Some(item) => all.push(item),
            None => bail!("part {} of {count} lacks items: make it again", number % count + 1),
        }
    }
    Ok(all)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn items_dealt_out_in_turn_come_back_in_order() {
        for count in 1..5 {
            let mut parts = vec![Vec::new(); count];
            (0..7).for_each(|item| parts[item % count].push(item));
            assert_eq!(in_turn(parts).unwrap(), (0..7).collect::<Vec<_>>());
        }
        assert!(in_turn(vec![vec![0], vec![1, 2, 3]]).is_err());
    }
}
