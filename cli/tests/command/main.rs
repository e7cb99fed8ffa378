//! `audera` on a real bus with `auderad` and real players: what it sets is there, what it shows is so, and what goes wrong is said.

mod complete;
mod config;
mod errors;
mod inputs;
mod machine;
mod playing;
mod rooms;
mod site;
mod status;
