"""What Celery applications expect of a broker: workers are processes of their own, with their defaults."""

import json
import signal
import sys
import time

import pytest
from celery import chain, chord, group
from celery.exceptions import TaskRevokedError

import shop
from support import TIMEOUT, Child, eventually


class Shop:
    """An application with settings of its own, and its workers."""

    def __init__(self, url, name, **settings):
        self.queue = name
        self.settings = {
            "broker_url": url,
            "result_backend": "rpc://",
            "task_default_queue": name,
            "worker_hijack_root_logger": True,
            "broker_connection_retry_on_startup": True,
        } | settings
        self.app = shop.make(self.settings)
        self.workers = []

    def work(self, *options, name="one", concurrency=1):
        """Starts a worker and waits until it is ready."""
        self.node = f"{name}@{self.queue}"
        command = ["-m", "celery", "-A", "shop", "worker", "-l", "INFO", "-n", self.node, "-c", str(concurrency)]
        worker = Child([sys.executable, *command, *options], SHOP=json.dumps(self.settings), PYTHONUNBUFFERED="1")
        self.workers.append(worker)
        worker.until(" ready.")
        return worker

    def task(self, name):
        return self.app.tasks[f"shop.{name}"]

    def control(self, ask, *arguments, **options):
        """What the worker answers to a remote control command."""
        answers = ask(*arguments, destination=[self.node], reply=True, timeout=TIMEOUT, limit=1, **options)
        return answers[0][self.node]

    def inspect(self, ask):
        inspect = self.app.control.inspect(destination=[self.node], timeout=TIMEOUT, limit=1)
        return getattr(inspect, ask)()[self.node]

    def length(self, queue=None):
        """The messages that wait in a queue."""
        with self.app.connection_for_write() as connection:
            return connection.default_channel.queue_declare(queue or self.queue, passive=True).message_count

    def close(self):
        for worker in self.workers:
            worker.end(signal.SIGKILL)
        with self.app.connection_for_write() as connection:
            connection.default_channel.queue_delete(self.queue)
        self.app.close()


@pytest.fixture
def start(url, fresh):
    shops = []

    def start(**settings):
        shops.append(Shop(url, fresh("shop"), **settings))
        return shops[-1]

    yield start
    for each in shops:
        each.close()


@pytest.fixture(scope="module")
def busy(url, fresh):
    """A shop with one worker of two processes and results by reply queue, for everything that shares it in peace."""
    busy = Shop(url, fresh("busy"), worker_send_task_events=True, task_send_sent_event=True)
    busy.worker = busy.work(concurrency=2)
    yield busy
    busy.close()


def test_a_thousand_tasks_with_results(busy):
    add = busy.task("add")
    results = [add.delay(n, n) for n in range(1000)]
    assert [result.get(TIMEOUT) for result in results] == [2 * n for n in range(1000)]
    assert busy.length() == 0


def test_an_error_is_a_result(busy):
    result = busy.task("fail").delay("no carrots")
    with pytest.raises(Exception, match="no carrots"):
        result.get(TIMEOUT)
    assert result.state == "FAILURE"


def test_countdown_and_eta(busy):
    begun = time.time()
    soon, later = busy.task("when").apply_async(countdown=1), busy.task("when").apply_async(countdown=2)
    now = busy.task("when").delay()
    assert now.get(TIMEOUT) < later.get(TIMEOUT)
    assert soon.get(TIMEOUT) >= begun + 1 and later.get(TIMEOUT) >= begun + 2


def test_retries_with_backoff(busy):
    begun = time.time()
    assert busy.task("stubborn").delay(2).get(TIMEOUT) == 2
    # One second before the first retry, two before the second.
    assert time.time() >= begun + 3
    # Three retries behind it, a task has no more.
    with pytest.raises(Exception, match="attempt 3"):
        busy.task("stubborn").apply_async((9,), retries=3).get(TIMEOUT)


def test_groups_and_chains(busy):
    add = busy.task("add")
    assert group(add.s(n, n) for n in range(20))().get(TIMEOUT) == [2 * n for n in range(20)]
    assert chain(add.s(1, 2), add.s(3), add.s(4))().get(TIMEOUT) == 10


def test_chords(start, tmp_path):
    # Celery has no chords with rpc:// results; files do, and the broker sees the same tasks.
    files = start(result_backend=f"file://{tmp_path}", result_chord_retry_interval=0.1)
    files.work(concurrency=2)
    add, total = files.task("add"), files.task("total")
    assert chord((add.s(n, n) for n in range(10)), total.s())().get(TIMEOUT) == 90
    nested = chain(group(add.s(1, 1), add.s(2, 2)), total.s(), add.s(4))
    assert nested().get(TIMEOUT) == 10


def test_revoke(busy):
    waiting = busy.task("when").apply_async(countdown=3600)
    busy.worker.until(f"shop.when[{waiting.id}] received")
    assert waiting.id in [ask["request"]["id"] for ask in busy.inspect("scheduled")]
    busy.control(busy.app.control.revoke, waiting.id)
    assert waiting.id in busy.inspect("revoked")
    # A worker looks at a revoked task when its time has come, so the verdict is asked of one that is due.
    running = busy.task("dwell").delay("revoked")
    busy.worker.until("dwelling on revoked")
    busy.app.control.revoke(running.id, terminate=True, signal="SIGKILL")
    with pytest.raises(TaskRevokedError):
        running.get(TIMEOUT)


def test_inspect(busy):
    running = busy.task("dwell").delay("inspected")
    busy.worker.until("dwelling on inspected")
    assert busy.app.control.ping([busy.node], TIMEOUT, limit=1) == [{busy.node: {"ok": "pong"}}]
    assert [task["id"] for task in busy.inspect("active")] == [running.id]
    assert {"shop.add", "shop.dwell"} <= set(busy.inspect("registered"))
    stats = busy.inspect("stats")
    assert stats["broker"]["transport"] == "amqp" and stats["pool"]["max-concurrency"] == 2
    [queue] = busy.inspect("active_queues")
    assert queue["name"] == busy.queue
    busy.app.control.revoke(running.id, terminate=True, signal="SIGKILL")
    with pytest.raises(TaskRevokedError):
        running.get(TIMEOUT)


def test_remote_control(busy, fresh):
    control = busy.app.control
    assert busy.control(control.pool_grow, 1) == {"ok": "pool will grow"}
    eventually(lambda: len(busy.inspect("stats")["pool"]["processes"]) == 3, "a third process")
    assert busy.control(control.pool_shrink, 1) == {"ok": "pool will shrink"}
    assert busy.control(control.rate_limit, "shop.add", "100/s") == {"ok": "new rate limit set successfully"}
    assert busy.task("add").delay(2, 2).get(TIMEOUT) == 4
    assert busy.control(control.rate_limit, "shop.add", None) == {"ok": "rate limit disabled successfully"}
    extra = fresh("extra")
    assert "ok" in busy.control(control.add_consumer, extra)
    assert busy.task("add").apply_async((3, 4), queue=extra).get(TIMEOUT) == 7
    assert "ok" in busy.control(control.cancel_consumer, extra)
    eventually(lambda: [queue["name"] for queue in busy.inspect("active_queues")] == [busy.queue], "one queue")
    with busy.app.connection_for_write() as connection:
        connection.default_channel.queue_delete(extra)


def test_events(busy):
    seen, results = {}, []

    with busy.app.connection_for_read() as connection:

        def begin(event):
            # The heartbeat that capture() asked for: the receiver listens.
            if not results:
                results.append(busy.task("add").delay(20, 22))

        def note(event):
            seen.setdefault(event["uuid"], []).append(event["type"])
            if results and event["uuid"] == results[0].id and event["type"] == "task-succeeded":
                assert event["result"] == "42"
                receiver.should_stop = True

        handlers = {"worker-heartbeat": begin, "task-sent": note, "task-received": note, "task-started": note}
        receiver = busy.app.events.Receiver(connection, handlers=handlers | {"task-succeeded": note})
        receiver.capture(limit=None, timeout=TIMEOUT, wakeup=True)
    assert set(seen[results[0].id]) == {"task-sent", "task-received", "task-started", "task-succeeded"}


def test_a_rejected_task(busy):
    dropped = busy.task("refuse").delay(False)
    busy.worker.until(f"refused {dropped.id} first")
    returned = busy.task("refuse").delay(True)
    busy.worker.until(f"refused {returned.id} again")
    eventually(lambda: busy.length() == 0, "an empty queue")


def test_priorities(start):
    ranked = start(
        task_queue_max_priority=9, task_default_priority=0, task_acks_late=True, worker_prefetch_multiplier=1,
    )
    # The queue exists before the worker: it finds all tasks waiting.
    with ranked.app.connection_for_write() as connection:
        ranked.app.amqp.queues[ranked.queue](connection.default_channel).declare()
    wanted = [1, 9, 5, 0, 9, 3, 7, 5]
    results = [ranked.task("turn").apply_async((n,), priority=priority) for n, priority in enumerate(wanted)]
    ranked.work("-P", "solo")
    turns = [result.get(TIMEOUT) for result in results]
    assert [priority for _, priority in turns] == wanted
    order = sorted(range(len(wanted)), key=lambda n: turns[n][0])
    assert order == sorted(range(len(wanted)), key=lambda n: (-wanted[n], n))


@pytest.mark.parametrize("kind", ["classic", "quorum"])
def test_a_killed_workers_task_is_redelivered(start, kind):
    late = start(task_default_queue_type=kind)
    first = late.work(name="first")
    result = late.task("dwell").delay("forever")
    first.until("dwelling on forever")
    first.end(signal.SIGKILL)
    second = late.work(name="second")
    assert result.get(TIMEOUT) is True
    second.until("dwelling on forever")


def test_the_prefetch_multiplier(start):
    late = start(worker_prefetch_multiplier=4, task_acks_late=True)
    worker = late.work()
    for n in range(20):
        late.task("dwell").delay(str(n))
    worker.until("dwelling on 0")
    eventually(lambda: late.length() == 16, "four deliveries")
    assert len(late.inspect("reserved")) == 3
    assert late.length() == 16


def test_quorum_queues_with_native_delay(start):
    quorum = start(
        task_default_queue_type="quorum", task_default_exchange_type="topic",
        broker_transport_options={"confirm_publish": True},
    )
    worker = quorum.work()
    # No global prefetch on quorum queues: Celery looks for them and does without it.
    worker.until("Global QoS is disabled")
    add, when = quorum.task("add"), quorum.task("when")
    results = [add.delay(n, 1) for n in range(100)]
    assert [result.get(TIMEOUT) for result in results] == [n + 1 for n in range(100)]
    begun = time.time()
    delayed = [when.apply_async(countdown=seconds) for seconds in (3, 1, 2)]
    assert [result.get(TIMEOUT) >= begun + seconds for result, seconds in zip(delayed, (3, 1, 2))] == [True] * 3
    # They waited in the broker, not in the worker.
    assert quorum.inspect("scheduled") == []
    with quorum.app.connection_for_write() as connection:
        assert connection.default_channel.queue_declare("celery_delayed_1", passive=True).message_count == 0
        for level in range(28):
            connection.default_channel.queue_delete(f"celery_delayed_{level}")
            connection.default_channel.exchange_delete(f"celery_delayed_{level}")
        connection.default_channel.exchange_delete("celery_delayed_delivery")


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_a_worker_outlives_its_broker(broker, fresh, tmp_path, how):
    # Unless a publish is confirmed, it may be written to a socket whose other end is dead.
    safely = {"broker_transport_options": {"confirm_publish": True}, "broker_connection_max_retries": None}
    alone = Shop(broker.url, fresh("alone"), result_backend=f"file://{tmp_path}", **safely)
    try:
        worker = alone.work()
        assert alone.task("add").delay(1, 1).get(TIMEOUT) == 2
        aside = fresh("aside")
        waiting = alone.task("add").apply_async((2, 2), queue=aside)
        broker.end(how)
        worker.until("Connection to broker lost")
        broker.start()
        worker.until("Connected to amqp", count=2)
        assert alone.task("add").delay(3, 3).get(TIMEOUT) == 6
        alone.control(alone.app.control.add_consumer, aside)
        assert waiting.get(TIMEOUT) == 4
    finally:
        alone.close()
