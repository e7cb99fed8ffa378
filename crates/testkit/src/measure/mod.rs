//! Measures of recorded sound. All are given samples and a rate and have no clock or file of their own.

mod fit;
mod flaws;
mod interpolate;
mod offset;
mod spectrum;
mod true_time;

pub use fit::{Residual, residual};
pub use flaws::{Click, Gap, clicks, gaps};
pub use offset::{Offset, OffsetSeries, offset_series};
pub use true_time::true_offset_series;
