//! The settings that every listener and every client share, and the rule that nothing unprotected leaves the machine.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::PathBuf;

use serde::{Deserialize, Serialize};

use super::{Invalid, Validate};

/// Where a gRPC server listens, and how it is protected.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ServerConfig {
    /// Address and port; port 0 takes any free one.
    pub listen: SocketAddr,
    /// Certificates. Without them the server speaks plain text and must stay on loopback.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub tls: Option<TlsConfig>,
    /// Allows plain text beyond loopback, where something else protects the network (a mesh, a private segment).
    #[serde(default)]
    pub insecure_bind: bool,
}

impl ServerConfig {
    /// Plain text on this machine only.
    #[must_use]
    pub fn loopback(port: u16) -> Self {
        Self { listen: (Ipv4Addr::LOCALHOST, port).into(), tls: None, insecure_bind: false }
    }
}

impl Default for ServerConfig {
    /// Any free port on this machine only.
    fn default() -> Self {
        Self::loopback(0)
    }
}

impl Validate for ServerConfig {
    fn validate(&self) -> Result<(), Invalid> {
        let Self { listen, tls, insecure_bind } = self;
        match tls {
            Some(tls) => tls.validate().map_err(|invalid| invalid.under("tls")),
            None => require_loopback("listen", *listen, *insecure_bind),
        }
    }
}

/// The loopback rule for a listener without TLS, such as the metrics page.
///
/// # Errors
/// If the address is beyond loopback and `insecure_bind` is not set.
pub fn require_loopback(key: &str, listen: SocketAddr, insecure_bind: bool) -> Result<(), Invalid> {
    if insecure_bind || listen.ip().to_canonical().is_loopback() {
        return Ok(());
    }
    let rule = "must be a loopback address unless tls is configured or insecure_bind = true";
    Err(Invalid::new(key, listen, rule))
}

/// A server's certificates, as PEM files.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct TlsConfig {
    /// The certificate chain that the server shows.
    pub cert_file: PathBuf,
    /// The private key of that certificate.
    pub key_file: PathBuf,
    /// If set, clients must show a certificate that this authority signed (mutual TLS).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub client_ca_file: Option<PathBuf>,
}

impl Validate for TlsConfig {
    fn validate(&self) -> Result<(), Invalid> {
        let Self { cert_file, key_file, client_ca_file } = self;
        must_be_file("cert_file", cert_file)?;
        must_be_file("key_file", key_file)?;
        client_ca_file.as_ref().map_or(Ok(()), |path| must_be_file("client_ca_file", path))
    }
}

/// How to reach a gRPC server.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct ClientConfig {
    /// `http://host:port`, or `https://host:port` for TLS.
    pub url: String,
    /// The authority that must have signed the server's certificate. Needed with https: no public roots are trusted.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub ca_file: Option<PathBuf>,
    /// The certificate that the client shows, where the server asks for one.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub cert_file: Option<PathBuf>,
    /// The private key of that certificate.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub key_file: Option<PathBuf>,
    /// The name to expect in the server's certificate, where it differs from the host in `url`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub domain: Option<String>,
}

impl ClientConfig {
    /// Plain text to an address.
    #[must_use]
    pub fn plain(address: SocketAddr) -> Self {
        Self {
            url: format!("http://{address}"),
            ca_file: None,
            cert_file: None,
            key_file: None,
            domain: None,
        }
    }

    /// Plain text to a port of this machine.
    #[must_use]
    pub fn loopback(port: u16) -> Self {
        Self::plain((Ipv4Addr::LOCALHOST, port).into())
    }

    /// Whether the connection is encrypted.
    #[must_use]
    pub fn is_tls(&self) -> bool {
        self.url.starts_with("https://")
    }
}

impl Validate for ClientConfig {
    fn validate(&self) -> Result<(), Invalid> {
        let Self { url, ca_file, cert_file, key_file, domain } = self;
        let parsed: Option<tonic::transport::Uri> = url.parse().ok();
        let good = parsed.is_some_and(|uri| {
            matches!(uri.scheme_str(), Some("http" | "https"))
                && uri.host().is_some_and(|host| !host.is_empty())
        });
        if !good {
            return Err(Invalid::new("url", url, "must be http://host:port or https://host:port"));
        }
        let files = [("ca_file", ca_file), ("cert_file", cert_file), ("key_file", key_file)];
        for (key, path) in files {
            match path {
                Some(path) if self.is_tls() => must_be_file(key, path)?,
                Some(path) => {
                    return Err(Invalid::new(
                        key,
                        path.display(),
                        "has no use unless url starts with https://",
                    ));
                }
                None => {}
            }
        }
        if domain.is_some() && !self.is_tls() {
            let value = domain.as_deref().unwrap_or_default();
            return Err(Invalid::new("domain", value, "has no use unless url starts with https://"));
        }
        match (ca_file, cert_file, key_file) {
            (None, ..) if self.is_tls() => {
                Err(Invalid::new("ca_file", "", "is required when url starts with https://"))
            }
            (_, Some(_), None) => Err(Invalid::new("key_file", "", "is required with cert_file")),
            (_, None, Some(_)) => Err(Invalid::new("cert_file", "", "is required with key_file")),
            _ => Ok(()),
        }
    }
}

fn must_be_file(key: &str, path: &std::path::Path) -> Result<(), Invalid> {
    match std::fs::File::open(path).and_then(|file| file.metadata()) {
        Ok(found) if found.is_file() => Ok(()),
        Ok(_) => Err(Invalid::new(key, path.display(), "must be a file")),
        Err(error) => Err(Invalid::new(key, path.display(), format!("must be a readable file ({error})"))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn server(listen: &str) -> ServerConfig {
        ServerConfig { listen: listen.parse().unwrap(), ..ServerConfig::default() }
    }

    fn check(config: &impl Validate, expect: &str) {
        assert_eq!(config.validate().map_err(|invalid| invalid.to_string()), Err(expect.to_owned()));
    }

    #[test]
    fn plain_text_stays_on_loopback() {
        for listen in ["127.0.0.1:0", "127.9.9.9:1", "[::1]:1", "[::ffff:127.0.0.1]:1"] {
            assert_eq!(server(listen).validate(), Ok(()), "{listen}");
        }
        let rule = "must be a loopback address unless tls is configured or insecure_bind = true";
        for listen in ["0.0.0.0:7401", "10.1.2.3:1", "[::]:1"] {
            check(&server(listen), &format!("listen = {listen}: {rule}"));
            let allowed = ServerConfig { insecure_bind: true, ..server(listen) };
            assert_eq!(allowed.validate(), Ok(()), "{listen}");
        }
    }

    #[test]
    fn missing_certificate_is_named_before_any_port_opens() {
        let tls =
            TlsConfig { cert_file: "/no/cert".into(), key_file: "/no/key".into(), client_ca_file: None };
        let config = ServerConfig { tls: Some(tls), ..server("0.0.0.0:1") };
        check(
            &config,
            "tls.cert_file = /no/cert: must be a readable file (No such file or directory (os error 2))",
        );
    }

    #[test]
    fn client_settings_that_contradict_each_other_are_refused() {
        let here = || Some(std::env::current_exe().unwrap());
        let plain = ClientConfig::loopback(7401);
        let tls = ClientConfig { url: "https://h:1".into(), ca_file: here(), ..plain.clone() };
        assert_eq!(plain.validate(), Ok(()));
        assert_eq!(tls.validate(), Ok(()));
        for url in ["127.0.0.1:7401", "ftp://h:1", "http://", "", "http://h h"] {
            let config = ClientConfig { url: url.into(), ..plain.clone() };
            let invalid = config.validate().unwrap_err();
            assert_eq!((invalid.key.as_str(), invalid.value.as_str()), ("url", url));
        }
        check(
            &ClientConfig { ca_file: None, ..tls.clone() },
            "ca_file: is required when url starts with https://",
        );
        check(&ClientConfig { cert_file: here(), ..tls.clone() }, "key_file: is required with cert_file");
        check(&ClientConfig { key_file: here(), ..tls.clone() }, "cert_file: is required with key_file");
        check(
            &ClientConfig { domain: Some("db".into()), ..plain },
            "domain = db: has no use unless url starts with https://",
        );
    }
}
