//! What this program logs while a test runs it as a library.

use std::io::{Result, Write};
use std::sync::{Arc, Mutex};

use tracing::Level;
use tracing::subscriber::DefaultGuard;

/// What is logged on the thread that made it. A test's tasks are all on one, unless it asks for
/// more.
pub struct Log {
    text: Text,
    _guard: DefaultGuard,
}

impl Log {
    pub fn listen() -> Self {
        let text = Text::default();
        let writer = text.clone();
        let subscriber = tracing_subscriber::fmt()
            .with_ansi(false)
            .with_max_level(Level::DEBUG);
        let guard = tracing::subscriber::set_default(
            subscriber.with_writer(move || writer.clone()).finish(),
        );
        Self { text, _guard: guard }
    }

    /// The lines that have all these words.
    pub fn lines(&self, words: &[&str]) -> Vec<String> {
        let text = String::from_utf8_lossy(&self.text.0.lock().unwrap()).into_owned();
        let has_all = |line: &&str| words.iter().all(|words| line.contains(words));
        text.lines().filter(has_all).map(ToOwned::to_owned).collect()
    }
}

#[derive(Clone, Default)]
struct Text(Arc<Mutex<Vec<u8>>>);

impl Write for Text {
    fn write(&mut self, bytes: &[u8]) -> Result<usize> {
        self.0.lock().unwrap().write(bytes)
    }

    fn flush(&mut self) -> Result<()> {
        Ok(())
    }
}
