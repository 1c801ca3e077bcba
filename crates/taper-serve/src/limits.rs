//! Limits on what a request may cost, in one place.
//!
//! | limit | value | reason |
//! |---|---|---|
//! | bytes of a photograph | 25 MiB ([`PHOTOGRAPH`]) | twice what phones write |
//! | bytes of a drawing | 2 MiB ([`DRAWING`]) | the page's drawings have about 10 kB |
//! | bytes of a name | 1 KiB ([`WORDS`]) | |
//! | pixels and memory of a picture | those of `taper_data::limits` | one picture is decoded at a time |
//! | seconds for the head of a request | 10 ([`HEAD_TIME`]) | |
//! | seconds for its body | 30 ([`BODY_TIME`]) | a photograph over a slow network |
//! | seconds for its answer | 60 ([`ANSWER_TIME`]) | saving a classifier of photographs may take longer, and goes on |
//! | life of a connection | 10 minutes ([`CONNECTION_TIME`]) | one that is never read from ends too |
//! | connections at once | 256 ([`CONNECTIONS`]) | a class of 40 with six each |
//! | photographs received at once | 4 ([`RECEIVED_AT_ONCE`]) | bounds memory to 100 MiB |
//! | requests that wait for the learner | 64 ([`WAITING`]) | |
//! | changes of the folder | 20 per second, 200 at once ([`CHANGES_PER_SECOND`], [`CHANGES_AT_ONCE`]) | |
//! | classes, examples | 100, 1,000 ([`CLASSES`], [`EXAMPLES`]) | features of a drawing take 177 kB |
//! | changes that can be undone | 100 ([`UNDOABLE`]) | |

use std::time::Duration;

/// Bytes of a photograph.
pub(crate) const PHOTOGRAPH: usize = 25 << 20;
/// Bytes of a drawing.
pub(crate) const DRAWING: usize = 2 << 20;
/// Bytes of a request with a name.
pub(crate) const WORDS: usize = 1 << 10;
/// Time for the head of a request.
pub(crate) const HEAD_TIME: Duration = Duration::from_secs(10);
/// Time for its body.
pub(crate) const BODY_TIME: Duration = Duration::from_secs(30);
/// Time for its answer.
pub(crate) const ANSWER_TIME: Duration = Duration::from_secs(60);
/// Life of a connection.
pub(crate) const CONNECTION_TIME: Duration = Duration::from_secs(600);
/// How long a request for a newer state waits for one.
pub(crate) const NEWS_TIME: Duration = Duration::from_secs(20);
/// Connections at once.
pub(crate) const CONNECTIONS: usize = 256;
/// Photographs received at once.
pub(crate) const RECEIVED_AT_ONCE: usize = 4;
/// Requests that wait for the learner.
pub(crate) const WAITING: usize = 64;
/// Changes of the folder per second.
pub(crate) const CHANGES_PER_SECOND: f64 = 20.0;
/// Changes of the folder in one burst.
pub(crate) const CHANGES_AT_ONCE: f64 = 200.0;
/// Classes of a folder.
pub(crate) const CLASSES: usize = 100;
/// Examples of a folder.
pub(crate) const EXAMPLES: usize = 1_000;
/// Changes that can be undone.
pub(crate) const UNDOABLE: usize = 100;
