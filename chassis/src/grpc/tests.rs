//! Servers and clients over real sockets: health, reflection, drain, ports in use, and TLS both ways.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use axum::routing::post;
use futures::StreamExt;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use tokio::sync::Notify;
use tonic::Code;
use tonic::body::Body;
use tonic::codegen::{Service, http};
use tonic::service::Routes;
use tonic::transport::Channel;
use tonic_health::pb::HealthCheckRequest;
use tonic_health::pb::health_check_response::ServingStatus;
use tonic_health::pb::health_client::HealthClient;
use tonic_reflection::pb::{v1, v1alpha};

use super::*;
use crate::config::{ClientConfig, ServerConfig, TlsConfig, Validate};
use crate::context::Context;
use crate::testing::eventually;

const SOON: Duration = Duration::from_secs(10);

const DESCRIPTORS: &[u8] = tonic_health::pb::FILE_DESCRIPTOR_SET;

/// A running server and where it is.
struct Running {
    ctx: Context,
    health: Health,
    address: std::net::SocketAddr,
}

async fn serve(config: &ServerConfig, routes: Routes, drain: Duration) -> Running {
    let ctx = Context::testing(1);
    let server = GrpcServer::bind(config).await.unwrap().drain_within(drain);
    let address = server.local_addr();
    let health = server.serve(&ctx, "test", routes, DESCRIPTORS, &["test.A", "test.B"]).unwrap();
    Running { ctx, health, address }
}

async fn plain(routes: Routes, drain: Duration) -> (Running, Channel) {
    let running = serve(&ServerConfig::default(), routes, drain).await;
    let channel = channel(&ClientConfig::plain(running.address)).unwrap();
    (running, channel)
}

async fn status(channel: &Channel, service: &str) -> Result<ServingStatus, tonic::Status> {
    let request = HealthCheckRequest { service: service.to_owned() };
    let response = HealthClient::new(channel.clone()).check(request).await?;
    Ok(response.into_inner().status())
}

/// A raw call, answered by a route of the test; the gRPC status if the server answered at all.
async fn raw_call(mut channel: Channel, path: &'static str) -> Result<String, tonic::transport::Error> {
    std::future::poll_fn(|cx| channel.poll_ready(cx)).await?;
    let request =
        http::Request::post(path).header("content-type", "application/grpc").body(Body::empty()).unwrap();
    let response = channel.call(request).await?;
    Ok(response.headers()["grpc-status"].to_str().unwrap().to_owned())
}

/// Routes with a call that says when it has begun, and answers status 9 once the gate opens.
fn gated() -> (Routes, Arc<Notify>, Arc<Notify>) {
    let (begun, gate) = (Arc::new(Notify::new()), Arc::new(Notify::new()));
    let (begins, opens) = (begun.clone(), gate.clone());
    let handler = move || async move {
        begins.notify_one();
        opens.notified().await;
        ([("content-type", "application/grpc"), ("grpc-status", "9")], "")
    };
    let mut routes = Routes::default();
    let router = std::mem::take(routes.axum_router_mut());
    *routes.axum_router_mut() = router.route("/test.A/Gated", post(handler));
    (routes, begun, gate)
}

#[tokio::test]
async fn services_start_as_not_serving_and_can_be_switched() {
    let (running, channel) = plain(Routes::default(), SOON).await;
    assert_eq!(status(&channel, "test.A").await.unwrap(), ServingStatus::NotServing);
    assert_eq!(status(&channel, "").await.unwrap(), ServingStatus::NotServing);
    running.health.set_serving("test.A", true);
    assert_eq!(status(&channel, "test.A").await.unwrap(), ServingStatus::Serving);
    assert_eq!(status(&channel, "").await.unwrap(), ServingStatus::NotServing);
    running.health.set_all_serving(true);
    assert_eq!(status(&channel, "").await.unwrap(), ServingStatus::Serving);
    assert_eq!(status(&channel, "test.C").await.unwrap_err().code(), Code::NotFound);
}

#[tokio::test]
async fn health_watch_shows_each_change_and_ends_at_a_stop() {
    let (running, channel) = plain(Routes::default(), SOON).await;
    let request = HealthCheckRequest { service: "test.A".to_owned() };
    let mut watch = HealthClient::new(channel).watch(request).await.unwrap().into_inner();
    assert_eq!(watch.next().await.unwrap().unwrap().status(), ServingStatus::NotServing);
    running.health.set_serving("test.B", true);
    running.health.set_serving("test.A", true);
    assert_eq!(watch.next().await.unwrap().unwrap().status(), ServingStatus::Serving);
    running.ctx.stopper.stop();
    let rest: Vec<_> = watch.collect().await;
    assert!(matches!(rest.last(), Some(Err(status)) if status.code() == Code::Unavailable), "{rest:?}");
    assert!(running.ctx.tasks.join(SOON).await.is_empty());
}

#[tokio::test]
async fn reflection_lists_services_in_both_versions() {
    let (_running, channel) = plain(Routes::default(), SOON).await;
    let request = v1::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(v1::server_reflection_request::MessageRequest::ListServices(String::new())),
    };
    let mut client = v1::server_reflection_client::ServerReflectionClient::new(channel.clone());
    let mut answers =
        client.server_reflection_info(futures::stream::iter([request])).await.unwrap().into_inner();
    let answer = format!("{:?}", answers.next().await.unwrap().unwrap());
    assert!(answer.contains("grpc.health.v1.Health"), "{answer}");

    let request = v1alpha::ServerReflectionRequest {
        host: String::new(),
        message_request: Some(
            v1alpha::server_reflection_request::MessageRequest::ListServices(String::new()),
        ),
    };
    let mut client = v1alpha::server_reflection_client::ServerReflectionClient::new(channel);
    let mut answers =
        client.server_reflection_info(futures::stream::iter([request])).await.unwrap().into_inner();
    let answer = format!("{:?}", answers.next().await.unwrap().unwrap());
    assert!(answer.contains("grpc.health.v1.Health"), "{answer}");
}

#[tokio::test]
async fn calls_are_counted_by_method_and_code_and_invented_methods_share_a_label() {
    let (routes, _begun, gate) = gated();
    let (running, channel) = plain(routes, SOON).await;
    status(&channel, "test.A").await.unwrap();
    status(&channel, "test.C").await.unwrap_err();
    gate.notify_one();
    assert_eq!(raw_call(channel.clone(), "http://test/test.A/Gated").await.unwrap(), "9");
    assert_eq!(raw_call(channel, "http://test/test.A/Invented").await.unwrap(), "12");
    let text = crate::metrics::text(&running.ctx.metrics);
    for (code, method) in [
        ("Ok", "grpc.health.v1.Health/Check"),
        ("NotFound", "grpc.health.v1.Health/Check"),
        ("FailedPrecondition", "test.A/Gated"),
        ("Unimplemented", "unknown"),
    ] {
        let line =
            format!(r#"homeostat_chassis_requests_total{{code="{code}",method="{method}",server="test"}} 1"#);
        assert!(text.contains(&line), "{line}\n{text}");
    }
    assert!(
        text.contains(
            r#"request_duration_seconds_count{method="grpc.health.v1.Health/Check",server="test"} 2"#
        )
    );
    assert!(!text.contains("Invented"), "{text}");
}

#[tokio::test]
async fn damaged_descriptors_are_refused() {
    let server = GrpcServer::bind(&ServerConfig::default()).await.unwrap();
    let error = server.serve(&Context::testing(1), "test", Routes::default(), b"\xff\xff", &[]).unwrap_err();
    assert_eq!(error.to_string(), "the protocol descriptors of test are not usable");
}

#[tokio::test]
async fn calls_in_progress_finish_after_a_stop_while_new_connections_are_refused() {
    let (routes, begun, gate) = gated();
    let (running, channel) = plain(routes, SOON).await;
    let call = tokio::time::timeout(SOON, async {
        let stop_then_open = async {
            begun.notified().await;
            running.ctx.stopper.stop();
            eventually(SOON, "the port is closed", || async {
                tokio::net::TcpStream::connect(running.address).await.is_err().then_some(())
            })
            .await;
            gate.notify_one();
        };
        tokio::join!(raw_call(channel, "http://test/test.A/Gated"), stop_then_open).0
    });
    assert_eq!(call.await.unwrap().unwrap(), "9");
    assert!(running.ctx.tasks.join(SOON).await.is_empty());
    assert_eq!(running.ctx.stopper.failure(), None);
}

#[tokio::test]
async fn calls_that_never_finish_are_cut_at_the_drain_deadline() {
    let (routes, begun, _gate) = gated();
    let (running, channel) = plain(routes, Duration::from_millis(50)).await;
    let stop = async {
        begun.notified().await;
        running.ctx.stopper.stop();
        running.ctx.tasks.join(SOON).await
    };
    let (call, left) = tokio::join!(raw_call(channel, "http://test/test.A/Gated"), stop);
    assert!(call.is_err(), "{call:?}");
    assert!(left.is_empty());
    assert_eq!(running.ctx.stopper.failure(), None);
}

#[tokio::test]
async fn port_in_use_is_named_with_what_to_do() {
    let first = GrpcServer::bind(&ServerConfig::default()).await.unwrap();
    let listen = first.local_addr();
    let error = GrpcServer::bind(&ServerConfig { listen, ..ServerConfig::default() }).await.unwrap_err();
    let text = error.to_string();
    assert!(text.starts_with(&format!("{listen} is in use by another process")), "{text}");
    assert!(text.contains(&format!("sport = :{}", listen.port())) && text.contains("`listen`"), "{text}");
}

#[tokio::test]
async fn plain_text_beyond_loopback_is_refused_before_the_port_opens() {
    let config = ServerConfig { listen: "0.0.0.0:0".parse().unwrap(), ..ServerConfig::default() };
    let error = GrpcServer::bind(&config).await.unwrap_err();
    assert!(matches!(&error, BindError::Config(invalid) if invalid.key == "listen"), "{error:?}");
}

#[tokio::test]
async fn client_connects_at_the_first_call_and_again_after_a_restart() {
    let (running, channel) = plain(Routes::default(), SOON).await;
    status(&channel, "").await.unwrap();
    running.ctx.stopper.stop();
    running.ctx.tasks.join(SOON).await;
    assert_eq!(status(&channel, "").await.unwrap_err().code(), Code::Unavailable);
    let config = ServerConfig { listen: running.address, ..ServerConfig::default() };
    let _again = serve(&config, Routes::default(), SOON).await;
    eventually(SOON, "the client is connected again", || async { status(&channel, "").await.ok() }).await;
}

// === TLS ===

/// An authority, and the PEM files of what it signed.
struct Authority {
    folder: tempfile::TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let folder = tempfile::tempdir().unwrap();
        let mut params = CertificateParams::new(Vec::new()).unwrap();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().unwrap();
        std::fs::write(folder.path().join("ca.pem"), params.self_signed(&key).unwrap().pem()).unwrap();
        Self { folder, issuer: Issuer::new(params, key) }
    }

    fn path(&self, name: &str) -> PathBuf {
        self.folder.path().join(name)
    }

    /// The certificate and key files of one name.
    fn sign(&self, name: &str) -> (PathBuf, PathBuf) {
        let key = KeyPair::generate().unwrap();
        let params = CertificateParams::new(vec![name.to_owned()]).unwrap();
        let (cert_file, key_file) = (self.path(&format!("{name}.pem")), self.path(&format!("{name}.key")));
        std::fs::write(&cert_file, params.signed_by(&key, &self.issuer).unwrap().pem()).unwrap();
        std::fs::write(&key_file, key.serialize_pem()).unwrap();
        (cert_file, key_file)
    }

    fn server(&self, client_ca_file: Option<PathBuf>) -> ServerConfig {
        let (cert_file, key_file) = self.sign("localhost");
        ServerConfig {
            tls: Some(TlsConfig { cert_file, key_file, client_ca_file }),
            ..ServerConfig::default()
        }
    }

    fn client(&self, running: &Running) -> ClientConfig {
        let url = format!("https://{}", running.address);
        let domain = Some("localhost".to_owned());
        ClientConfig { url, ca_file: Some(self.path("ca.pem")), cert_file: None, key_file: None, domain }
    }

    fn with_certificate(&self, client: ClientConfig) -> ClientConfig {
        let (cert_file, key_file) = self.sign("client");
        ClientConfig { cert_file: Some(cert_file), key_file: Some(key_file), ..client }
    }
}

async fn reach(config: &ClientConfig) -> Result<ServingStatus, String> {
    config.validate().unwrap();
    let channel = channel(config).unwrap();
    status(&channel, "").await.map_err(|status| crate::chain(&status))
}

#[tokio::test]
async fn tls_client_that_trusts_the_authority_is_served() {
    let authority = Authority::new();
    let running = serve(&authority.server(None), Routes::default(), SOON).await;
    assert_eq!(reach(&authority.client(&running)).await, Ok(ServingStatus::NotServing));
}

#[tokio::test]
async fn tls_client_refuses_a_server_it_cannot_verify() {
    let authority = Authority::new();
    let running = serve(&authority.server(None), Routes::default(), SOON).await;
    let stranger = Authority::new();
    reach(&stranger.client(&running)).await.unwrap_err();
    let misnamed = ClientConfig { domain: Some("elsewhere".to_owned()), ..authority.client(&running) };
    reach(&misnamed).await.unwrap_err();
    let plain = ClientConfig::plain(running.address);
    reach(&plain).await.unwrap_err();
}

#[tokio::test]
async fn client_certificates_that_are_gone_are_named() {
    let authority = Authority::new();
    let running = serve(&authority.server(None), Routes::default(), SOON).await;
    let config = ClientConfig { ca_file: Some("/no/ca.pem".into()), ..authority.client(&running) };
    let error = channel(&config).unwrap_err();
    assert!(crate::chain(&error).contains("cannot read the certificate file /no/ca.pem"), "{error:?}");
}

#[tokio::test]
async fn mutual_tls_serves_only_clients_with_a_certificate_of_the_authority() {
    let (authority, stranger) = (Authority::new(), Authority::new());
    let running = serve(&authority.server(Some(authority.path("ca.pem"))), Routes::default(), SOON).await;
    let bare = authority.client(&running);
    reach(&bare).await.unwrap_err();
    reach(&stranger.with_certificate(bare.clone())).await.unwrap_err();
    assert_eq!(reach(&authority.with_certificate(bare)).await, Ok(ServingStatus::NotServing));
}

#[tokio::test]
async fn useless_certificates_are_refused_before_the_port_opens() {
    let authority = Authority::new();
    let (cert_file, key_file) = authority.sign("localhost");
    let (_, other_key) = authority.sign("other");
    let garbage = authority.path("garbage.pem");
    std::fs::write(&garbage, "no certificate").unwrap();
    let refused = async |cert: &Path, key: &Path, ca: Option<&Path>| {
        let tls = TlsConfig {
            cert_file: cert.to_owned(),
            key_file: key.to_owned(),
            client_ca_file: ca.map(Path::to_owned),
        };
        let error =
            GrpcServer::bind(&ServerConfig { tls: Some(tls), ..ServerConfig::default() }).await.unwrap_err();
        let text = crate::chain(&error);
        assert!(matches!(error, BindError::Tls { source: TlsError::Refused { .. }, .. }), "{text}");
        assert!(text.contains(&cert.display().to_string()), "{text}");
    };
    refused(&garbage, &key_file, None).await;
    refused(&cert_file, &garbage, None).await;
    refused(&cert_file, &other_key, None).await;
    refused(&cert_file, &key_file, Some(&garbage)).await;
}
