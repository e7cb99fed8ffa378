//! What a multi-room system is to the bench: something with a sink to play to, and programs in rooms that come and go.

use audera_testkit::Process;

use crate::{failure::Failure, outcome::Role, stage::Stage};

/// A running system. Dropping it ends it.
pub(crate) trait Rig {
    /// The sink that the application plays to.
    fn sink(&self) -> &str;

    /// The node that tells how the rooms fare, if there is one.
    fn teller(&self) -> Option<&'static str>;

    /// Starts the program of a room; whether it is ready shows in what is played.
    fn start_room(&mut self, stage: &Stage, room: usize) -> Result<(), Failure>;

    /// Kills the program of a room.
    fn kill_room(&mut self, room: usize);

    /// Waits until the sink is there and the rooms are known that run.
    fn wait(&mut self, stage: &Stage) -> Result<(), Failure>;

    /// Its processes, by what they are called in tables.
    fn processes(&mut self) -> Vec<(String, Role, &mut Process)>;

    /// How often rooms have had to jump since they were started, by their own account.
    fn resyncs_told(&mut self, stage: &Stage) -> Option<u64>;
}
