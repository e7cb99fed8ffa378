//! Jitter buffer, resampler and servo of an Audera player as one pure pull function
