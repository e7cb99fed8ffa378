//! A machine with sinks and a source, as far as the bus shows them: what Audera's modules export, without sound.
//!
//! `machine SOURCE TARGET=NODE...` shows a source of this name and a sink for each target, and prints what it is told to do.

use std::collections::BTreeMap;

use audera_dbus::source::{Codec, Input, Order, Source, Statistics};
use audera_dbus::{Bus, Error, Exporter, names, sink, source};

#[tokio::main(flavor = "current_thread")]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let mut args = std::env::args().skip(1);
    let name = args.next().ok_or("usage: machine SOURCE TARGET=NODE...")?;
    let mut sinks = Exporter::connect(Bus::Session).await?;
    for sink in args {
        let (target, node) = sink.split_once('=').ok_or("a sink is TARGET=NODE")?;
        let shown = sink::Sink::<BTreeMap<&str, f64>> {
            name: format!("Audera {target}"),
            node: node.to_owned(),
            target: target.to_owned(),
            playing: false,
            applications: Vec::new(),
            latency_ms: 80.0,
            level: (-120.0, -120.0),
            rooms: Vec::new(),
        };
        sinks.show(&names::sink_path(node), &sink::DEFINITION, shown.values());
    }
    sinks.own(&names::of_process(names::SINKS, 1), false).await?;

    let mut exporter = Exporter::connect(Bus::Session).await?;
    let input = |name: &str, description: &str, kind| Input {
        name: name.to_owned(),
        description: description.to_owned(),
        kind,
        profile: String::new(),
        default: name == "alsa_input.line",
    };
    let mut shown = Source {
        name,
        inputs: vec![
            input("alsa_input.line", "Line In", "source"),
            input("alsa_input.tv", "Television set", "digital"),
            input("alsa_output", "Loudspeakers", "monitor"),
        ],
        input: "alsa_input.line".to_owned(),
        target: vec!["Kitchen".to_owned()],
        playing: false,
        stopped: false,
        refused: None,
        codec: Codec::Auto,
        latency_ms: 100.0,
        fixed_latency_ms: None,
        level: (-120.0, -120.0),
        statistics: Statistics { rooms: 1, ..Statistics::default() },
        rooms: vec![BTreeMap::from([("sync_error_us", 1.5)])],
    };
    let path = names::OWN_SOURCE.try_into()?;
    exporter.show(&path, &source::DEFINITION, shown.values());
    exporter.own(&names::of_process(names::SOURCE, 1), false).await?;
    println!("ready");
    loop {
        tokio::select! {
            call = exporter.next() => {
                let Some(call) = call else { return Ok(()) };
                let mut order = Order::read(&call.request);
                match &order {
                    Ok(Order::WatchLevel) => shown.level = (-6.0, -9.0),
                    Ok(Order::Input(None)) => shown.input = "alsa_input.line".to_owned(),
                    Ok(Order::Input(Some(name))) if shown.inputs.iter().any(|input| input.name == *name) => shown.input.clone_from(name),
                    Ok(Order::Input(Some(name))) => order = Err(Error::NotFound(format!("there is no input \"{name}\""))),
                    Ok(Order::Codec(codec)) => shown.codec = *codec,
                    Ok(Order::FixedLatency(ms)) => shown.fixed_latency_ms = *ms,
                    Ok(Order::Start) => (shown.playing, shown.stopped) = (true, false),
                    Ok(Order::Stop) => (shown.playing, shown.stopped) = (false, true),
                    Ok(Order::Target(names)) => shown.target.clone_from(names),
                    Err(_) => {}
                }
                exporter.show(&path, &source::DEFINITION, shown.values());
                call.reply.answer(order.map(drop));
            }
            _ = sinks.next() => {}
        }
    }
}
