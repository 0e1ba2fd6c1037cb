#!/usr/bin/env python3
"""Where the broker's CPU time goes, for rows of the suite: profiles.py LEVERET > PROFILES.md

LEVERET is a release build. Needs Linux's perf, and the right to look at the kernel's part.
"""

import re
import socket
import subprocess
import sys
import tempfile
import time

SECONDS = 6
TOP = 14
DURABLE = "--durable --auto-delete false -f persistent -s 1024"
ROWS = {
    "1 KiB durable, publish only": f"load -x 1 -y 0 -c 1000 {DURABLE}",
    "1 KiB durable, one confirm at a time": f"load -x 1 -y 1 -c 1 -A 1 -q 100 {DURABLE}",
    "Bindings of a transient queue": "churn bindings",
    "Bindings of a durable queue": "churn bindings --durable",
    "Queue create and delete, durable": "churn queues --durable",
    "Connections opened and closed": "churn connections",
}


def free_port():
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def shares(data, key):
    report = ["perf", "report", "-i", data, "--no-children", "-g", "none", "--sort", key]
    lines = subprocess.run(report, check=True, capture_output=True, text=True).stdout.splitlines()
    found = []
    for line in lines:
        match = re.match(r"\s*([\d.]+)%\s+(.+?)(\s+-\s+-)?\s*$", line)
        if match:
            found.append((float(match[1]), match[2].strip()))
    return found


def profile(program, flags):
    with tempfile.TemporaryDirectory() as folder:
        port = free_port()
        args = ["--listen", f"127.0.0.1:{port}", "--http-listen", "none", "--metrics-listen", "none"]
        broker = subprocess.Popen(
            [program, *args, "--data-dir", f"{folder}/data"],
            stdout=subprocess.PIPE, stderr=subprocess.DEVNULL, start_new_session=True, text=True,
        )
        try:
            for line in broker.stdout:
                if "startup complete" in line:
                    break
            uri = f"amqp://guest:guest@127.0.0.1:{port}"
            load = [program, "perf", *flags.split(), "-H", uri, "--pid", str(broker.pid), "-z", str(SECONDS), "--quiet"]
            loading = subprocess.Popen(load, stdout=subprocess.PIPE, text=True)
            time.sleep(2)
            data = f"{folder}/perf.data"
            record = ["perf", "record", "-F", "1999", "-o", data, "-p", str(broker.pid), "sleep", str(SECONDS - 3)]
            subprocess.run(record, check=True, capture_output=True)
            said = loading.communicate()[0]
            return said, shares(data, "comm"), shares(data, "comm,symbol")
        finally:
            broker.terminate()
            broker.wait(60)


def main():
    print("# Where the time goes\n")
    print("Written by `tests/bench/profiles.py`: samples of the broker's CPU time while a row of the suite runs.")
    for name, flags in ROWS.items():
        said, threads, symbols = profile(sys.argv[1], flags)
        told = [line.strip() for line in said.splitlines() if "/s" in line or "CPU" in line]
        kernel = sum(share for share, symbol in symbols if "[k]" in symbol)
        print(f"\n## {name}\n\n`leveret perf {flags}`: {'; '.join(told)}.\n")
        by_thread = ", ".join(f"{thread} {share:.0f} %" for share, thread in threads if share >= 1)
        print(f"Kernel {kernel:.0f} %. By thread: {by_thread}.\n\n| % | thread | where |\n|---|---|---|")
        for share, symbol in symbols[:TOP]:
            thread, where = symbol.split(None, 1)
            print(f"| {share:.1f} | {thread} | `{where.strip()}` |")


if __name__ == "__main__":
    main()
