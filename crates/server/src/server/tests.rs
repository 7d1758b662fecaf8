//! A whole node in this process.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::time::{Duration, Instant};

use super::*;
use crate::fake::Directory;

fn config(directory: &Directory, more: &[(&str, &str)]) -> NodeConfig {
    let data = directory.0.join("data").display().to_string();
    let mut properties = vec![("log.dirs", data.as_str()), ("listeners", "PLAINTEXT://127.0.0.1:0")];
    properties.extend(more);
    let properties = properties.into_iter().map(|(key, value)| (key.to_owned(), value.to_owned()));
    NodeConfig::standalone(properties.collect()).unwrap()
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap()
}

fn follow(server: &mut Server, until: &Life) -> Vec<Life> {
    let mut lives = Vec::new();
    runtime().block_on(async {
        while lives.last() != Some(until) {
            let life = tokio::time::timeout(Duration::from_secs(20), server.next()).await;
            let life = life.unwrap_or_else(|_| panic!("{until:?} should follow {lives:?}"));
            assert!(!matches!(life, Life::Failed(_)), "{life:?}");
            lives.push(life);
        }
    });
    lives
}

/// Sends an ApiVersions request of version 0 and returns the correlation id and the error of the response.
fn api_versions(address: SocketAddr) -> (i32, i16) {
    let mut stream = TcpStream::connect(address).unwrap();
    stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
    let request = [&[0, 0, 0, 10, 0, 18, 0, 0][..], &77_i32.to_be_bytes(), &[0xff, 0xff]].concat();
    stream.write_all(&request).unwrap();
    let mut length = [0; 4];
    stream.read_exact(&mut length).unwrap();
    let mut response = vec![0; u32::from_be_bytes(length) as usize];
    stream.read_exact(&mut response).unwrap();
    let correlation_id = i32::from_be_bytes(response[..4].try_into().unwrap());
    (correlation_id, i16::from_be_bytes(response[4..6].try_into().unwrap()))
}

#[test]
fn a_node_lives_and_is_born_again() {
    let directory = Directory::new();
    let mut cluster_id = None;
    for life in 0..2 {
        let mut server = Server::start(&config(&directory, &[]), 2).unwrap();
        assert_eq!(server.facts().formatted.is_empty(), life == 1, "formatted once");
        let cluster = server.facts().node.cluster_id.clone();
        assert_eq!(*cluster_id.get_or_insert_with(|| cluster.clone()), cluster);
        let lives = follow(&mut server, &Life::Serving);
        let stages = [
            Life::Stage(Stage::Starting, Stage::Recovery),
            Life::Stage(Stage::Recovery, Stage::Running),
            Life::Serving,
        ];
        assert_eq!(lives, stages);
        let address = server.facts().addresses[0];
        assert_eq!(api_versions(address), (77, 0));
        server.stop();
        follow(&mut server, &Life::Finished);
        let started = Instant::now();
        server.end();
        assert!(started.elapsed() < ENDING, "the threads end by themselves");
        assert!(TcpStream::connect(address).is_err(), "nobody listens any more");
    }
}

#[test]
fn what_cannot_be_is_said() {
    let directory = Directory::new();
    let voters = [
        ("process.roles", "broker,controller"),
        ("node.id", "1"),
        ("listeners", "PLAINTEXT://127.0.0.1:0,CONTROLLER://127.0.0.1:0"),
        ("controller.listener.names", "CONTROLLER"),
        ("controller.quorum.voters", "1@127.0.0.1:9093,2@127.0.0.1:9094"),
    ];
    match Server::start(&config(&directory, &voters), 1) {
        Err(StartError::Configuration(error)) => {
            assert!(format!("{error:#}").contains("kafka-storage format"), "{error:#}");
        }
        other => panic!("{:?}", other.err()),
    }
    let secure = [
        ("listeners", "SSL://127.0.0.1:0"),
        ("security.inter.broker.protocol", "SSL"),
        ("listener.security.protocol.map", "SSL:SSL"),
    ];
    match Server::start(&config(&directory, &secure), 1) {
        Err(StartError::Configuration(error)) => {
            assert!(format!("{error:#}").contains("PLAINTEXT"), "{error:#}")
        }
        other => panic!("{:?}", other.err()),
    }
}

#[test]
fn a_taken_port_is_said_before_anything_is_touched() {
    let directory = Directory::new();
    let taken = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
    let listeners = format!("PLAINTEXT://{}", taken.local_addr().unwrap());
    match Server::start(&config(&directory, &[("listeners", &listeners)]), 1) {
        Err(StartError::Failed(error)) => {
            let text = format!("{error:#}");
            assert!(text.contains("PLAINTEXT") && text.contains("another port"), "{text}");
        }
        other => panic!("{:?}", other.err()),
    }
    assert!(!directory.0.join("data").exists());
}
