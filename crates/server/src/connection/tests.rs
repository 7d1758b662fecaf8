//! Connections against a real socket and a machine that does as it is told.

use std::io::{Read, Write};
use std::net::Shutdown;
use std::time::{Duration, Instant};

use crate::control_thread::Event;
use crate::fake::{
    CUT, Client, ECHO, FILE, FakeNode, LAST, LATER, MUCH, MUCH_LENGTH, PANIC, PANIC_LATER, PIECES, SILENT,
    byte_at,
};
use crate::limits::{Limits, UNWRITTEN_MAX};

fn echo(text: &str) -> Vec<u8> {
    [&[ECHO], text.as_bytes()].concat()
}

fn frame(body: &[u8]) -> Vec<u8> {
    [&u32::try_from(body.len()).unwrap().to_be_bytes()[..], body].concat()
}

fn from_file() -> Vec<u8> {
    let pieces = PIECES.iter().flat_map(|&(at, length)| (at..at + u64::from(length)).map(byte_at));
    pieces.chain(*b"end").collect()
}

fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    let start = Instant::now();
    while !is_so() {
        assert!(start.elapsed() < Duration::from_secs(10), "{what} in ten seconds");
        std::thread::sleep(Duration::from_millis(2));
    }
}

#[test]
fn pipelined_frames_are_answered_in_order() {
    let node = FakeNode::start(2, Limits::default());
    let mut clients: Vec<Client> = (0..4).map(|_| node.connect()).collect();
    for client in &mut clients {
        let frames: Vec<u8> = (0..5000).flat_map(|n| frame(&echo(&n.to_string()))).collect();
        let mut writer = client.0.try_clone().unwrap();
        let writer = std::thread::spawn(move || writer.write_all(&frames).unwrap());
        for n in 0..5000 {
            assert_eq!(client.receive(), echo(&n.to_string()));
        }
        writer.join().unwrap();
    }
}

#[test]
fn a_frame_may_be_cut_at_every_byte() {
    let node = FakeNode::start(1, Limits::default());
    let mut client = node.connect();
    let stream = [frame(&echo("first")), frame(&echo("second"))].concat();
    for cut in 1..stream.len() {
        client.0.write_all(&stream[..cut]).unwrap();
        // Long enough for the node to read the first part by itself, mostly.
        std::thread::sleep(Duration::from_millis(1));
        client.0.write_all(&stream[cut..]).unwrap();
        assert_eq!(client.receive(), echo("first"), "cut at {cut}");
        assert_eq!(client.receive(), echo("second"), "cut at {cut}");
    }
}

#[test]
fn large_frames_come_whole() {
    let node = FakeNode::start(1, Limits::default());
    let mut client = node.connect();
    for size in [100_000, 256 * 1024 - 4, 256 * 1024, 5_000_000] {
        let mut body: Vec<u8> = (0..size).map(byte_at).collect();
        body[0] = ECHO;
        let stream = [frame(&body), frame(&echo("behind"))].concat();
        let mut writer = client.0.try_clone().unwrap();
        let writer = std::thread::spawn(move || writer.write_all(&stream).unwrap());
        assert!(client.receive() == body, "{size} bytes");
        assert_eq!(client.receive(), echo("behind"));
        writer.join().unwrap();
    }
}

#[test]
fn frames_out_of_bounds_close_the_connection() {
    let node = FakeNode::start(1, Limits { frame: 1000, ..Limits::default() });
    for bad in [&1001_u32.to_be_bytes()[..], &0_u32.to_be_bytes(), &[0xff; 4], b"GET / HTTP/1.1\r\n\r\n"] {
        let mut client = node.connect();
        client.send(&echo("before"));
        assert_eq!(client.receive(), echo("before"));
        client.0.write_all(bad).unwrap();
        client.expect_end();
    }
    until("places are given back", || node.admission.count() == 0);
}

#[test]
fn slices_of_files_arrive_as_they_are() {
    let node = FakeNode::start(1, Limits::default());
    let expected = from_file();
    let mut client = node.connect();
    for _ in 0..3 {
        client.send(&echo("before"));
        client.send(&[FILE]);
        client.send(&echo("behind"));
        assert_eq!(client.receive(), echo("before"));
        assert!(client.receive() == expected, "the bytes of the file");
        assert_eq!(client.receive(), echo("behind"));
    }
}

#[test]
fn slices_arrive_at_a_reader_that_is_slow() {
    let node = FakeNode::start(1, Limits::default());
    let mut client = node.connect();
    client.send(&[FILE]);
    client.send(&[FILE]);
    let expected = [frame(&from_file()), frame(&from_file())].concat();
    let mut got = Vec::new();
    let mut part = [0; 50_000];
    while got.len() < expected.len() {
        std::thread::sleep(Duration::from_millis(1));
        let count = client.0.read(&mut part).unwrap();
        got.extend_from_slice(&part[..count]);
    }
    assert!(got == expected, "the bytes of the file");
}

#[test]
fn a_file_that_lost_its_bytes_closes_the_connection() {
    let node = FakeNode::start(1, Limits::default());
    let mut client = node.connect();
    client.send(&[CUT]);
    let mut got = Vec::new();
    let _ = client.0.read_to_end(&mut got);
    assert!(got.len() <= 4 + 100_000, "{} bytes and no garbage behind them", got.len());
    assert!(got[4..].iter().enumerate().all(|(n, &byte)| byte == byte_at(900_000 + n as u64)));
}

#[test]
fn a_client_that_does_not_read_is_not_read_either() {
    let node = FakeNode::start(1, Limits::default());
    let mut client = node.connect();
    client.0.set_write_timeout(Some(Duration::from_millis(300))).unwrap();
    let stream: Vec<u8> = frame(&[MUCH]).repeat(4_000_000);
    let mut sent = 0;
    while let Ok(count @ 1..) = client.0.write(&stream[sent..]) {
        sent += count;
    }
    assert!(sent < stream.len(), "the node stops reading");
    // One that reads is served meanwhile.
    let mut other = node.connect();
    other.send(&echo("hello"));
    assert_eq!(other.receive(), echo("hello"));
    // When it reads again it is answered.
    assert!(UNWRITTEN_MAX < MUCH_LENGTH as u64);
    assert_eq!(client.receive().len(), MUCH_LENGTH);
    assert_eq!(client.receive().len(), MUCH_LENGTH);
}

#[test]
fn requests_behind_one_that_waits_are_answered_in_order() {
    let node = FakeNode::start(1, Limits::default());
    let mut client = node.connect();
    let count = 3000;
    let mut writer = client.0.try_clone().unwrap();
    let writer = std::thread::spawn(move || {
        for n in 0..count {
            let kind = if n % 1000 == 0 { LATER } else { SILENT };
            let body = [&[kind], n.to_string().as_bytes()].concat();
            writer.write_all(&frame(&body)).unwrap();
        }
        writer.write_all(&frame(&[ECHO])).unwrap();
    });
    for n in [0, 1000, 2000] {
        assert_eq!(client.receive(), [&[LATER], n.to_string().as_bytes()].concat());
    }
    assert_eq!(client.receive(), [ECHO]);
    writer.join().unwrap();
}

#[test]
fn idle_connections_and_half_frames_are_closed() {
    let limits = Limits {
        idle: Some(Duration::from_millis(200)),
        first_frame: Duration::from_millis(50),
        ..Limits::default()
    };
    let node = FakeNode::start(1, limits);
    let start = Instant::now();
    let mut half = node.connect();
    half.0.write_all(&[0, 0]).unwrap();
    half.expect_end();
    assert!((50..200).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());

    let mut idle = node.connect();
    let mut trickling = node.connect();
    trickling.send(&echo("first"));
    trickling.0.write_all(&frame(&echo("a frame that never ends"))[..10]).unwrap();
    let start = Instant::now();
    let mut trickle = trickling.0.try_clone().unwrap();
    let trickler = std::thread::spawn(move || {
        (0..10).for_each(|_| {
            std::thread::sleep(Duration::from_millis(60));
            let _ = trickle.write_all(b"x");
        });
    });
    assert_eq!(trickling.receive(), echo("first"));
    trickling.expect_end();
    idle.expect_end();
    assert!((190..550).contains(&start.elapsed().as_millis()), "{:?}", start.elapsed());
    trickler.join().unwrap();
    until("places are given back", || node.admission.count() == 0);
}

#[test]
fn what_was_written_before_closing_arrives() {
    let node = FakeNode::start(1, Limits::default());
    let mut client = node.connect();
    client.send(&[FILE]);
    client.send(&[LAST]);
    // Bytes that the node never reads: closing at once would take back the answers.
    client.0.write_all(&frame(&echo("too late"))).unwrap();
    std::thread::sleep(Duration::from_millis(20));
    assert!(client.receive() == from_file());
    assert_eq!(client.receive(), [LAST]);
    client.expect_end();
    drop(client);
    until("places are given back", || node.admission.count() == 0);
}

#[test]
fn a_client_that_sends_no_more_still_gets_its_answers() {
    let node = FakeNode::start(1, Limits::default());
    let mut client = node.connect();
    client.send(&[MUCH]);
    client.send(&[FILE]);
    client.0.shutdown(Shutdown::Write).unwrap();
    assert_eq!(client.receive().len(), MUCH_LENGTH);
    assert!(client.receive() == from_file());
    client.expect_end();
    until("places are given back", || node.admission.count() == 0);
}

#[test]
fn a_panic_ends_one_connection_only() {
    let node = FakeNode::start(1, Limits::default());
    let mut calm = node.connect();
    calm.send(&echo("before"));
    assert_eq!(calm.receive(), echo("before"));
    let mut other = node.connect();
    other.send(&[PANIC]);
    other.expect_end();
    calm.send(&echo("behind"));
    assert_eq!(calm.receive(), echo("behind"));
    assert_eq!(node.admission.count(), 1);
}

#[test]
fn a_panic_of_the_core_itself_is_the_end_of_the_node() {
    let mut node = FakeNode::start(2, Limits::default());
    let mut client = node.connect();
    client.send(&[PANIC_LATER]);
    match node.events.blocking_recv() {
        Some(Event::Fatal(why)) => assert!(why.contains("core-0 panicked: "), "{why}"),
        other => panic!("{other:?}"),
    }
    client.expect_end();
}

#[test]
fn too_many_connections_are_turned_away() {
    let node = FakeNode::start(2, Limits { connections_per_ip: 3, ..Limits::default() });
    let mut clients: Vec<Client> = (0..3).map(|_| node.connect()).collect();
    for client in &mut clients {
        client.send(&echo("in"));
        assert_eq!(client.receive(), echo("in"));
    }
    node.connect().expect_end();
    clients.pop();
    until("a place is free", || node.admission.count() == 2);
    let mut client = node.connect();
    client.send(&echo("in"));
    assert_eq!(client.receive(), echo("in"));
}

#[test]
fn frames_that_have_begun_share_a_bound() {
    let limits = Limits { begun_bytes: 300_000, ..Limits::default() };
    let node = FakeNode::start(1, limits);
    let mut body = vec![0; 2_000_000];
    body[0] = ECHO;
    let writers: Vec<_> = (0..8)
        .map(|_| {
            let (mut client, body) = (node.connect(), body.clone());
            std::thread::spawn(move || {
                let mut writer = client.0.try_clone().unwrap();
                let stream = frame(&body);
                let sender = std::thread::spawn(move || writer.write_all(&stream).unwrap());
                assert!(client.receive() == body);
                sender.join().unwrap();
            })
        })
        .collect();
    writers.into_iter().for_each(|writer| writer.join().unwrap());
}

#[test]
fn a_node_that_stops_ends_its_connections() {
    let mut node = FakeNode::start(2, Limits::default());
    let mut clients: Vec<Client> = (0..4).map(|_| node.connect()).collect();
    for client in &mut clients {
        client.send(&echo("in"));
        assert_eq!(client.receive(), echo("in"));
    }
    let closers: Vec<_> =
        clients.into_iter().map(|mut c| std::thread::spawn(move || c.expect_end())).collect();
    node.stop();
    closers.into_iter().for_each(|closer| closer.join().unwrap());
}
