#!/usr/bin/env python3
"""What being watched costs: one load, during which a dashboard is polled every second, in every other stretch.

Usage: polled.py LEVERET [STRETCHES]; LEVERET is a release build. The broker has management and metrics on and 1,000 idle
queues. The last line of each load compares the seconds of stretches with polling to those without; figures of single
seconds differ by a tenth and more, so that it takes many. Nothing is judged: the figures are.
"""

import json
import socket
import statistics
import subprocess
import sys
import tempfile
import time
import urllib.request

# Seconds of a stretch; the first of each is left out, since it belongs to both.
STRETCH = 5
IDLE_QUEUES = 1_000
LOADS = {
    "16 B transient": "-x 1 -y 1 -s 16 -a",
    "1 KiB durable, confirmed": "-x 1 -y 1 -s 1024 -f persistent -c 1000 -A 100 -q 1000 --durable --auto-delete false",
}
# What Prometheus and an open dashboard of RabbitMQ's ask for.
POLLED = ("/api/overview", "/api/queues?page=1&page_size=100&sort=messages", "/api/nodes", "/api/connections?page=1&page_size=100")
METRICS = ("/metrics", "/metrics/detailed?family=queue_coarse_metrics&family=queue_consumer_count")
GUEST = "Basic Z3Vlc3Q6Z3Vlc3Q="


class Broker:
    """A broker on ports of its own, in a session of its own."""

    def __init__(self, program):
        self.dir = tempfile.TemporaryDirectory()
        self.amqp, self.http, self.metrics = (free_port() for _ in range(3))
        listen = [f"127.0.0.1:{port}" for port in (self.amqp, self.http, self.metrics)]
        args = ["--listen", listen[0], "--http-listen", listen[1], "--metrics-listen", listen[2], "--data-dir", self.dir.name]
        self.process = subprocess.Popen(
            [program, *args], stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True, text=True
        )
        for line in self.process.stdout:
            if "startup complete" in line:
                break
        for number in range(IDLE_QUEUES):
            self.ask("/api/queues/%2F/idle-" + str(number), method="PUT", body={"durable": True})

    def ask(self, path, method="GET", body=None, metrics=False):
        port = self.metrics if metrics else self.http
        data = None if body is None else json.dumps(body).encode()
        request = urllib.request.Request(f"http://127.0.0.1:{port}{path}", data=data, method=method)
        request.add_header("authorization", GUEST)
        with urllib.request.urlopen(request, timeout=20) as answer:
            return answer.read()

    def stop(self):
        self.process.terminate()
        self.process.wait(30)
        self.dir.cleanup()


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def poll(broker, polls):
    for path in POLLED:
        polls.append(len(broker.ask(path)))
    for path in METRICS:
        polls.append(len(broker.ask(path, metrics=True)))


def load(program, broker, flags, seconds, out):
    uri = f"amqp://guest:guest@127.0.0.1:{broker.amqp}"
    return subprocess.Popen(
        [program, "perf", "load", *flags.split(), "-z", str(seconds), "-H", uri, "--pid", str(broker.process.pid),
         "--quiet", "--json", out],
        stdout=subprocess.DEVNULL,
    )


def measure(program, broker, flags, stretches):
    with tempfile.NamedTemporaryFile("r") as out:
        begun, polls = time.monotonic(), []
        loading = load(program, broker, flags, stretches * STRETCH, out.name)
        while loading.poll() is None:
            time.sleep(1.0)
            if int((time.monotonic() - begun) // STRETCH) % 2 == 1:
                poll(broker, polls)
        if loading.returncode != 0:
            sys.exit(loading.returncode)
        seconds = {False: [], True: []}
        for point in json.load(out)["outcome"]["points"]:
            at = point["seconds"]
            if at % STRETCH > 2.0:
                seconds[int(at // STRETCH) % 2 == 1].append(point)
        return seconds, polls


def main():
    program, stretches = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 16
    broker = Broker(program)
    try:
        for name, flags in LOADS.items():
            seconds, polls = measure(program, broker, flags, stretches)
            of = lambda key, polled: statistics.mean(point[key] for point in seconds[polled])
            rates, costs = ([of(key, polled) for polled in (False, True)] for key in ("consumed", "broker_cpu"))
            print(
                f"{name}: {rates[0]:,.0f}/s alone, {rates[1]:,.0f}/s polled: {rates[1] / rates[0]:.3f} of it, at"
                f" {costs[1] / costs[0]:.3f} times the broker's CPU a message"
                f" ({len(seconds[False])} and {len(seconds[True])} seconds, {len(polls)} requests, {sum(polls):,} octets)",
                flush=True,
            )
    finally:
        broker.stop()


if __name__ == "__main__":
    main()
