//! Bodies that many responses share: stored once, compressed once.
//!
//! This module must not know what a body contains, nor which requests it answers.

use std::sync::{Arc, Mutex, PoisonError};

use bytes::Bytes;
use tokio::sync::OnceCell;
use tokio::task::spawn_blocking;

use super::gzip::DeflatePart;

/// A body that many responses share.
#[derive(Debug, Default)]
pub(super) struct CachedBody {
    plain: Bytes,
    /// Empty until a client that accepts gzip requests the body.
    compressed: OnceCell<DeflatePart>,
}

impl CachedBody {
    pub(super) fn new(plain: Bytes) -> Self {
        Self { plain, compressed: OnceCell::new() }
    }

    pub(super) fn plain(&self) -> &Bytes {
        &self.plain
    }

    /// The body as a middle part of a gzip member. `None`: the runtime is shutting down.
    ///
    /// The first caller starts the compression. It runs in a task of its own, so a client that
    /// disconnects does not cancel it and the next client does not start it again.
    pub(super) async fn compressed(self: &Arc<Self>) -> Option<&DeflatePart> {
        if !self.compressed.initialized() {
            let body = self.clone();

            let task = tokio::spawn(async move {
                let plain = body.plain.clone();
                let compress = || spawn_blocking(move || DeflatePart::middle(&plain));
                body.compressed.get_or_try_init(compress).await.map(drop)
            });
            task.await.ok()?.ok()?;
        }

        self.compressed.get()
    }
}

/// The newest body of one kind.
#[derive(Debug, Default)]
pub(super) struct ResponseCache(Mutex<Arc<CachedBody>>);

impl ResponseCache {
    /// The cached body with these bytes. They are compared by address: the feed encodes each
    /// revision once, and all who read it share the buffer.
    pub(super) fn get(&self, plain: Bytes) -> Arc<CachedBody> {
        let mut newest = self.0.lock().unwrap_or_else(PoisonError::into_inner);

        if newest.plain.as_ptr_range() != plain.as_ptr_range() {
            *newest = Arc::new(CachedBody::new(plain));
        }
        newest.clone()
    }
}

/// The newest body of each kind.
#[derive(Debug, Default)]
pub(super) struct ResponseCaches {
    pub(super) units: ResponseCache,
    pub(super) machines: ResponseCache,
    pub(super) state: ResponseCache,
    pub(super) plain: ResponseCache,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_bytes_are_cached_once() {
        let cache = ResponseCache::default();
        let bytes = Bytes::from(vec![0; 10]);
        let first = cache.get(bytes.clone());
        assert!(Arc::ptr_eq(&first, &cache.get(bytes.clone())));
        assert!(!Arc::ptr_eq(&first, &cache.get(Bytes::from(vec![0; 10]))));
    }

    #[tokio::test]
    async fn a_body_is_compressed_once_even_if_the_first_client_disconnects() {
        let body = Arc::new(CachedBody::new(Bytes::from(vec![b'x'; 1_000_000])));
        tokio::select! {
            biased;
            _ = body.compressed() => panic!("it was compressed at once"),
            () = std::future::ready(()) => {}
        }

        while !body.compressed.initialized() {
            tokio::task::yield_now().await;
        }
        let compressed = body.compressed().await.expect("compressed");
        let again = body.compressed().await.expect("compressed");
        assert!(std::ptr::eq(compressed, again));
    }
}
