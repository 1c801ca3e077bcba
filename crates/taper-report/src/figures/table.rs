//! Numbers that need no picture.

use askama::Template;
use serde::{Deserialize, Serialize};

/// A table. Its first column names the rows.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// Names of the columns.
    pub header: Vec<String>,
    /// Cells, one per column.
    pub rows: Vec<Vec<String>>,
}

#[derive(Template)]
#[template(path = "table.html")]
pub(crate) struct Page<'a> {
    pub(crate) figure: &'a Table,
    pub(crate) title: &'a str,
}
