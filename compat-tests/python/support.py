"""Child processes that are read line by line, and brokers of a test's own. Every wait has a deadline."""

import os
import signal
import socket
import subprocess
import threading
import time

TIMEOUT = 60


class Child:
    """A process, in a group of its own, whose output is awaited."""

    def __init__(self, command, **environment):
        self.lines = []
        self._said = threading.Condition()
        self._process = subprocess.Popen(
            command, env=os.environ | environment, text=True, errors="replace", start_new_session=True,
            stdin=subprocess.DEVNULL, stdout=subprocess.PIPE, stderr=subprocess.STDOUT,
        )
        self._ended = False
        self._reader = threading.Thread(target=self._read, daemon=True)
        self._reader.start()

    def _read(self):
        for line in self._process.stdout:
            with self._said:
                self.lines.append(line.rstrip())
                self._said.notify_all()
        with self._said:
            self._ended = True
            self._said.notify_all()

    def until(self, words, count=1, timeout=TIMEOUT):
        """The first line that holds the words for the `count`th time."""

        def found():
            return [line for line in self.lines if words in line][count - 1 : count]

        with self._said:
            self._said.wait_for(lambda: found() or self._ended, timeout)
            assert found(), f"{words!r} was not said; the last words: " + "\n".join(self.lines[-20:])
            return found()[0]

    def end(self, how=signal.SIGTERM, timeout=TIMEOUT):
        """Ends the process: in order, or with SIGKILL together with its children."""
        if self._process.poll() is None:
            if how == signal.SIGKILL:
                os.killpg(self._process.pid, how)
            else:
                self._process.send_signal(how)
        try:
            self._process.wait(timeout)
        except subprocess.TimeoutExpired:
            os.killpg(self._process.pid, signal.SIGKILL)
            raise
        self._reader.join(timeout)


class Broker:
    """A broker of a test's own, which is killed and started again on the same data and port."""

    def __init__(self, data):
        self._data = data
        with socket.create_server(("127.0.0.1", 0)) as free:
            self._address = "127.0.0.1:%d" % free.getsockname()[1]
        self.url = f"amqp://guest:guest@{self._address}//"
        self.start()

    def start(self):
        ports = ["--listen", self._address, "--http-listen", "none", "--metrics-listen", "none"]
        self._child = Child([os.environ["LEVERET_BIN"], "--data-dir", str(self._data), *ports])
        self._child.until("Server startup complete")

    def end(self, how=signal.SIGTERM):
        self._child.end(how)


def eventually(fact, what, timeout=TIMEOUT):
    """Asks again and again for a fact that nothing announces, such as the length of a queue."""
    deadline = time.monotonic() + timeout
    while not fact():
        assert time.monotonic() < deadline, f"never happened: {what}"
        time.sleep(0.02)
