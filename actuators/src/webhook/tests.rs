//! Posts to a real listener of this machine.

use execute::testing::scale;
use proto::model::ResourceKind;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpListener;

use super::*;

/// Answers one request with that status; gives back where it listens, and what it was sent.
async fn receiver(status: &'static str) -> (String, impl Future<Output = String>) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let url = format!("http://{}", listener.local_addr().unwrap());
    let heard = async move {
        let (mut stream, _) = listener.accept().await.unwrap();
        let (mut text, mut buffer) = (String::new(), [0; 4_096]);
        // The body is JSON: it ends with its last bracket.
        while !text.trim_end().ends_with(['}', ']']) {
            let read = stream.read(&mut buffer).await.unwrap();
            text.push_str(&String::from_utf8_lossy(&buffer[..read]));
        }
        let answer = format!("HTTP/1.1 {status}\r\ncontent-length: 0\r\nconnection: close\r\n\r\n");
        stream.write_all(answer.as_bytes()).await.unwrap();
        text
    };
    (url, heard)
}

fn actuator(url: &str, form: Form, dir: &std::path::Path) -> WebhookActuator {
    let all = ResourcePattern::new(ResourceKind::Service, "*", "*").unwrap();
    let posted = FileGenerations::open(dir.join("posted.json")).unwrap();
    WebhookActuator::new("one", vec![all], (url, form), secrets(), posted).unwrap()
}

fn secrets() -> Secrets {
    Secrets { token: Some("secret".to_owned()), signing: Some(SIGNING.to_owned()) }
}

const SIGNING: &str = "sixteen bytes or more";

fn notify(resolved: bool) -> Directive {
    let action = Action::Notify { urgency: NotifyUrgency::Page, resolved };
    Directive { action, generation: Generation(7), policy: "shop/orders".to_owned(), ..scale(1, 2) }
}

fn body(request: &str) -> Value {
    serde_json::from_str(request.split_once("\r\n\r\n").unwrap().1).unwrap()
}

#[tokio::test]
async fn a_notification_is_posted_with_its_id_and_remembered() {
    let dir = tempfile::tempdir().unwrap();
    let (url, heard) = receiver("204 No Content").await;
    let actuator = actuator(&url, Form::Json, dir.path());
    let directive = notify(false);
    let (outcome, request) = tokio::join!(actuator.apply(&directive, false), heard);
    assert!(matches!(outcome, ApplyOutcome::Applied { .. }), "{outcome:?}");
    let head = request.to_lowercase();
    assert!(head.contains(&format!("idempotency-key: {}", directive.id)), "{request}");
    assert!(head.contains("authorization: bearer secret"), "{request}");
    assert_eq!(body(&request)["urgency"], "page");
    assert_eq!(body(&request)["resolved"], false);
    assert_eq!(actuator.last_generation(&directive.resource, DirectiveKind::Notify), Generation(7));
}

#[tokio::test]
async fn an_alertmanager_is_told_the_end_of_the_same_alert() {
    let dir = tempfile::tempdir().unwrap();
    let mut labels = Vec::new();
    for resolved in [false, true] {
        let (url, heard) = receiver("200 OK").await;
        let actuator = actuator(&url, Form::Alertmanager, dir.path());
        let directive = notify(resolved);
        let (_, request) = tokio::join!(actuator.apply(&directive, false), heard);
        assert!(request.starts_with("POST /api/v2/alerts "), "{request}");
        let alert = body(&request)[0].clone();
        let ends: Timestamp = alert["endsAt"].as_str().unwrap().parse().unwrap();
        assert_eq!(ends > directive.created_at, !resolved);
        labels.push(alert["labels"].clone());
    }
    assert_eq!(labels[0], labels[1]);
}

#[tokio::test]
async fn what_the_receiver_does_not_take_is_no_success() {
    let dir = tempfile::tempdir().unwrap();
    for (status, refused) in [("400 Bad Request", true), ("503 Service Unavailable", false)] {
        let (url, heard) = receiver(status).await;
        let actuator = actuator(&url, Form::Json, dir.path());
        let directive = notify(false);
        let (outcome, _) = tokio::join!(actuator.apply(&directive, false), heard);
        assert_eq!(matches!(outcome, ApplyOutcome::Refused { .. }), refused, "{outcome:?}");
        assert!(!matches!(outcome, ApplyOutcome::Applied { .. }), "{outcome:?}");
        assert_eq!(actuator.last_generation(&directive.resource, DirectiveKind::Notify), Generation(0));
    }
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let nobody = format!("http://{}", listener.local_addr().unwrap());
    drop(listener);
    let outcome = actuator(&nobody, Form::Json, dir.path()).apply(&notify(false), false).await;
    assert!(matches!(outcome, ApplyOutcome::Failed { .. }), "{outcome:?}");
}

#[tokio::test]
async fn a_dry_run_posts_nothing_and_other_directives_are_refused() {
    let dir = tempfile::tempdir().unwrap();
    let actuator = actuator("http://127.0.0.1:1", Form::Json, dir.path());
    assert!(matches!(actuator.apply(&notify(false), true).await, ApplyOutcome::Applied { .. }));
    assert!(matches!(actuator.apply(&scale(1, 2), false).await, ApplyOutcome::Refused { .. }));
    let all = ResourcePattern::new(ResourceKind::Service, "*", "*").unwrap();
    let posted = FileGenerations::open(dir.path().join("other.json")).unwrap();
    assert!(
        WebhookActuator::new("one", vec![all], ("file:///etc", Form::Json), Secrets::default(), posted)
            .is_err()
    );
}

#[test]
fn the_signature_is_hmac_sha256_as_rfc_4231_has_it() {
    let signed = signature("Jefe", "what do ya want for nothing?");
    assert_eq!(signed, "sha256=5bdcc146bf60754e6a042426089575c75a003f089d2739839dec58b964ec3843");
}

#[tokio::test]
async fn a_post_is_signed_over_the_bytes_that_arrive() {
    let dir = tempfile::tempdir().unwrap();
    let (url, heard) = receiver("204 No Content").await;
    let actuator = actuator(&url, Form::Json, dir.path());
    let directive = notify(false);
    let (_, request) = tokio::join!(actuator.apply(&directive, false), heard);
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    let shown = head.lines().find_map(|line| line.strip_prefix("x-homeostat-signature: ")).unwrap();
    assert_eq!(shown, signature(SIGNING, body));
    assert_ne!(shown, signature("another secret of theirs", body));
    assert_ne!(shown, signature(SIGNING, &body.replace("page", "ticket")), "a changed body is not ours");
}

#[test]
fn secrets_are_not_printed_and_short_ones_not_taken() {
    let printed = format!("{:?}", secrets());
    assert_eq!(printed, "Secrets { token: true, signing: true }");
    let dir = tempfile::tempdir().unwrap();
    let posted = FileGenerations::open(dir.path().join("posted.json")).unwrap();
    let short = Secrets { signing: Some("guess me".to_owned()), ..Secrets::default() };
    let all = ResourcePattern::new(ResourceKind::Service, "*", "*").unwrap();
    let made = WebhookActuator::new("one", vec![all], ("http://localhost", Form::Json), short, posted);
    assert!(matches!(made, Err(OpenError::Secret)), "{made:?}");
}
