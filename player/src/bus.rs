//! The player on D-Bus: `org.audera.Player1` of itself, for those who have no other way to it.

use std::net::SocketAddr;
use std::path::Path;
use std::rc::Rc;
use std::time::Duration;

use audera_dbus::player::{DEFINITION, Order, Player, Presence};
use audera_dbus::{Bus, Call, Error, Exporter, names};
use audera_link::PeerId;
use audera_wire::RoomChange;
use zbus::zvariant::OwnedObjectPath;

use crate::room::{Room, SOFTWARE};

/// Between attempts to reach the bus. A system bus may come after the player, and a session bus go before it.
const RETRY: Duration = Duration::from_secs(15);

/// Serves the room on the bus, for as long as the player runs. `address` is where the player listens.
pub async fn serve(room: Rc<Room>, id: PeerId, address: SocketAddr) {
    let bus = the_bus();
    let mut trouble = String::new();
    loop {
        if let Err(error) = serve_once(&room, id, address, bus).await {
            let now = error.to_string();
            if now != trouble {
                tracing::debug!("not on D-Bus: {now}; tried again every {} s", RETRY.as_secs());
                trouble = now;
            }
        }
        tokio::time::sleep(RETRY).await;
    }
}

/// The bus of the session that the player was started in, or the system's if it was started in none.
fn the_bus() -> Bus {
    let socket = std::env::var_os("XDG_RUNTIME_DIR").is_some_and(|dir| Path::new(&dir).join("bus").exists());
    if socket || std::env::var_os("DBUS_SESSION_BUS_ADDRESS").is_some() { Bus::Session } else { Bus::System }
}

async fn serve_once(room: &Rc<Room>, id: PeerId, address: SocketAddr, bus: Bus) -> zbus::Result<()> {
    let mut exporter = Exporter::connect(bus).await?;
    let path = OwnedObjectPath::try_from(names::OWN_PLAYER)?;
    let show = |exporter: &mut Exporter| {
        let player = Player {
            room: (*room.state()).clone(),
            status: Some(room.status_for_all()),
            id: id.to_string(),
            address: address.to_string(),
            software: SOFTWARE.to_owned(),
            presence: Presence::There,
            paired: true,
        };
        exporter.show(&path, &DEFINITION, player.values());
    };
    show(&mut exporter);
    let name = names::of_process(names::PLAYER, 1);
    exporter.own(&name, false).await?;
    // The first of several has it; its successor is whoever has waited for longest.
    exporter.own(names::PLAYER, true).await?;
    tracing::debug!(%name, ?bus, "on D-Bus");
    loop {
        tokio::select! {
            call = exporter.next() => {
                let Some(call) = call else { return Ok(()) };
                let answer = obey(room, call);
                // Who reads what it has set reads the new value.
                show(&mut exporter);
                answer();
            }
            () = room.news() => show(&mut exporter),
        }
    }
}

/// Does what a call asks for, and gives the answer, for when what has come of it is shown.
fn obey(room: &Room, call: Call) -> Box<dyn FnOnce()> {
    let Call { request, reply, .. } = call;
    let change = |change: &RoomChange| room.change(change).map_err(|refusal| Error::InvalidValue(refusal.to_string()));
    let done = match Order::read(&request) {
        Ok(Order::Change(wanted)) => change(&wanted),
        Ok(Order::Step(step)) => {
            let volume = change(&step).map(|()| room.state().volume.percent());
            return Box::new(move || reply.answer(volume));
        }
        Ok(Order::Identify) => {
            room.identify("D-Bus");
            Ok(())
        }
        Ok(Order::Forget) => Err(Error::NotSupported("a player cannot forget itself: ask auderad".to_owned())),
        Err(error) => Err(error),
    };
    Box::new(move || reply.answer(done))
}
