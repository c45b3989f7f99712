//! The terminal: takes the whole screen and gives it back, and reads keys and signals.
//!
//! It does not know what is drawn.

use std::io::{self, BufWriter, Stdout, stdout};
use std::panic;
use std::process::ExitCode;
use std::thread;

use crossterm::cursor::Show;
use crossterm::event::{self, Event};
use crossterm::execute;
use crossterm::style::force_color_output;
use crossterm::terminal::{
    EnterAlternateScreen, LeaveAlternateScreen, disable_raw_mode, enable_raw_mode,
};
use ratatui::backend::CrosstermBackend;
use ratatui::layout::Size;
use ratatui::{Frame, Terminal};
use rustix::process::{Signal, getpid, kill_process};
use tokio::signal::unix::{self, SignalKind};
use tokio::sync::mpsc;

/// Enough for a whole screen, so that it is written at once.
const BUFFER_BYTES: usize = 1 << 18;

/// The screen of the terminal. Dropping it gives the terminal back as it was, and so does a panic.
pub(super) struct FullScreen {
    terminal: Terminal<CrosstermBackend<BufWriter<Stdout>>>,
}

impl FullScreen {
    pub(super) fn enter() -> io::Result<Self> {
        let before = panic::take_hook();
        panic::set_hook(Box::new(move |info| {
            leave();
            before(info);
        }));

        // Whether to use colours is decided elsewhere, also if NO_COLOR is set.
        force_color_output(true);
        enter()?;
        let backend = CrosstermBackend::new(BufWriter::with_capacity(BUFFER_BYTES, stdout()));
        let terminal = Terminal::new(backend).inspect_err(|_| leave())?;
        Ok(Self { terminal })
    }

    pub(super) fn size(&self) -> io::Result<Size> {
        self.terminal.size()
    }

    pub(super) fn draw(&mut self, draw: impl FnOnce(&mut Frame)) -> io::Result<()> {
        self.terminal.draw(draw)?;
        Ok(())
    }

    /// Stops the process, as Ctrl-Z does, until the shell continues it.
    pub(super) fn suspend(&mut self) -> io::Result<()> {
        leave();
        kill_process(getpid(), Signal::TSTP)?;

        // What the shell has written meanwhile is cleared. `Terminal::clear` would ask the terminal
        // for the cursor, and the answer would be read as keys.
        enter()?;
        let size = self.terminal.size()?;
        self.terminal.resize(size.into())
    }
}

impl Drop for FullScreen {
    fn drop(&mut self) {
        leave();
    }
}

fn enter() -> io::Result<()> {
    enable_raw_mode()?;
    execute!(stdout(), EnterAlternateScreen).inspect_err(|_| leave())
}

/// Gives the terminal back. If that fails, there is nothing else to be done.
fn leave() {
    let _ = execute!(stdout(), LeaveAlternateScreen, Show);
    let _ = disable_raw_mode();
}

/// Keys, and changes of the size. They are read by a thread of their own, which lasts as long as
/// the process.
pub(super) fn read_events() -> mpsc::UnboundedReceiver<io::Result<Event>> {
    let (sender, receiver) = mpsc::unbounded_channel();

    thread::spawn(move || {
        loop {
            let event = event::read();
            let is_last = event.is_err();
            if sender.send(event).is_err() || is_last {
                break;
            }
        }
    });
    receiver
}

/// The signals that end the program.
pub(super) struct EndSignals {
    terminate: unix::Signal,
    interrupt: unix::Signal,
    hangup: unix::Signal,
}

impl EndSignals {
    pub(super) fn catch() -> io::Result<Self> {
        Ok(Self {
            terminate: unix::signal(SignalKind::terminate())?,
            interrupt: unix::signal(SignalKind::interrupt())?,
            hangup: unix::signal(SignalKind::hangup())?,
        })
    }

    /// Waits for one of them. Returns the exit status that a shell reports for it.
    pub(super) async fn next(&mut self) -> ExitCode {
        let number = tokio::select! {
            _ = self.terminate.recv() => Signal::TERM,
            _ = self.interrupt.recv() => Signal::INT,
            _ = self.hangup.recv() => Signal::HUP,
        };
        ExitCode::from(128 + u8::try_from(number.as_raw()).unwrap_or(0))
    }
}
