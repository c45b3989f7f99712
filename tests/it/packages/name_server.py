"""A name server that knows `etcd`, which is 127.0.0.1, and nothing else."""

import socket
import struct

ADDRESS = bytes([127, 0, 0, 1])
TYPE_A = 1
NO_ERROR, NO_SUCH_NAME = 0x8180, 0x8183

server = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
server.bind(("127.0.0.11", 53))
while True:
    request, client = server.recvfrom(4096)
    end = request.index(b"\0", 12)
    name = request[12:end]
    question = request[12 : end + 5]
    (kind,) = struct.unpack(">H", request[end + 1 : end + 3])

    is_known = name.lower() == b"\x04etcd"
    answer = b""
    if is_known and kind == TYPE_A:
        # The name is that of the question.
        answer = b"\xc0\x0c" + struct.pack(">HHIH", TYPE_A, 1, 60, len(ADDRESS)) + ADDRESS
    flags = NO_ERROR if is_known else NO_SUCH_NAME
    head = request[:2] + struct.pack(">HHHHH", flags, 1, 1 if answer else 0, 0, 0)
    server.sendto(head + question + answer, client)
