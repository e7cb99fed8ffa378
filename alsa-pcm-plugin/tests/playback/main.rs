//! Real programs play to real players through the plugin: what is heard there is compared with what was played.

mod alsa;
mod delay;
mod guest;
mod house;
mod matrix;
mod programs;
mod rooms;
mod states;
