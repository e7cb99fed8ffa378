//! Measures of recorded sound. All are given samples and a rate and have no clock or file of their own.

mod blame;
mod cycles;
mod fit;
mod flaws;
mod holes;
mod interpolate;
mod likeness;
mod offset;
mod spectrum;
mod true_time;

pub use blame::unexplained;
pub use cycles::{Run, runs};
pub use fit::{Block, Break, Residual, residual};
pub use flaws::{Click, Gap, clicks, gaps};
pub use holes::{CYCLE, Holes, MOST_EXCUSED, Reference, is_missed_cycle, share_heard};
pub(crate) use interpolate::{Interpolator, REACH};
pub use likeness::{GLIDING, latencies, likeness};
pub use offset::{Offset, OffsetSeries, offset_series};
pub use true_time::true_offset_series;
