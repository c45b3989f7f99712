//! Limits of the process: each in a process of its own.

use std::process::{Command, Stdio};

use super::*;

fn assert_passes(mut command: Command) {
    let output = command
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .output()
        .expect("run");
    let said = String::from_utf8_lossy(&output.stdout);
    let complained = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success() && said.contains("1 passed"), "{said}\n{complained}");
}

#[test]
fn running_out_of_files_ends_nothing() {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["--ignored", "--exact", "server::limits::run_out_of_files"]);
    assert_passes(command);
}

#[tokio::test]
#[ignore = "run by another test in a process of its own"]
async fn run_out_of_files() {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

    let bench = ServerBench::start().await;
    let maximum = getrlimit(Resource::Nofile).maximum;
    setrlimit(Resource::Nofile, Rlimit { current: Some(64), maximum }).expect("a lower limit");
    let mut files = Vec::new();
    while let Ok(file) = std::fs::File::open("/dev/null") {
        files.push(file);
    }
    // Room for our own end of the connection, none for the server's.
    files.pop();
    let mut stream = TcpStream::connect(bench.address).await.expect("a connection");
    stream
        .write_all(b"GET /healthz HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n")
        .await
        .expect("written");
    let mut answer = Vec::new();
    let early = timeout(Duration::from_millis(300), stream.read_to_end(&mut answer)).await;
    assert!(early.is_err(), "answered without a file descriptor");
    drop(files);
    timeout(PATIENCE, stream.read_to_end(&mut answer))
        .await
        .expect("in time")
        .expect("an answer");
    assert!(answer.starts_with(b"HTTP/1.1 200 "), "{}", String::from_utf8_lossy(&answer));
}

#[tokio::test]
async fn connections_that_are_no_clients_are_limited_too() {
    OpenFileLimit::raise();
    let mut bench = ServerBench::start().await;
    bench.read_all(&view(&[]));
    let mut client = bench.client().await;
    assert_eq!(text(&mut client).await, NO_MACHINES);
    let mut idle = Vec::new();
    for _ in 0..1024 {
        idle.push(TcpStream::connect(bench.address).await.expect("a connection"));
    }
    closed_unheard(&bench).await;
    assert_eq!(bench.dropped("crowded"), 1);
    assert_eq!(text(&mut client).await, list(&[]));

    // There is room for clients when those have gone.
    drop(idle);
    let another =
        async { while connect_async(format!("ws://{}", bench.address)).await.is_err() {} };
    timeout(PATIENCE, another).await.expect("room");
}

#[tokio::test]
async fn connections_of_all_kinds_leave_files_for_the_source() {
    let settings = ServerSettings { max_connections: 10, ..settings() };
    let mut bench = ServerBench::with(settings, Timing::default(), Publish::Changes).await;
    bench.read_all(&view(&[]));
    let mut clients = Vec::new();
    for _ in 0..6 {
        let mut client = bench.client().await;
        assert_eq!(text(&mut client).await, NO_MACHINES);
        clients.push(client);
    }
    let mut idle = Vec::new();
    for _ in 0..4 {
        idle.push(TcpStream::connect(bench.address).await.expect("a connection"));
    }
    closed_unheard(&bench).await;
    clients.clear();
    bench.until("room", |bench| bench.server.clients() == 0).await;
    // Half of all may be no clients.
    idle.push(TcpStream::connect(bench.address).await.expect("a connection"));
    closed_unheard(&bench).await;
    assert_eq!(bench.dropped("crowded"), 2);
}

/// One more connection is closed without an answer.
async fn closed_unheard(bench: &ServerBench) {
    let mut one_more = TcpStream::connect(bench.address).await.expect("a connection");
    let end = timeout(PATIENCE, one_more.read(&mut [0])).await.expect("in time");
    assert!(matches!(end, Ok(0) | Err(_)), "{end:?}");
}

#[test]
fn a_client_costs_little_memory_even_after_large_messages() {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["--ignored", "--exact", "server::limits::measure_the_memory_of_clients"]);
    assert_passes(command);
}

#[tokio::test]
#[ignore = "run by another test in a process of its own"]
async fn measure_the_memory_of_clients() {
    const CLIENTS: usize = 1000;
    OpenFileLimit::raise();
    let mut bench = ServerBench::start().await;
    let name = "x".repeat(10_000);
    bench.read_all(&Arc::new(View {
        units: (0..110)
            .map(|number| unit(&format!("{number}-{name}"), "active"))
            .collect(),
        machines: vec![],
    }));
    let mut scrap = vec![0; 64 * 1024];
    let mut clients = vec![taking_client(&bench, &mut scrap).await];
    let before = resident();
    for number in 0..CLIENTS {
        // Most do not read.
        let client = if number % 4 == 0 {
            taking_client(&bench, &mut scrap).await
        } else {
            bench.raw_client().await
        };
        clients.push(client);
    }
    bench
        .until("all", |bench| bench.server.clients() == clients.len())
        .await;
    // Our own end of each connection is counted in; what was free before and is used now is not.
    let each = resident().saturating_sub(before) / CLIENTS;
    assert!(each <= 6 * 1024, "{each} bytes for each client");
}

#[test]
fn answers_that_nobody_takes_cost_little_memory() {
    let mut command = Command::new(std::env::current_exe().expect("this program"));
    command.args(["--ignored", "--exact", "server::limits::measure_the_memory_of_answers"]);
    assert_passes(command);
}

#[tokio::test]
#[ignore = "run by another test in a process of its own"]
async fn measure_the_memory_of_answers() {
    const ANSWERS: usize = 100;
    let mut bench = ServerBench::start().await;
    // So that no buffer of the kernel holds it, compressed neither.
    let name: String = std::iter::repeat_with(fastrand::alphanumeric)
        .take(8_000_000)
        .collect();
    bench.read_all(&view(&[(&name, "active")]));
    for (path, coding) in [("/v2/state", "identity"), ("/v2/state", "gzip"), ("/v1/units", "gzip")]
    {
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nAccept-Encoding: {coding}\r\n\r\n");
        let mut before = 0;
        let mut waiting = Vec::new();
        for number in 0..=ANSWERS {
            let mut stream = bench.narrow_connection().await;
            stream.write_all(request.as_bytes()).await.expect("written");
            stream.readable().await.expect("an answer");
            waiting.push(stream);
            if number == 0 {
                before = resident();
            }
        }
        let each = resident().saturating_sub(before) / ANSWERS;
        assert!(each <= 64 * 1024, "{each} bytes for each answer: {path}, {coding}");
    }
}

/// A client that has taken a message of 1 MiB.
async fn taking_client(bench: &ServerBench, scrap: &mut [u8]) -> TcpStream {
    let mut client = bench
        .handshake(TcpStream::connect(bench.address).await.expect("a connection"))
        .await;
    let mut taken = 0;
    while taken < 1024 * 1024 {
        taken += client.read(scrap).await.expect("a message");
    }
    client
}

/// The memory that this process has, in bytes (`proc_pid_status(5)`).
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").expect("Linux");
    let line = status
        .lines()
        .find_map(|line| line.strip_prefix("VmRSS:")?.strip_suffix(" kB"));
    line.and_then(|kibibytes| kibibytes.trim().parse::<usize>().ok())
        .expect("a number")
        * 1024
}
