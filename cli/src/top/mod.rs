//! `audera top`: all rooms on a full screen, with keys for volume and mute.

mod graph;
mod screen;
mod terminal;

use std::time::Duration;

use crossterm::event::{Event, KeyCode, KeyEvent, KeyEventKind, KeyModifiers};
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::mpsc::{UnboundedSender, unbounded_channel};
use tokio::time::{MissedTickBehavior, interval};

use self::screen::{Chosen, Screen};
use self::terminal::Terminal;
use crate::desk::Desk;
use crate::error::Failure;
use crate::house::{Meter, Target};
use crate::live::{changed, follow, watch_levels};

/// What an arrow moves a volume by, percentage points.
const STEP: f64 = 5.0;

/// How often levels are asked for: each time they are told for ten seconds.
const ASK: Duration = Duration::from_secs(4);

/// What a key asks for.
#[derive(Debug, Clone, Copy, PartialEq)]
enum Order {
    Quit,
    Choose(isize),
    Step(f64),
    ToggleMute,
    Identify,
}

/// `audera top`.
///
/// # Errors
/// There is no terminal, or no session bus.
pub async fn run() -> Result<(), Failure> {
    Terminal::check()?;
    let desk = Desk::open().await?;
    let mut shown = follow(&desk.connection).await?;
    let mut screen = Screen::default();
    screen.show(shown.borrow_and_update().clone());
    let mut watched = Vec::new();
    let mut ask = interval(ASK);
    ask.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let (mut terminate, mut hang_up) = (signal(SignalKind::terminate())?, signal(SignalKind::hangup())?);
    let (tell, mut told) = unbounded_channel();
    let mut terminal = Terminal::open()?;
    loop {
        let (columns, rows) = terminal.size()?;
        terminal.draw(&screen.lines(columns, rows))?;
        tokio::select! {
            view = changed(&mut shown) => {
                screen.show(view?);
                let levels = screen.levels();
                // One that has just begun is not to wait.
                if levels.iter().any(|level| !watched.contains(level)) {
                    watch(&desk, &levels);
                }
                watched = levels;
            }
            _ = ask.tick() => {
                watched = screen.levels();
                watch(&desk, &watched);
            }
            Some(outcome) = told.recv() => screen.tell(outcome),
            event = terminal.event() => match event? {
                Event::Key(key) => match order(key) {
                    Some(Order::Quit) => return Ok(()),
                    Some(Order::Choose(by)) => screen.choose(by),
                    Some(order) => carry_out(&desk, screen.chosen(), order, &tell),
                    None => {}
                },
                Event::Resize(..) => terminal.forget(),
                _ => {}
            },
            _ = terminate.recv() => return Ok(()),
            _ = hang_up.recv() => return Ok(()),
        }
    }
}

/// Has levels told, beside the screen.
fn watch(desk: &Desk, levels: &[Meter]) {
    let (desk, levels) = (desk.clone(), levels.to_vec());
    tokio::spawn(async move { watch_levels(&desk.connection, &levels).await });
}

fn order(key: KeyEvent) -> Option<Order> {
    if key.kind == KeyEventKind::Release {
        return None;
    }
    match key.code {
        KeyCode::Char('c' | 'd') if key.modifiers.contains(KeyModifiers::CONTROL) => Some(Order::Quit),
        KeyCode::Char('q') | KeyCode::Esc => Some(Order::Quit),
        KeyCode::Up | KeyCode::Char('k') => Some(Order::Choose(-1)),
        KeyCode::Down | KeyCode::Char('j') => Some(Order::Choose(1)),
        KeyCode::Left | KeyCode::Char('-' | 'h') => Some(Order::Step(-STEP)),
        KeyCode::Right | KeyCode::Char('+' | '=' | 'l') => Some(Order::Step(STEP)),
        KeyCode::Char('m' | ' ') => Some(Order::ToggleMute),
        KeyCode::Char('i') => Some(Order::Identify),
        _ => None,
    }
}

/// Has an order carried out beside the screen, which is told what has come of it.
fn carry_out(desk: &Desk, chosen: Option<Chosen>, order: Order, tell: &UnboundedSender<Result<String, String>>) {
    let Some(chosen) = chosen else { return };
    let (desk, tell) = (desk.clone(), tell.clone());
    tokio::spawn(async move {
        let outcome = send(&desk, &chosen, order).await.map_err(|failure| failure.to_string());
        // Nobody is told any more when the program ends.
        drop(tell.send(outcome));
    });
}

async fn send(desk: &Desk, chosen: &Chosen, order: Order) -> Result<String, Failure> {
    let (target, muted) = match chosen {
        Chosen::Room(room) => (Target::Room(room), room.muted),
        Chosen::Group(group) => (Target::Group(group), group.muted),
    };
    match (order, chosen) {
        (Order::Step(points), _) => drop(desk.fader_of(target).await?.step(points).await?),
        (Order::ToggleMute, _) => desk.fader_of(target).await?.mute(!muted).await?,
        (Order::Identify, Chosen::Room(room)) => {
            desk.player(room).await?.identify().await?;
            return Ok(format!("{} plays a short sound", room.name));
        }
        (Order::Identify, Chosen::Group(_)) => {
            return Err(Failure::Usage("choose a room to hear which it is".to_owned()));
        }
        (Order::Quit | Order::Choose(_), _) => {}
    }
    Ok(String::new())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn keys_are_as_the_manual_says() {
        let plain = |code| order(KeyEvent::new(code, KeyModifiers::NONE));
        assert_eq!(plain(KeyCode::Right), Some(Order::Step(5.0)));
        assert_eq!(plain(KeyCode::Char('-')), Some(Order::Step(-5.0)));
        assert_eq!(plain(KeyCode::Char('m')), Some(Order::ToggleMute));
        assert_eq!(plain(KeyCode::Char('q')), Some(Order::Quit));
        assert_eq!(plain(KeyCode::Char('c')), None);
        assert_eq!(order(KeyEvent::new(KeyCode::Char('c'), KeyModifiers::CONTROL)), Some(Order::Quit));
    }
}
