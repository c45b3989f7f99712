//! Many clients that connect to a host all the time, while the service is restarted or upgraded.

use std::cell::{Cell, RefCell};
use std::fmt::Debug;
use std::io::{BufRead, BufReader, Lines};
use std::process::{Child, ChildStdout, Stdio};
use std::rc::Rc;
use std::time::Duration;

use futures_util::StreamExt;
use tokio::net::TcpStream;
use tokio::task::{LocalSet, spawn_blocking, spawn_local};
use tokio::time::{interval, timeout};
use tokio_tungstenite::tungstenite::Message;
use tokio_tungstenite::{WebSocketStream, client_async};

use super::host::{DEADLINE, Host};

const SERVER: &str = "127.0.0.1:8989";

/// The number of clients that stay connected, and reconnect when they are disconnected.
const FAITHFUL: usize = 200;

/// The interval of clients that disconnect after the first message: 50 a second.
const PACE: Duration = Duration::from_millis(20);

/// All clients, in a process of their own, because they run in the host's network namespace.
pub struct Crowd {
    process: Child,
    says: Lines<BufReader<ChildStdout>>,
}

impl Crowd {
    /// Starts the clients, and waits until all lasting ones are connected.
    pub fn at(host: &Host) -> Self {
        let mut command = host.in_network(&std::env::current_exe().unwrap());
        command.args(["--ignored", "--exact", "--nocapture", "system::crowd::crowd"]);
        let mut process = command.stdin(Stdio::piped()).stdout(Stdio::piped()).spawn().unwrap();
        let says = BufReader::new(process.stdout.take().unwrap()).lines();
        let mut crowd = Self { process, says };
        crowd.all_are_there();
        crowd
    }

    /// Waits until each lasting client has reconnected once more.
    pub fn all_are_there(&mut self) {
        self.until("all are there");
    }

    /// Stops the clients. Returns the number of connections, and the errors of refused ones.
    pub fn end(mut self) -> (usize, String) {
        drop(self.process.stdin.take());
        let report = self.until("came: ");
        let (came, unwelcome) = report["came: ".len()..].split_once("; unwelcome: ").unwrap();
        (came.parse().unwrap(), unwelcome.to_owned())
    }

    fn until(&mut self, what: &str) -> String {
        let mut lines = self.says.by_ref().map(Result::unwrap);
        lines
            .find(|line| line.starts_with(what))
            .unwrap_or_else(|| panic!("the crowd ended before: {what}"))
    }
}

impl Drop for Crowd {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

#[tokio::test]
#[ignore = "run by other tests, in the network of a host"]
async fn crowd() {
    let guests = Rc::new(Guests::default());
    let until_sent_away = async {
        for _ in 0..FAITHFUL {
            spawn_local(guests.clone().stay());
        }
        let mut pace = interval(PACE);
        // Until then it waits for input, which never comes.
        let mut away = spawn_blocking(|| std::io::stdin().lines().count());
        loop {
            tokio::select! {
                _ = &mut away => break,
                _ = pace.tick() => drop(spawn_local(guests.clone().look_in())),
            }
        }
    };
    LocalSet::new().run_until(until_sent_away).await;
    println!(
        "came: {}; unwelcome: {}",
        guests.came.get(),
        guests.unwelcome.borrow().join(", ")
    );
}

/// The results of all clients.
#[derive(Default)]
struct Guests {
    came: Cell<usize>,
    there: Cell<usize>,
    unwelcome: RefCell<Vec<String>>,
}

impl Guests {
    /// Stays connected, and reconnects until it is stopped.
    async fn stay(self: Rc<Self>) {
        while let Some(mut client) = self.come().await {
            if self.is_told(&mut client).await {
                self.there.set(self.there.get() + 1);
                if self.there.get() == FAITHFUL {
                    println!("\nall are there");
                }
                while self.is_told(&mut client).await {}
                self.there.set(self.there.get() - 1);
            }
        }
    }

    async fn look_in(self: Rc<Self>) {
        if let Some(mut client) = self.come().await {
            self.is_told(&mut client).await;
        }
    }

    /// A connection that was accepted.
    async fn come(&self) -> Option<WebSocketStream<TcpStream>> {
        self.came.set(self.came.get() + 1);
        let granted = async {
            let stream = TcpStream::connect(SERVER)
                .await
                .map_err(|error| self.complain("connect", &error))
                .ok()?;
            let granted = client_async(format!("ws://{SERVER}/"), stream).await;
            Some(granted.map_err(|error| self.complain("handshake", &error)).ok()?.0)
        };
        self.patient(granted).await.flatten()
    }

    /// Waits for a message. `false`: the server closed the connection properly instead.
    async fn is_told(&self, client: &mut WebSocketStream<TcpStream>) -> bool {
        match self.patient(client.next()).await {
            Some(Some(Ok(Message::Text(_) | Message::Ping(_)))) => true,
            // The timeout has been counted already.
            Some(Some(Ok(Message::Close(Some(_))))) | None => false,
            Some(other) => {
                self.complain("message", &other);
                false
            }
        }
    }

    async fn patient<T>(&self, what: impl Future<Output = T>) -> Option<T> {
        timeout(DEADLINE, what)
            .await
            .map_err(|late| self.complain("waits", &late))
            .ok()
    }

    fn complain(&self, what: &str, of: &dyn Debug) {
        self.unwelcome.borrow_mut().push(format!("{what}: {of:?}"));
    }
}
