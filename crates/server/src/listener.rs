//! Where clients connect: sockets that are bound early, opened when the node is ready, and one thread that accepts.
//!
//! One thread accepts for all listeners and gives each connection to the core that has the fewest. The alternative, a
//! socket per core with `SO_REUSEPORT`, spreads by a hash of the addresses: with eight connections on two cores one
//! core has six or more of them in three cases out of ten, and a cluster client has few connections and heavy ones.
//! Accepting costs microseconds once per connection; being uneven costs half the machine as long as it lasts.

use std::io;
use std::net::{IpAddr, SocketAddr, TcpStream, ToSocketAddrs};
use std::os::fd::{AsRawFd, OwnedFd};
use std::sync::Arc;
use std::thread::JoinHandle;
use std::time::Duration;

use anyhow::Context as _;
use ottla_metadata::config::NodeConfig;
use rustix::event::{EventfdFlags, PollFd, PollFlags};
use socket2::{Domain, Protocol, SockAddr, Socket, Type};

use crate::admission::{Admission, Place, Refused};
use crate::clock::Clock;
use crate::inbox::Sender;
use crate::posts::Mail;
use crate::seldom::Seldom;

/// How long accepting pauses when the process has no descriptors left.
const PAUSE: Duration = Duration::from_millis(100);

/// Connections that the system keeps until they are accepted, where nobody has set a number.
const BACKLOG: i32 = 4096;

/// The send buffer for a client on this machine, in bytes; the system doubles it, as always. There is no distance to be
/// bridged. In a buffer that may grow the node runs megabytes ahead of the client, each on a core of its own, and both
/// pay for it: half as much CPU time again, and a third of the rate (bench/PROFILES.md).
const LOCAL_SEND_BUFFER: usize = 128 * 1024;

/// Connections accepted on one listener before the others are looked at.
const ACCEPTED_PER_TURN: usize = 64;

/// A connection on its way to its core.
#[derive(Debug)]
pub struct Accepted {
    /// The connection; it does not block.
    pub stream: TcpStream,
    /// Index of the listener.
    pub listener: usize,
    /// The client's address, as text without the port.
    pub host: String,
    /// Its right to be connected.
    pub place: Place,
}

/// How the sockets of a listener are made.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SocketOptions {
    /// `socket.send.buffer.bytes`.
    pub send_buffer: SendBuffer,
    /// `socket.receive.buffer.bytes`; `None` is the system's own.
    pub receive_buffer: Option<usize>,
    /// `socket.listen.backlog.size`.
    pub backlog: i32,
}

/// How much may be written to a connection before the client takes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum SendBuffer {
    /// The system's own, which grows with distance and speed; little where there is no distance.
    Fitting,
    /// The system's own.
    System,
    /// This many bytes.
    Bytes(usize),
}

impl Default for SocketOptions {
    fn default() -> Self {
        Self { send_buffer: SendBuffer::Fitting, receive_buffer: None, backlog: BACKLOG }
    }
}

impl SocketOptions {
    /// What somebody has set. Kafka's presets do not count here: buffers of 100 KiB would keep the system from growing
    /// them with the connection's speed, and of a thousand clients that come back at once a backlog of 50 makes most
    /// wait a second for their second try.
    #[must_use]
    pub fn of(config: &NodeConfig) -> Self {
        let node = config.settings.node();
        let set = |name: &str| config.settings.file().contains_key(name).then(|| node.int(name));
        let size = |size: i32| usize::try_from(size).ok();
        Self {
            send_buffer: set("socket.send.buffer.bytes")
                .map_or(SendBuffer::Fitting, |set| size(set).map_or(SendBuffer::System, SendBuffer::Bytes)),
            receive_buffer: set("socket.receive.buffer.bytes").and_then(size),
            backlog: set("socket.listen.backlog.size").unwrap_or(BACKLOG),
        }
    }
}

/// The sockets of one listener, bound but not yet open.
#[derive(Debug)]
pub struct Bound {
    sockets: Vec<Socket>,
    /// Index of the listener.
    pub listener: usize,
    options: SocketOptions,
    /// Where the first socket is bound; the port is the real one even where 0 was asked for.
    pub address: SocketAddr,
}

/// Binds listener `listener` to a host (`None` is every interface) and a port (0 is any that is free).
///
/// # Errors
/// If the address cannot be had; the message says what to do.
pub fn bind(listener: usize, host: Option<&str>, port: u16, options: SocketOptions) -> anyhow::Result<Bound> {
    let mut addresses = resolve(host, port)?.into_iter();
    let shown = format!("{}:{port}", host.unwrap_or("*"));
    let mut failed = None;
    let mut sockets = Vec::new();
    let mut bound: Option<SocketAddr> = None;
    for mut address in &mut addresses {
        if let Some(first) = bound {
            address.set_port(first.port());
        }
        match bind_one(address, options) {
            Ok(socket) => {
                let address = socket.local_addr()?.as_socket().context("a socket without an address")?;
                bound.get_or_insert(address);
                sockets.push(socket);
                if host != Some("localhost") {
                    break;
                }
            }
            Err(error) => failed = failed.or(Some(error)),
        }
    }
    match (bound, failed) {
        (Some(address), _) => Ok(Bound { sockets, listener, options, address }),
        (None, Some(error)) => {
            let advice = advice(&error, port);
            Err(anyhow::Error::new(error).context(format!("cannot listen on {shown}: {advice}")))
        }
        (None, None) => anyhow::bail!("cannot listen on {shown}: the name has no address; see `listeners`"),
    }
}

fn advice(error: &io::Error, port: u16) -> &'static str {
    match error.kind() {
        io::ErrorKind::AddrInUse => {
            "another process listens there already; stop it, or choose another port in `listeners`"
        }
        io::ErrorKind::AddrNotAvailable => {
            "this machine does not have that address; put one it has in `listeners`, and the one that clients use \
             in `advertised.listeners`"
        }
        io::ErrorKind::PermissionDenied if port < 1024 => {
            "ports below 1024 are for privileged processes; choose a higher one in `listeners`"
        }
        _ => "see `listeners`",
    }
}

/// IPv4 first, as Java has it. `localhost` is bound in both families, since clients try either.
fn resolve(host: Option<&str>, port: u16) -> anyhow::Result<Vec<SocketAddr>> {
    let Some(host) = host else {
        let any_6 = SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, port));
        return Ok(vec![any_6, SocketAddr::from((std::net::Ipv4Addr::UNSPECIFIED, port))]);
    };
    let found = (host, port).to_socket_addrs();
    let found = found.with_context(|| format!("cannot find the address of {host}, named in `listeners`"))?;
    let mut addresses: Vec<SocketAddr> = found.collect();
    addresses.sort_by_key(SocketAddr::is_ipv6);
    addresses.dedup();
    Ok(addresses)
}

fn bind_one(address: SocketAddr, options: SocketOptions) -> io::Result<Socket> {
    let socket = Socket::new(Domain::for_address(address), Type::STREAM, Some(Protocol::TCP))?;
    // A node that was stopped can start again although old connections linger.
    socket.set_reuse_address(true)?;
    if address.ip() == IpAddr::from(std::net::Ipv6Addr::UNSPECIFIED) {
        socket.set_only_v6(false)?;
    }
    // The window is agreed upon when a connection is made, so the size must be set before.
    if let Some(size) = options.receive_buffer {
        socket.set_recv_buffer_size(size)?;
    }
    socket.set_nonblocking(true)?;
    socket.bind(&address.into())?;
    Ok(socket)
}

/// The thread that accepts; it ends when this is dropped.
#[derive(Debug)]
pub struct Acceptor {
    stop: Arc<OwnedFd>,
    thread: Option<JoinHandle<()>>,
}

/// What the accepting thread is given.
#[derive(Debug)]
pub struct Reception {
    /// The cores, by their index.
    pub cores: Vec<Sender<Mail>>,
    /// Who is let in.
    pub admission: Admission,
    /// The clocks.
    pub clock: Clock,
    /// Connections get no descriptor from this one on: the others are for files.
    pub first_kept: u64,
}

impl Acceptor {
    /// Opens the listeners and accepts from now on.
    ///
    /// # Errors
    /// If a socket cannot be opened or the system gives no thread.
    pub fn open(bound: Vec<Bound>, reception: Reception) -> anyhow::Result<Self> {
        let mut doors = Vec::new();
        for Bound { sockets, listener, options, address } in bound {
            for socket in sockets {
                let listening = socket.listen(options.backlog);
                listening.with_context(|| format!("cannot listen on {address}"))?;
                doors.push(Door { socket, listener, options });
            }
        }
        let stop = Arc::new(rustix::event::eventfd(0, EventfdFlags::CLOEXEC | EventfdFlags::NONBLOCK)?);
        let stopped = Arc::clone(&stop);
        let thread = std::thread::Builder::new()
            .name("accept".to_owned())
            .spawn(move || accept(&doors, &stopped, &reception))?;
        Ok(Self { stop, thread: Some(thread) })
    }
}

impl Drop for Acceptor {
    fn drop(&mut self) {
        // Writing to an eventfd fails only when it is full, and then it is readable too.
        let _ = rustix::io::write(&self.stop, &1_u64.to_ne_bytes());
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

#[derive(Debug)]
struct Door {
    socket: Socket,
    listener: usize,
    options: SocketOptions,
}

fn accept(doors: &[Door], stop: &OwnedFd, reception: &Reception) {
    let complaints = Seldom::default();
    loop {
        let mut fds: Vec<PollFd<'_>> = vec![PollFd::new(stop, PollFlags::IN)];
        fds.extend(doors.iter().map(|door| PollFd::new(&door.socket, PollFlags::IN)));
        match rustix::event::poll(&mut fds, None) {
            Ok(_) | Err(rustix::io::Errno::INTR) => {}
            Err(error) => {
                tracing::error!(%error, "no more connections are accepted");
                return;
            }
        }
        if !fds[0].revents().is_empty() {
            return;
        }
        for (door, fd) in doors.iter().zip(&fds[1..]) {
            if !fd.revents().is_empty() {
                door.accept_some(reception, &complaints);
            }
        }
    }
}

impl Door {
    fn accept_some(&self, reception: &Reception, complaints: &Seldom) {
        let complain = |peer: &dyn std::fmt::Display, what: &dyn std::fmt::Display| {
            if let Some(left_out) = complaints.may(reception.clock.now()) {
                tracing::warn!(left_out, "no connection for {peer}: {what}");
            }
        };
        for _ in 0..ACCEPTED_PER_TURN {
            let (socket, peer) = match self.socket.accept() {
                Ok((socket, peer)) => (socket, peer.as_socket()),
                Err(error) if error.kind() == io::ErrorKind::WouldBlock => return,
                Err(error) if is_of_one_connection(&error) => continue,
                Err(error) => {
                    complain(&"clients", &error);
                    std::thread::sleep(PAUSE);
                    return;
                }
            };
            let Some(ip) = peer.map(|peer| peer.ip().to_canonical()) else { continue };
            // The system always gives the lowest that is free.
            if u64::try_from(socket.as_raw_fd()).is_ok_and(|descriptor| descriptor >= reception.first_kept) {
                complain(
                    &ip,
                    &"the descriptors that are left are kept for files; raise the limit of open files",
                );
                continue;
            }
            let place = match reception.admission.enter(ip) {
                Ok(place) => place,
                Err(Refused::TooMany) => {
                    complain(&ip, &"there are as many as max.connections allows");
                    continue;
                }
                Err(Refused::TooManyFromThere) => {
                    complain(&ip, &"it has as many as max.connections.per.ip allows");
                    continue;
                }
            };
            match self.prepare(socket) {
                Ok(stream) => {
                    let core = &reception.cores[place.core()];
                    let host = ip.to_string();
                    core.send(Mail::Connected(Accepted { stream, listener: self.listener, host, place }));
                }
                Err(error) => complain(&ip, &error),
            }
        }
    }

    fn prepare(&self, socket: Socket) -> io::Result<TcpStream> {
        socket.set_nonblocking(true)?;
        socket.set_tcp_nodelay(true)?;
        socket.set_keepalive(true)?;
        match self.options.send_buffer {
            SendBuffer::Bytes(size) => socket.set_send_buffer_size(size)?,
            SendBuffer::Fitting if is_local(&socket) => socket.set_send_buffer_size(LOCAL_SEND_BUFFER)?,
            SendBuffer::Fitting | SendBuffer::System => {}
        }
        Ok(socket.into())
    }
}

/// Whether both ends of a connection are on this machine.
fn is_local(socket: &Socket) -> bool {
    let ip = |address: io::Result<SockAddr>| Some(address.ok()?.as_socket()?.ip().to_canonical());
    let (here, there) = (ip(socket.local_addr()), ip(socket.peer_addr()));
    there.is_some_and(|there| there.is_loopback() || here == Some(there))
}

/// Errors that `accept` passes on from the connection it would have returned.
fn is_of_one_connection(error: &io::Error) -> bool {
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::Interrupted
            | io::ErrorKind::TimedOut
            | io::ErrorKind::NetworkUnreachable
            | io::ErrorKind::HostUnreachable
    )
}

#[cfg(test)]
mod tests {
    use std::io::Read;

    use super::*;
    use crate::inbox::inbox;
    use crate::limits::Limits;

    #[test]
    fn a_taken_port_is_explained() {
        let first = bind(0, Some("127.0.0.1"), 0, SocketOptions::default()).unwrap();
        first.sockets[0].listen(1).unwrap();
        let port = first.address.port();
        let error = bind(1, Some("127.0.0.1"), port, SocketOptions::default()).unwrap_err();
        let text = error.to_string();
        assert!(text.contains(&format!("127.0.0.1:{port}")) && text.contains("another port"), "{text}");
    }

    #[test]
    fn an_address_of_another_machine_is_explained() {
        let error = bind(0, Some("192.0.2.1"), 0, SocketOptions::default()).unwrap_err();
        assert!(error.to_string().contains("advertised.listeners"), "{error}");
    }

    /// What becomes of a connection through an acceptor that keeps descriptors from `first_kept` on.
    fn let_in(first_kept: u64, options: SocketOptions) -> Option<Accepted> {
        let bound = bind(0, Some("127.0.0.1"), 0, options).unwrap();
        let address = bound.address;
        let (core, mut arrived) = inbox();
        let admission = Admission::new(Limits::default(), 1);
        let reception = Reception { cores: vec![core], admission, clock: Clock::start(), first_kept };
        let acceptor = Acceptor::open(vec![bound], reception).unwrap();
        let mut stream = TcpStream::connect(address).unwrap();
        stream.set_read_timeout(Some(Duration::from_secs(10))).unwrap();
        let mut mail = Vec::new();
        arrived.take(Some(Duration::from_millis(200)), &mut mail);
        if mail.is_empty() {
            assert_eq!(stream.read(&mut [0]).unwrap(), 0, "it is closed at once");
        }
        drop(acceptor);
        mail.pop().map(|mail| match mail {
            Mail::Connected(accepted) => accepted,
            other => panic!("{other:?}"),
        })
    }

    #[test]
    fn the_last_descriptors_are_kept_for_files() {
        assert!(let_in(u64::MAX, SocketOptions::default()).is_some());
        assert!(let_in(3, SocketOptions::default()).is_none());
    }

    #[test]
    fn clients_on_this_machine_get_a_small_send_buffer_unless_one_is_set() {
        let given = |text: Option<&str>| {
            let set = text.map(|text| ("socket.send.buffer.bytes".to_owned(), text.to_owned()));
            let config = NodeConfig::standalone(set.into_iter().collect()).unwrap();
            let accepted = let_in(u64::MAX, SocketOptions::of(&config)).unwrap();
            socket2::SockRef::from(&accepted.stream).send_buffer_size().unwrap()
        };
        assert_eq!(given(None), 2 * LOCAL_SEND_BUFFER, "Linux says twice what was asked for");
        assert_eq!(given(Some("50000")), 2 * 50_000);
        let (of_the_system, small) = (given(Some("-1")), [2 * LOCAL_SEND_BUFFER, 2 * 50_000]);
        assert!(!small.contains(&of_the_system), "{of_the_system}");
    }

    #[test]
    fn every_interface_includes_both_families() {
        let bound = bind(0, None, 0, SocketOptions::default()).unwrap();
        bound.sockets.iter().for_each(|socket| socket.listen(1).unwrap());
        TcpStream::connect(("127.0.0.1", bound.address.port())).unwrap();
    }
}
