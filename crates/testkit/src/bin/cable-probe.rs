//! Measures the way between two simulated hosts, which share the machine's clock: `cable-probe receive ADDR:PORT` prints
//! `number sent received` in nanoseconds for each packet that `cable-probe send ADDR:PORT FIRST COUNT INTERVAL_US` sends, counting from FIRST;
//! `cable-probe take ADDR:PORT` prints how many bytes of a TCP connection came, and were right, that
//! `cable-probe give ADDR:PORT BYTES` makes.

use std::{
    env,
    io::{self, Read as _, Write as _},
    net::{Shutdown, TcpListener, TcpStream, UdpSocket},
    ops::Range,
    thread,
    time::{Duration, Instant},
};

fn main() -> io::Result<()> {
    let arguments: Vec<String> = env::args().skip(1).collect();
    let number = |text: &str| text.parse().map_err(|error| io::Error::new(io::ErrorKind::InvalidInput, error));
    match arguments.iter().map(String::as_str).collect::<Vec<_>>()[..] {
        ["receive", address] => receive(address),
        ["send", address, first, count, interval] => {
            let (first, count) = (number(first)?, number(count)?);
            send(address, first..first + count, Duration::from_micros(number(interval)?))
        }
        ["take", address] => take(address),
        ["give", address, bytes] => give(address, number(bytes)?),
        _ => Err(io::Error::new(io::ErrorKind::InvalidInput, "see the head of this program for its arguments")),
    }
}

fn now() -> i64 {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: the time is written to a place of its own.
    unsafe { libc::clock_gettime(libc::CLOCK_MONOTONIC, &raw mut time) };
    time.tv_sec * 1_000_000_000 + time.tv_nsec
}

fn receive(address: &str) -> io::Result<()> {
    let socket = UdpSocket::bind(address)?;
    println!("ready");
    let mut packet = [0; 16];
    loop {
        let length = socket.recv(&mut packet)?;
        let received = now();
        let (number, sent) = packet[..length].split_at(length.min(8));
        let of = |bytes: &[u8]| bytes.try_into().map(i64::from_be_bytes);
        if let (Ok(number), Ok(sent)) = (of(number), of(sent)) {
            println!("{number} {sent} {received}");
        }
    }
}

fn send(address: &str, numbers: Range<u64>, interval: Duration) -> io::Result<()> {
    let socket = UdpSocket::bind("0.0.0.0:0")?;
    socket.connect(address)?;
    let begin = Instant::now();
    for (before, number) in numbers.enumerate() {
        thread::sleep(interval.saturating_mul(before as u32).saturating_sub(begin.elapsed()));
        let packet = [number.to_be_bytes(), now().to_be_bytes()].concat();
        // No neighbour known yet: lost like any other.
        drop(socket.send(&packet));
    }
    Ok(())
}

fn take(address: &str) -> io::Result<()> {
    let listener = TcpListener::bind(address)?;
    println!("ready");
    let (mut stream, _) = listener.accept()?;
    let mut bytes = Vec::new();
    stream.read_to_end(&mut bytes)?;
    println!("{}", bytes.iter().enumerate().take_while(|(n, byte)| **byte == pattern(*n)).count());
    Ok(())
}

fn give(address: &str, bytes: u64) -> io::Result<()> {
    let mut stream = TcpStream::connect(address)?;
    stream.write_all(&(0..bytes as usize).map(pattern).collect::<Vec<u8>>())?;
    stream.shutdown(Shutdown::Write)
}

/// The byte at a place of what is sent by TCP: of no period that packets have.
fn pattern(place: usize) -> u8 {
    (place % 251) as u8
}
