//! A status for eyes, as a table or a line, and for programs, as JSON.

use std::fmt::Write as _;
use std::net::SocketAddr;

use audera_link::PeerId;
use audera_wire::{PlayerHello, PlayerStatus};
use serde::Serialize;

/// What a player told, and who it is.
#[derive(Clone, Copy, Debug)]
pub(super) struct Shown<'a> {
    pub address: SocketAddr,
    pub id: PeerId,
    pub hello: &'a PlayerHello,
    pub status: &'a PlayerStatus,
}

/// The JSON object: the player, and the keys of its status as the protocol names them.
#[derive(Serialize)]
struct Json<'a> {
    address: SocketAddr,
    id: String,
    software: &'a str,
    groups: &'a [String],
    #[serde(flatten)]
    status: &'a PlayerStatus,
}

impl Shown<'_> {
    /// One line of JSON.
    pub fn json(&self) -> String {
        let Self { address, id, hello, status } = *self;
        let json = Json { address, id: id.to_string(), software: &hello.software, groups: &hello.groups, status };
        // Texts and finite numbers always serialise.
        serde_json::to_string(&json).unwrap_or_default()
    }

    /// The figures that change, in one line.
    pub fn line(&self) -> String {
        let status = self.status;
        let mut line = format!("{} {}", status.room, status.state);
        let mut add = |what: &str, figure: Option<String>| {
            if let Some(figure) = figure {
                let _ = write!(line, ", {what} {figure}");
            }
        };
        add("sync", status.sync_error_us.map(signed_us));
        add("p99", status.sync_p99_us.map(us));
        add("clock within", status.clock_bound_us.map(us));
        add("skew", status.skew_ppm.map(ppm));
        add("card", status.card_ppm.map(ppm));
        add("buffer", status.codec.map(|_| format!("{} ms", status.buffered_ms)));
        add("late", Some(status.late_packets.to_string()));
        add("lost", Some(status.lost_packets.to_string()));
        add("resyncs", Some(status.resyncs.to_string()));
        add("xruns", Some(status.xruns.to_string()));
        line
    }

    /// A table that ends with a line feed.
    pub fn table(&self) -> String {
        let status = self.status;
        let mut table = String::new();
        let mut row = |what: &str, cells: &[Option<String>]| {
            let cells: Vec<&str> = cells.iter().flatten().map(String::as_str).collect();
            if !cells.is_empty() {
                let _ = writeln!(table, "{what:<14}{}", cells.join(", "));
            }
        };
        let text = |text: &str| (!text.is_empty()).then(|| text.to_owned());
        row("room", &[Some(format!("{} ({})", status.room, status.state))]);
        row("groups", &[text(&self.hello.groups.join(", "))]);
        row("player", &[text(&self.hello.software), Some(self.address.to_string())]);
        row("id", &[Some(self.id.to_string())]);
        row("output", &[text(&status.output)]);
        let from = status.sender.as_ref().map(|sender| {
            let title = status.title.as_ref().filter(|title| !title.is_empty());
            title.map_or_else(|| format!("from {sender}"), |title| format!("\"{title}\" from {sender}"))
        });
        row("plays", &[from, status.codec.map(|codec| codec.to_string())]);
        row(
            "sync error",
            &[
                status.sync_error_us.map(|error| signed_us(error) + " now"),
                status.sync_p99_us.map(|most| us(most) + " in 99 % of the last minute"),
            ],
        );
        let path = status.time_path.map_or_else(String::new, |path| format!(" ({path})"));
        row(
            "clock",
            &[
                status.clock_offset_us.map(|offset| format!("sender's is {:+.6} s off", offset * 1e-6)),
                status.clock_bound_us.map(|bound| format!("within {}", us(bound))),
                status.skew_ppm.map(ppm),
                status.round_trip_us.map(|trip| format!("round trip {}{path}", us(trip))),
            ],
        );
        let deviation = status.card_deviation_ppm.map_or_else(String::new, |ppm| format!(" +- {ppm:.2}"));
        row(
            "card",
            &[
                status.card_ppm.map(|card| ppm(card) + &deviation),
                status.ratio_ppm.map(|ratio| format!("resampled by {}", ppm(ratio))),
            ],
        );
        let delay = status.output_delay_ms.filter(|delay| *delay != 0.0);
        let delay = delay.map(|delay| format!("output delay {delay:+.1} ms"));
        row("buffer", &[status.codec.map(|_| format!("{} ms", status.buffered_ms)), delay]);
        if status.codec.is_some() {
            let frames = |frames: u64, packets: u64| format!("{frames} frames in {packets} packets");
            row("played", &[Some(format!("{} frames", status.played_frames))]);
            row("late", &[Some(frames(status.late_frames, status.late_packets))]);
            row("lost", &[Some(frames(status.lost_frames, status.lost_packets))]);
        }
        row(
            "trouble",
            &[
                Some(format!("{} underruns", status.underruns)),
                Some(format!("{} resyncs", status.resyncs)),
                Some(format!("{} xruns of the output", status.xruns)),
            ],
        );
        table
    }
}

/// Microseconds to the tenth, and from a hundred on to the unit.
fn us(us: f64) -> String {
    if us.abs() < 100.0 { format!("{us:.1} us") } else { format!("{us:.0} us") }
}

fn signed_us(us: f64) -> String {
    if us.abs() < 100.0 { format!("{us:+.1} us") } else { format!("{us:+.0} us") }
}

fn ppm(ppm: f64) -> String {
    format!("{ppm:+.2} ppm")
}

#[cfg(test)]
mod tests {
    use audera_wire::{Coding, PlayerState, TimePath};

    use super::*;

    fn shown(status: &PlayerStatus, show: impl FnOnce(&Shown<'_>) -> String) -> String {
        let hello = PlayerHello { groups: vec!["Upstairs".into()], ..PlayerHello::new("Bath", "audera-player 0.1.0") };
        let id = "00112233445566778899aabbccddeeff00112233445566778899aabbccddeeff".parse().unwrap();
        show(&Shown { address: "127.0.0.1:6528".parse().unwrap(), id, hello: &hello, status })
    }

    fn playing() -> PlayerStatus {
        PlayerStatus {
            state: PlayerState::Playing,
            room: "Bath".into(),
            sender: Some("desk".into()),
            title: Some("Radio".into()),
            codec: Some(Coding::Opus),
            sync_error_us: Some(-1.25),
            sync_p99_us: Some(120.4),
            clock_offset_us: Some(2_000_000.5),
            clock_bound_us: Some(30.0),
            round_trip_us: Some(160.0),
            time_path: Some(TimePath::Udp),
            skew_ppm: Some(50.0),
            card_ppm: Some(-60.0),
            card_deviation_ppm: Some(0.1),
            output_delay_ms: Some(-12.5),
            buffered_ms: 70,
            lost_frames: 480,
            lost_packets: 1,
            ..PlayerStatus::default()
        }
    }

    #[test]
    fn a_table_has_a_row_for_each_subject_and_none_for_what_is_not_known() {
        let table = shown(&playing(), |shown| shown.table());
        for line in [
            "room          Bath (playing)",
            "plays         \"Radio\" from desk, opus",
            "sync error    -1.2 us now, 120 us in 99 % of the last minute",
            "clock         sender's is +2.000001 s off, within 30.0 us, +50.00 ppm, round trip 160 us (udp)",
            "card          -60.00 ppm +- 0.10",
            "buffer        70 ms, output delay -12.5 ms",
            "lost          480 frames in 1 packets",
        ] {
            assert!(table.lines().any(|row| row == line), "{line} is not in\n{table}");
        }
        let idle = PlayerStatus { room: "Bath".into(), ..PlayerStatus::default() };
        let rows: Vec<String> =
            shown(&idle, |shown| shown.table()).lines().map(|row| row[..14].trim().to_owned()).collect();
        assert_eq!(rows, ["room", "groups", "player", "id", "trouble"]);
    }

    #[test]
    fn json_has_the_names_of_the_protocol() {
        let json: serde_json::Value = serde_json::from_str(&shown(&playing(), |shown| shown.json())).unwrap();
        assert_eq!(json["state"], "playing");
        assert_eq!(json["sync_error_us"], -1.25);
        assert_eq!(json["address"], "127.0.0.1:6528");
        assert_eq!(json["groups"][0], "Upstairs");
        assert_eq!(json.get("ratio_ppm"), None);
    }

    #[test]
    fn a_line_tells_what_changes() {
        let line = shown(&playing(), |shown| shown.line());
        assert!(
            line.starts_with("Bath playing, sync -1.2 us, p99 120 us, clock within 30.0 us, skew +50.00 ppm"),
            "{line}"
        );
    }
}
