//! What programs and networks use: two readings and the time between.

use std::time::Instant;

use audera_testkit::{Session, Usage};

use crate::{outcome::Role, outcome::Share, rig::Rig, stage::Stage};

/// A reading.
#[derive(Debug)]
pub(crate) struct Reading {
    at: Instant,
    processes: Vec<(u32, String, Role, Usage)>,
    bytes: u64,
}

impl Reading {
    pub fn take(rig: &mut dyn Rig, stage: &Stage) -> Self {
        let processes = rig.processes().into_iter();
        let processes =
            processes.filter_map(|(name, role, process)| Some((process.pid(), name, role, process.usage()?)));
        Self { at: Instant::now(), processes: processes.collect(), bytes: bytes_sent(stage.sender()) }
    }

    /// What was used since an earlier reading by the processes that ran all the time.
    pub fn since(&self, earlier: &Self) -> Vec<Share> {
        let seconds = self.at.duration_since(earlier.at).as_secs_f64().max(1e-3);
        let share = |(pid, name, role, usage): &(u32, String, Role, Usage)| {
            let (.., before) = earlier.processes.iter().find(|(other, ..)| other == pid)?;
            let cpu = usage.cpu.saturating_sub(before.cpu).as_secs_f64() / seconds;
            Some(Share { name: name.clone(), role: *role, cpu, resident: usage.resident })
        };
        self.processes.iter().filter_map(share).collect()
    }

    /// Bits per second which the sender's host has sent since, to itself or to others.
    pub fn bits_per_second_since(&self, earlier: &Self) -> f64 {
        let seconds = self.at.duration_since(earlier.at).as_secs_f64().max(1e-3);
        self.bytes.saturating_sub(earlier.bytes) as f64 * 8.0 / seconds
    }
}

/// Bytes that have left a host's interfaces, loopback among them.
fn bytes_sent(session: &Session) -> u64 {
    session.run("cat", &["/proc/net/dev"]).map_or(0, |table| sent(&table))
}

/// The sum of the column of bytes sent in `/proc/net/dev`.
fn sent(table: &str) -> u64 {
    let line = |line: &str| line.split_once(':')?.1.split_whitespace().nth(8)?.parse::<u64>().ok();
    table.lines().filter_map(line).sum()
}

/// Processes that ran or wanted to, averaged over the last minute.
pub(crate) fn load() -> f64 {
    let told = std::fs::read_to_string("/proc/loadavg").unwrap_or_default();
    told.split_whitespace().next().and_then(|first| first.parse().ok()).unwrap_or(0.0)
}

#[cfg(test)]
mod tests {
    use super::sent;

    #[test]
    fn bytes_sent_are_those_of_all_interfaces() {
        let table = "Inter-|   Receive                                                |  Transmit\n \
                     face |bytes    packets errs drop fifo frame compressed multicast|bytes    packets errs drop\n    \
                     lo:    1000      10    0    0    0     0          0         0     2000      10    0    0\n  \
                     eth0: 30000     100    0    0    0     0          0         0    40000     100    0    0\n";
        assert_eq!(sent(table), 42_000);
        assert_eq!(sent(""), 0);
    }
}
