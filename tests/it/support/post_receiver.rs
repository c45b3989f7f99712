//! An HTTP server that records what is posted to it, and answers as the test sets.
//!
//! The unit tests of the crate include this file too.

use std::collections::HashMap;
use std::convert::Infallible;
use std::future::pending;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use serde_json::Value;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::task::JoinSet;
use tokio::time::timeout;

/// What the server does with a request.
#[derive(Clone, Debug)]
pub enum Answer {
    /// Answers with this status and these headers.
    Status(u16, Vec<(&'static str, String)>),
    /// Reads the request, and does not answer.
    Hang,
}

/// A request that was posted.
#[derive(Clone, Debug)]
pub struct Posted {
    pub path: String,
    /// By name, in lower case.
    pub headers: HashMap<String, String>,
    pub body: Bytes,
}

impl Posted {
    pub fn json(&self) -> Value {
        serde_json::from_slice(&self.body).expect("JSON")
    }
}

/// A server. Dropping it closes its connections.
pub struct PostReceiver {
    pub address: SocketAddr,
    posted: mpsc::UnboundedReceiver<Posted>,
    answer: Arc<Mutex<Answer>>,
    _accepting: JoinSet<()>,
}

impl PostReceiver {
    /// A server at a free port, which accepts everything.
    pub async fn start() -> Self {
        Self::start_at("127.0.0.1:0".parse().unwrap()).await
    }

    /// The same at a port that was used before.
    pub async fn start_at(address: SocketAddr) -> Self {
        let listener = TcpListener::bind(address).await.unwrap();
        let address = listener.local_addr().unwrap();
        let (sender, posted) = mpsc::unbounded_channel();
        let answer = Arc::new(Mutex::new(Answer::Status(200, Vec::new())));

        let mut accepting = JoinSet::new();
        accepting.spawn(accept(listener, sender, answer.clone()));
        Self { address, posted, answer, _accepting: accepting }
    }

    pub fn url(&self) -> String {
        format!("http://{}", self.address)
    }

    /// Answers with this status from now on.
    pub fn set_status(&self, status: u16) {
        self.set(Answer::Status(status, Vec::new()));
    }

    pub fn set(&self, answer: Answer) {
        *self.answer.lock().unwrap() = answer;
    }

    /// Waits for the next request.
    pub async fn next(&mut self) -> Posted {
        timeout(Duration::from_secs(60), self.posted.recv())
            .await
            .expect("a request within a minute")
            .expect("the server runs")
    }

    /// The next request, if it has come already.
    pub fn take(&mut self) -> Option<Posted> {
        self.posted.try_recv().ok()
    }
}

async fn accept(
    listener: TcpListener,
    sender: mpsc::UnboundedSender<Posted>,
    answer: Arc<Mutex<Answer>>,
) {
    let mut connections = JoinSet::new();
    loop {
        let stream = listener.accept().await.unwrap().0;
        let sender = sender.clone();
        let answer = answer.clone();
        let service = service_fn(move |request| {
            let sender = sender.clone();
            let answer = answer.lock().unwrap().clone();
            async move { respond(request, &sender, answer).await }
        });

        connections.spawn(async move {
            // A client may close its connection at any time.
            let _ = http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn respond(
    request: Request<Incoming>,
    sender: &mpsc::UnboundedSender<Posted>,
    answer: Answer,
) -> Result<Response<Full<Bytes>>, Infallible> {
    let (head, body) = request.into_parts();
    let headers = head
        .headers
        .iter()
        .map(|(name, value)| (name.as_str().to_owned(), value.to_str().unwrap().to_owned()));
    let posted = Posted {
        path: head.uri.to_string(),
        headers: headers.collect(),
        body: body.collect().await.unwrap().to_bytes(),
    };
    // The test may have ended.
    let _ = sender.send(posted);

    match answer {
        Answer::Hang => pending().await,
        Answer::Status(status, headers) => {
            let mut response = Response::builder().status(status);
            for (name, value) in headers {
                response = response.header(name, value);
            }
            Ok(response.body(Full::default()).unwrap())
        }
    }
}
