//! A network between processes that can be cut: processes reach each other through fronts, and who sends is told by
//! which process owns the socket. What is on its way when the network is cut arrives later, in order, also when
//! whoever sent it no longer waits for it: nobody hears that a connection is gone.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::path::Path;
use std::sync::atomic::{AtomicU16, Ordering};
use std::sync::{Arc, Condvar, Mutex, PoisonError};

/// Where test processes stand that are in no place of their own.
const ELSEWHERE: &str = "elsewhere";

/// How often the owner of a socket is looked for.
const LOOKS: usize = 10;

/// Ports that nobody listens on, below those that the system hands out by itself. No two calls get the same.
pub fn free_ports(count: usize) -> Vec<String> {
    static NEXT: AtomicU16 = AtomicU16::new(0);
    let start = 20_000 + u16::try_from(std::process::id() % 10_000).expect("below 10,000");
    let ports = std::iter::repeat_with(|| start + NEXT.fetch_add(1, Ordering::Relaxed));
    let addresses = ports.map(|port| format!("127.0.0.1:{port}"));
    addresses.filter(|address| TcpListener::bind(address).is_ok()).take(count).collect()
}

/// See the module.
#[derive(Clone, Default)]
pub struct Network(Arc<(Mutex<State>, Condvar)>);

#[derive(Default)]
struct State {
    /// Where processes are, by their ids.
    places: BTreeMap<u32, String>,
    /// The places that are cut off from all others, together.
    cut: BTreeSet<String>,
}

impl State {
    fn place(&self, process: u32) -> &str {
        self.places.get(&process).map_or(ELSEWHERE, String::as_str)
    }

    fn apart(&self, link: &Link) -> bool {
        self.cut.contains(self.place(link.from)) != self.cut.contains(&link.to)
    }
}

/// Who talks to which place.
#[derive(Clone)]
struct Link {
    from: u32,
    to: String,
}

impl Network {
    /// Everything that goes to the returned address arrives at `target`, in `place`.
    pub fn front(&self, place: &str, target: &str) -> String {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
        let address = listener.local_addr().expect("it is bound").to_string();
        let (network, to, target) = (self.clone(), place.to_owned(), target.to_owned());
        std::thread::spawn(move || {
            for client in listener.incoming() {
                let Ok(client) = client else { return };
                let (network, target, to) = (network.clone(), target.clone(), to.clone());
                std::thread::spawn(move || {
                    // Nobody's: it is closed already.
                    let Some(from) = client.peer_addr().ok().and_then(owner) else { return };
                    network.connect(client, &target, &Link { from, to });
                });
            }
        });
        address
    }

    /// Says where a process stands.
    pub fn stands(&self, process: u32, place: &str) {
        self.state(|state| state.places.insert(process, place.to_owned()));
    }

    /// Cuts these places off from all others.
    pub fn cut(&self, places: &[&str]) {
        self.state(|state| state.cut = places.iter().map(|place| (*place).to_owned()).collect());
    }

    /// All reach each other again.
    pub fn heal(&self) {
        self.cut(&[]);
    }

    fn state<T>(&self, change: impl FnOnce(&mut State) -> T) -> T {
        let changed = change(&mut self.0.0.lock().unwrap_or_else(PoisonError::into_inner));
        self.0.1.notify_all();
        changed
    }

    fn wait_until_together(&self, link: &Link) {
        let state = self.0.0.lock().unwrap_or_else(PoisonError::into_inner);
        drop(self.0.1.wait_while(state, |state| state.apart(link)).unwrap_or_else(PoisonError::into_inner));
    }

    fn connect(&self, client: TcpStream, target: &str, link: &Link) {
        self.wait_until_together(link);
        let Ok(server) = TcpStream::connect(target) else { return };
        let (Ok(client_too), Ok(server_too)) = (client.try_clone(), server.try_clone()) else { return };
        let (network, back) = (self.clone(), link.clone());
        std::thread::spawn(move || network.pass(server_too, client_too, &back));
        self.pass(client, server, link);
    }

    fn pass(&self, mut from: TcpStream, mut to: TcpStream, link: &Link) {
        let mut bytes = vec![0; 64 << 10];
        loop {
            let read = from.read(&mut bytes);
            self.wait_until_together(link);
            match read {
                Ok(count @ 1..) if to.write_all(&bytes[..count]).is_ok() => {}
                Ok(0) => break drop(to.shutdown(Shutdown::Write)),
                // Broken on one side: so is the other.
                _ => {
                    let _ = (from.shutdown(Shutdown::Both), to.shutdown(Shutdown::Both));
                    break;
                }
            }
        }
    }
}

/// Which process has a socket with this address on its own side; `None` if nobody has it any more.
fn owner(address: SocketAddr) -> Option<u32> {
    // The kernel's lists are not read in one piece: what comes and goes meanwhile can hide others.
    (0..LOOKS).find_map(|_| look_for_owner(address))
}

fn look_for_owner(address: SocketAddr) -> Option<u32> {
    let SocketAddr::V4(v4) = address else { return None };
    // As the kernel shows it: the address as a number of this machine's byte order.
    let wanted = format!("{:08X}:{:04X}", u32::from_ne_bytes(v4.ip().octets()), v4.port());
    let table = std::fs::read_to_string("/proc/net/tcp").ok()?;
    let inode = table.lines().find_map(|line| {
        let mut words = line.split_whitespace().skip(1);
        (words.next()? == wanted).then(|| words.nth(7).map(str::to_owned))?
    })?;
    let socket = format!("socket:[{inode}]");
    let holds = |process: &u32| {
        let files = std::fs::read_dir(Path::new("/proc").join(process.to_string()).join("fd"));
        let mut links =
            files.into_iter().flatten().flatten().filter_map(|file| std::fs::read_link(file.path()).ok());
        links.any(|link| link.as_os_str() == socket.as_str())
    };
    let processes = std::fs::read_dir("/proc").ok()?.flatten();
    processes.filter_map(|entry| entry.file_name().to_str()?.parse().ok()).find(holds)
}
