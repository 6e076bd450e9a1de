#!/usr/bin/env bash
# haproxy 2.6.12 (Debian 12) holds back the end of each piece that it compresses.
#
# Expected: a proxy that compresses a stream flushes its compressor when a chunk has been sent and
# no other has come, as it hands on chunks at once that it does not compress.
# Seen: with "compression algo gzip" a line of a quiet stream comes with the next one, however long
# that takes. Asked for with Accept-Encoding: identity, it comes at once.
#
# Needs Debian's package haproxy. It takes over a socket of 127.0.0.1 that the script has opened.
set -euo pipefail
PATH=$PATH:/usr/sbin
command -v haproxy > /dev/null || {
    echo "there is no haproxy: apt-get install haproxy" >&2
    exit 1
}
haproxy -v | head -n 1
folder=$(mktemp -d)
trap 'rm -rf "$folder"' EXIT

cat > "$folder/look.py" << 'PYTHON'
import socket
import subprocess
import sys
import threading
import zlib

SETTINGS = """
defaults
    mode http
    timeout connect 10s
    timeout client 60s
    timeout server 60s
frontend front
    bind fd@{front}
    compression algo gzip
    compression type text/plain
    default_backend back
backend back
    server one 127.0.0.1:{back}
"""
HEAD = b"HTTP/1.1 200 OK\r\nContent-Type: text/plain\r\nTransfer-Encoding: chunked\r\n\r\n"


def serve(listening, goes_on):
    """Answer with one line, and with another when it is time."""
    connection, _ = listening.accept()
    with connection:
        connection.recv(65536)
        connection.sendall(HEAD + b"6\r\nfirst\n\r\n")
        goes_on.wait()
        connection.sendall(b"7\r\nsecond\n\r\n0\r\n\r\n")


def chunks(connection):
    """Give the parts of a chunked answer as they come; nothing when none has come for 3 s."""
    received = b""
    connection.settimeout(3)
    while True:
        try:
            received += connection.recv(65536)
        except TimeoutError:
            yield b""
        head, _, body = received.partition(b"\r\n\r\n")
        while (at := body.find(b"\r\n")) >= 0 and len(body) >= at + 4 + int(body[:at], 16):
            size = int(body[:at], 16)
            yield body[at + 2 : at + 2 + size]
            if not size:
                return
            body = body[at + 4 + size :]
        received = head + b"\r\n\r\n" + body if head != received else received


def read(encoding, port, listening):
    """Return what has come before the server goes on, and after it."""
    goes_on = threading.Event()
    server = threading.Thread(target=serve, args=(listening, goes_on))
    server.start()
    decompressor = zlib.decompressobj(31)
    texts = [b"", b""]
    with socket.create_connection(("127.0.0.1", port)) as connection:
        head = f"GET / HTTP/1.1\r\nHost: a\r\nAccept-Encoding: {encoding}\r\n\r\n"
        connection.sendall(head.encode())
        for chunk in chunks(connection):
            if not chunk:
                goes_on.set()  # silence, or the end
                continue
            text = decompressor.decompress(chunk) if encoding == "gzip" else chunk
            texts[goes_on.is_set()] += text
    server.join()
    return texts


LOCAL = ("127.0.0.1", 0)
with socket.create_server(LOCAL) as front, socket.create_server(LOCAL) as back:
    path = f"{sys.argv[1]}/settings"
    with open(path, "w") as file:
        file.write(SETTINGS.format(front=front.fileno(), back=back.getsockname()[1]))
    proxy = subprocess.Popen(["haproxy", "-db", "-q", "-f", path], pass_fds=[front.fileno()])
    try:
        seen = {name: read(name, front.getsockname()[1], back) for name in ("identity", "gzip")}
    finally:
        proxy.kill()
        proxy.wait()
for name, (before, after) in seen.items():
    print(f"{name}: {before} within 3 s, {after} when the server has gone on")
assert seen["identity"] == [b"first\n", b"second\n"]
assert b"".join(seen["gzip"]) == b"first\nsecond\n"
assert len(seen["gzip"][0]) < len(b"first\n"), "haproxy has changed"
PYTHON
python3 "$folder/look.py" "$folder"
