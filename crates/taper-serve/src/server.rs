//! The server: its address, its connections, its end.

use crate::api::{Shared, router};
use crate::error::{Result, ServeError};
use crate::gallery::Gallery;
use crate::guard::Guard;
use crate::limits::{CONNECTION_TIME, CONNECTIONS, HEAD_TIME};
use crate::studio::{Photographs, Studio, Subject};
use crate::worker::Worker;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr, TcpListener, UdpSocket};
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};
use taper_learn::Model;
use tokio::sync::{Notify, Semaphore, watch};
use tokio::time::timeout;

/// The port that is used if it is free and no other is asked for.
pub const DEFAULT_PORT: u16 = 8273;

/// What the page is about.
#[derive(Debug)]
pub enum Content {
    /// A folder of class folders, which is made if it does not exist.
    Folder(PathBuf),
    /// A finished classifier, to try.
    Classifier(Box<Model>),
}

/// How a server is started.
#[derive(Debug)]
pub struct ServeOptions {
    /// What the page is about.
    pub content: Content,
    /// The address to listen on; `None` for the loopback address. On any other address, only those are answered who
    /// know the secret in [`Server::link`].
    pub listen: Option<IpAddr>,
    /// The port; `None` for [`DEFAULT_PORT`], or a free one if that is taken.
    pub port: Option<u16>,
    /// Where the network for photographs comes from.
    pub photographs: Photographs,
    /// Threads to compute with.
    pub threads: usize,
}

/// A server that has an address and answers as soon as it is run.
///
/// ```
/// use taper_serve::{Content, Photographs, ServeOptions, Server};
///
/// # fn main() -> Result<(), Box<dyn std::error::Error>> {
/// # let folder = tempfile::tempdir()?;
/// let server = Server::bind(ServeOptions {
///     content: Content::Folder(folder.path().join("symbols")),
///     listen: None,
///     port: Some(0), // any free one
///     photographs: Photographs::Missing { command: "get-weights".into() },
///     threads: 2,
/// })?;
/// println!("open {}", server.link());
/// let stopper = server.stopper();
/// std::thread::spawn(move || stopper.stop());
/// server.run()?;
/// # Ok(())
/// # }
/// ```
pub struct Server {
    listener: TcpListener,
    address: SocketAddr,
    secret: Option<String>,
    subject: Subject,
    photographs: Photographs,
    threads: usize,
    stop: Arc<Notify>,
}

/// Ends a [`Server::run`], from any thread.
#[derive(Debug, Clone)]
pub struct Stopper(Arc<Notify>);

impl Stopper {
    /// Ends the server; what it is writing is written.
    pub fn stop(&self) {
        self.0.notify_one();
    }
}

impl Server {
    /// Opens the folder and takes an address.
    ///
    /// # Errors
    /// Returns an error if another process serves the folder or it is not one of class folders, or if the address or
    /// port can't be used.
    pub fn bind(options: ServeOptions) -> Result<Self> {
        let ServeOptions { content, listen, port, photographs, threads } = options;
        let ip = listen.unwrap_or(IpAddr::V4(Ipv4Addr::LOCALHOST));
        let on = |port: u16| {
            let address = SocketAddr::new(ip, port);
            TcpListener::bind(address).map_err(|reason| ServeError::Listen { address, reason })
        };
        let listener = match port {
            Some(port) => on(port)?,
            None => on(DEFAULT_PORT).or_else(|_| on(0))?,
        };
        listener.set_nonblocking(true)?;
        let subject = match content {
            Content::Folder(folder) => Subject::Folder(Gallery::open(&folder)?),
            Content::Classifier(model) => Subject::Classifier(model),
        };
        let secret = if ip.is_loopback() { None } else { Some(random_secret()?) };
        let address = listener.local_addr()?;
        Ok(Self { listener, address, secret, subject, photographs, threads, stop: Arc::new(Notify::new()) })
    }

    /// The link to open in a browser, with the secret if there is one.
    pub fn link(&self) -> String {
        let ip = self.address.ip();
        let shown = if ip.is_unspecified() { own_address(ip) } else { ip };
        let address = SocketAddr::new(shown, self.address.port());
        match &self.secret {
            Some(secret) => format!("http://{address}/?key={secret}"),
            None => format!("http://{address}/"),
        }
    }

    /// What ends this server.
    pub fn stopper(&self) -> Stopper {
        Stopper(self.stop.clone())
    }

    /// Answers until it is stopped.
    ///
    /// # Errors
    /// Returns an error if the system refuses the threads or the socket that it needs.
    pub fn run(self) -> Result<()> {
        let Self { listener, address, secret, subject, photographs, threads, stop } = self;
        // a page that was open before a restart learns from the version that the state is another one
        let start = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |now| now.as_millis() as u64);
        let (sender, version) = watch::channel(start);
        let (worker, thread) = Worker::start(threads, move || Studio::new(subject, photographs, sender))?;
        let guard = Guard::new(address.ip(), address.port(), secret);
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let shared = Shared::new(guard, worker, version, threads);
        runtime.block_on(async move {
            let listener = tokio::net::TcpListener::from_std(listener)?;
            tokio::spawn(accept(listener, router(shared)));
            stop.notified().await;
            Ok::<(), ServeError>(())
        })?;
        runtime.shutdown_timeout(Duration::from_secs(5));
        // all requests are gone, so the thread ends once it has done what it is at
        let _ = thread.join();
        Ok(())
    }
}

async fn accept(listener: tokio::net::TcpListener, router: axum::Router) {
    let connections = Arc::new(Semaphore::new(CONNECTIONS));
    loop {
        let Ok((stream, _)) = listener.accept().await else {
            // too many open files, for instance: others may be closed in the meantime
            tokio::time::sleep(Duration::from_millis(100)).await;
            continue;
        };
        let Ok(permit) = connections.clone().try_acquire_owned() else { continue };
        let _ = stream.set_nodelay(true);
        let service = TowerToHyperService::new(router.clone());
        tokio::spawn(async move {
            let connection = http1::Builder::new()
                .timer(TokioTimer::new())
                .header_read_timeout(HEAD_TIME)
                .max_buf_size(16 << 10)
                .serve_connection(TokioIo::new(stream), service);
            let _ = timeout(CONNECTION_TIME, connection).await;
            drop(permit);
        });
    }
}

/// A secret of 80 random bits, without letters that are easily confused.
fn random_secret() -> Result<String> {
    const LETTERS: &[u8; 32] = b"abcdefghijkmnpqrstuvwxyz23456789";
    let mut bytes = [0; 16];
    getrandom::fill(&mut bytes).map_err(|error| ServeError::System(std::io::Error::other(error.to_string())))?;
    Ok(bytes.iter().map(|byte| char::from(LETTERS[usize::from(byte % 32)])).collect())
}

/// The address of this computer that others on its network would use. Nothing is sent.
fn own_address(any: IpAddr) -> IpAddr {
    let (bind, beyond): (SocketAddr, SocketAddr) = match any {
        IpAddr::V4(_) => ((Ipv4Addr::UNSPECIFIED, 0).into(), (Ipv4Addr::new(192, 0, 2, 1), 9).into()),
        IpAddr::V6(_) => {
            ((Ipv6Addr::UNSPECIFIED, 0).into(), (Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 0, 0, 0, 1), 9).into())
        }
    };
    let found = UdpSocket::bind(bind).and_then(|socket| {
        socket.connect(beyond)?;
        socket.local_addr()
    });
    found.map_or(any, |address| address.ip())
}
