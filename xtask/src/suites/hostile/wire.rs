//! As much of Kafka's protocol as an attacker needs: frames, headers, and the question that a friend asks.

use std::io::{Read, Write};
use std::net::{Ipv4Addr, TcpStream};
use std::time::Duration;

use anyhow::{Context, ensure};

const FRIEND_WAITS: Duration = Duration::from_secs(10);

/// A connection to the node.
pub fn connect(port: u16) -> anyhow::Result<TcpStream> {
    let stream = TcpStream::connect((Ipv4Addr::LOCALHOST, port)).context("connecting")?;
    stream.set_nodelay(true)?;
    Ok(stream)
}

/// A request's frame: size, header of version 1 or 2, body.
pub fn frame(key: i16, version: i16, flexible: bool, body: &[u8]) -> Vec<u8> {
    let mut frame = vec![0; 4];
    frame.extend(key.to_be_bytes());
    frame.extend(version.to_be_bytes());
    frame.extend(7_i32.to_be_bytes());
    frame.extend(3_i16.to_be_bytes());
    frame.extend(b"evl");
    if flexible {
        frame.push(0);
    }
    frame.extend(body);
    sized(frame)
}

/// Writes the size of what follows into the first four bytes.
pub fn sized(mut frame: Vec<u8>) -> Vec<u8> {
    let size = u32::try_from(frame.len() - 4).unwrap_or(u32::MAX);
    frame[..4].copy_from_slice(&size.to_be_bytes());
    frame
}

/// Asks for the metadata of all topics, and wants an answer.
pub fn metadata(port: u16) -> anyhow::Result<()> {
    let mut stream = connect(port)?;
    stream.set_read_timeout(Some(FRIEND_WAITS))?;
    stream.write_all(&frame(3, 1, false, &(-1_i32).to_be_bytes()))?;
    let answer = read_frame(&mut stream)?;
    ensure!(
        answer.len() > 12 && answer[..4] == 7_i32.to_be_bytes(),
        "an odd answer of {} bytes",
        answer.len()
    );
    Ok(())
}

/// The lowest and highest version of each API that the node says it has.
pub fn api_versions(port: u16) -> anyhow::Result<Vec<(i16, i16, i16)>> {
    let mut stream = connect(port)?;
    stream.set_read_timeout(Some(FRIEND_WAITS))?;
    stream.write_all(&frame(18, 0, false, &[]))?;
    let answer = read_frame(&mut stream)?;
    let number = |at: usize| Some(i16::from_be_bytes([*answer.get(at)?, *answer.get(at + 1)?]));
    let rows =
        (10..answer.len()).step_by(6).filter_map(|at| Some((number(at)?, number(at + 2)?, number(at + 4)?)));
    Ok(rows.collect())
}

fn read_frame(stream: &mut TcpStream) -> anyhow::Result<Vec<u8>> {
    let mut size = [0; 4];
    stream.read_exact(&mut size).context("the size of an answer")?;
    let mut answer = vec![0; usize::try_from(u32::from_be_bytes(size))?.min(100_000_000)];
    stream.read_exact(&mut answer).context("an answer")?;
    Ok(answer)
}
