//! Which rooms are meant by what a definition says, and what a user is told when there are none such.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use audera_alsa_plugin::{Errno, OpenError};
use audera_link::Target as Address;
use audera_sender::{EVERYWHERE, PlayerInfo, PlayerKey, Reach, Target, spelled};

use crate::house::{House, Seen, Visit};

/// Where several rooms are meant, who is about to be found is waited for: until nothing has changed for so long.
const QUIET: Duration = Duration::from_millis(250);
/// Between two looks where nothing changes.
const PAUSE: Duration = Duration::from_millis(50);

/// Rooms that are there.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Meant {
    /// What a stream or a mixer is for.
    pub(crate) target: Target,
    /// What to call it.
    pub(crate) name: String,
    /// Frames per second that all of them take, at most.
    pub(crate) max_rate: u32,
    /// Channels that all of them take, at most.
    pub(crate) max_channels: u8,
}

/// Finds out who is meant, and waits until it can be played to, but not beyond `until`. Who is meant by its address is kept track of for as long as
/// the visit is kept.
pub(crate) fn find(
    house: &Arc<House>,
    wish: Option<&str>,
    until: Instant,
) -> Result<(Meant, Option<Visit>), OpenError> {
    let address = wish.filter(|wish| is_address(wish) && house.look(|seen| called(rooms(seen), wish).is_none()));
    let address = address.map(spelled);
    let visit = address.as_deref().map(|address| house.visit(address));
    let wish = address.as_deref().or(wish);
    let found = house.wait(until, PAUSE, |seen| match decide(seen, wish, Instant::now()) {
        Ok(Some(meant)) => Some(Ok(meant)),
        Ok(None) => None,
        Err(refusal) => Some(Err(refusal)),
    });
    found.unwrap_or_else(|| house.look(|seen| at_last(seen, wish))).map(|meant| (meant, visit))
}

/// Only what cannot be anything else: a room may be called as a host.
fn is_address(wish: &str) -> bool {
    wish.contains(['.', ':']) && Address::parse(wish, audera_wire::PORT).is_ok()
}

/// What is called so: a room or a group by its very name, or in other letters if that is unambiguous.
fn called(names: BTreeSet<String>, wish: &str) -> Option<String> {
    if names.contains(wish) {
        return Some(wish.to_owned());
    }
    let folded = wish.to_lowercase();
    let mut alike = names.into_iter().filter(|name| name.to_lowercase() == folded);
    alike.next().filter(|_| alike.next().is_none())
}

/// Everything that could be asked for.
fn names(seen: &Seen) -> BTreeSet<String> {
    let addresses = seen.players.values().flat_map(|player| player.addresses.iter().cloned());
    rooms(seen).into_iter().chain(addresses).collect()
}

/// Everything that could be asked for by name.
fn rooms(seen: &Seen) -> BTreeSet<String> {
    let present = || seen.players.values().filter(|player| is_named(player));
    let rooms = present().map(|player| player.room.clone());
    let groups = present().flat_map(|player| player.groups.iter().cloned());
    let mut names: BTreeSet<String> = rooms.chain(groups).collect();
    names.insert(EVERYWHERE.to_owned());
    names
}

/// Whether it is there, and its name is known: a player at a fixed address is nameless until it has been reached.
fn is_named(player: &PlayerInfo) -> bool {
    player.is_present() && (matches!(player.key, PlayerKey::Discovered(_)) || player.reach == Reach::Ready)
}

/// The target of a wish, by what is known now; its name.
fn target(seen: &Seen, wish: Option<&str>) -> Option<(Target, String)> {
    match wish {
        Some(wish) => {
            let name = called(names(seen), wish)?;
            let named = Target::Named(vec![name.clone()]);
            let mut members = seen.players.values().filter(|player| named.includes(player));
            let target = match (members.next(), members.next()) {
                _ if name == EVERYWHERE => Target::Everywhere,
                // What is open stays with its room when that gets another name.
                (Some(only), None) if only.room == name && !only.groups.contains(&name) => {
                    Target::Player(only.key.clone())
                }
                _ => named,
            };
            Some((target, name))
        }
        None => {
            let mut present = seen.players.values().filter(|player| player.is_present());
            match (present.next(), present.next()) {
                // This player and no other one, as several of one user have one identity.
                (Some(only), None) => Some((Target::Player(only.key.clone()), only.room.clone())),
                _ => Some((Target::Everywhere, EVERYWHERE.to_owned())),
            }
        }
    }
}

/// Whether it is known by now who is meant and that they can be played to.
fn decide(seen: &Seen, wish: Option<&str>, now: Instant) -> Result<Option<Meant>, OpenError> {
    let Some((target, name)) = target(seen, wish) else { return Ok(None) };
    let members: Vec<&PlayerInfo> = seen.players.values().filter(|player| target.includes(player)).collect();
    let ready = members.iter().filter(|player| player.reach == Reach::Ready).count();
    if ready == 0 {
        let all_refuse = !members.is_empty() && members.iter().all(|player| matches!(player.reach, Reach::Refused(_)));
        let settled = seen.changed.is_some_and(|changed| now.saturating_duration_since(changed) >= QUIET);
        return if all_refuse && settled { Err(unreachable(&name, &members)) } else { Ok(None) };
    }
    // One room is there, or it is not. Of several, more may be about to come.
    let one = wish.is_some() && target != Target::Everywhere && members.len() == 1;
    let searching = members.iter().any(|player| player.reach == Reach::Searching);
    let quiet = seen.changed.is_none_or(|changed| now.saturating_duration_since(changed) >= QUIET);
    Ok((one || (quiet && !searching)).then(|| meant(target, name, &members)))
}

/// What is to be done when time is up: with those who are there, if any.
fn at_last(seen: &Seen, wish: Option<&str>) -> Result<Meant, OpenError> {
    let Some((target, name)) = target(seen, wish) else { return Err(unknown(seen, wish.unwrap_or_default())) };
    let members: Vec<&PlayerInfo> = seen.players.values().filter(|player| target.includes(player)).collect();
    if members.iter().any(|player| player.reach == Reach::Ready) {
        return Ok(meant(target, name, &members));
    }
    if members.is_empty() { Err(unknown(seen, wish.unwrap_or(EVERYWHERE))) } else { Err(unreachable(&name, &members)) }
}

fn meant(target: Target, name: String, members: &[&PlayerInfo]) -> Meant {
    let takes = || members.iter().filter_map(|player| player.takes.as_ref());
    let max_rate = takes().map(|takes| takes.max_rate).min().unwrap_or(u32::MAX);
    let max_channels = takes().map(|takes| takes.max_channels).min().unwrap_or(u8::MAX);
    Meant { target, name, max_rate, max_channels }
}

/// There is nothing of the name.
fn unknown(seen: &Seen, wish: &str) -> OpenError {
    let all: Vec<String> = names(seen).iter().map(|name| format!("\"{name}\"")).collect();
    let anyone = seen.players.values().any(is_named);
    let reason = if anyone {
        format!("there is no room or group \"{wish}\": there are {}", all.join(", "))
    } else if let Some(trouble) = &seen.trouble {
        format!("no room was found, so there is no \"{wish}\" either: {trouble}")
    } else {
        format!(
            "no room was found, so there is no \"{wish}\" either: start audera-player in a room, and Avahi on both machines; or give its address, host:port"
        )
    };
    OpenError::refused(Errno::NODEV, reason)
}

/// It is known, and cannot be played to.
fn unreachable(name: &str, members: &[&PlayerInfo]) -> OpenError {
    let why = |player: &&PlayerInfo| match &player.reach {
        Reach::Refused(reason) | Reach::Away(reason) => format!("{}: {reason}", player.room),
        Reach::Searching | Reach::Ready => format!("{}: it does not answer", player.room),
    };
    let reasons: Vec<String> = members.iter().map(why).collect();
    let refused = members.iter().any(|player| matches!(player.reach, Reach::Refused(_)));
    let errno = if refused { Errno::PERM } else { Errno::NODEV };
    OpenError::refused(errno, format!("\"{name}\" cannot be played to: {}", reasons.join("; ")))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::options::Network;
    use audera_link::PeerId;
    use audera_sender::Whereabouts;

    fn player(room: &str, groups: &[&str], reach: Reach) -> PlayerInfo {
        PlayerInfo {
            address: None,
            addresses: Vec::new(),
            software: None,
            key: PlayerKey::Discovered(room.to_owned()),
            room: room.to_owned(),
            groups: groups.iter().map(|group| (*group).to_owned()).collect(),
            id: None,
            announced: true,
            takes: None,
            reach,
        }
    }

    fn seen(players: Vec<PlayerInfo>) -> Seen {
        let players = players.into_iter().map(|player| (player.key.clone(), player)).collect();
        Seen { players, changed: Some(Instant::now()), ..Seen::default() }
    }

    /// Who is meant at once, and once nothing has changed for a while.
    fn decided(seen: &Seen, wish: Option<&str>) -> [Option<String>; 2] {
        let changed = seen.changed.unwrap();
        [changed, changed + QUIET].map(|now| decide(seen, wish, now).unwrap().map(|meant| meant.name))
    }

    #[test]
    fn a_room_by_name_is_there_at_once_and_in_any_letters() {
        let seen = seen(vec![player("Kitchen", &[], Reach::Ready), player("Living Room", &[], Reach::Searching)]);
        assert_eq!(decided(&seen, Some("Kitchen")), [Some("Kitchen".into()), Some("Kitchen".into())]);
        assert_eq!(decided(&seen, Some("kitchen")), [Some("Kitchen".into()), Some("Kitchen".into())]);
        assert_eq!(decided(&seen, Some("Living Room")), [None, None]);
        assert_eq!(decided(&seen, Some("Attic")), [None, None]);
    }

    #[test]
    fn the_only_room_is_meant_and_of_several_all() {
        let one = seen(vec![player("Kitchen", &[], Reach::Ready)]);
        assert_eq!(decided(&one, None), [None, Some("Kitchen".into())], "another may be about to come");
        // Another player of the same user and host, which is one identity, is another room.
        let id = Some(PeerId::of_public_key(b"user on host"));
        let [kitchen, bath] = ["Kitchen", "Bath"].map(|room| PlayerInfo { id, ..player(room, &[], Reach::Ready) });
        let found = at_last(&seen(vec![kitchen.clone()]), None).unwrap();
        assert!(found.target.includes(&kitchen) && !found.target.includes(&bath), "{found:?}");
        let two = seen(vec![player("Kitchen", &[], Reach::Ready), player("Bath", &[], Reach::Ready)]);
        assert_eq!(decided(&two, None), [None, Some(EVERYWHERE.into())]);
        let coming = seen(vec![player("Kitchen", &[], Reach::Ready), player("Bath", &[], Reach::Searching)]);
        assert_eq!(decided(&coming, None), [None, None]);
        assert_eq!(at_last(&coming, None).unwrap().target, Target::Everywhere);
    }

    #[test]
    fn a_name_is_one_room_or_all_that_are_called_so() {
        let rooms = [("Kitchen", &["Downstairs"][..]), ("Hall", &["Hall"]), ("Bath", &["Attic"]), ("Attic", &[])];
        let seen = seen(rooms.map(|(room, groups)| player(room, groups, Reach::Ready)).to_vec());
        let target = |wish| at_last(&seen, Some(wish)).unwrap().target;
        let key = PlayerKey::Discovered("Kitchen".to_owned());
        for wish in ["Kitchen", "kitchen"] {
            assert_eq!(target(wish), Target::Player(key.clone()), "its name may change");
        }
        for name in ["Downstairs", "Hall", "Attic"] {
            assert_eq!(target(name), Target::Named(vec![name.to_owned()]), "it is a group");
        }
        assert_eq!(target(EVERYWHERE), Target::Everywhere);
    }

    #[test]
    fn a_group_is_its_members() {
        let seen = seen(vec![
            player("Kitchen", &["Downstairs"], Reach::Ready),
            player("Hall", &["Downstairs"], Reach::Away("gone".into())),
            player("Bath", &[], Reach::Searching),
        ]);
        assert_eq!(decided(&seen, Some("Downstairs")), [None, Some("Downstairs".into())]);
    }

    #[test]
    fn a_refusal_lists_what_there_is() {
        let empty = Seen { changed: None, ..Seen::default() };
        assert!(at_last(&empty, Some("Attic")).unwrap_err().to_string().contains("start audera-player"));
        assert!(at_last(&empty, None).unwrap_err().to_string().contains("start audera-player"));
        let some = seen(vec![player("Kitchen", &["Downstairs"], Reach::Ready)]);
        assert_eq!(
            at_last(&some, Some("Attic")).unwrap_err().to_string(),
            "there is no room or group \"Attic\": there are \"Downstairs\", \"Everywhere\", \"Kitchen\""
        );
        let refusing = seen(vec![player("Kitchen", &[], Reach::Refused("not paired".into()))]);
        let refusal = decide(&refusing, Some("Kitchen"), Instant::now() + QUIET).unwrap_err();
        assert_eq!(refusal.to_string(), "\"Kitchen\" cannot be played to: Kitchen: not paired");
    }

    /// A house without Avahi, and with this player in its configuration.
    fn house(state_dir: &std::path::Path, configured: &str) -> Arc<House> {
        let network =
            Network { discover: false, players: vec![configured.to_owned()], state_dir: state_dir.to_owned() };
        House::enter(&network).unwrap()
    }

    /// Waits until these addresses are those that are kept track of; a machine may be slow, so only what hangs is caught.
    fn wait_for(house: &House, addresses: &[&str]) {
        let known = |seen: &Seen| seen.players.values().flat_map(|player| player.addresses.clone()).collect::<Vec<_>>();
        let found = house
            .wait(Instant::now() + Duration::from_secs(60), PAUSE, |seen| (known(seen) == addresses).then_some(()));
        assert!(found.is_some(), "{:?}, not {addresses:?}", house.look(known));
    }

    #[test]
    fn an_address_is_forgotten_with_the_last_who_has_asked_for_it() {
        // Where nobody listens: they are refused at once.
        const CONFIGURED: &str = "127.0.0.1:2";
        let dir = tempfile::tempdir().unwrap();
        let house = house(dir.path(), CONFIGURED);
        wait_for(&house, &[CONFIGURED]);
        let fails = |wish: &str| find(&house, Some(wish), Instant::now() + 2 * PAUSE).unwrap_err();
        for (wish, shown) in [("127.0.0.1:1", "127.0.0.1:1"), ("[::1]:6528", "::1"), (CONFIGURED, CONFIGURED)] {
            let refusal = fails(wish).to_string();
            assert!(refusal.contains(shown), "{refusal}");
            wait_for(&house, &[CONFIGURED]);
        }
        // One that has found its room, and another that looks for the same in vain.
        let kept = house.visit("localhost:1");
        wait_for(&house, &[CONFIGURED, "localhost:1"]);
        fails("LOCALHOST:1");
        let other = house.visit("Localhost:1");
        drop(kept);
        fails("localhost:1");
        wait_for(&house, &[CONFIGURED, "localhost:1"]);
        drop(other);
        wait_for(&house, &[CONFIGURED]);
        // What is in the configuration stays, whoever comes and goes.
        drop(house.visit(CONFIGURED));
        drop(house.visit("localhost:1"));
        wait_for(&house, &[CONFIGURED]);
    }

    #[test]
    fn where_nobody_is_looked_for_the_reason_is_told() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join("rooms.toml"), "adresses = []").unwrap();
        let network = Network { discover: true, players: Vec::new(), state_dir: dir.path().to_owned() };
        let house = House::enter(&network).unwrap();
        house.wait(Instant::now() + Duration::from_secs(60), PAUSE, |seen| seen.trouble.clone()).unwrap();
        let refusal = find(&house, Some("Kitchen"), Instant::now()).unwrap_err().to_string();
        assert!(
            refusal.contains("no \"Kitchen\"") && refusal.contains("rooms.toml") && refusal.contains("adresses"),
            "{refusal}"
        );
        // Not any more once it is put right.
        std::fs::write(dir.path().join("rooms.toml"), "discover = false").unwrap();
        let right = |seen: &Seen| seen.trouble.is_none().then_some(());
        house.wait(Instant::now() + Duration::from_secs(60), PAUSE, right).unwrap();
        let refusal = find(&house, Some("Kitchen"), Instant::now()).unwrap_err().to_string();
        assert!(refusal.contains("start audera-player") && !refusal.contains("rooms.toml"), "{refusal}");
    }

    #[test]
    fn a_room_that_the_user_has_added_is_kept_track_of_while_programs_run() {
        let dir = tempfile::tempdir().unwrap();
        let change = |change: fn(&mut Whereabouts)| {
            Whereabouts::change(dir.path(), audera_wire::PORT, |all| {
                change(all);
                Ok(())
            })
            .unwrap()
        };
        change(|all| drop(all.add("localhost:1", audera_wire::PORT)));
        let house = house(dir.path(), "127.0.0.1:2");
        wait_for(&house, &["127.0.0.1:2", "localhost:1"]);
        change(|all| drop(all.add("localhost:3", audera_wire::PORT)));
        wait_for(&house, &["127.0.0.1:2", "localhost:1", "localhost:3"]);
        // One that somebody plays to stays as long as that.
        let visit = house.visit("localhost:1");
        change(|all| all.addresses.clear());
        wait_for(&house, &["127.0.0.1:2", "localhost:1"]);
        drop(visit);
        wait_for(&house, &["127.0.0.1:2"]);
    }

    #[test]
    fn those_who_look_for_other_rooms_share_one_network_thread() {
        let dir = tempfile::tempdir().unwrap();
        let (one, other) = (house(dir.path(), "127.0.0.1:2"), house(dir.path(), "127.0.0.1:3"));
        assert!(Arc::ptr_eq(&one, &other));
        wait_for(&one, &["127.0.0.1:2", "127.0.0.1:3"]);
        // Another identity is another sender.
        let stranger = tempfile::tempdir().unwrap();
        assert!(!Arc::ptr_eq(&one, &house(stranger.path(), "127.0.0.1:2")));
    }

    #[test]
    fn an_address_looks_like_one() {
        for address in ["host:1", "10.0.0.1", "[::1]:6528", "kitchen.local"] {
            assert!(is_address(address), "{address}");
        }
        for name in ["Kitchen", "Dr. No", "a:b:c:http"] {
            assert!(!is_address(name) || name == "a:b:c:http", "{name}");
        }
    }
}
