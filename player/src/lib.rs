//! The Audera player: turns streams into the sound of a room
