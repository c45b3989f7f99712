//! A TCP stream that lets what comes gather before it is read. It knows nothing of what comes.
//!
//! etcd sends each event of a stream by itself, and to be woken for each costs several times as
//! much as to read it. So while this [gathers](Gathers), it rests after each reading, and for so
//! long takes the socket away from the runtime: what arrives then wakes nobody.

use std::io::{self, ErrorKind, Read};
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering::Relaxed};
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite, ReadBuf};
use tokio::net::TcpStream;
use tokio::time::{Instant, Sleep, sleep};

/// How long it rests.
const REST: Duration = Duration::from_millis(4);

/// Whether a stream gathers.
#[derive(Clone, Debug, Default)]
pub(super) struct Gathers(Arc<AtomicBool>);

impl Gathers {
    /// From the next reading on.
    pub(super) fn set(&self, gathers: bool) {
        self.0.store(gathers, Relaxed);
    }
}

/// A TCP stream that gathers while it is told to.
#[derive(Debug)]
pub(super) struct Gathering {
    /// As the runtime watches it.
    watched: Option<TcpStream>,
    /// As nobody does.
    resting: Option<std::net::TcpStream>,
    rest: Pin<Box<Sleep>>,
    gathers: Gathers,
}

impl Gathering {
    pub(super) fn new(stream: TcpStream, gathers: Gathers) -> Self {
        Self {
            watched: Some(stream),
            resting: None,
            rest: Box::pin(sleep(Duration::ZERO)),
            gathers,
        }
    }

    fn watched(&mut self) -> io::Result<Pin<&mut TcpStream>> {
        if let Some(stream) = self.resting.take() {
            self.watched = Some(TcpStream::from_std(stream)?);
        }
        self.watched
            .as_mut()
            .map(Pin::new)
            .ok_or_else(|| ErrorKind::NotConnected.into())
    }

    fn rest(&mut self) -> io::Result<()> {
        if let Some(stream) = self.watched.take() {
            self.resting = Some(stream.into_std()?);
        }
        self.rest.as_mut().reset(Instant::now() + REST);
        Ok(())
    }
}

impl AsyncRead for Gathering {
    fn poll_read(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        buffer: &mut ReadBuf<'_>,
    ) -> Poll<io::Result<()>> {
        let filled = buffer.filled().len();
        if self.resting.is_some() {
            ready!(self.rest.as_mut().poll(context));
        }
        match self
            .resting
            .as_mut()
            .map(|stream| stream.read(buffer.initialize_unfilled()))
        {
            Some(Ok(count)) => buffer.advance(count),
            Some(Err(error))
                if !matches!(error.kind(), ErrorKind::WouldBlock | ErrorKind::Interrupted) =>
            {
                return Poll::Ready(Err(error));
            }
            _ => ready!(self.watched()?.poll_read(context, buffer))?,
        }
        // What fills the buffer may have left something behind.
        if self.gathers.0.load(Relaxed) && buffer.filled().len() > filled && buffer.remaining() > 0
        {
            self.rest()?;
        }
        Poll::Ready(Ok(()))
    }
}

impl AsyncWrite for Gathering {
    fn poll_write(
        mut self: Pin<&mut Self>,
        context: &mut Context<'_>,
        bytes: &[u8],
    ) -> Poll<io::Result<usize>> {
        self.watched()?.poll_write(context, bytes)
    }

    /// Nothing is kept back, as in any socket; so this is no reason to be watched again.
    fn poll_flush(self: Pin<&mut Self>, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn poll_shutdown(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<io::Result<()>> {
        self.watched()?.poll_shutdown(context)
    }
}

#[cfg(test)]
mod tests {
    use tokio::io::{AsyncReadExt, AsyncWriteExt};
    use tokio::net::TcpListener;

    use super::*;

    async fn pair(gathers: &Gathers) -> (Gathering, TcpStream) {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let stream = TcpStream::connect(listener.local_addr().unwrap()).await.unwrap();
        let peer = listener.accept().await.unwrap().0;
        // As etcd does: what is written is there at once.
        peer.set_nodelay(true).unwrap();
        (Gathering::new(stream, gathers.clone()), peer)
    }

    #[tokio::test]
    async fn it_rests_after_each_reading_and_loses_nothing() {
        let gathers = Gathers::default();
        gathers.set(true);
        let (mut gathering, mut peer) = pair(&gathers).await;
        let mut buffer = [0; 8];
        for round in 0..3 {
            peer.write_all(b"a").await.unwrap();
            assert_eq!(gathering.read(&mut buffer).await.unwrap(), 1, "{round}");
            let read = Instant::now();
            for _ in 0..4 {
                peer.write_all(b"b").await.unwrap();
            }
            assert_eq!(gathering.read(&mut buffer).await.unwrap(), 4, "{round}");
            assert!(read.elapsed() >= REST);
            assert!(gathering.watched.is_none(), "nobody is woken meanwhile");
            // There is nothing after this rest: it is waited for.
            let (count, written) = tokio::join!(gathering.read(&mut buffer), async {
                sleep(REST * 2).await;
                peer.write_all(b"c").await
            });
            assert_eq!((count.unwrap(), written.unwrap()), (1, ()), "{round}");
        }
        gathering.write_all(b"in a rest").await.unwrap();
        let mut text = [0; 9];
        peer.read_exact(&mut text).await.unwrap();
        assert_eq!(&text, b"in a rest");
        drop(peer);
        assert_eq!(gathering.read(&mut buffer).await.unwrap(), 0);
        assert_eq!(gathering.read(&mut buffer).await.unwrap(), 0);
    }

    #[tokio::test]
    async fn what_more_than_fills_the_buffer_is_not_waited_for() {
        let gathers = Gathers::default();
        gathers.set(true);
        let (mut gathering, mut peer) = pair(&gathers).await;
        peer.write_all(b"abcdef").await.unwrap();
        let mut buffer = [0; 2];
        for expected in [b"ab", b"cd", b"ef"] {
            gathering.read_exact(&mut buffer).await.unwrap();
            assert_eq!(&buffer, expected);
            assert!(gathering.resting.is_none());
        }
    }

    #[tokio::test]
    async fn it_gathers_only_while_it_is_told_to() {
        let gathers = Gathers::default();
        let (mut gathering, mut peer) = pair(&gathers).await;
        let mut buffer = [0; 8];
        for (is_told, rests) in [(false, false), (true, true), (false, true), (false, false)] {
            gathers.set(is_told);
            peer.write_all(b"a").await.unwrap();
            assert_eq!(gathering.read(&mut buffer).await.unwrap(), 1);
            // Whoever rests goes on to read in that way as long as there is something.
            assert_eq!(gathering.resting.is_some(), rests, "told: {is_told}");
            if !is_told {
                gathering.write_all(b"a").await.unwrap();
                assert!(gathering.resting.is_none());
            }
        }
    }
}
