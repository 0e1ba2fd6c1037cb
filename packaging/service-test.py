"""Plays systemd for a broker: hands it sockets and hears what it says. service-test.py LEVERET DIRECTORY"""

import os
import pathlib
import signal
import socket
import sys

TIMEOUT = 60


def listening(family, address):
    listener = socket.socket(family, socket.SOCK_STREAM)
    listener.bind(address)
    listener.listen()
    return listener


def start(leveret, directory, listeners, notify):
    """The broker in a child whose descriptors from 3 on are the sockets, as sd_listen_fds(3) wants them."""
    child = os.fork()
    if child:
        return child
    copies = [os.dup(listener.fileno()) for listener in listeners]
    # Out of the way first, since a number may be another socket's place.
    copies = [os.dup2(copy, 100 + at, inheritable=True) for at, copy in enumerate(copies)]
    for at, copy in enumerate(copies):
        os.dup2(copy, 3 + at, inheritable=True)
        os.close(copy)
    environment = {name: value for name, value in os.environ.items() if not name.startswith("LEVERET_")}
    environment |= {
        "LISTEN_FDS": str(len(listeners)),
        "LISTEN_PID": str(os.getpid()),
        "LISTEN_FDNAMES": "amqp:unknown",
        "NOTIFY_SOCKET": notify,
        "WATCHDOG_USEC": "400000",
        "WATCHDOG_PID": str(os.getpid()),
    }
    os.execve(leveret, [leveret, "--data-dir", str(directory / "data"), "--http-listen", "none",
                        "--metrics-listen", "none"], environment)


def greeted(family, address):
    with socket.socket(family, socket.SOCK_STREAM) as client:
        client.settimeout(TIMEOUT)
        client.connect(address)
        client.sendall(b"AMQP\0\0\x09\x01")
        return client.recv(7)[:3] == b"\x01\x00\x00"


def main(leveret, directory):
    directory.mkdir(parents=True)
    path = str(directory / "amqp.sock")
    tcp = listening(socket.AF_INET, ("127.0.0.1", 0))
    local = listening(socket.AF_UNIX, path)
    ear = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
    ear.bind(str(directory / "notify"))
    ear.settimeout(TIMEOUT)
    heard = []

    def until(word):
        while word not in heard:
            heard.extend(ear.recv(4096).decode().splitlines())

    child = start(leveret, directory, [tcp, local], str(directory / "notify"))
    try:
        # A client that comes before the broker is ready is served all the same: the socket has been there.
        assert greeted(socket.AF_INET, tcp.getsockname()), "no AMQP on the first socket"
        until("READY=1")
        assert greeted(socket.AF_UNIX, path), "no AMQP on the Unix socket"
        heard.clear()
        until("WATCHDOG=1")
        os.kill(child, signal.SIGTERM)
        until("STOPPING=1")
        _, status = os.waitpid(child, 0)
        child = None
        assert os.waitstatus_to_exitcode(status) == 0, f"the broker ends with {status}"
    finally:
        if child:
            os.kill(child, signal.SIGKILL)
            os.waitpid(child, 0)
    assert pathlib.Path(path).exists(), "a socket that was handed over is not the broker's to remove"
    print("service: sockets taken, ready, alive, stopping")


main(sys.argv[1], pathlib.Path(sys.argv[2]))
