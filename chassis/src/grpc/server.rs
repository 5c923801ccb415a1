//! A server: bound first, so that a port in use is known before anything else starts; then served as a supervised task.

use std::io;
use std::net::SocketAddr;
use std::time::Duration;

use tokio::net::TcpListener;
use tokio_util::sync::CancellationToken;
use tonic::service::Routes;
use tonic::transport::Server;

use super::health::Health;
use super::observe::Observe;
use super::{
    CONNECTION_WINDOW_BYTES, DRAIN_DEADLINE, KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT, STREAM_WINDOW_BYTES,
    TlsError, connection, tls,
};
use crate::config::{Invalid, ServerConfig, Validate};
use crate::context::Context;
use crate::tasks::OnFailure;

/// Calls that one connection may have open: 64 shards, each with a few streams and calls, fit many times over.
const STREAMS_PER_CONNECTION: u32 = 1024;

/// Why a server cannot listen.
#[derive(Debug, thiserror::Error)]
pub enum BindError {
    /// The settings break a rule.
    #[error("the server settings are not usable")]
    Config(#[source] Invalid),
    /// Something else listens there.
    #[error("{listen} is in use by another process: stop that one (`ss -ltnp 'sport = :{}'` shows it), or choose \
             another port with `listen`", listen.port())]
    InUse {
        /// Where.
        listen: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The system refused for another reason.
    #[error("cannot listen on {listen}")]
    Refused {
        /// Where.
        listen: SocketAddr,
        /// What the system said.
        #[source]
        source: io::Error,
    },
    /// The certificates cannot be used.
    #[error("cannot prepare TLS on {listen}")]
    Tls {
        /// Where.
        listen: SocketAddr,
        /// What is wrong with them.
        #[source]
        source: TlsError,
    },
}

/// Why a bound server cannot serve: a mistake in the program.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The descriptor set is damaged, so that reflection cannot describe the services.
    #[error("the protocol descriptors of {name} are not usable")]
    Descriptors {
        /// Which server.
        name: &'static str,
        /// What is wrong with them.
        #[source]
        source: tonic_reflection::server::Error,
    },
}

/// A server that listens but does not serve yet; connections wait meanwhile.
#[derive(Debug)]
pub struct GrpcServer {
    listener: TcpListener,
    local_addr: SocketAddr,
    server: Server,
    drain_deadline: Duration,
}

impl GrpcServer {
    /// Opens the port and reads the certificates.
    ///
    /// # Errors
    /// If the settings break a rule, the port cannot be had, or the certificates cannot be used.
    pub async fn bind(config: &ServerConfig) -> Result<Self, BindError> {
        config.validate().map_err(BindError::Config)?;
        let ServerConfig { listen, tls, insecure_bind: _ } = config;
        let mut server = Server::builder()
            .http2_keepalive_interval(Some(KEEPALIVE_INTERVAL))
            .http2_keepalive_timeout(Some(KEEPALIVE_TIMEOUT))
            .max_concurrent_streams(STREAMS_PER_CONNECTION)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES);
        if let Some(config) = tls {
            let error = |source| BindError::Tls { listen: *listen, source };
            let prepared = tls::server(config).map_err(error)?;
            server = server
                .tls_config(prepared)
                .map_err(|source| error(TlsError::Refused { files: tls::server_files(config), source }))?;
        }
        let (listener, local_addr) = listen_on(*listen).await?;
        Ok(Self { listener, local_addr, server, drain_deadline: DRAIN_DEADLINE })
    }

    /// Where the server really listens: with port 0, the port that was found.
    #[must_use]
    pub fn local_addr(&self) -> SocketAddr {
        self.local_addr
    }

    /// Gives calls another time to finish at a stop than [`DRAIN_DEADLINE`].
    #[must_use]
    pub fn drain_within(self, drain_deadline: Duration) -> Self {
        Self { drain_deadline, ..self }
    }

    /// Serves `routes` as a supervised task of `ctx`, with health and reflection beside them. `services` are the full names
    /// that health knows; they start as not serving. When `ctx` stops, health says so, no new call is taken, calls in
    /// progress have [`DRAIN_DEADLINE`] to finish, and then every connection is cut.
    ///
    /// # Errors
    /// If reflection cannot read `descriptors`, an encoded file descriptor set.
    pub fn serve(
        self,
        ctx: &Context,
        name: &'static str,
        routes: Routes,
        descriptors: &'static [u8],
        services: &[&str],
    ) -> Result<Health, ServeError> {
        let Self { listener, local_addr, server, drain_deadline } = self;
        let mut server = server.layer(Observe::new(ctx, name));
        let health = Health::new(services);
        let routes = with_reflection(routes, descriptors)
            .map_err(|source| ServeError::Descriptors { name, source })?
            .add_service(health.rpc(ctx.stopper.clone()));
        let (stopper, reported) = (ctx.stopper.clone(), health.clone());
        let work = async move {
            tracing::info!(server = name, address = %local_addr, "listening");
            let cut = CancellationToken::new();
            // However this future ends, also by being aborted, no connection outlives it.
            let _cut_at_the_end = cut.clone().drop_guard();
            let signal = {
                let stopper = stopper.clone();
                async move {
                    stopper.stopped().await;
                    reported.set_stopping();
                }
            };
            let deadline = async {
                stopper.stopped().await;
                tokio::time::sleep(drain_deadline).await;
                tracing::warn!(
                    server = name,
                    "calls did not finish within {drain_deadline:?} and are cut off"
                );
            };
            let incoming = connection::accept(listener, cut.clone());
            let serving = server.add_routes(routes).serve_with_incoming_shutdown(incoming, signal);
            tokio::select! {
                served = serving => served?,
                () = deadline => {}
            }
            Ok(())
        };
        ctx.tasks.spawn(name, OnFailure::StopProcess, work);
        Ok(health)
    }
}

/// Old tools ask for reflection by its first version, newer ones by the stable one; both answer alike.
fn with_reflection(
    routes: Routes,
    descriptors: &'static [u8],
) -> Result<Routes, tonic_reflection::server::Error> {
    let builder = || {
        tonic_reflection::server::Builder::configure()
            .register_encoded_file_descriptor_set(descriptors)
            .register_encoded_file_descriptor_set(tonic_health::pb::FILE_DESCRIPTOR_SET)
    };
    Ok(routes.add_service(builder().build_v1()?).add_service(builder().build_v1alpha()?))
}

/// Opens a port, and says what to do where it cannot be had.
pub(crate) async fn listen_on(listen: SocketAddr) -> Result<(TcpListener, SocketAddr), BindError> {
    let refused = |source: io::Error| match source.kind() {
        io::ErrorKind::AddrInUse => BindError::InUse { listen, source },
        _ => BindError::Refused { listen, source },
    };
    let listener = TcpListener::bind(listen).await.map_err(refused)?;
    let local_addr = listener.local_addr().map_err(refused)?;
    Ok((listener, local_addr))
}
