//! Certificates from files, and the client side of a connection.

use std::path::{Path, PathBuf};

use tonic::transport::{Certificate, Channel, ClientTlsConfig, Endpoint, Identity, ServerTlsConfig};

use super::{
    CONNECT_TIMEOUT, CONNECTION_WINDOW_BYTES, KEEPALIVE_INTERVAL, KEEPALIVE_TIMEOUT, STREAM_WINDOW_BYTES,
};
use crate::config::{ClientConfig, TlsConfig};

/// Why certificates cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file is not there or not readable.
    #[error("cannot read the certificate file {}", path.display())]
    Read {
        /// Which file.
        path: PathBuf,
        /// What the system said.
        #[source]
        source: std::io::Error,
    },
    /// The files are readable but hold no usable certificate, key or authority.
    #[error("{files} hold no usable certificate and key in PEM")]
    Refused {
        /// Which files.
        files: String,
        /// What the TLS library said.
        #[source]
        source: tonic::transport::Error,
    },
}

/// Why a client cannot be made. Nothing is connected yet at this point.
#[derive(Debug, thiserror::Error)]
pub enum ChannelError {
    /// The URL is not one.
    #[error("{url} is no address of a gRPC server")]
    Url {
        /// What was given.
        url: String,
        /// What is wrong with it.
        #[source]
        source: tonic::transport::Error,
    },
    /// The certificates cannot be used.
    #[error("cannot prepare TLS to {url}")]
    Tls {
        /// For which server.
        url: String,
        /// What is wrong with them.
        #[source]
        source: TlsError,
    },
}

/// A channel that connects at the first call, and again after each loss. Calls fail while there is no connection.
///
/// # Errors
/// If the URL or the certificate files are of no use.
pub fn channel(config: &ClientConfig) -> Result<Channel, ChannelError> {
    let url = config.url.clone();
    let endpoint = Endpoint::from_shared(url.clone())
        .map_err(|source| ChannelError::Url { url: url.clone(), source })?
        .connect_timeout(CONNECT_TIMEOUT)
        .http2_keep_alive_interval(KEEPALIVE_INTERVAL)
        .keep_alive_timeout(KEEPALIVE_TIMEOUT)
        .keep_alive_while_idle(true)
        .initial_stream_window_size(STREAM_WINDOW_BYTES)
        .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
        .tcp_nodelay(true);
    let endpoint = if config.is_tls() {
        secured(endpoint, config).map_err(|source| ChannelError::Tls { url, source })?
    } else {
        endpoint
    };
    Ok(endpoint.connect_lazy())
}

fn secured(endpoint: Endpoint, config: &ClientConfig) -> Result<Endpoint, TlsError> {
    let mut tls = ClientTlsConfig::new().timeout(CONNECT_TIMEOUT);
    if let Some(path) = &config.ca_file {
        tls = tls.ca_certificate(Certificate::from_pem(read(path)?));
    }
    if let (Some(cert), Some(key)) = (&config.cert_file, &config.key_file) {
        tls = tls.identity(Identity::from_pem(read(cert)?, read(key)?));
    }
    if let Some(domain) = &config.domain {
        tls = tls.domain_name(domain);
    }
    let files = || names([&config.ca_file, &config.cert_file, &config.key_file].into_iter().flatten());
    endpoint.tls_config(tls).map_err(|source| TlsError::Refused { files: files(), source })
}

/// The server side: shows the certificate, and asks for the client's where an authority is configured.
pub(super) fn server(config: &TlsConfig) -> Result<ServerTlsConfig, TlsError> {
    let TlsConfig { cert_file, key_file, client_ca_file } = config;
    let mut tls = ServerTlsConfig::new()
        .identity(Identity::from_pem(read(cert_file)?, read(key_file)?))
        .timeout(CONNECT_TIMEOUT);
    if let Some(path) = client_ca_file {
        tls = tls.client_ca_root(Certificate::from_pem(read(path)?));
    }
    Ok(tls)
}

/// The files of a server's configuration, for a message.
pub(super) fn server_files(config: &TlsConfig) -> String {
    names([&config.cert_file, &config.key_file].into_iter().chain(&config.client_ca_file))
}

fn names<'a>(paths: impl Iterator<Item = &'a PathBuf>) -> String {
    paths.map(|path| path.display().to_string()).collect::<Vec<_>>().join(", ")
}

fn read(path: &Path) -> Result<Vec<u8>, TlsError> {
    std::fs::read(path).map_err(|source| TlsError::Read { path: path.to_owned(), source })
}
