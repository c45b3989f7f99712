//! Posts to real sockets, with and without TLS.

use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, CertifiedIssuer, DnType, IsCa, KeyPair};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::pki_types::PrivateKeyDer;
use tokio_rustls::rustls::{RootCertStore, ServerConfig, crypto};

use super::*;
use crate::net::tls::{CertificateRefusal, TrustedRoots};
use crate::snapshots::assert_catalogue;

const LIMIT: Duration = Duration::from_secs(10);
const OK: &str = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok";

/// A server that answers each request with the next of these responses. After the last one it
/// closes the connection, and accepts the next. An empty response closes the connection too.
struct TestServer {
    port: u16,
    requests: mpsc::UnboundedReceiver<String>,
}

impl TestServer {
    async fn start(responses: &[&str], tls: Option<TlsAcceptor>) -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let port = listener.local_addr().unwrap().port();
        let responses: Vec<String> = responses.iter().map(ToString::to_string).collect();
        let (sender, requests) = mpsc::unbounded_channel();

        tokio::spawn(async move {
            let mut responses = responses.into_iter();
            loop {
                let stream = listener.accept().await.unwrap().0;
                match &tls {
                    None => serve(stream, &mut responses, &sender).await,
                    Some(tls) => match tls.accept(stream).await {
                        Ok(stream) => serve(stream, &mut responses, &sender).await,
                        Err(_) => continue,
                    },
                }
            }
        });
        Self { port, requests }
    }

    fn url(&self, scheme: &str, path: &str) -> PostTarget {
        format!("{scheme}://127.0.0.1:{}{path}", self.port).parse().unwrap()
    }

    fn client(&self, path: &str) -> PostClient {
        PostClient::new(self.url("http", path), None, LIMIT)
    }

    async fn request(&mut self) -> String {
        self.requests.recv().await.unwrap()
    }
}

/// Answers requests until a response is empty, or there is none left.
async fn serve(
    mut stream: impl AsyncRead + AsyncWrite + Unpin,
    responses: &mut impl Iterator<Item = String>,
    requests: &mpsc::UnboundedSender<String>,
) {
    while let Some(request) = read_request(&mut stream).await {
        requests.send(request).unwrap();
        match responses.next() {
            Some(response) if !response.is_empty() => {
                stream.write_all(response.as_bytes()).await.unwrap();
            }
            _ => return,
        }
    }
}

/// A request with its body, of which the length is in its head.
async fn read_request(stream: &mut (impl AsyncRead + Unpin)) -> Option<String> {
    let mut request = Vec::new();
    loop {
        request.push(stream.read_u8().await.ok()?);
        let text = String::from_utf8_lossy(&request).into_owned();
        let Some((head, body)) = text.split_once("\r\n\r\n") else {
            continue;
        };

        let length = head
            .lines()
            .find_map(|line| line.strip_prefix("content-length: "))
            .map_or(0, |length| length.parse().unwrap());
        if body.len() == length {
            return Some(text);
        }
    }
}

async fn post(client: &mut PostClient, body: &'static str) -> Result<(), PostError> {
    let headers = [("content-type", "text/plain".to_owned())];
    client.post(&headers, Bytes::from_static(body.as_bytes())).await
}

/// The failure of a post to a server with this one response.
async fn failure(response: &str) -> PostFailure {
    let server = TestServer::start(&[response], None).await;
    *post(&mut server.client("/"), "body").await.unwrap_err().reason
}

#[tokio::test]
async fn a_body_is_posted_with_its_headers() {
    let mut server = TestServer::start(&[OK, OK], None).await;
    let target = format!("http://user:geheim@127.0.0.1:{}/a/b?c=d", server.port);
    let mut client = PostClient::new(target.parse().unwrap(), None, LIMIT);

    post(&mut client, "the body").await.unwrap();

    let request = server.request().await;
    let (head, body) = request.split_once("\r\n\r\n").unwrap();
    assert_eq!(body, "the body");
    assert_eq!(head.lines().next(), Some("POST /a/b?c=d HTTP/1.1"));
    for line in [
        "content-type: text/plain",
        "content-length: 8",
        "authorization: Basic dXNlcjpnZWhlaW0=",
        &format!("host: 127.0.0.1:{}", server.port),
    ] {
        assert!(head.lines().any(|it| it == line), "{line}: {head}");
    }

    // The connection is kept: this server accepts only one at a time.
    post(&mut client, "another").await.unwrap();
    assert!(server.request().await.ends_with("another"));
}

#[tokio::test]
async fn a_kept_connection_that_was_closed_is_opened_again() {
    let mut server = TestServer::start(&[OK, "", OK], None).await;
    let mut client = server.client("/");
    post(&mut client, "1").await.unwrap();
    post(&mut client, "2").await.unwrap();

    for body in ["1", "2", "2"] {
        assert!(server.request().await.ends_with(&format!("\r\n\r\n{body}")));
    }
}

#[tokio::test]
async fn each_status_that_is_not_a_success_is_a_failure() {
    for status in [200, 202, 204, 299] {
        let response = format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n");
        let server = TestServer::start(&[&response], None).await;
        post(&mut server.client("/"), "").await.unwrap();
    }
    for status in [300, 307, 404, 429, 500, 999] {
        let failure = failure(&format!("HTTP/1.1 {status} X\r\nContent-Length: 0\r\n\r\n")).await;
        let is_status =
            matches!(&failure, PostFailure::Status { status: it, .. } if it.as_u16() == status);
        assert!(is_status, "{status}: {failure}");
    }
}

#[tokio::test]
async fn the_time_to_wait_is_read_from_the_response() {
    for (text, expected) in [
        ("120", Some(Duration::from_secs(120))),
        ("Fri, 31 Dec 1999 23:59:59 GMT", None),
        ("-1", None),
    ] {
        let failure =
            failure(&format!("HTTP/1.1 503 X\r\nRetry-After: {text}\r\nContent-Length: 0\r\n\r\n"))
                .await;
        assert_eq!(failure.retry_after(), expected, "{text}");
    }
}

#[tokio::test]
async fn only_the_beginning_of_a_body_is_read() {
    let endless = format!("HTTP/1.1 500 X\r\n\r\n{}", "a b\n".repeat(10_000));
    let PostFailure::Status { message, .. } = failure(&endless).await else {
        panic!("no status");
    };
    assert_eq!(message.len(), MAX_SHOWN_CHARS);
    assert!(message.starts_with("a b a b a"), "{message}");

    // A body that does not end does not hold up a success.
    let hanging = "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\n";
    let server = TestServer::start(&[hanging, OK], None).await;
    post(&mut server.client("/"), "").await.unwrap();
}

#[tokio::test]
async fn a_server_that_does_not_answer_fails_after_the_limit() {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let target = format!("http://{}", listener.local_addr().unwrap());
    let limit = Duration::from_millis(50);
    let mut client = PostClient::new(target.parse().unwrap(), None, limit);

    let failure = post(&mut client, "").await.unwrap_err().reason;

    assert!(matches!(*failure, PostFailure::Timeout(time) if time == limit), "{failure}");
}

/// The certificate of a CA of that name, and a server with a certificate of it for 127.0.0.1.
fn tls_server(ca: &str) -> (RootCertStore, TlsAcceptor) {
    let mut params = CertificateParams::default();
    params.distinguished_name.push(DnType::CommonName, ca);
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    let authority = CertifiedIssuer::self_signed(params, KeyPair::generate().unwrap()).unwrap();
    let key = KeyPair::generate().unwrap();
    let certificate = CertificateParams::new(["127.0.0.1".to_owned()])
        .unwrap()
        .signed_by(&key, &authority)
        .unwrap();

    let mut roots = RootCertStore::empty();
    roots.add(authority.der().clone()).unwrap();
    let provider = Arc::new(crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .unwrap()
        .with_no_client_auth()
        .with_single_cert(
            vec![certificate.der().clone()],
            PrivateKeyDer::try_from(key.serialize_der()).unwrap(),
        )
        .unwrap();
    (roots, TlsAcceptor::from(Arc::new(config)))
}

fn trusting(certificates: RootCertStore) -> Option<TlsClient> {
    let origin = "the store of this host".to_owned();
    Some(TlsClient::new(TrustedRoots { certificates, origin }))
}

#[tokio::test]
async fn https_is_encrypted_and_verified() {
    let (roots, acceptor) = tls_server("ours");
    let mut server = TestServer::start(&[OK], Some(acceptor)).await;

    let mut client = PostClient::new(server.url("https", "/"), trusting(roots), LIMIT);
    post(&mut client, "secret").await.unwrap();
    assert!(server.request().await.ends_with("secret"));

    // The server has one connection at a time.
    drop(client);
    let (others, _) = tls_server("another");
    let mut client = PostClient::new(server.url("https", "/"), trusting(others), LIMIT);
    let failure = post(&mut client, "secret").await.unwrap_err().reason;
    assert!(
        matches!(
            &*failure,
            PostFailure::Tls(HandshakeError::Certificate(CertificateRefusal::UnknownIssuer(_)))
        ),
        "{failure}"
    );
}

#[tokio::test]
async fn each_failure_is_explained_without_the_secrets_of_the_url() {
    let target: PostTarget = "https://user:geheim@hooks.example.com/geheim".parse().unwrap();
    let refused = || io::Error::from(io::ErrorKind::HostUnreachable);
    let answered = |status: u16, message: &str, location: Option<&str>| PostFailure::Status {
        status: StatusCode::from_u16(status).unwrap(),
        message: message.to_owned(),
        retry_after: None,
        redirect: location.and_then(|location| location.parse().ok()),
    };
    let unknown = CertificateRefusal::UnknownIssuer("the store of this host".to_owned());
    let other_host = CertificateRefusal::OtherHost {
        names: "example.org".to_owned(),
        host: "hooks.example.com".to_owned(),
        wanted: "DNS:hooks.example.com".to_owned(),
    };

    let failures = [
        ("nothing listens", PostFailure::Refused),
        ("no such name", PostFailure::Unresolved(io::Error::other("PROBLEM"))),
        ("no way to the host", PostFailure::Unreachable(refused())),
        ("closed before the response", failure("").await),
        ("another protocol", failure("SSH-2.0\r\n\r\n").await),
        ("no response in time", PostFailure::Timeout(LIMIT)),
        ("not TLS", PostFailure::Tls(HandshakeError::NotTls)),
        ("an unknown CA", PostFailure::Tls(HandshakeError::Certificate(unknown))),
        ("another host", PostFailure::Tls(HandshakeError::Certificate(other_host))),
        ("a path that is not there", answered(404, "no such hook", None)),
        ("no access", answered(401, "", None)),
        ("an error of the server", answered(500, "out of cheese", None)),
        ("a redirect to TLS", answered(301, "", Some("https://hooks.example.com/geheim"))),
        ("a redirect to a path", answered(302, "", Some("/geheim"))),
    ]
    .map(|(given, reason)| {
        let error = PostError { target: target.clone(), reason: Box::new(reason) };
        assert!(!error.to_string().contains("geheim"), "{error}");
        (given, error)
    });
    assert_catalogue("post-failures", failures);
}

#[test]
fn the_text_of_a_body_is_one_line() {
    let target = "http://hooks.example.com/".parse().unwrap();
    let shown_text = |body: &[u8]| shown_text(body, &target);

    assert_eq!(shown_text(b"no\r\n such\thook\x1b[31m"), "no such hook[31m");
    assert_eq!(shown_text(b" <!DOCTYPE html><p>no such hook"), "");
    assert_eq!(shown_text(b"\xff"), "\u{fffd}");
}

#[test]
fn a_body_that_quotes_the_path_is_not_shown() {
    let target = "http://a.example.com/hooks/T0K3N%2B0815?key=s3cr3t".parse().unwrap();
    for body in [
        r#"{"status":404,"path":"/hooks/T0K3N+0815"}"#,
        r#"{"path":"\/hooks\/T0K3N%2B0815"}"#,
        "no hook T0K3N%2b0815",
        "unknown key=s3cr3t",
    ] {
        assert_eq!(shown_text(body.as_bytes(), &target), "", "{body}");
    }

    // Also if the beginning that would be shown ends within the path.
    let long = format!("{}/hooks/T0K3N%2B0815", "x".repeat(MAX_SHOWN_CHARS - 10));
    assert_eq!(shown_text(long.as_bytes(), &target), "");

    let harmless = "no /hook with that key";
    assert_eq!(shown_text(harmless.as_bytes(), &target), harmless);
}
