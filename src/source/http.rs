//! One HTTP/1.1 connection to whoever is read from. Only GET is ever sent over it.

use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http_body_util::{BodyExt, Empty};
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper::header::{HOST, USER_AGENT};
use hyper::{Request, Response};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

/// A connection. Dropping it closes the socket. It moves only while somebody waits for what it
/// brings: a task of its own would be woken for each piece, to wake who waits.
pub(super) struct Connection {
    requests: SendRequest<Empty<Bytes>>,
    driver: Driver,
}

impl fmt::Debug for Connection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Connection")
            .field("requests", &self.requests)
            .finish_non_exhaustive()
    }
}

impl Connection {
    pub(super) async fn over(
        stream: impl AsyncRead + AsyncWrite + Send + Sync + Unpin + 'static,
    ) -> hyper::Result<Self> {
        let (requests, driver) = http1::handshake(TokioIo::new(stream)).await?;
        let driver = async {
            // What ends it is told to the request under way too, and without one nobody need know.
            let _ = driver.await;
        };
        Ok(Self {
            requests,
            driver: Driver { driven: Some(Box::pin(driver)), woken: Arc::default() },
        })
    }

    /// Sends a request, and waits for the head of its answer.
    pub(super) async fn send(
        &mut self,
        request: Request<Empty<Bytes>>,
    ) -> hyper::Result<Response<Incoming>> {
        let requests = &mut self.requests;
        let asked = async {
            requests.ready().await?;
            requests.send_request(request).await
        };
        self.driver.drive(asked).await
    }

    /// The next piece of the body of the answer that came last.
    pub(super) async fn frame(
        &mut self,
        body: &mut Incoming,
    ) -> Option<hyper::Result<Frame<Bytes>>> {
        self.driver.drive(body.frame()).await
    }
}

/// What moves a connection on.
struct Driver {
    /// None as soon as it has ended.
    driven: Option<Pin<Box<dyn Future<Output = ()> + Send + Sync>>>,
    woken: Arc<Woken>,
}

impl Driver {
    /// Waits for what the connection brings, and moves it on meanwhile. The two wake each other for
    /// each piece: that is seen to at once, and the task is woken only by what comes from without.
    async fn drive<T>(&mut self, awaited: impl Future<Output = T>) -> T {
        let Self { driven, woken } = self;
        let (mut awaited, waker) = (pin!(awaited), Waker::from(woken.clone()));
        poll_fn(|context| {
            let mut within = Context::from_waker(&waker);
            loop {
                woken.task.take();
                woken.again.store(false, SeqCst);
                if let Poll::Ready(brought) = awaited.as_mut().poll(&mut within) {
                    return Poll::Ready(brought);
                }
                driven.take_if(|driven| driven.as_mut().poll(&mut within).is_ready());
                woken.task.register(context.waker());
                if !woken.again.load(SeqCst) {
                    return Poll::Pending;
                }
            }
        })
        .await
    }
}

/// Whom to wake: while the task polls there is none, but it polls again.
#[derive(Default)]
struct Woken {
    task: AtomicWaker,
    again: AtomicBool,
}

impl Wake for Woken {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.again.store(true, SeqCst);
        self.task.wake();
    }
}

/// A request for a path, of the host that `authority` names.
pub(super) fn get(
    authority: &str,
    path: &str,
) -> Result<Request<Empty<Bytes>>, hyper::http::Error> {
    Request::get(path)
        .header(HOST, authority)
        .header(USER_AGENT, concat!("fleet-monitor/", env!("CARGO_PKG_VERSION")))
        .body(Empty::new())
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use futures_util::FutureExt;
    use tokio::sync::{mpsc, oneshot};
    use tokio::task::consume_budget;

    use super::*;

    fn driver(driven: impl Future<Output = ()> + Send + Sync + 'static) -> Driver {
        Driver { driven: Some(Box::pin(driven)), woken: Arc::default() }
    }

    #[tokio::test]
    async fn who_waits_and_what_is_driven_wake_each_other() {
        let (questions, mut asked) = mpsc::unbounded_channel();
        let mut driver = driver(async move {
            while let Some((number, answer)) = asked.recv().await {
                let answer: oneshot::Sender<_> = answer;
                answer.send(number + 1).unwrap();
            }
        });
        for number in 0..3 {
            let (answer, answered) = oneshot::channel();
            questions.send((number, answer)).unwrap();
            assert_eq!(driver.drive(answered).await, Ok(number + 1));
        }
        // What ends meanwhile is not asked again.
        drop(questions);
        assert_eq!(driver.drive(pending::<()>()).now_or_never(), None);
        assert!(driver.driven.is_none());
        assert_eq!(driver.drive(async { 7 }).await, 7);
    }

    #[tokio::test]
    async fn what_comes_from_without_wakes_who_waits() {
        let (from_without, within) = oneshot::channel();
        let (brings, brought) = oneshot::channel();
        let mut driver = driver(async move { brings.send(within.await.unwrap()).unwrap() });
        let (brought, ()) = tokio::join!(driver.drive(brought), async {
            tokio::task::yield_now().await;
            from_without.send(7).unwrap();
        });
        assert_eq!(brought, Ok(7));
    }

    /// More than a task may do before it lets others: the wake for that must come from without, or
    /// it would ask for ever.
    #[tokio::test]
    async fn what_has_much_to_do_lets_others() {
        let (brings, brought) = oneshot::channel();
        let mut driver = driver(async move {
            for _ in 0..1000 {
                consume_budget().await;
            }
            brings.send(()).unwrap();
        });
        assert_eq!(driver.drive(brought).await, Ok(()));
    }
}
