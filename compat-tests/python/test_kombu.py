"""What programs written with kombu expect of a broker."""

import signal
import socket
import threading

import pytest
from amqp.exceptions import MessageNacked, NotFound, PreconditionFailed
from kombu import Connection, Consumer, Exchange, Producer, Queue, binding
from kombu.mixins import ConsumerMixin, ConsumerProducerMixin
from kombu.pools import connections, producers
from kombu.transport import native_delayed_delivery as delay

from support import TIMEOUT


@pytest.fixture
def connection(url):
    with Connection(url, transport_options={"confirm_publish": True}) as connection:
        yield connection


@pytest.fixture
def channel(connection):
    return connection.default_channel


# An exclusive queue of kombu's is deleted with its last consumer; these stay until nobody has used them for a while.
LASTING = {"expires": 60}


def take(connection, count, *queues, **options):
    """The next messages of the queues, acknowledged."""
    taken = []

    def note(body, message):
        taken.append((body, message))
        message.ack()

    with Consumer(connection, list(queues), callbacks=[note], **options):
        while len(taken) < count:
            connection.drain_events(timeout=TIMEOUT)
    return taken


BODIES = [{"carrots": [1, 2.5, None, True], "text": "\u00e9" * 10_000}, "\u00e9" * 70_000, b"\xff\x00" * 70_000]


@pytest.mark.parametrize("body", BODIES, ids=["json", "text", "octets"])
@pytest.mark.parametrize("compression", [None, "zlib"])
def test_bodies_and_headers(connection, fresh, body, compression):
    queue = Queue(fresh("bodies"), Exchange(fresh("bodies"), "direct", auto_delete=True), "key", exclusive=True)
    headers = {"n": -1, "big": 2**40, "yes": True, "none": None, "list": ["a", {"b": 1}], "text": "\u00e9"}
    Producer(connection, queue.exchange).publish(
        body, "key", declare=[queue], compression=compression, headers=headers, priority=3, expiration=60,
        correlation_id="c", reply_to="r", message_id="m", app_id="a", type="t", user_id="guest",
    )
    [(received, message)] = take(connection, 1, queue)
    assert received == body
    assert {name: message.headers[name] for name in headers} == headers
    kept = ("priority", "expiration", "correlation_id", "reply_to", "message_id", "app_id", "type", "user_id")
    assert [message.properties[name] for name in kept] == [3, "60000", "c", "r", "m", "a", "t", "guest"]
    assert message.delivery_info["routing_key"] == "key" and not message.delivery_info["redelivered"]


def test_a_simple_queue(connection, fresh):
    queue = connection.SimpleQueue(fresh("simple"), queue_opts={"auto_delete": True})
    queue.put("again")
    assert queue.qsize() == 1
    first = queue.get(timeout=TIMEOUT)
    assert first.payload == "again"
    first.requeue()
    again = queue.get(timeout=TIMEOUT)
    assert (again.payload, again.delivery_info["redelivered"]) == ("again", True)
    again.ack()
    for n in range(3):
        queue.put({"n": n})
    for n in range(3):
        message = queue.get(timeout=TIMEOUT)
        assert message.payload == {"n": n}
        message.reject()
    with pytest.raises(queue.Empty):
        queue.get(block=False)
    queue.close()
    buffer = connection.SimpleBuffer(fresh("buffer"))
    buffer.put("fleeting")
    assert buffer.get(timeout=TIMEOUT).payload == "fleeting"
    buffer.close()


def test_exchanges(connection, channel, fresh):
    topic = Exchange(fresh("topic"), "topic", durable=False, auto_delete=True)(channel)
    fanout = Exchange(fresh("fanout"), "fanout", durable=False, auto_delete=True)(channel)
    headers = Exchange(fresh("headers"), "headers", durable=False, auto_delete=True)(channel)
    for exchange in (topic, fanout, headers):
        exchange.declare()
    fanout.bind_to(topic, "leaf.#")
    stars = Queue(fresh("stars"), [binding(topic, "*.new"), binding(topic, "old.*")], **LASTING)(channel)
    copies = [Queue(fresh("copy"), fanout, **LASTING)(channel) for _ in range(2)]
    match = binding(headers, arguments={"x-match": "all", "colour": "red"})
    red = Queue(fresh("red"), [match], **LASTING)(channel)
    for queue in (stars, red, *copies):
        queue.declare()
    producer = Producer(connection)
    for key in ("a.new", "old.b", "leaf.c", "leaf.new", "nothing"):
        producer.publish(key, key, exchange=topic)
    producer.publish("red", exchange=headers, headers={"colour": "red"})
    producer.publish("blue", exchange=headers, headers={"colour": "blue"})
    assert [body for body, _ in take(connection, 3, stars)] == ["a.new", "old.b", "leaf.new"]
    for copy in copies:
        assert [body for body, _ in take(connection, 2, copy)] == ["leaf.c", "leaf.new"]
    assert [body for body, _ in take(connection, 1, red)] == ["red"]
    assert [queue.get() for queue in (stars, red, *copies)] == [None] * 4
    fanout.unbind_from(topic, "leaf.#")
    producer.publish("late", "leaf.late", exchange=topic)
    assert copies[0].get() is None


def test_priorities_and_limits(connection, channel, fresh):
    ranked = Queue(fresh("ranked"), max_priority=10, exclusive=True)(channel)
    ranked.declare()
    producer = Producer(connection)
    for priority in (0, 5, 10, 5, 3):
        producer.publish(priority, ranked.name, priority=priority)
    assert [body for body, _ in take(connection, 5, ranked, prefetch_count=1)] == [10, 5, 5, 3, 0]
    full = Queue(fresh("full"), max_length=1, queue_arguments={"x-overflow": "reject-publish"}, exclusive=True)(channel)
    full.declare()
    producer.publish("fits", full.name)
    with pytest.raises(MessageNacked):
        producer.publish("does not", full.name)


def test_dead_letters_and_time_to_live(connection, channel, fresh):
    graves = Queue(fresh("graves"), **LASTING)(channel)
    graves.declare()
    letters = {"x-dead-letter-exchange": "", "x-dead-letter-routing-key": graves.name}
    brief = Queue(fresh("brief"), message_ttl=0.05, expires=60, queue_arguments=letters, exclusive=True)(channel)
    brief.declare()
    producer = Producer(connection)
    producer.publish("late", brief.name)
    [(body, message)] = take(connection, 1, graves)
    [death] = message.headers["x-death"]
    assert (body, death["reason"], death["queue"], death["count"]) == ("late", "expired", brief.name, 1)
    patient = Queue(fresh("patient"), queue_arguments=letters, exclusive=True)(channel)
    patient.declare()
    producer.publish("unwanted", patient.name)
    patient.get().reject()
    [(body, message)] = take(connection, 1, graves)
    assert (body, message.headers["x-first-death-reason"]) == ("unwanted", "rejected")


def test_returns_and_refusals(connection, channel, fresh):
    returned = []
    producer = Producer(connection, on_return=lambda *answer: returned.append(answer))
    producer.publish("lost", "nowhere", exchange="amq.direct", mandatory=True)
    while not returned:
        connection.drain_events(timeout=TIMEOUT)
    [(error, exchange, key, message)] = returned
    assert (error.reply_code, exchange, key, message.body) == (312, "amq.direct", "nowhere", "lost")
    with pytest.raises(NotFound, match="no queue 'compat"):
        Queue(fresh("missing"))(connection.channel()).queue_declare(passive=True)
    queue = Queue(fresh("same"), exclusive=True)
    queue(channel).declare()
    with pytest.raises(PreconditionFailed, match="inequivalent arg 'x-max-length'"):
        Queue(queue.name, exclusive=True, max_length=5)(connection.channel()).declare()


def test_prefetch_and_recover(connection, channel, fresh):
    queue = Queue(fresh("prefetch"), **LASTING)(channel)
    queue.declare()
    for n in range(5):
        Producer(connection).publish(n, queue.name)
    got = []
    reader = connection.channel()
    with Consumer(reader, [queue], on_message=got.append, prefetch_count=2) as consumer:
        while len(got) < 2:
            connection.drain_events(timeout=TIMEOUT)
        assert queue.queue_declare(passive=True).message_count == 3
        consumer.recover(requeue=True)
        while len(got) < 4:
            connection.drain_events(timeout=TIMEOUT)
    assert [(message.payload, message.delivery_info["redelivered"]) for message in got] == [
        (0, False), (1, False), (0, True), (1, True),
    ]


def test_a_call_through_mixins(url, fresh):
    queue = Queue(fresh("service"), auto_delete=True)

    class Service(ConsumerProducerMixin):
        def __init__(self, connection):
            self.connection = connection
            self.ready = threading.Event()

        def get_consumers(self, consumer_class, channel):
            return [consumer_class([queue], on_message=self.on_call, prefetch_count=1)]

        def on_consume_ready(self, connection, channel, consumers, **options):
            self.ready.set()

        def on_call(self, message):
            self.producer.publish(
                message.payload.upper(), exchange="", routing_key=message.properties["reply_to"],
                correlation_id=message.properties["correlation_id"], retry=True,
            )
            message.ack()

    class Caller(ConsumerMixin):
        """Sends its calls once it listens for their answers."""

        def __init__(self, connection, replies, calls):
            self.connection, self.replies, self.calls, self.answers = connection, replies, calls, {}

        def get_consumers(self, consumer_class, channel):
            return [consumer_class([self.replies], callbacks=[self.on_answer], no_ack=True)]

        def on_consume_ready(self, connection, channel, consumers, **options):
            for n, call in enumerate(self.calls):
                Producer(channel).publish(call, queue.name, reply_to=self.replies.name, correlation_id=str(n))

        def on_answer(self, body, message):
            self.answers[message.properties["correlation_id"]] = body
            self.should_stop = len(self.answers) == len(self.calls)

    with Connection(url) as serving, Connection(url) as calling:
        service = Service(serving)
        thread = threading.Thread(target=service.run, daemon=True)
        thread.start()
        assert service.ready.wait(TIMEOUT)
        for replies in (Queue(fresh("replies"), exclusive=True), Queue("amq.rabbitmq.reply-to", no_declare=True)):
            caller = Caller(calling.clone(), replies, ["hop", "skip", "jump"])
            caller.run(timeout=TIMEOUT)
            assert caller.answers == {"0": "HOP", "1": "SKIP", "2": "JUMP"}
        service.should_stop = True
        thread.join(TIMEOUT)
        assert not thread.is_alive()


def test_native_delayed_delivery(connection, channel, fresh):
    # A ladder of quorum queues with a time to live each, as Celery 5.5 and later build it.
    ladder = fresh("ladder")
    due = Queue(fresh("due"), Exchange(fresh("due"), "topic"), "order.#", queue_arguments={"x-queue-type": "quorum"})
    due = due(channel)
    delay.declare_native_delayed_delivery_exchanges_and_queues(connection, "quorum", ladder)
    due.declare()
    delay.bind_queue_to_native_delayed_delivery_exchange(connection, due, ladder)
    top = delay.level_name(delay.MAX_LEVEL, ladder)
    for seconds in (3, 1, 2):
        Producer(connection).publish(seconds, delay.calculate_routing_key(seconds, "order.new"), exchange=top)
    taken = take(connection, 3, due)
    assert [body for body, _ in taken] == [1, 2, 3]
    assert {death["reason"] for _, message in taken for death in message.headers["x-death"]} == {"expired"}
    due.delete()
    for level in range(delay.MAX_LEVEL + 1):
        channel.queue_delete(delay.level_name(level, ladder))
    for name in (due.exchange.name, *map(lambda level: delay.level_name(level, ladder), range(delay.MAX_LEVEL + 1))):
        channel.exchange_delete(name)
    channel.exchange_delete(f"{ladder}_{delay.CELERY_DELAYED_DELIVERY_EXCHANGE}")


def test_pools(url, fresh):
    connection = Connection(url)
    queue = Queue(fresh("pool"), Exchange("", "direct"), exclusive=False, auto_delete=True)
    with producers[connection].acquire(block=True) as producer:
        producer.publish({"from": "a pool"}, fresh("nowhere"), retry=True)
        with connections[connection].acquire(block=True) as other:
            bound = queue(other.default_channel)
            bound.queue_declare()
            producer.publish("pooled", queue.name, retry=True)
            assert [body for body, _ in take(other, 1, bound)] == ["pooled"]


def test_heartbeats(url):
    with Connection(url, heartbeat=1) as connection:
        connection.connect()
        assert connection.get_heartbeat_interval() == 1
        for _ in range(8):
            with pytest.raises(socket.timeout):
                connection.drain_events(timeout=0.5)
            connection.heartbeat_check()
        assert connection.connected


@pytest.mark.parametrize("how", [signal.SIGTERM, signal.SIGKILL])
def test_ensure_outlives_the_broker(broker, fresh, how):
    queue = Queue(fresh("lasting"), Exchange(fresh("lasting"), durable=True), "key", durable=True)
    # A second address, where nobody answers: kombu tries them in turn.
    urls = [broker.url, "amqp://guest:guest@127.0.0.1:1//"]
    with Connection(urls, transport_options={"confirm_publish": True}) as connection:
        producer = Producer(connection, queue.exchange)
        policy = {"interval_start": 0, "interval_step": 0.1, "interval_max": 0.5, "max_retries": 100}
        producer.publish("before", "key", declare=[queue], retry=True, retry_policy=policy)
        broker.end(how)
        starting = threading.Thread(target=broker.start)
        starting.start()
        producer.publish("after", "key", declare=[queue], retry=True, retry_policy=policy)
        starting.join(TIMEOUT)
        taken = take(connection, 2, queue(connection.default_channel))
        assert [body for body, _ in taken] == ["before", "after"]
