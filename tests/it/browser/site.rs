//! A web server that the test fills.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::sync::Arc;

/// Serves this answer on any path, until the process of the tests ends. Returns the port.
pub(super) fn answering(status: &'static str, page: &'static str) -> u16 {
    listen(move |_| (status, page.to_owned()))
}

/// Serves these files, each at its path, until the process of the tests ends. Returns the port.
pub(super) fn serving(files: Vec<(&'static str, String)>) -> u16 {
    listen(move |path| {
        let file = files.iter().find(|(name, _)| *name == path);
        file.map_or(("404 Not Found", String::new()), |(_, text)| ("200 OK", text.clone()))
    })
}

/// Serves the status and the body that `answer` has for a path. Returns the port.
fn listen(answer: impl Fn(&str) -> (&'static str, String) + Send + Sync + 'static) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    let answer = Arc::new(answer);
    std::thread::spawn(move || {
        // A thread for each connection: browsers open some that they never use.
        for stream in listener.incoming() {
            let answer = answer.clone();
            std::thread::spawn(move || serve(stream.unwrap(), &*answer));
        }
    });
    port
}

fn serve(mut stream: TcpStream, answer: &impl Fn(&str) -> (&'static str, String)) {
    let mut request = BufReader::new(stream.try_clone().unwrap());
    let mut first_line = String::new();
    if request.read_line(&mut first_line).is_err() {
        return;
    }
    let target = first_line.split(' ').nth(1).unwrap_or_default();
    let path = target.split('?').next().unwrap_or_default();

    let mut line = String::new();
    while request.read_line(&mut line).is_ok_and(|length| length > 2) {
        line.clear();
    }

    let (status, body) = answer(path);
    let media_type = match path.ends_with(".js") {
        true => "text/javascript",
        false => "text/html",
    };
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: {media_type}\r\nContent-Length: {}\r\n\
         Connection: close\r\n\r\n",
        body.len()
    );
    // A browser that has gone away again needs no answer.
    let _ = stream
        .write_all(head.as_bytes())
        .and_then(|()| stream.write_all(body.as_bytes()));
}
