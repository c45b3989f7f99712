//! A web server with a single answer.

use std::io::{BufRead, BufReader, Write};
use std::net::{Ipv4Addr, TcpListener, TcpStream};

/// Serves this answer on any path, until the process of the tests ends. Returns the port.
pub(super) fn answering(status: &'static str, page: &'static str) -> u16 {
    let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).unwrap();
    let port = listener.local_addr().unwrap().port();
    std::thread::spawn(move || {
        // A thread for each connection: browsers open some that they never use.
        for stream in listener.incoming() {
            std::thread::spawn(move || serve(stream.unwrap(), status, page));
        }
    });
    port
}

fn serve(mut stream: TcpStream, status: &str, page: &str) {
    let mut line = String::new();
    let mut request = BufReader::new(stream.try_clone().unwrap());
    while request.read_line(&mut line).is_ok_and(|length| length > 2) {
        line.clear();
    }
    let length = page.len();
    let head = format!(
        "HTTP/1.1 {status}\r\nContent-Type: text/html\r\nContent-Length: {length}\r\n\
         Connection: close\r\n\r\n"
    );
    // A browser that has gone away again needs no answer.
    let _ = stream
        .write_all(head.as_bytes())
        .and_then(|()| stream.write_all(page.as_bytes()));
}
