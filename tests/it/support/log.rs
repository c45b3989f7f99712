//! The log of the library while a test uses it.

use std::io::{Result, Write};
use std::sync::{Arc, Mutex};

use tracing::Level;
use tracing::subscriber::DefaultGuard;

/// What is logged on the thread that has created it. All tasks of a test are on one thread, unless
/// the test asks for more.
pub struct Log {
    text: SharedText,
    _guard: DefaultGuard,
}

impl Log {
    pub fn listen() -> Self {
        let text = SharedText::default();
        let writer = text.clone();

        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_max_level(Level::DEBUG);
        let guard = tracing::subscriber::set_default(
            subscriber.with_writer(move || writer.clone()).finish(),
        );

        Self { text, _guard: guard }
    }

    /// The lines that contain all of these texts.
    pub fn lines(&self, texts: &[&str]) -> Vec<String> {
        let log = self.text.0.lock().unwrap();
        let log = String::from_utf8_lossy(&log);

        log.lines()
            .filter(|line| texts.iter().all(|text| line.contains(text)))
            .map(ToOwned::to_owned)
            .collect()
    }
}

#[derive(Clone, Default)]
struct SharedText(Arc<Mutex<Vec<u8>>>);

impl Write for SharedText {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}
