//! Questions to a real listener of this machine that wants to know who asks.

use std::path::PathBuf;
use std::sync::{Arc, Mutex};

use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

/// Two, as a server has it that asks who asks: it gives a number to who shows this header, and 401 to everybody else. What it was
/// asked is kept.
async fn server(wanted: &'static str) -> (String, Arc<Mutex<Vec<String>>>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let heard = Arc::new(Mutex::new(Vec::new()));
    let kept = heard.clone();
    // The test's end ends it.
    #[expect(clippy::disallowed_methods, reason = "a listener of a test")]
    tokio::spawn(async move {
        while let Ok((mut stream, _)) = listener.accept().await {
            let (mut text, mut buffer) = (String::new(), [0; 4_096]);
            while !text.ends_with("\r\n\r\n") {
                let read = stream.read(&mut buffer).await.unwrap();
                text.push_str(&String::from_utf8_lossy(&buffer[..read]));
            }
            let taken = text.lines().any(|line| line.eq_ignore_ascii_case(wanted));
            let (status, body) = match taken {
                true => ("200 OK", r#"{"status":"success","data":{"resultType":"scalar","result":[1,"2"]}}"#),
                false => ("401 Unauthorized", "Unauthorized\n"),
            };
            kept.lock().unwrap().push(text);
            let head =
                format!("HTTP/1.1 {status}\r\ncontent-length: {}\r\nconnection: close\r\n\r\n", body.len());
            stream.write_all(format!("{head}{body}").as_bytes()).await.unwrap();
        }
    });
    (url, heard)
}

struct Files(tempfile::TempDir);

impl Files {
    fn new() -> Self {
        Self(tempfile::tempdir().unwrap())
    }

    fn hold(&self, name: &str, text: &str) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).unwrap();
        path
    }
}

async fn ask(config: &PrometheusConfig, server: &str) -> Answer {
    Asker::new(config.clone()).unwrap().ask(server, "up", Timestamp::UNIX_EPOCH).await
}

#[tokio::test]
async fn a_token_is_shown_and_a_changed_one_at_once() {
    let (url, _) = server("authorization: Bearer right-one").await;
    let files = Files::new();
    let token = files.hold("token", "right-one\n");
    let config = PrometheusConfig {
        url: Some(url.clone()),
        bearer_token_file: Some(token.clone()),
        ..PrometheusConfig::default()
    };
    let asker = Asker::new(config).unwrap();
    let answer = asker.ask(&url, "up", Timestamp::UNIX_EPOCH).await;
    assert_eq!(answer.unwrap()[0].value, 2.0);
    std::fs::write(token, "wrong-one").unwrap();
    let problem = asker.ask(&url, "up", Timestamp::UNIX_EPOCH).await.unwrap_err();
    assert!(
        problem.contains("401 Unauthorized") && problem.contains("prometheus.bearer_token_file"),
        "{problem}"
    );
    assert!(!problem.contains("wrong-one"), "{problem}");
}

#[tokio::test]
async fn a_name_and_a_password_are_shown() {
    let (url, _) = server("authorization: Basic YW5hbHl6ZTpzZWNyZXQ=").await;
    let files = Files::new();
    let config = PrometheusConfig {
        url: Some(url.clone()),
        username: Some("analyze".to_owned()),
        password_file: Some(files.hold("password", "secret")),
        ..PrometheusConfig::default()
    };
    assert_eq!(ask(&config, &url).await.unwrap()[0].value, 2.0);
    files.hold("password", "guessed");
    let problem = ask(&config, &url).await.unwrap_err();
    assert!(problem.contains("prometheus.password_file") && !problem.contains("guessed"), "{problem}");
}

#[tokio::test]
async fn who_shows_nothing_is_told_what_to_configure() {
    let (url, _) = server("authorization: Bearer right-one").await;
    let config = PrometheusConfig { url: Some(url.clone()), ..PrometheusConfig::default() };
    let problem = ask(&config, &url).await.unwrap_err();
    assert!(problem.contains("give Analyze prometheus.bearer_token_file"), "{problem}");
}

#[tokio::test]
async fn no_other_server_is_shown_a_secret() {
    let (own, _) = server("authorization: Bearer right-one").await;
    let (other, heard) = server("authorization: Bearer right-one").await;
    let files = Files::new();
    let config = PrometheusConfig {
        url: Some(own.clone()),
        bearer_token_file: Some(files.hold("token", "right-one")),
        ..PrometheusConfig::default()
    };
    assert!(ask(&config, &own).await.is_ok());
    let problem = ask(&config, &other).await.unwrap_err();
    assert!(problem.contains("to prometheus.url alone"), "{problem}");
    let heard = heard.lock().unwrap().join("\n").to_lowercase();
    assert!(heard.contains("get /api/v1/query") && !heard.contains("authorization"), "{heard}");
}

#[tokio::test]
async fn a_secret_that_cannot_be_read_is_no_question() {
    let (url, heard) = server("authorization: Bearer right-one").await;
    let files = Files::new();
    for (file, says) in [
        (files.0.path().join("absent"), "absent: No such file"),
        (files.hold("empty", "\n"), "must hold one line"),
        (files.hold("two", "one\ntwo"), "must hold one line"),
    ] {
        let config = PrometheusConfig {
            url: Some(url.clone()),
            bearer_token_file: Some(file),
            ..PrometheusConfig::default()
        };
        let problem = ask(&config, &url).await.unwrap_err();
        assert!(problem.contains("prometheus.bearer_token_file") && problem.contains(says), "{problem}");
    }
    assert!(heard.lock().unwrap().is_empty());
}

#[test]
fn certificates_are_read_before_anybody_is_asked() {
    let files = Files::new();
    for (file, says) in [
        (files.0.path().join("absent"), "cannot read prometheus.ca_file"),
        (files.hold("ca", "not a certificate"), "holds no certificate"),
    ] {
        let config = PrometheusConfig { ca_file: Some(file), ..PrometheusConfig::default() };
        let problem = Asker::new(config).err().unwrap().to_string();
        assert!(problem.contains(says), "{problem}");
    }
}

#[test]
fn credentials_that_do_not_fit_together_are_named() {
    let url = || Some("http://prom:9090".to_owned());
    let check = |config: PrometheusConfig, key: &str| {
        assert_eq!(config.validate().unwrap_err().key, key);
    };
    let file = || Some(PathBuf::from("/run/secret"));
    let base = PrometheusConfig::default;
    check(PrometheusConfig { bearer_token_file: file(), ..base() }, "bearer_token_file");
    check(PrometheusConfig { url: url(), username: Some("a".into()), ..base() }, "password_file");
    check(PrometheusConfig { url: url(), password_file: file(), ..base() }, "username");
    let both = PrometheusConfig {
        url: url(),
        username: Some("a".into()),
        password_file: file(),
        bearer_token_file: file(),
        ..base()
    };
    check(both, "bearer_token_file");
}
