//! A scrape target over a plain socket, which can also hang, never end, break off or close its door.

use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use chassis::{Context, OnFailure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// How it answers.
#[derive(Debug, Clone, PartialEq)]
pub enum Manner {
    /// This text; every `{n}` is replaced by the number of the answer.
    Text(String),
    /// These bytes, with this head.
    Raw(&'static str, Vec<u8>),
    /// Takes the request and says nothing.
    Hang,
    /// A good beginning, and then more for ever.
    Endless,
}

pub struct FakeTarget {
    pub addr: SocketAddr,
    pub answers: Arc<AtomicU32>,
    manner: watch::Sender<Manner>,
    ctx: Context,
}

impl FakeTarget {
    pub async fn start(ctx: &Context, manner: Manner) -> Self {
        Self::listen(ctx, "127.0.0.1:0".parse().unwrap(), manner).await
    }

    async fn listen(ctx: &Context, addr: SocketAddr, manner: Manner) -> Self {
        let listener = TcpListener::bind(addr).await.unwrap();
        let ctx = ctx.sub();
        let target = Self {
            addr: listener.local_addr().unwrap(),
            answers: Arc::default(),
            manner: watch::Sender::new(manner),
            ctx: ctx.clone(),
        };
        let (manner, answers) = (target.manner.subscribe(), target.answers.clone());
        ctx.clone().tasks.spawn("target", OnFailure::Log, async move {
            loop {
                let socket = tokio::select! {
                    accepted = listener.accept() => accepted?.0,
                    () = ctx.stopper.stopped() => return Ok(()),
                };
                let (manner, answers, stopper) = (manner.clone(), answers.clone(), ctx.stopper.clone());
                ctx.tasks.spawn("answer", OnFailure::Log, async move {
                    tokio::select! {
                        // The other side may hang up at any time; that is its right.
                        _ = answer(socket, manner, &answers) => {}
                        () = stopper.stopped() => {}
                    }
                    Ok(())
                });
            }
        });
        target
    }

    pub fn behave(&self, manner: Manner) {
        self.manner.send_replace(manner);
    }

    /// Closes the door and every connection.
    pub async fn disappear(&self) {
        self.ctx.stopper.stop();
        assert!(self.ctx.tasks.join(std::time::Duration::from_secs(5)).await.is_empty());
    }
}

async fn answer(
    mut socket: TcpStream,
    manner: watch::Receiver<Manner>,
    answers: &AtomicU32,
) -> std::io::Result<()> {
    let mut request = Vec::new();
    while !request.ends_with(b"\r\n\r\n") {
        request.push(socket.read_u8().await?);
    }
    let head = "HTTP/1.1 200 OK\r\nConnection: close\r\n";
    let manner = manner.borrow().clone();
    match manner {
        Manner::Text(text) => {
            let n = answers.fetch_add(1, Ordering::SeqCst) + 1;
            socket.write_all(format!("{head}\r\n{}", numbered(&text, n)).as_bytes()).await?;
        }
        Manner::Raw(head, body) => {
            socket.write_all(head.as_bytes()).await?;
            socket.write_all(&body).await?;
        }
        Manner::Hang => {
            // Nothing more comes; this ends when the other side gives up.
            let _ = socket.read_u8().await;
        }
        Manner::Endless => {
            socket.write_all(format!("{head}\r\nfirst 1\n").as_bytes()).await?;
            loop {
                socket.write_all(&[b'#'; 16 * 1024]).await?;
                socket.write_all(b"\n").await?;
            }
        }
    }
    socket.shutdown().await
}

/// Replaces `{n}` and `{10n}`, `{9n}`, ...: the number of the answer times a factor.
fn numbered(text: &str, n: u32) -> String {
    let mut out = text.replace("{n}", &n.to_string());
    for factor in 1..=100 {
        out = out.replace(&format!("{{{factor}n}}"), &(factor * n).to_string());
    }
    out
}
