//! From the audio thread to any number of Audera players: ring, encoder, fan-out
