//! Tries the way between two simulated hosts: `udp-ping serve ADDR:PORT` returns what it gets, `udp-ping ADDR:PORT COUNT` sends
//! that many packets and prints how many came back. Unlike `ping` it needs no privilege.

use std::{collections::HashSet, env, io, net::UdpSocket, time::Duration};

fn main() -> io::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["serve", address] => serve(address),
        [address, count] => {
            let count = count.parse().map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error))?;
            ping(address, count).map(|returned| println!("{returned}"))
        }
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "usage: udp-ping serve ADDR:PORT | ADDR:PORT COUNT")),
    }
}

fn serve(address: &str) -> io::Result<()> {
    let socket = UdpSocket::bind(address)?;
    println!("serving");
    let mut packet = [0; 64];
    loop {
        let (length, from) = socket.recv_from(&mut packet)?;
        // One who cannot be answered is no reason to stop serving others.
        drop(socket.send_to(&packet[..length], from));
    }
}

fn ping(address: &str, count: u32) -> io::Result<usize> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.connect(address)?;
    // A round trip takes a tenth of a millisecond on an idle machine.
    socket.set_read_timeout(Some(Duration::from_millis(500)))?;
    let mut returned = HashSet::new();
    for number in 0..count {
        // No route, no carrier, no server: lost like any other.
        drop(socket.send(&number.to_be_bytes()));
        let mut packet = [0; 4];
        // Several under way at a time, so that a run with losses does not wait for each.
        if number % 16 == 15 || number + 1 == count {
            let sent_since = number - number % 16;
            while (sent_since..=number).any(|n| !returned.contains(&n)) {
                match socket.recv(&mut packet) {
                    Ok(4) => drop(returned.insert(u32::from_be_bytes(packet))),
                    Ok(_) => {}
                    // Time is up, or the other end says that no one is there.
                    Err(_) => break,
                }
            }
        }
    }
    Ok(returned.len())
}
