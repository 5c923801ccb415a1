//! gRPC as every service speaks it: how a server listens, reports health, describes itself and drains; how a client
//! connects. Both sides ping idle connections, so that a dead peer is seen within 15 s.

mod connection;
mod health;
mod observe;
mod server;
mod stream;
mod tls;

use std::time::Duration;

pub use health::Health;
pub use observe::propagate_trace;
pub(crate) use server::listen_on;
pub use server::{BindError, GrpcServer, ServeError};
pub use stream::until_stopped;
pub use tls::{ChannelError, TlsError, channel};

/// No message is larger, in or out. A batch of 4,096 samples takes under 256 KiB and a snapshot block of 4,096 signals
/// at 4 KiB each takes 16 MiB. Use with `max_decoding_message_size` and `max_encoding_message_size`.
pub const MESSAGE_LIMIT_BYTES: usize = 16 * 1024 * 1024;

/// How long a connection may be silent before it is pinged.
pub const KEEPALIVE_INTERVAL: Duration = Duration::from_secs(5);

/// How long a ping may stay unanswered. A dead peer is seen after at most two intervals and this: 15 s.
pub const KEEPALIVE_TIMEOUT: Duration = Duration::from_secs(5);

/// How long connecting may take, TLS included.
pub const CONNECT_TIMEOUT: Duration = Duration::from_secs(3);

/// How long a stopping server lets calls finish. With it, tasks still have half of the 10 s that a stopping process has.
pub const DRAIN_DEADLINE: Duration = Duration::from_secs(5);

/// What a peer may send ahead on one call: a quarter of the largest message, so that one does not stall for acknowledgements.
const STREAM_WINDOW_BYTES: u32 = 4 * 1024 * 1024;

/// What a peer may send ahead on all calls of a connection: four of them at once.
const CONNECTION_WINDOW_BYTES: u32 = 4 * STREAM_WINDOW_BYTES;

#[cfg(test)]
mod tests;
