//! A terminal in which the program runs: a pseudoterminal, whose other end is parsed as a terminal
//! emulator does. It does not know what the program shows.

use std::fs::File;
use std::io::{Read, Write};
use std::num::NonZeroU16;
use std::process::{ExitStatus, Stdio};
use std::sync::{Arc, Mutex};
use std::thread;

use rustix::fd::OwnedFd;
use rustix::fs::{Mode, OFlags, open};
use rustix::process::{Pid, Signal, kill_process};
use rustix::pty::{OpenptFlags, grantpt, openpt, ptsname, unlockpt};
use rustix::termios::{LocalModes, Winsize, tcgetattr, tcsetwinsize};
use tokio::process::{Child, Command};
use tokio::sync::watch;

use super::message_log::within_timeout;

/// A running program, and what it shows.
pub struct Terminal {
    child: Child,
    /// The end of the keyboard and the screen.
    master: File,
    /// The program's end, to ask for its modes.
    slave: OwnedFd,
    screen: Arc<Mutex<vt100::Parser>>,
    /// Changes whenever the screen does.
    drawn: watch::Receiver<()>,
}

impl Terminal {
    /// Starts a command in a terminal with so many columns and rows.
    pub fn start(command: &[&str], variables: &[(&str, &str)], columns: u16, rows: u16) -> Self {
        let master =
            openpt(OpenptFlags::RDWR | OpenptFlags::NOCTTY | OpenptFlags::CLOEXEC).unwrap();
        grantpt(&master).unwrap();
        unlockpt(&master).unwrap();
        let path = ptsname(&master, Vec::new()).unwrap();
        let flags = OFlags::RDWR | OFlags::NOCTTY | OFlags::CLOEXEC;
        let slave = open(path, flags, Mode::empty()).unwrap();
        tcsetwinsize(&master, size(columns, rows)).unwrap();

        // A session of its own, so that the terminal is its controlling terminal (`setsid(1)`).
        let stdio = || Stdio::from(slave.try_clone().unwrap());
        let child = Command::new("setsid")
            .arg("--ctty")
            .args(command)
            .env_clear()
            .env("TERM", "xterm-256color")
            .envs(variables.iter().copied())
            .stdin(stdio())
            .stdout(stdio())
            .stderr(stdio())
            .kill_on_drop(true)
            .spawn()
            .unwrap();

        let master = File::from(master);
        let screen = vt100::Parser::new(cells(rows), cells(columns), 0);
        let screen = Arc::new(Mutex::new(screen));
        let drawn = parse(master.try_clone().unwrap(), screen.clone());
        Self { child, master, slave, screen, drawn }
    }

    /// Changes its size, which a signal reports to the program.
    pub fn resize(&self, columns: u16, rows: u16) {
        let mut screen = self.screen.lock().unwrap();
        screen.screen_mut().set_size(cells(rows), cells(columns));
        tcsetwinsize(&self.master, size(columns, rows)).unwrap();
    }

    /// Presses keys.
    pub fn press(&mut self, keys: &str) {
        self.master.write_all(keys.as_bytes()).unwrap();
    }

    /// Waits until the screen meets a condition.
    pub async fn until(&mut self, what: &str, condition: impl Fn(&vt100::Screen) -> bool) {
        let is_met = || condition(self.screen.lock().unwrap().screen());
        let wait = async {
            while !is_met() {
                if self.drawn.changed().await.is_err() {
                    break;
                }
            }
        };
        within_timeout(what, wait).await;

        assert!(is_met(), "{what} is not on the screen:\n{}", self.text());
    }

    /// Waits until the screen contains a text.
    pub async fn shows(&mut self, text: &str) {
        self.until(text, |screen| screen.contents().contains(text)).await;
    }

    /// Waits until the screen does not contain a text.
    pub async fn hides(&mut self, text: &str) {
        self.until(&format!("no {text}"), |screen| !screen.contents().contains(text))
            .await;
    }

    /// The text of the screen.
    pub fn text(&self) -> String {
        self.screen.lock().unwrap().screen().contents()
    }

    /// Whether a cell of the screen has a colour.
    pub fn is_colored(&self) -> bool {
        let screen = self.screen.lock().unwrap();
        let screen = screen.screen();
        let (rows, columns) = screen.size();

        (0..rows.get())
            .flat_map(|row| (0..columns.get()).map(move |column| (row, column)))
            .filter_map(|(row, column)| screen.cell(row, column))
            .any(|cell| cell.fgcolor() != vt100::Color::Default)
    }

    pub fn pid(&self) -> Pid {
        let id = i32::try_from(self.child.id().unwrap()).unwrap();
        Pid::from_raw(id).unwrap()
    }

    pub fn signal(&self, signal: Signal) {
        kill_process(self.pid(), signal).unwrap();
    }

    /// Waits until the program has ended and all that it wrote is on the screen, and checks that it
    /// leaves the terminal as it was.
    pub async fn end(self) -> (ExitStatus, String) {
        let Self { mut child, slave, screen, mut drawn, .. } = self;
        let status = within_timeout("the end of the program", child.wait()).await.unwrap();
        let modes = tcgetattr(&slave).unwrap().local_modes;
        assert!(modes.contains(LocalModes::ICANON | LocalModes::ECHO | LocalModes::ISIG));

        drop(slave);
        let all_is_read = async { while drawn.changed().await.is_ok() {} };
        within_timeout("the end of the output", all_is_read).await;

        let screen = screen.lock().unwrap();
        let screen = screen.screen();
        assert!(!screen.alternate_screen() && !screen.hide_cursor(), "the normal screen");
        (status, screen.contents())
    }
}

/// Parses what is written, in a thread of its own, until no process has the terminal open.
fn parse(mut master: File, screen: Arc<Mutex<vt100::Parser>>) -> watch::Receiver<()> {
    let (sender, drawn) = watch::channel(());

    thread::spawn(move || {
        let mut bytes = vec![0; 1 << 16];
        while let Ok(length @ 1..) = master.read(&mut bytes) {
            screen.lock().unwrap().process(&bytes[..length]);
            sender.send_replace(());
        }
    });
    drawn
}

fn size(columns: u16, rows: u16) -> Winsize {
    Winsize { ws_row: rows, ws_col: columns, ws_xpixel: 0, ws_ypixel: 0 }
}

fn cells(count: u16) -> NonZeroU16 {
    NonZeroU16::new(count).unwrap()
}
