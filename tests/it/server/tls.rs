//! HTTPS and WSS, with clients of rustls.

use std::fs;
use std::io::ErrorKind;

use fleet_monitor::server;
use tokio::net::UnixStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use tokio_rustls::rustls::version::{TLS12, TLS13};
use tokio_rustls::rustls::{
    ClientConfig, ProtocolVersion, RootCertStore, SupportedProtocolVersion, crypto,
};
use tokio_tungstenite::client_async;

use super::*;
use crate::support::certificates::CertificateFiles;

const VERSIONS: [&SupportedProtocolVersion; 2] = [&TLS12, &TLS13];

/// What a client of the tests does in its handshake.
struct Hello {
    versions: Vec<&'static SupportedProtocolVersion>,
    protocols: Vec<&'static [u8]>,
    /// The name of the client's certificate and key.
    certificate: Option<&'static str>,
}

impl Default for Hello {
    fn default() -> Self {
        Self {
            versions: VERSIONS.to_vec(),
            protocols: vec![b"http/1.1"],
            certificate: None,
        }
    }
}

/// A server with the certificate `ours-server`.
struct TlsBench {
    files: CertificateFiles,
    bench: ServerBench,
}

impl TlsBench {
    async fn start() -> Self {
        Self::with(None, Timing::default()).await
    }

    async fn with(client_ca: Option<&str>, timing: Timing) -> Self {
        let files = CertificateFiles::new();
        for end in ["pem", "key"] {
            fs::copy(
                files.path(&format!("ours-server.{end}")),
                files.path(&format!("server.{end}")),
            )
            .unwrap();
        }

        let tls = server::ServerTls::read(server::CertificateFiles {
            cert: files.path("server.pem"),
            key: files.path("server.key"),
            client_ca: client_ca.map(|name| files.path(name)),
        });
        let settings = ServerSettings { tls: Some(tls.unwrap()), ..settings() };
        let mut bench = ServerBench::with(settings, timing, Publish::Changes).await;
        bench.read_all(&view(&[]));
        Self { files, bench }
    }

    async fn tcp(&self) -> TcpStream {
        TcpStream::connect(self.bench.address).await.unwrap()
    }

    async fn connect(&self, hello: &Hello) -> std::io::Result<TlsStream<TcpStream>> {
        self.connect_over(self.tcp().await, hello, "ours").await
    }

    /// Performs the handshake, and trusts the CA of that name.
    async fn connect_over(
        &self,
        stream: TcpStream,
        hello: &Hello,
        authority: &str,
    ) -> std::io::Result<TlsStream<TcpStream>> {
        let certificate = |name: &str| {
            CertificateDer::from_pem_file(self.files.path(&format!("{name}.pem"))).unwrap()
        };
        let mut roots = RootCertStore::empty();
        roots.add(certificate(authority)).unwrap();

        let provider = Arc::new(crypto::ring::default_provider());
        let builder = ClientConfig::builder_with_provider(provider)
            .with_protocol_versions(&hello.versions)
            .unwrap()
            .with_root_certificates(roots);
        let mut config = match hello.certificate {
            None => builder.with_no_client_auth(),
            Some(name) => {
                let key = self.files.path(&format!("{name}.key"));
                let key = PrivateKeyDer::from_pem_file(key).unwrap();
                builder.with_client_auth_cert(vec![certificate(name)], key).unwrap()
            }
        };
        config.alpn_protocols = hello.protocols.iter().map(|name| name.to_vec()).collect();

        let name = ServerName::try_from("localhost").unwrap();
        let connecting = TlsConnector::from(Arc::new(config)).connect(name, stream);
        timeout(PATIENCE, connecting).await.expect("in time")
    }

    /// The answer to a request over TLS.
    async fn get(&self, path: &str, hello: &Hello) -> std::io::Result<Response> {
        let mut stream = self.connect(hello).await?;
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(request.as_bytes()).await?;

        let mut answer = Vec::new();
        timeout(PATIENCE, stream.read_to_end(&mut answer))
            .await
            .expect("in time")?;
        Ok(Response::parse(&answer))
    }

    async fn websocket(
        &self,
        stream: TlsStream<TcpStream>,
    ) -> WebSocketStream<TlsStream<TcpStream>> {
        let (socket, _) = client_async("wss://localhost/", stream).await.unwrap();
        socket
    }

    fn failed_handshakes(&self) -> u64 {
        self.bench.metric("fleet_monitor_tls_handshakes_failed_total ")
    }

    /// Replaces the server's certificate and key as certbot does: each by a rename.
    fn replace_by(&self, name: &str) {
        for end in ["pem", "key"] {
            let new = self.files.path("new");
            fs::copy(self.files.path(&format!("{name}.{end}")), &new).unwrap();
            fs::rename(new, self.files.path(&format!("server.{end}"))).unwrap();
        }
    }
}

#[tokio::test]
async fn both_versions_are_spoken_and_http_1_1_is_agreed_on() {
    let server = TlsBench::start().await;
    for (version, spoken) in
        [(&TLS12, ProtocolVersion::TLSv1_2), (&TLS13, ProtocolVersion::TLSv1_3)]
    {
        let hello = Hello {
            versions: vec![version],
            protocols: vec![b"h2", b"http/1.1"],
            ..Hello::default()
        };

        let stream = server.connect(&hello).await.unwrap();
        let connection = stream.get_ref().1;
        assert_eq!(connection.protocol_version(), Some(spoken));
        assert_eq!(connection.alpn_protocol(), Some(&b"http/1.1"[..]));
        assert_eq!(server.get("/v2/state", &hello).await.unwrap().status, 200);
    }

    let without = Hello { protocols: vec![], ..Hello::default() };
    assert_eq!(server.get("/healthz", &without).await.unwrap().status, 200);
    let other = Hello { protocols: vec![b"h2"], ..Hello::default() };
    assert!(server.get("/healthz", &other).await.is_err());
}

#[tokio::test]
async fn a_request_without_tls_is_redirected() {
    let server = TlsBench::start().await;
    let address = server.bench.address;

    let answer = server.bench.get("/v2/state?unit=a%20b").await;
    assert_eq!(answer.status, 308);
    assert_eq!(answer.headers["location"], format!("https://{address}/v2/state?unit=a%20b"));

    for (host, location) in [("core-01", "https://core-01:80/"), ("[::1]", "https://[::1]:80/")] {
        let answer = server.bench.request("GET", "/", &[("Host", host)]).await;
        assert_eq!(answer.headers["location"], location);
    }
    // Nobody is sent to a host that is not this one.
    let answer = server.bench.request("GET", "/", &[("Host", "evil.example")]).await;
    assert_eq!((answer.status, answer.headers.get("location")), (403, None));

    let refused = connect_async(format!("ws://{address}/"))
        .await
        .expect_err("a redirect");
    assert!(matches!(refused, Error::Http(answer) if answer.status() == 308));
    assert_eq!(server.failed_handshakes(), 0);
}

#[tokio::test]
async fn a_unix_socket_has_no_tls() {
    let server = TlsBench::start().await;
    let path = server.files.path("socket");
    let listener = server::listen::listen(
        Some("127.0.0.1".parse().unwrap()),
        0,
        &[format!("unix://{}", path.display()).parse().unwrap()],
    );
    for listener in listener.unwrap() {
        let server = server.bench.server.clone();
        tokio::spawn(async move { server.serve(listener).await });
    }

    let mut stream = UnixStream::connect(&path).await.unwrap();
    stream
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .await
        .unwrap();
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).await.unwrap();
    assert_eq!(Response::parse(&answer).status, 200);
}

#[tokio::test]
async fn a_websocket_and_an_event_stream_get_all_and_end_with_an_alert() {
    let mut server = TlsBench::start().await;
    let stream = server.connect(&Hello::default()).await.unwrap();
    let mut client = server.websocket(stream).await;
    let mut events = server.connect(&Hello::default()).await.unwrap();
    events
        .write_all(b"GET /v2/events HTTP/1.1\r\nHost: localhost\r\n\r\n")
        .await
        .unwrap();

    let units: Vec<String> = (0..4000).map(|number| format!("u{number}.service")).collect();
    let units: Vec<_> = units.iter().map(|unit| (&**unit, "running")).collect();
    server.bench.read_all(&view(&units));

    // More than fits into the buffers of the kernel and of TLS.
    loop {
        let message = timeout(PATIENCE, client.next())
            .await
            .expect("in time")
            .unwrap()
            .unwrap();
        if message.is_text() && message.to_text().unwrap().contains("u3999.service") {
            break;
        }
    }
    let mut received = Vec::new();
    while !String::from_utf8_lossy(&received).contains("u3999.service") {
        timeout(PATIENCE, events.read_buf(&mut received))
            .await
            .expect("in time")
            .unwrap();
    }

    server.bench.stop.cancel();
    // An end without an alert would be an error.
    timeout(PATIENCE, events.read_to_end(&mut received))
        .await
        .expect("in time")
        .unwrap();
}

#[tokio::test]
async fn one_who_reads_late_gets_every_byte() {
    let mut server = TlsBench::start().await;
    let narrow = server.bench.narrow_connection().await;
    let stream = server.connect_over(narrow, &Hello::default(), "ours").await.unwrap();
    let mut client = server.websocket(stream).await;

    let units: Vec<String> = (0..20_000).map(|number| format!("u{number}.service")).collect();
    let units: Vec<_> = units.iter().map(|unit| (&**unit, "running")).collect();
    server.bench.read_all(&view(&units));
    // Only now it reads.
    let text = loop {
        let message = timeout(PATIENCE, client.next())
            .await
            .expect("in time")
            .unwrap()
            .unwrap();
        match message {
            Message::Text(text) if text.len() > 1 << 20 => break text,
            _ => {}
        }
    };
    let list: serde_json::Value = serde_json::from_str(&text).unwrap();
    assert_eq!(list["items"].as_array().unwrap().len(), units.len());
}

#[tokio::test]
async fn with_a_client_ca_each_client_needs_a_certificate_of_it() {
    let server = TlsBench::with(Some("ours.pem"), Timing::default()).await;
    let with =
        |certificate, version| Hello { certificate, versions: vec![version], ..Hello::default() };

    for version in VERSIONS {
        let known = server.get("/v2/state", &with(Some("ours-client"), version)).await;
        assert_eq!(known.unwrap().status, 200);

        for certificate in [None, Some("another-client")] {
            assert!(server.get("/v2/state", &with(certificate, version)).await.is_err());
        }
    }
    server
        .bench
        .until("four failures", |bench| {
            bench.metric("fleet_monitor_tls_handshakes_failed_total ") == 4
        })
        .await;
}

#[tokio::test]
async fn a_replaced_certificate_is_used_for_new_connections() {
    let timing = Timing { certificate: Duration::from_millis(20), ..Timing::default() };
    let server = TlsBench::with(None, timing).await;
    let following = server.bench.server.clone();
    tokio::spawn(async move { following.follow_certificate().await });
    let before = server.connect(&Hello::default()).await.unwrap();
    let mut before = server.websocket(before).await;

    // Half of it: nothing is used until the other half is there.
    fs::copy(server.files.path("another-server.key"), server.files.path("server.key")).unwrap();
    server
        .connect(&Hello::default())
        .await
        .expect("the certificate before");
    server.replace_by("another-server");

    let deadline = Instant::now() + PATIENCE;
    while server
        .connect_over(server.tcp().await, &Hello::default(), "another")
        .await
        .is_err()
    {
        assert!(Instant::now() < deadline, "the new certificate did not come");
    }
    assert!(server.connect(&Hello::default()).await.is_err(), "it is of another CA");

    before.send(Message::Ping(vec![1].into())).await.unwrap();
    loop {
        let message = timeout(PATIENCE, before.next())
            .await
            .expect("in time")
            .unwrap()
            .unwrap();
        if message.is_pong() {
            break;
        }
    }
}

#[tokio::test]
async fn a_handshake_has_to_be_complete_in_time() {
    let timing = Timing { handshake: Duration::from_millis(200), ..Timing::default() };
    let server = TlsBench::with(None, timing).await;

    let mut silent = server.tcp().await;
    // The head of a record with a handshake of 512 bytes, and the beginning of the handshake.
    let mut half = server.tcp().await;
    half.write_all(&[22, 3, 1, 2, 0, 1, 0, 1]).await.unwrap();
    let mut garbage = server.tcp().await;
    garbage.write_all(&[22; 4096]).await.unwrap();

    for stream in [&mut silent, &mut half, &mut garbage] {
        let mut answer = Vec::new();
        let ended = timeout(PATIENCE, stream.read_to_end(&mut answer))
            .await
            .expect("in time");
        assert!(ended.is_ok_and(|_| true) || answer.is_empty());
    }
    server
        .bench
        .until("three failures", |bench| {
            bench.metric("fleet_monitor_tls_handshakes_failed_total ") == 3
        })
        .await;

    // One who only looks whether somebody listens.
    drop(server.tcp().await);
    assert_eq!(server.get("/healthz", &Hello::default()).await.unwrap().status, 200);
    assert_eq!(server.failed_handshakes(), 3);
}

#[tokio::test]
async fn half_handshakes_leave_room_for_others() {
    OpenFileLimit::raise();
    let server = TlsBench::start().await;
    let stream = server.connect(&Hello::default()).await.unwrap();
    let mut client = server.websocket(stream).await;

    let mut strangers = Vec::new();
    for _ in 0..2000 {
        let mut stranger = server.tcp().await;
        // It may be refused already.
        let _ = stranger.write_all(&[22, 3, 1, 2, 0, 1]).await;
        strangers.push(stranger);
    }
    server
        .bench
        .until("a refusal", |bench| bench.dropped("crowded") >= 2000 - 1024)
        .await;

    // Those who are connected notice nothing, and as soon as there is room again, others come in.
    client.send(Message::Ping(vec![1].into())).await.unwrap();
    while !timeout(PATIENCE, client.next())
        .await
        .expect("in time")
        .unwrap()
        .unwrap()
        .is_pong()
    {}
    drop(strangers);
    let deadline = Instant::now() + PATIENCE;
    loop {
        match server.get("/healthz", &Hello::default()).await {
            Ok(answer) => {
                assert_eq!(answer.status, 200);
                break;
            }
            Err(error) => {
                let may_come = error.kind() != ErrorKind::TimedOut && Instant::now() < deadline;
                assert!(may_come, "{error}");
            }
        }
    }
}
