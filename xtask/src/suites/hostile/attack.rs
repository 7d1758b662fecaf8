//! The attacks. Each is bounded in what it sends and in time; none expects an answer.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::Duration;

use super::wire;

/// Sends what it has to send to the node on a port.
pub type Attack = fn(u16) -> anyhow::Result<()>;

/// In the order in which they run.
pub const ALL: &[(&str, Attack)] = &[
    ("random bytes", random_bytes),
    ("sizes that no frame has", sizes),
    ("frames that are cut off", cut_frames),
    ("every API key with absurd counts", absurd_counts),
    ("API keys and versions that do not exist", unknown_requests),
    ("tags without end", tags),
    (HALF_FRAMES, half_frames),
];

/// Apache Kafka reserves memory for what a frame announces, and does not survive this one.
pub const HALF_FRAMES: &str = "1,000 idle half-frames";

/// How long an attacker waits for the node's reaction before he goes on.
const PATIENCE: Duration = Duration::from_millis(5);

/// Sends, reads what comes and closes; that the node closes first is no failure.
fn throw(port: u16, bytes: &[u8]) -> anyhow::Result<()> {
    let mut stream = wire::connect(port)?;
    throw_at(&mut stream, bytes);
    Ok(())
}

fn throw_at(stream: &mut TcpStream, bytes: &[u8]) {
    let _ = stream.set_read_timeout(Some(PATIENCE));
    let _ = stream.set_write_timeout(Some(Duration::from_secs(5)));
    if stream.write_all(bytes).is_ok() {
        let _ = stream.read(&mut [0; 4096]);
    }
}

/// The same numbers in every run.
struct Dice(u64);

impl Dice {
    fn roll(&mut self) -> u64 {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        self.0
    }

    fn bytes(&mut self, length: usize) -> Vec<u8> {
        (0..length).map(|_| self.roll().to_le_bytes()[3]).collect()
    }

    fn below(&mut self, bound: u64) -> usize {
        usize::try_from(self.roll() % bound).unwrap_or_default()
    }
}

fn random_bytes(port: u16) -> anyhow::Result<()> {
    let mut dice = Dice(0x9E37_79B9_7F4A_7C15);
    for _ in 0..300 {
        let length = dice.below(5000) + 1;
        throw(port, &dice.bytes(length))?;
    }
    // With a size that is right, and a key and version that exist, so that a body is decoded.
    let apis = wire::api_versions(port)?;
    for _ in 0..2000 {
        let (key, low, high) = apis[dice.below(apis.len() as u64)];
        let version =
            low.max(0) + i16::try_from(dice.below(20)).unwrap_or_default() % (high - low.max(0) + 1);
        let length = dice.below(300);
        let flexible = dice.roll().is_multiple_of(2);
        throw(port, &wire::frame(key, version, flexible, &dice.bytes(length)))?;
    }
    Ok(())
}

fn sizes(port: u16) -> anyhow::Result<()> {
    for size in
        [0_u32, 1, 3, 7, 0x7FFF_FFFF, 0x8000_0000, 0xFFFF_FFFF, 100 * 1024 * 1024, 100 * 1024 * 1024 + 1]
    {
        throw(port, &size.to_be_bytes())?;
        throw(port, &[&size.to_be_bytes()[..], &[0; 64]].concat())?;
    }
    Ok(())
}

/// A good request of several APIs, cut at each byte, with the size of the whole and with the size of the rest.
fn cut_frames(port: u16) -> anyhow::Result<()> {
    let metadata = wire::frame(3, 1, false, &[0, 0, 0, 1, 0, 3, b'a', b'b', b'c']);
    let versions = wire::frame(18, 3, true, &[4, b'e', b'v', b'l', 2, b'1', 0]);
    let mut produce = vec![0xFF, 0xFF, 0, 1, 0, 0, 3, 0xE8, 0, 0, 0, 1, 0, 6];
    produce.extend(b"before");
    produce.extend([0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 70]);
    produce.extend([0; 70]);
    let produce = wire::frame(0, 3, false, &produce);
    for frame in [metadata, versions, produce] {
        for cut in 4..frame.len() {
            throw(port, &frame[..cut])?;
            throw(port, &wire::sized(frame[..cut].to_vec()))?;
        }
    }
    Ok(())
}

/// Counts and lengths of two thousand million, and of minus one, at each place where one may stand.
fn absurd_counts(port: u16) -> anyhow::Result<()> {
    let huge: [&[u8]; 5] = [
        &[0x7F, 0xFF, 0xFF, 0xFF],
        &[0xFF, 0xFF, 0xFF, 0xFF, 0x07],
        &[0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0x01],
        &[0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00],
        &[0x00, 0x0F, 0x42, 0x40],
    ];
    for (key, low, high) in wire::api_versions(port)? {
        for version in low.max(0)..=high {
            for before in [0, 1, 2, 4, 5, 6, 8, 10, 12, 14, 16, 20, 24] {
                let count = huge[(usize::from(version.unsigned_abs()) + before) % huge.len()];
                let body = [&vec![0; before][..], &count.repeat(4), &[1; 24]].concat();
                let mut stream = wire::connect(port)?;
                throw_at(&mut stream, &wire::frame(key, version, false, &body));
                throw_at(&mut stream, &wire::frame(key, version, true, &body));
            }
        }
    }
    Ok(())
}

fn unknown_requests(port: u16) -> anyhow::Result<()> {
    for key in (-2..120).chain([i16::MIN, i16::MAX, 1000]) {
        for version in [-1, 0, 1, 50, i16::MIN, i16::MAX] {
            throw(port, &wire::frame(key, version, false, &[0; 16]))?;
        }
    }
    Ok(())
}

/// Flexible headers and bodies whose tagged fields are many, long, or not in order.
fn tags(port: u16) -> anyhow::Result<()> {
    let header = [0, 0, 0, 0, 0, 18, 0, 3, 0, 0, 0, 7, 0xFF, 0xFF];
    let million_empty: Vec<u8> =
        (0..1_000_000_u32).flat_map(|tag| [&varint(tag)[..], &[0]].concat()).collect();
    let same_tag: Vec<u8> = std::iter::repeat_n([5, 0], 1_000_000).flatten().collect();
    let bodies = [
        [&varint(u32::MAX)[..], &[0; 64]].concat(),
        [&varint(1)[..], &[0], &varint(u32::MAX), &[0; 64]].concat(),
        [&varint(1_000_000)[..], &million_empty].concat(),
        [&varint(1_000_000)[..], &same_tag].concat(),
        [&[0_u8, 4, b'e', b'v', b'l', 2, b'1'][..], &varint(1_000_000), &million_empty].concat(),
    ];
    for body in bodies {
        for _ in 0..20 {
            throw(port, &wire::sized([&header[..], &body].concat()))?;
        }
    }
    Ok(())
}

fn varint(mut value: u32) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 0x80 {
        bytes.push(value.to_le_bytes()[0] | 0x80);
        value >>= 7;
    }
    bytes.push(value.to_le_bytes()[0]);
    bytes
}

/// Connections that announce much, send little and stay.
fn half_frames(port: u16) -> anyhow::Result<()> {
    let mut idle = Vec::new();
    for at in 0..1000_usize {
        let mut stream = wire::connect(port)?;
        let announced = if at % 2 == 0 { 100 * 1024 * 1024 } else { 1024 * 1024_u32 };
        let sent = [&announced.to_be_bytes()[..], &vec![0; at % 600]].concat();
        let _ = stream.write_all(&sent);
        idle.push(stream);
    }
    std::thread::sleep(Duration::from_secs(2));
    drop(idle);
    Ok(())
}
