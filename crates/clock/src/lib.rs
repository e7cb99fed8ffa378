//! Timescales as types, clock filter, frame clock and playback servo of Audera
