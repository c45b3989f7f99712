//! A TCP stream that can batch what it receives. It does not know what the bytes mean.
//!
//! etcd sends each event of a stream by itself, and to wake a task for each costs several times as
//! much as to read it. So while batching is on, the stream pauses after each read, and deregisters
//! the socket from the runtime for the time of the pause: what arrives then wakes no task.

use std::io::{self, ErrorKind, Read};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

/// How long a pause is.
const BATCH_DELAY: Duration = Duration::from_millis(4);

/// Turns the batching of a stream on and off, from the next read on.
#[derive(Clone, Debug, Default)]
pub(super) struct BatchingSwitch(Arc<AtomicBool>);

impl BatchingSwitch {
    pub(super) fn turn_on(&self) {
        self.0.store(true, Relaxed);
    }

    pub(super) fn turn_off(&self) {
        self.0.store(false, Relaxed);
    }

    fn is_on(&self) -> bool {
        self.0.load(Relaxed)
    }
}

/// A TCP stream that batches what it receives, while its switch is on.
#[derive(Debug)]
pub(super) struct BatchingStream {
    /// The socket while it is registered with the runtime.
    registered: Option<TcpStream>,
    /// The socket during a pause, and after it as long as each read finds data.
    paused: Option<std::net::TcpStream>,
    /// The end of the last pause.
    pause: Pin<Box<Sleep>>,
    batching: BatchingSwitch,
}

impl BatchingStream {
    pub(super) fn new(stream: TcpStream, batching: BatchingSwitch) -> Self {
        Self {
            registered: Some(stream),
            paused: None,
            pause: Box::pin(sleep(Duration::ZERO)),
            batching,
        }
    }

    /// The socket, registered with the runtime again if it was not.
    fn registered(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        if let Some(stream) = self.paused.take() {
            self.registered = Some(TcpStream::from_std(stream)?);
        }
        self.registered
            .as_mut()
            .map(Pin::new)
            .ok_or_else(|| ErrorKind::NotConnected.into())
    }

    /// Deregisters the socket from the runtime, and starts a pause.
    fn start_pause(&mut self) -> io::Result<()> {
        if let Some(stream) = self.registered.take() {
            self.paused = Some(stream.into_std()?);
        }
        self.pause.as_mut().reset(Instant::now() + BATCH_DELAY);
        Ok(())
    }
}

impl AsyncRead for BatchingStream {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let filled_before = buffer.filled().len();
        if self.paused.is_some() {
            ready!(self.pause.as_mut().poll(context));
        }

        let read_after_pause = self
            .paused
            .as_mut()
            .map(|stream| stream.read(buffer.initialize_unfilled()));
        match read_after_pause {
            Some(Ok(count)) => buffer.advance(count),
            Some(Err(error))
                if !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
            {
                return Poll::Ready(Err(error));
            }
            _ => ready!(self.registered()?.poll_read(context, buffer))?,
        }

        // If the buffer is full, there may be more to read at once.
        let has_read = buffer.filled().len() > filled_before;
        if self.batching.is_on() && has_read && buffer.remaining() > 0 {
            self.start_pause()?;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for BatchingStream {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.registered()?.poll_write(context, bytes)
    }

    /// A socket has no buffer of its own to flush, so there is no reason to end a pause.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.registered()?.poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    /// A stream with its switch, and its peer.
    async fn pair() -> (BatchingStream, BatchingSwitch, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let peer = listener.accept().await.unwrap().0;
        // Sends without delay, as etcd does.
        peer.set_nodelay(true).unwrap();

        let batching = BatchingSwitch::default();
        (BatchingStream::new(stream, batching.clone()), batching, peer)
    }

    #[tokio::test]
    async fn it_pauses_after_each_read_and_loses_nothing() {
        let (mut stream, batching, mut peer) = pair().await;
        batching.turn_on();
        let mut buffer = [0; 8];
        for round in 0..3 {
            peer.write_all(b"a").await.unwrap();
            assert_eq!(stream.read(&mut buffer).await.unwrap(), 1, "{round}");

            let read = Instant::now();
            for _ in 0..4 {
                peer.write_all(b"b").await.unwrap();
            }
            assert_eq!(stream.read(&mut buffer).await.unwrap(), 4, "{round}");
            assert!(read.elapsed() >= BATCH_DELAY);
            assert!(stream.registered.is_none(), "nobody is woken meanwhile");

            // Nothing is there at the end of this pause: it waits for more.
            let (count, written) = tokio::join!(stream.read(&mut buffer), async {
                sleep(BATCH_DELAY * 2).await;
                peer.write_all(b"c").await
            });
            written.unwrap();
            assert_eq!(count.unwrap(), 1, "{round}");
        }

        stream.write_all(b"in a pause").await.unwrap();
        let mut text = [0; 10];
        peer.read_exact(&mut text).await.unwrap();
        assert_eq!(&text, b"in a pause");

        drop(peer);
        assert_eq!(stream.read(&mut buffer).await.unwrap(), 0);
        assert_eq!(stream.read(&mut buffer).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn it_does_not_pause_while_there_is_more_than_the_buffer_holds() {
        let (mut stream, batching, mut peer) = pair().await;
        batching.turn_on();
        peer.write_all(b"abcdef").await.unwrap();
        let mut buffer = [0; 2];
        for expected in [b"ab", b"cd", b"ef"] {
            stream.read_exact(&mut buffer).await.unwrap();
            assert_eq!(&buffer, expected);
            assert!(stream.paused.is_none());
        }
    }

    #[tokio::test]
    async fn it_pauses_only_while_the_switch_is_on() {
        let (mut stream, batching, mut peer) = pair().await;
        let mut buffer = [0; 8];
        for (is_on, is_paused) in [(false, false), (true, true), (false, true), (false, false)] {
            if is_on {
                batching.turn_on();
            } else {
                batching.turn_off();
            }
            peer.write_all(b"a").await.unwrap();
            assert_eq!(stream.read(&mut buffer).await.unwrap(), 1);

            // After a pause, it goes on to read in the same way as long as it finds something.
            assert_eq!(stream.paused.is_some(), is_paused, "on: {is_on}");
            if !is_on {
                stream.write_all(b"a").await.unwrap();
                assert!(stream.paused.is_none());
            }
        }
    }
}
