//! Calls that are answered when rooms have answered, or have taken too long.

use std::collections::BTreeMap;
use std::time::Duration;

use audera_dbus::{Error, Reply};
use audera_sender::{ChangeError, PlayerKey, RoomState, Volume};
use tokio::time::Instant;
use zbus::zvariant::OwnedObjectPath;

/// How long rooms may take.
pub const PATIENCE: Duration = Duration::from_secs(5);

/// What a call is answered with when all went well.
#[derive(Debug, Clone, PartialEq)]
pub enum Outcome {
    /// Nothing.
    Done,
    /// The volume that the room has answered with.
    Volume,
    /// The volume of a group.
    GroupVolume(String),
    /// An object.
    Object(OwnedObjectPath),
    /// The object of the room at this address, which is waited for.
    RoomAt(String),
    /// Nothing, once no room is known by this address any more.
    NoRoomAt(String),
}

/// A number that names a job.
pub type JobId = u64;

/// A room has answered a change that was part of a job.
pub type Answered = (JobId, PlayerKey, Result<RoomState, ChangeError>);

/// A call that waits.
#[derive(Debug)]
pub struct Job {
    pub reply: Reply,
    pub outcome: Outcome,
    /// The group that it moves.
    pub group: Option<String>,
    /// The volume that a room has answered with.
    pub volume: Option<Volume>,
    /// Rooms that have not answered, by what they were called when they were asked.
    left: Vec<PlayerKey>,
    /// Whether it waits for a file to be written.
    writes: bool,
    error: Option<Error>,
    deadline: Instant,
}

/// All calls that wait.
#[derive(Debug, Default)]
pub struct Jobs {
    next: JobId,
    waiting: BTreeMap<JobId, Job>,
}

impl Jobs {
    /// Begins to wait for these rooms.
    pub fn begin(
        &mut self,
        reply: Reply,
        outcome: Outcome,
        group: Option<String>,
        rooms: Vec<PlayerKey>,
        error: Option<Error>,
    ) -> JobId {
        self.next += 1;
        let deadline = Instant::now() + PATIENCE;
        let job = Job { reply, outcome, group, volume: None, left: rooms, writes: false, error, deadline };
        self.waiting.insert(self.next, job);
        self.next
    }

    /// Begins to wait for a file.
    pub fn begin_writing(&mut self, reply: Reply, outcome: Outcome) -> JobId {
        let id = self.begin(reply, outcome, None, Vec::new(), None);
        if let Some(job) = self.waiting.get_mut(&id) {
            job.writes = true;
        }
        id
    }

    /// The file is written, or cannot be.
    pub fn written(&mut self, id: JobId, error: Option<Error>) {
        if let Some(job) = self.waiting.get_mut(&id) {
            job.writes = false;
            job.error = error;
        }
    }

    /// A room has answered. `name` is how people know it.
    pub fn answered(&mut self, id: JobId, key: &PlayerKey, name: &str, answer: Result<Volume, ChangeError>) {
        // Late answers have no job any more.
        let Some(job) = self.waiting.get_mut(&id) else { return };
        job.left.retain(|left| left != key);
        let named = |error: ChangeError| match error {
            ChangeError::Refused(refusal) => Error::InvalidValue(format!("{name}: {refusal}")),
            ChangeError::Unanswered => Error::Unreachable(format!("{name}: {error}")),
            ChangeError::NotConnected => {
                Error::Unreachable(format!("{name} was lost before it answered: see what it is set to when it is back"))
            }
        };
        match answer {
            Ok(volume) => job.volume = Some(volume),
            Err(error) => job.error = job.error.take().or(Some(named(error))),
        }
    }

    /// Whether a group is being moved.
    pub fn move_group(&self, group: &str) -> bool {
        self.waiting.values().any(|job| job.group.as_deref() == Some(group))
    }

    /// When the next one has waited for too long.
    pub fn deadline(&self) -> Option<Instant> {
        self.waiting.values().map(|job| job.deadline).min()
    }

    /// Takes the jobs that are over, with what became of them. `waits` says whether what is to come of one is still to be waited for.
    pub fn take_done(&mut self, now: Instant, waits: impl Fn(&Outcome) -> bool) -> Vec<(Job, Result<(), Error>)> {
        let over = |job: &Job| {
            let waits = job.writes || waits(&job.outcome);
            let is_over = job.left.is_empty() && (!waits || job.error.is_some());
            is_over || job.deadline <= now
        };
        let done: Vec<JobId> = self.waiting.iter().filter(|(_, job)| over(job)).map(|(id, _)| *id).collect();
        let take = |id| {
            let mut job = self.waiting.remove(&id)?;
            let late = job.left.first().map(|key| {
                Error::Unreachable(format!("{key} has not answered within {} s: it may do so yet", PATIENCE.as_secs()))
            });
            let unwritten = job.writes.then(|| {
                Error::Failed(format!("the file is not written after {} s: it may be yet", PATIENCE.as_secs()))
            });
            let result = job.error.take().or(late).or(unwritten).map_or(Ok(()), Err);
            Some((job, result))
        };
        done.into_iter().filter_map(take).collect()
    }
}
