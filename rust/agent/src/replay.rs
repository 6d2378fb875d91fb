//! A log played again: for the eye with its own timing, and for a test through the loop itself.

mod diff;
mod model;
mod play;
mod recording;
mod rerun;
mod store;
mod tools;

pub use diff::{Change, Diff, compare};
pub use model::RecordedModel;
pub use play::{Pace, play};
pub use recording::{Recording, read_log};
pub use rerun::{Parts, test_run};
pub use tools::RecordedTools;
