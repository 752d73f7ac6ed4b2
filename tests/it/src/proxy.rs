//! A network that can be cut: it stands between the hub and a server, on a port of its own.

use std::net::SocketAddr;

use tokio::{
    io::{AsyncWriteExt as _, copy},
    net::{TcpListener, TcpStream},
    sync::watch,
    task::JoinSet,
};

/// Passes connections on until it is cut.
pub struct Proxy {
    /// Where it listens.
    pub address: SocketAddr,
    whole: watch::Sender<bool>,
    _tasks: JoinSet<()>,
}

impl Proxy {
    /// Starts one in front of `target`, such as `127.0.0.1:5432`.
    ///
    /// # Panics
    /// If it cannot listen.
    pub async fn start(target: String) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (whole, state) = watch::channel(true);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let Ok((near, _)) = listener.accept().await else { return };
                let (mut state, target) = (state.clone(), target.clone());
                if !*state.borrow() {
                    continue; // Dropped: the other side sees its connection end.
                }
                connections.spawn(async move {
                    let Ok(far) = TcpStream::connect(target).await else { return };
                    tokio::select! {
                        () = pass_on(near, far) => {}
                        _ = state.wait_for(|whole| !whole) => {}
                    }
                });
            }
        });
        Self { address, whole, _tasks: tasks }
    }

    /// Ends every connection and lets no new one through.
    pub fn cut(&self) {
        self.whole.send_replace(false);
    }

    /// Lets connections through again.
    pub fn mend(&self) {
        self.whole.send_replace(true);
    }
}

/// Passes on what either side says. What one has said before it died still reaches the other.
async fn pass_on(near: TcpStream, far: TcpStream) {
    let ((mut near_out, mut near_in), (mut far_out, mut far_in)) = (near.into_split(), far.into_split());
    let there = async {
        drop(copy(&mut near_out, &mut far_in).await);
        drop(far_in.shutdown().await);
    };
    let back = async {
        drop(copy(&mut far_out, &mut near_in).await);
        drop(near_in.shutdown().await);
    };
    tokio::join!(there, back);
}
