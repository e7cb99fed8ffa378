//! `auderad` on a real bus with real players: what is set is there, what is asked is answered, and nothing harms it.

mod agree;
mod desk;
mod disk;
mod exporters;
mod groups;
mod hostile;
mod interfaces;
mod properties;
mod sound;
