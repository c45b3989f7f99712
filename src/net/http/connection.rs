//! One HTTP/1.1 connection. It has no task of its own: the task that waits for a response polls it.
//! It does not know what is requested.

use std::fmt;
use std::future::poll_fn;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::SeqCst};
use std::task::{Context, Poll, Wake, Waker};

use bytes::Bytes;
use futures_util::task::AtomicWaker;
use http_body_util::{BodyExt, Full};
use hyper::Response;
use hyper::body::{Frame, Incoming};
use hyper::client::conn::http1::{self, SendRequest};
use hyper_util::rt::TokioIo;
use tokio::io::{AsyncRead, AsyncWrite};

use super::HttpRequest;
use super::marked_stream::{MarkedStream, ReadMark};

/// A connection. Dropping it closes the socket.
///
/// It makes progress only while a caller waits for a response or for a part of a body. If it had a
/// task of its own, that task would be woken for each part, only to wake the caller.
pub(crate) struct HttpConnection {
    requests: SendRequest<Full<Bytes>>,
    received: ReadMark,
    driver: ConnectionDriver,
}

impl fmt::Debug for HttpConnection {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpConnection")
            .field("requests", &self.requests)
            .finish_non_exhaustive()
    }
}

impl HttpConnection {
    /// Speaks HTTP over a stream.
    pub(crate) async fn over(
        stream: impl AsyncRead + AsyncWrite + Send + Sync + Unpin + 'static,
    ) -> hyper::Result<Self> {
        let received = ReadMark::default();
        let stream = TokioIo::new(MarkedStream::new(stream, received.clone()));
        let (requests, connection) = http1::handshake(stream).await?;
        let connection = async {
            // A request that is under way fails with the same error. Without a request, the error
            // does not matter.
            let _ = connection.await;
        };

        Ok(Self {
            requests,
            received,
            driver: ConnectionDriver::new(connection),
        })
    }

    /// Sends a request, and waits for the head of the response.
    pub(crate) async fn send(&mut self, request: HttpRequest) -> hyper::Result<Response<Incoming>> {
        self.received.clear();

        let requests = &mut self.requests;
        let response = async {
            requests.ready().await?;
            requests.send_request(request).await
        };
        self.driver.drive(response).await
    }

    /// Whether anything was received since the last request.
    pub(super) fn has_received(&self) -> bool {
        self.received.is_set()
    }

    /// Waits for the next frame of the last response's body.
    pub(crate) async fn frame(
        &mut self,
        body: &mut Incoming,
    ) -> Option<hyper::Result<Frame<Bytes>>> {
        self.driver.drive(body.frame()).await
    }
}

/// Polls a connection together with what a caller waits for.
struct ConnectionDriver {
    /// `None` as soon as the connection has ended.
    connection: Option<Pin<Box<dyn Future<Output = ()> + Send + Sync>>>,
    waker: Arc<DriverWaker>,
}

impl ConnectionDriver {
    fn new(connection: impl Future<Output = ()> + Send + Sync + 'static) -> Self {
        Self {
            connection: Some(Box::pin(connection)),
            waker: Arc::default(),
        }
    }

    /// Waits for a future that the connection completes, and polls the connection meanwhile.
    ///
    /// The future and the connection wake each other for each part of a body. Such a wake only
    /// makes this loop poll both again. The task itself is woken only by events from outside, such
    /// as those of the socket.
    async fn drive<T>(&mut self, future: impl Future<Output = T>) -> T {
        let Self { connection, waker } = self;
        let mut future = pin!(future);
        let inner_waker = Waker::from(waker.clone());

        poll_fn(|context| {
            let mut inner_context = Context::from_waker(&inner_waker);
            loop {
                waker.task.take();
                waker.is_woken.store(false, SeqCst);

                if let Poll::Ready(output) = future.as_mut().poll(&mut inner_context) {
                    return Poll::Ready(output);
                }
                connection
                    .take_if(|connection| connection.as_mut().poll(&mut inner_context).is_ready());

                waker.task.register(context.waker());
                if !waker.is_woken.load(SeqCst) {
                    return Poll::Pending;
                }
            }
        })
        .await
    }
}

/// The waker of a driver: it wakes the task. But if the task is just polling the driver, it only
/// makes the driver poll once more.
#[derive(Default)]
struct DriverWaker {
    /// Empty while the driver polls.
    task: AtomicWaker,
    is_woken: AtomicBool,
}

impl Wake for DriverWaker {
    fn wake(self: Arc<Self>) {
        self.wake_by_ref();
    }

    fn wake_by_ref(self: &Arc<Self>) {
        self.is_woken.store(true, SeqCst);
        self.task.wake();
    }
}

#[cfg(test)]
mod tests {
    use std::future::pending;

    use futures_util::FutureExt;
    use tokio::sync::{mpsc, oneshot};
    use tokio::task::consume_budget;

    use super::*;

    #[tokio::test]
    async fn caller_and_connection_wake_each_other() {
        let (questions, mut asked) = mpsc::unbounded_channel();
        let mut driver = ConnectionDriver::new(async move {
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

        // A connection that has ended is not polled again.
        drop(questions);
        assert_eq!(driver.drive(pending::<()>()).now_or_never(), None);
        assert!(driver.connection.is_none());
        assert_eq!(driver.drive(async { 7 }).await, 7);
    }

    #[tokio::test]
    async fn an_event_from_outside_wakes_the_caller() {
        let (outside, inside) = oneshot::channel();
        let (sender, receiver) = oneshot::channel();
        let mut driver =
            ConnectionDriver::new(async move { sender.send(inside.await.unwrap()).unwrap() });

        let (received, ()) = tokio::join!(driver.drive(receiver), async {
            tokio::task::yield_now().await;
            outside.send(7).unwrap();
        });

        assert_eq!(received, Ok(7));
    }

    /// A task that has used up its budget is pending, and woken at once. If that wake came from
    /// inside, the driver would poll for ever.
    #[tokio::test]
    async fn a_connection_with_much_to_do_yields_to_other_tasks() {
        let (sender, receiver) = oneshot::channel();
        let mut driver = ConnectionDriver::new(async move {
            for _ in 0..1000 {
                consume_budget().await;
            }
            sender.send(()).unwrap();
        });

        assert_eq!(driver.drive(receiver).await, Ok(()));
    }
}
