//! Time exchanges in datagrams under a virtual clock: two sessions, a connection that never fails, and datagrams that do.

use std::collections::BTreeMap;

use audera_clock::{Exchange, PlayerTime, SenderTime, Span};
use audera_wire::{
    Coding, DATAGRAM_ALLOWANCE, DATAGRAM_LEN, DATAGRAM_RATE, Datagram, PlayerEvent, PlayerHello, PlayerSession,
    SenderHello, SenderSession, Start, StreamFormat, StreamId, TimePath, TimeRequest,
};

const MS: i64 = 1_000_000;
const SECOND: i64 = 1_000 * MS;
/// What the sender's clock shows when the player's shows zero.
const OFFSET: i64 = 5_000 * SECOND;
/// Delay of the connection, much longer than that of datagrams.
const IN_BAND: i64 = 5 * MS;

/// When a datagram arrives after it was sent, ns: never, once, or several times. Given its direction and how many came before it.
type Fate = Box<dyn FnMut(bool, u64) -> Vec<i64>>;

struct Home {
    now: i64,
    sender: SenderSession,
    player: PlayerSession,
    /// By time of arrival, and in the order of sending.
    under_way: BTreeMap<(i64, u64), Flying>,
    sent: u64,
    fate: Fate,
    /// Where the peer is is known to the player's transport, to the sender's.
    ways: (bool, bool),
    /// Datagrams that left: from the player, from the sender.
    counts: (u64, u64),
    exchanges: Vec<(i64, Exchange)>,
    paths: Vec<(i64, TimePath)>,
}

#[derive(Clone)]
enum Flying {
    Bytes { to_player: bool, bytes: Vec<u8> },
    Datagram { to_player: bool, payload: [u8; DATAGRAM_LEN] },
}

/// Datagrams that take 100 us there and 300 us back.
fn smooth() -> Fate {
    Box::new(|to_player, _| vec![if to_player { 300_000 } else { 100_000 }])
}

fn blocked() -> Fate {
    Box::new(|_, _| Vec::new())
}

impl Home {
    fn new(datagrams: (bool, bool), ways: (bool, bool), fate: Fate) -> Self {
        let sender = SenderHello { datagrams: datagrams.0, ..SenderHello::new("desk", "test 1") };
        let player = PlayerHello { datagrams: datagrams.1, ..PlayerHello::new("Kitchen", "test 1") };
        Self {
            now: 0,
            sender: SenderSession::new(sender, SenderTime::from_nanos(OFFSET)),
            player: PlayerSession::new(player, PlayerTime::from_nanos(0)),
            under_way: BTreeMap::new(),
            sent: 0,
            fate,
            ways,
            counts: (0, 0),
            exchanges: Vec::new(),
            paths: Vec::new(),
        }
    }

    /// A player that was dialled by the sender or has dialled it, with nothing in the way.
    fn smooth() -> Self {
        Self::new((true, true), (true, false), smooth())
    }

    fn sender_now(&self) -> SenderTime {
        SenderTime::from_nanos(self.now + OFFSET)
    }

    fn player_now(&self) -> PlayerTime {
        PlayerTime::from_nanos(self.now)
    }

    fn send(&mut self, delay: i64, flying: Flying) {
        self.sent += 1;
        self.under_way.insert((self.now + delay, self.sent), flying);
    }

    fn settle(&mut self) {
        let mut bytes = Vec::new();
        if self.sender.poll_transmit(self.sender_now(), &mut bytes) {
            self.send(IN_BAND, Flying::Bytes { to_player: true, bytes });
        }
        let mut bytes = Vec::new();
        if self.player.poll_transmit(self.player_now(), &mut bytes) {
            self.send(IN_BAND, Flying::Bytes { to_player: false, bytes });
        }
        while let Some(payload) = self.ways.0.then(|| self.player.poll_datagram(self.player_now())).flatten() {
            self.counts.0 += 1;
            for delay in (self.fate)(false, self.counts.0) {
                self.send(delay, Flying::Datagram { to_player: false, payload });
            }
        }
        while let Some(payload) = self.ways.1.then(|| self.sender.poll_datagram(self.sender_now())).flatten() {
            self.counts.1 += 1;
            for delay in (self.fate)(true, self.counts.1) {
                self.send(delay, Flying::Datagram { to_player: true, payload });
            }
        }
        while let Some(event) = self.player.poll_event() {
            match event {
                PlayerEvent::Exchange(exchange) => self.exchanges.push((self.now, exchange)),
                PlayerEvent::TimePath(path) => self.paths.push((self.now, path)),
                PlayerEvent::Start(start) => assert!(self.player.accept(start.id)),
                PlayerEvent::Closed { reason, .. } => panic!("{reason}"),
                _ => {}
            }
        }
        while self.sender.poll_event().is_some() {}
    }

    fn run_until(&mut self, end: i64) {
        self.settle();
        let mut steps = 0;
        loop {
            let next = [
                self.under_way.keys().next().map(|(at, _)| *at),
                self.sender.next_timeout().map(|at| at.as_nanos() - OFFSET),
                self.player.next_timeout().map(|at| at.as_nanos()),
            ];
            let Some(next) = next.into_iter().flatten().min().filter(|at| *at <= end) else { break };
            steps = if next > self.now { 0 } else { steps + 1 };
            assert!(steps < 100, "time stands still at {} ns", self.now);
            self.now = self.now.max(next);
            if let Some(first) = self.under_way.first_entry().filter(|first| first.key().0 <= next) {
                match first.remove() {
                    Flying::Bytes { to_player: true, bytes } => self.player.receive(self.player_now(), &bytes).unwrap(),
                    Flying::Bytes { to_player: false, bytes } => {
                        self.sender.receive(self.sender_now(), &bytes).unwrap()
                    }
                    // What has come from a peer shows where it is.
                    Flying::Datagram { to_player: true, payload } => {
                        self.ways.0 = true;
                        self.player.receive_datagram(self.player_now(), &payload);
                    }
                    Flying::Datagram { to_player: false, payload } => {
                        self.ways.1 = true;
                        self.sender.receive_datagram(self.sender_now(), &payload);
                    }
                }
            }
            self.sender.handle_timeout(self.sender_now()).unwrap();
            self.player.handle_timeout(self.player_now()).unwrap();
            self.settle();
        }
        self.now = end;
        self.settle();
    }

    fn run_for(&mut self, span: i64) {
        self.run_until(self.now + span);
    }

    fn start(&mut self) {
        let format = StreamFormat { coding: Coding::Opus, rate: 48_000, channels: 2, frames: 480 };
        let start = Start { id: StreamId(1), format, latency: Span::from_millis(80), title: "radio".into() };
        self.sender.start(start).unwrap();
    }

    /// Forgets what was noted.
    fn clear(&mut self) {
        self.exchanges.clear();
        self.paths.clear();
        self.counts = (0, 0);
    }
}

/// Round trips of exchanges, us.
fn round_trips(exchanges: &[(i64, Exchange)]) -> Vec<i64> {
    exchanges.iter().map(|(_, exchange)| exchange.round_trip().as_micros()).collect()
}

#[test]
fn a_session_begins_with_a_burst_of_datagrams_and_leaves_the_connection_alone() {
    let mut home = Home::smooth();
    home.run_until(SECOND);
    assert_eq!(home.paths, [(IN_BAND + 400_000, TimePath::Udp)], "as soon as the first answer is there");
    assert_eq!(home.player.time_path(), TimePath::Udp);
    let known = home.exchanges.iter().filter(|(at, _)| *at < 200 * MS).count();
    assert!(known >= 12, "{known} exchanges in a fifth of a second");
    assert!(round_trips(&home.exchanges).iter().all(|us| *us == 400), "{:?}", round_trips(&home.exchanges));
    for (at, exchange) in &home.exchanges {
        assert_eq!(exchange.returned, PlayerTime::from_nanos(*at));
        assert_eq!(exchange.sent, exchange.returned - Span::from_micros(400));
        assert_eq!(exchange.received, SenderTime::from_nanos(at - 300_000 + OFFSET));
        assert_eq!(exchange.replied, exchange.received);
    }
}

#[test]
fn an_idle_session_lives_on_and_costs_little() {
    let mut home = Home::smooth();
    home.run_until(10 * SECOND);
    home.clear();
    home.run_for(3_600 * SECOND);
    assert!(!home.player.is_closed() && !home.sender.is_closed(), "the heartbeat of the connection goes on");
    let (asked, answered) = home.counts;
    assert!((1_700..=1_900).contains(&asked), "{asked} datagrams in an hour");
    assert_eq!((answered, home.exchanges.len() as u64), (asked, asked));
    assert_eq!(home.paths, []);
    // Requests do not fall in step with anything.
    let gaps: Vec<i64> = home.exchanges.windows(2).map(|pair| (pair[1].0 - pair[0].0) / MS).collect();
    assert!(gaps.iter().all(|gap| (1_500..=2_500).contains(gap)));
    for tenth in 0..10 {
        let bin = 1_500 + 100 * tenth..1_600 + 100 * tenth;
        let share = gaps.iter().filter(|gap| bin.contains(*gap)).count() * 100 / gaps.len();
        assert!((7..=13).contains(&share), "{share} % of the gaps are {bin:?} ms");
    }
}

#[test]
fn the_pace_is_the_clock_filter_s_within_limits() {
    let mut home = Home::smooth();
    home.run_until(10 * SECOND);
    home.start();
    home.clear();
    home.run_for(100 * MS);
    assert!(home.exchanges.len() >= 6, "a stream begins with a burst: {}", home.exchanges.len());
    home.run_for(SECOND);
    let count = |home: &mut Home| {
        home.clear();
        home.run_for(60 * SECOND);
        home.exchanges.len()
    };
    assert!((478..=482).contains(&count(&mut home)), "as long as nothing is known");
    for (millis, expected) in [(1, 5_900..=6_000), (100, 598..=602), (500, 115..=125), (5_000, 55..=65)] {
        home.player.set_pace(Span::from_millis(millis));
        let asked = count(&mut home);
        assert!(expected.contains(&asked), "{asked} in a minute at {millis} ms");
    }
}

#[test]
fn lost_doubled_and_overtaken_datagrams_do_no_harm() {
    let mut state = 7_u64;
    let mut random = move || {
        state = state.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1);
        state >> 33
    };
    // A third is lost each way, a tenth comes twice, and delays of up to 40 ms make the burst arrive in any order.
    let fate: Fate = Box::new(move |_, _| {
        let copies = match random() % 30 {
            0..10 => 0,
            10..13 => 2,
            _ => 1,
        };
        (0..copies).map(|_| (100 + random() as i64 % 40_000) * 1_000).collect()
    });
    let mut home = Home::new((true, true), (true, false), fate);
    home.run_until(SECOND);
    home.start();
    home.clear();
    home.run_for(600 * SECOND);
    let answered = home.exchanges.len() as f64 / home.counts.0 as f64;
    assert!((0.35..0.60).contains(&answered), "{answered} of the requests were answered");
    assert!(home.exchanges.len() > 1_500, "{} exchanges", home.exchanges.len());
    assert_eq!(home.player.time_path(), TimePath::Udp);
    let away = home.paths.iter().filter(|(_, path)| *path == TimePath::InBand).count();
    assert!(away <= 2, "given up {away} times: chance alone brings that about every few minutes at most");
    let mut sent: Vec<PlayerTime> = home.exchanges.iter().map(|(_, exchange)| exchange.sent).collect();
    sent.sort_unstable();
    sent.dedup();
    assert_eq!(sent.len(), home.exchanges.len(), "no request has two answers");
    for (_, exchange) in &home.exchanges {
        let (out, home) = (exchange.received.as_nanos() - OFFSET, exchange.replied.as_nanos() - OFFSET);
        let order = [exchange.sent.as_nanos(), out, home, exchange.returned.as_nanos()];
        assert!(order.is_sorted(), "an effect before its cause: {order:?}");
    }
}

#[test]
fn where_udp_does_not_pass_time_is_exchanged_in_band_until_it_does() {
    let mut home = Home::new((true, true), (true, true), blocked());
    home.run_until(10 * SECOND);
    let [(told, TimePath::InBand)] = home.paths[..] else { panic!("{:?}", home.paths) };
    assert!((SECOND..3 * SECOND).contains(&told), "told at {told} ns");
    assert!(home.exchanges.len() >= 8 && home.exchanges[7].0 < 200 * MS, "the burst in-band was not held up");
    home.start();
    home.run_for(SECOND);
    home.clear();
    home.run_for(60 * SECOND);
    assert!((479..=488).contains(&home.exchanges.len()), "{} in-band", home.exchanges.len());
    assert!(home.counts.0 <= 40 && home.counts.1 <= 13, "{:?} datagrams in vain in a minute", home.counts);

    home.fate = smooth();
    home.clear();
    home.run_for(4 * SECOND);
    let [(opened, TimePath::Udp)] = home.paths[..] else { panic!("{:?}", home.paths) };
    let after: Vec<_> = home.exchanges.iter().filter(|(at, _)| *at >= opened).copied().collect();
    assert!(round_trips(&after).iter().all(|us| *us == 400), "only datagrams from then on");
    assert!(after.iter().filter(|(at, _)| *at < opened + 200 * MS).count() >= 12, "and a burst of them");
}

#[test]
fn a_path_that_falls_silent_is_left_within_seconds() {
    for settled in [false, true] {
        let mut home = Home::smooth();
        home.start_when_ready();
        home.run_for(10 * SECOND);
        home.player.set_pace(Span::from_millis(if settled { 500 } else { 100 }));
        home.run_for(5 * SECOND);
        home.clear();
        let cut = home.now;
        home.fate = blocked();
        home.run_for(4 * SECOND);
        let [(left, TimePath::InBand)] = home.paths[..] else { panic!("{:?}", home.paths) };
        assert!(left - cut < 3_500 * MS, "left {} ms after", (left - cut) / MS);
        assert!(home.exchanges.iter().any(|(at, _)| *at < left + 200 * MS), "in-band at once");
        home.fate = smooth();
        home.run_for(4 * SECOND);
        assert_eq!(home.player.time_path(), TimePath::Udp);
    }
}

#[test]
fn a_slow_path_that_answers_all_stays_open() {
    // Half a second there and back, asked at the quickest pace: fifty requests are under way.
    let slow: Fate = Box::new(|_, _| vec![250_000_000]);
    let mut home = Home::new((true, true), (true, false), slow);
    home.start_when_ready();
    home.player.set_pace(Span::from_millis(10));
    home.run_for(10 * SECOND);
    assert!(matches!(home.paths[..], [(_, TimePath::Udp)]), "{:?}", home.paths);
    home.clear();
    home.run_for(10 * SECOND);
    assert_eq!((home.paths.len(), home.player.time_path()), (0, TimePath::Udp));
    // Where one is overdue the next ones do not wait: they follow at the pace that is set, and each is answered.
    assert!(home.exchanges.len() > 900, "{} exchanges", home.exchanges.len());
}

#[test]
fn a_stream_that_begins_after_a_long_pause_does_not_leave_the_path() {
    let later: Fate = Box::new(|_, _| vec![15_000_000]);
    let mut home = Home::new((true, true), (true, false), later);
    home.run_until(10 * SECOND);
    assert_eq!(home.player.time_path(), TimePath::Udp);
    // Requests at rest lie up to 2.5 s apart; 2.2 s after one, a burst would have been due for longer than a stuck one may be.
    let mut asked = (home.counts.0, home.now);
    while home.now - asked.1 < 2_200 * MS {
        home.run_for(10 * MS);
        if home.counts.0 != asked.0 {
            asked = (home.counts.0, home.now);
        }
    }
    home.clear();
    home.start();
    home.run_for(SECOND);
    assert_eq!((&home.paths[..], home.player.time_path()), (&[][..], TimePath::Udp));
    assert!(home.exchanges.len() >= 12, "{} exchanges", home.exchanges.len());
}

impl Home {
    fn start_when_ready(&mut self) {
        self.run_until(100 * MS);
        self.start();
    }
}

#[test]
fn a_sender_that_dialled_shows_where_it_is_until_it_is_asked() {
    // The player's transport does not know where the sender is, and the first five signs are lost.
    let fate: Fate = Box::new(|to_player, count| if to_player && count <= 5 { Vec::new() } else { vec![200_000] });
    let mut home = Home::new((true, true), (false, true), fate);
    home.run_until(IN_BAND + 1_549 * MS);
    assert_eq!((home.counts, home.player.time_path()), ((0, 5), TimePath::InBand), "at 0, 50, 150, 350, 750 ms");
    home.run_until(2 * SECOND);
    assert_eq!(home.player.time_path(), TimePath::Udp, "the sixth came");
    home.run_until(10 * SECOND);
    let (asked, said) = home.counts;
    assert_eq!(said, asked + 6, "who is asked need not show itself");

    // It falls silent, and then comes from elsewhere: the signs go on.
    home.clear();
    home.fate = blocked();
    home.run_for(60 * SECOND);
    let (_, said) = home.counts;
    assert!((14..=20).contains(&said), "{said} signs in a minute of silence");
}

#[test]
fn a_player_without_a_way_says_so() {
    let mut home = Home::new((true, true), (false, false), smooth());
    home.run_until(5 * SECOND);
    assert_eq!(home.counts, (0, 0));
    assert_eq!(home.paths.iter().map(|(_, path)| *path).collect::<Vec<_>>(), [TimePath::InBand]);
}

#[test]
fn datagrams_need_the_consent_of_both_ends() {
    for datagrams in [(false, true), (true, false), (false, false)] {
        let mut home = Home::new(datagrams, (true, true), smooth());
        home.start_when_ready();
        home.run_for(10 * SECOND);
        assert_eq!((home.counts, home.player.time_path()), ((0, 0), TimePath::InBand));
        assert_eq!(home.paths, [], "nothing that anybody could do something about");
        assert!(home.exchanges.len() > 80);
    }
}

#[test]
fn a_sender_answers_a_bounded_number_of_requests() {
    let mut home = Home::smooth();
    home.run_until(10 * SECOND);
    let mut answered = 0;
    let seconds = 5;
    // A thousand a second.
    for number in 0..seconds * 1_000 {
        let sent = PlayerTime::from_nanos(home.now);
        let request = Datagram::Request(TimeRequest { number, sent }).encode();
        home.now += MS;
        home.sender.receive_datagram(home.sender_now(), &request);
        while home.sender.poll_datagram(home.sender_now()).is_some() {
            answered += 1;
        }
    }
    let allowed = i64::from(DATAGRAM_ALLOWANCE) + i64::from(seconds) * DATAGRAM_RATE;
    assert!((allowed - 1..=allowed + 1).contains(&answered), "{answered} answers where {allowed} are allowed");
    // Held back, they are forgotten but the newest.
    home.run_for(SECOND);
    for number in 0..30 {
        let request = Datagram::Request(TimeRequest { number, sent: home.player_now() }).encode();
        home.sender.receive_datagram(home.sender_now(), &request);
    }
    let mut answers = Vec::new();
    while let Some(payload) = home.sender.poll_datagram(home.sender_now()) {
        let Ok(Datagram::Reply(reply)) = Datagram::decode(&payload) else { panic!("a reply") };
        answers.push(reply.number);
    }
    assert_eq!(answers, (14..30).collect::<Vec<_>>());
}

#[test]
fn answers_that_fit_no_request_are_ignored() {
    let mut home = Home::smooth();
    home.run_until(10 * SECOND);
    home.clear();
    let exchanges = |home: &mut Home| {
        home.settle();
        std::mem::take(&mut home.exchanges).len()
    };
    // Of the request under way the number with another stamp, and the stamp with another number.
    let request = loop {
        home.now += 10 * MS;
        home.player.handle_timeout(home.player_now()).unwrap();
        if let Some(payload) = home.player.poll_datagram(home.player_now()) {
            break payload;
        }
    };
    let Ok(Datagram::Request(request)) = Datagram::decode(&request) else { panic!("a request") };
    let received = home.sender_now();
    let reply = |number, sent| {
        let reply = audera_wire::TimeReply { number, sent, received, replied: received };
        Datagram::Reply(reply).encode()
    };
    let stale = home.player.counters().stale;
    home.player.receive_datagram(home.player_now(), &reply(request.number, request.sent - Span::from_nanos(1)));
    home.player.receive_datagram(home.player_now(), &reply(request.number + 1, request.sent));
    home.player.receive_datagram(home.player_now(), b"neither");
    home.player.receive_datagram(home.player_now(), &Datagram::Request(request).encode());
    assert_eq!((exchanges(&mut home), home.player.counters().stale), (0, stale + 4));
    // A clock that was set while the answer lay in the kernel.
    let early = request.sent - Span::from_millis(1);
    home.player.receive_datagram(early, &reply(request.number, request.sent));
    assert_eq!(exchanges(&mut home), 0);
    assert!(!home.player.is_closed());
}

#[test]
fn what_comes_in_band_counts_while_a_datagram_is_overdue() {
    let mut home = Home::smooth();
    home.start_when_ready();
    home.run_until(10 * SECOND);
    assert_eq!(home.player.time_path(), TimePath::Udp);
    home.clear();
    home.fate = blocked();
    let shut = home.now;
    // Long enough for the exchange in-band that is due every two seconds, and not for the path to be given up before it.
    while home.paths.is_empty() {
        home.run_for(10 * MS);
    }
    assert_eq!(home.paths[0].1, TimePath::InBand);
    let given_up = home.paths[0].0;
    let before = home.exchanges.iter().filter(|(at, _)| (shut + 300 * MS..given_up).contains(at)).count();
    assert!(before >= 1, "in {} ms without an answer", (given_up - shut) / MS);
    let in_band = 2 * IN_BAND / 1_000;
    let beside = home.exchanges.iter().filter(|(at, _)| *at > shut + MS);
    assert!(beside.clone().all(|(_, exchange)| exchange.round_trip().as_micros() == in_band));
}

#[test]
fn a_path_that_comes_and_goes_is_left_alone_ever_longer() {
    let mut home = Home::smooth();
    home.start_when_ready();
    let mut now_and_then = || {
        home.fate = smooth();
        home.run_for(5 * SECOND);
        home.fate = blocked();
        home.run_for(5 * SECOND);
    };
    (0..60).for_each(|_| now_and_then());
    let changes = home.paths.len();
    // It is open 60 times and shut as often. Ten minutes have room for rests of 4, 8, 16, 32 s and then of 64 s.
    assert!((10..=26).contains(&changes), "{changes} changes");
    let exchanges = home.exchanges.len();
    assert!(exchanges > 3_000, "the clock is followed all the time: {exchanges} exchanges");
    home.fate = smooth();
    home.clear();
    home.run_for(300 * SECOND);
    let paths: Vec<TimePath> = home.paths.iter().map(|(_, path)| *path).collect();
    assert!(matches!(paths[..], [] | [TimePath::Udp]), "{paths:?}");
    assert_eq!(home.player.time_path(), TimePath::Udp);
    // A path that has been steady is taken again with the first answer.
    home.fate = blocked();
    home.run_for(5 * SECOND);
    assert_eq!(home.player.time_path(), TimePath::InBand);
    home.fate = smooth();
    home.run_for(3 * SECOND);
    assert_eq!(home.player.time_path(), TimePath::Udp);
}
