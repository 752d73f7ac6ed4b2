//! A network that can be cut: it stands between the hub and a server, on a port of its own.

use std::{net::SocketAddr, sync::Arc};

use tokio::{
    io::{AsyncReadExt as _, AsyncWriteExt as _, copy},
    net::{
        TcpListener, TcpStream,
        tcp::{OwnedReadHalf, OwnedWriteHalf},
    },
    sync::watch,
    task::JoinSet,
};

use crate::witness::{Ear, Witness};

/// What it does with what it is sent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Way {
    /// It passes it on.
    Whole,
    /// It ends connections.
    Cut,
    /// It keeps connections and passes nothing on.
    Silent,
}

/// Passes connections on until it is cut or falls silent.
pub struct Proxy {
    /// Where it listens.
    pub address: SocketAddr,
    way: watch::Sender<Way>,
    _tasks: JoinSet<()>,
}

impl Proxy {
    /// Starts one in front of `target`, such as `127.0.0.1:5432`.
    ///
    /// # Panics
    /// If it cannot listen.
    pub async fn start(target: String) -> Self {
        Self::watched(target, None).await
    }

    /// Starts one whose traffic a witness hears: the near side is the hub, the far side the broker.
    ///
    /// # Panics
    /// If it cannot listen.
    pub async fn watched(target: String, witness: Option<Arc<Witness>>) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (way, state) = watch::channel(Way::Whole);
        let mut tasks = JoinSet::new();
        tasks.spawn(async move {
            let mut connections = JoinSet::new();
            loop {
                let Ok((near, _)) = listener.accept().await else { return };
                let (mut state, target, witness) = (state.clone(), target.clone(), witness.clone());
                if *state.borrow() == Way::Cut {
                    continue; // Dropped: the other side sees its connection end.
                }
                connections.spawn(async move {
                    if state.wait_for(|way| *way != Way::Silent).await.is_err() {
                        return;
                    }
                    let Ok(far) = TcpStream::connect(target).await else { return };
                    let mut passing = std::pin::pin!(pass_on(near, far, witness));
                    loop {
                        let way = *state.borrow_and_update();
                        tokio::select! {
                            () = &mut passing, if way == Way::Whole => return,
                            changed = state.changed(), if way != Way::Cut => if changed.is_err() { return },
                            else => return,
                        }
                    }
                });
            }
        });
        Self { address, way, _tasks: tasks }
    }

    /// Ends every connection and lets no new one through.
    pub fn cut(&self) {
        self.way.send_replace(Way::Cut);
    }

    /// Swallows what either side says, as a network does that lost a cable far away; nobody sees a connection end.
    pub fn fall_silent(&self) {
        self.way.send_replace(Way::Silent);
    }

    /// Passes on again what is said, and what was held back.
    pub fn mend(&self) {
        self.way.send_replace(Way::Whole);
    }
}

/// Passes on what either side says. What one has said before it died still reaches the other.
async fn pass_on(near: TcpStream, far: TcpStream, witness: Option<Arc<Witness>>) {
    let ((near_out, near_in), (far_out, far_in)) = (near.into_split(), far.into_split());
    let (near_ear, far_ear) = witness.map(|witness| witness.listen()).unzip();
    tokio::join!(one_way(near_out, far_in, near_ear), one_way(far_out, near_in, far_ear));
}

async fn one_way(mut from: OwnedReadHalf, mut to: OwnedWriteHalf, ear: Option<Ear>) {
    match ear {
        None => drop(copy(&mut from, &mut to).await),
        Some(mut ear) => {
            let mut piece = vec![0; 16 * 1024];
            while let Ok(len @ 1..) = from.read(&mut piece).await {
                // Heard before it arrives: what the other side has, the witness has heard of.
                ear.hear(&piece[..len]);
                if to.write_all(&piece[..len]).await.is_err() {
                    break;
                }
            }
        }
    }
    drop(to.shutdown().await);
}
