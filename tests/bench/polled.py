#!/usr/bin/env python3
"""What being watched costs: the same load on two brokers, one of which answers a dashboard every second.

Usage: polled.py LEVERET [ROUNDS]; LEVERET is a release build. Both brokers have management and metrics on and 1,000 idle
queues; pairs of runs alternate, and the last lines are the medians of their ratios. Nothing is judged: the figures are.
"""

import json
import socket
import statistics
import subprocess
import sys
import tempfile
import threading
import urllib.request

SECONDS = 4
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


def poll(broker, over, count):
    while not over.wait(1.0):
        for path in POLLED:
            count[0] += len(broker.ask(path))
        for path in METRICS:
            count[0] += len(broker.ask(path, metrics=True))


def load(program, broker, flags):
    with tempfile.NamedTemporaryFile("r") as out:
        uri = f"amqp://guest:guest@127.0.0.1:{broker.amqp}"
        subprocess.run(
            [program, "perf", "load", *flags.split(), "-z", str(SECONDS), "-H", uri, "--pid", str(broker.process.pid),
             "--quiet", "--json", out.name],
            check=True, stdout=subprocess.DEVNULL,
        )
        outcome = json.load(out)["outcome"]
        return outcome["consumed_rate"], outcome["broker_cpu"]


def main():
    program, rounds = sys.argv[1], int(sys.argv[2]) if len(sys.argv) > 2 else 5
    broker = Broker(program)
    try:
        for name, flags in LOADS.items():
            rates, costs = [], []
            load(program, broker, flags)
            for number in range(rounds):
                figures = {}
                for polled in (number % 2 == 0, number % 2 == 1):
                    over, octets = threading.Event(), [0]
                    poller = threading.Thread(target=poll, args=(broker, over, octets))
                    if polled:
                        poller.start()
                    figures[polled] = load(program, broker, flags)
                    over.set()
                    if polled:
                        poller.join()
                        answered = octets[0]
                rates.append(figures[True][0] / figures[False][0])
                costs.append(figures[True][1] / figures[False][1])
                print(f"{name}: {figures[False][0]:,.0f}/s alone, {figures[True][0]:,.0f}/s polled ({answered:,} octets)", flush=True)
            print(
                f"{name}: polled, {statistics.median(rates):.3f} of the throughput ({min(rates):.3f}..{max(rates):.3f})"
                f" at {statistics.median(costs):.3f} times the broker's CPU a message"
            )
    finally:
        broker.stop()


if __name__ == "__main__":
    main()
