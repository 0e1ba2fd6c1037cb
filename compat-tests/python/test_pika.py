"""What programs written with pika expect of a broker."""

import pika
import pika.exceptions
import pytest

TIMEOUT = 10


@pytest.fixture
def connection(url):
    connection = pika.BlockingConnection(pika.URLParameters(url))
    yield connection
    if connection.is_open:
        connection.close()


@pytest.fixture
def channel(connection):
    return connection.channel()


def take(channel, queue, count, **options):
    """The next deliveries of a queue, left unacknowledged; fewer if they do not come in time."""
    messages = []
    for method, properties, body in channel.consume(queue, inactivity_timeout=TIMEOUT, **options):
        if method is None:
            break
        messages.append((method, properties, body))
        if len(messages) == count:
            break
    return messages


def test_declare_publish_consume_ack(channel, fresh):
    queue = fresh("pika")
    declared = channel.queue_declare(queue, durable=True, arguments={"x-expires": 60_000}).method
    assert (declared.queue, declared.message_count, declared.consumer_count) == (queue, 0, 0)
    persistent = pika.BasicProperties(delivery_mode=pika.DeliveryMode.Persistent)
    for n in range(10):
        channel.basic_publish("", queue, str(n).encode(), persistent)
    messages = take(channel, queue, 10)
    assert [body for _, _, body in messages] == [str(n).encode() for n in range(10)]
    assert [method.delivery_tag for method, _, _ in messages] == list(range(1, 11))
    assert not any(method.redelivered for method, _, _ in messages)
    channel.basic_ack(10, multiple=True)
    assert channel.cancel() == 0
    assert channel.queue_declare(queue, passive=True).method.message_count == 0
    channel.queue_delete(queue)


def test_confirms_and_mandatory_returns(channel):
    channel.confirm_delivery()
    queue = channel.queue_declare("", exclusive=True).method.queue
    assert queue.startswith("amq.gen-")
    for _ in range(20):
        channel.basic_publish("", queue, b"x", pika.BasicProperties(delivery_mode=2), mandatory=True)
    assert channel.queue_declare(queue, passive=True).method.message_count == 20
    with pytest.raises(pika.exceptions.UnroutableError) as refused:
        channel.basic_publish("amq.direct", "nowhere", b"lost", mandatory=True)
    [returned] = refused.value.messages
    assert (returned.method.reply_code, returned.method.reply_text, returned.body) == (312, "NO_ROUTE", b"lost")


def test_a_full_queue_nacks(channel):
    channel.confirm_delivery()
    arguments = {"x-max-length": 1, "x-overflow": "reject-publish"}
    queue = channel.queue_declare("", exclusive=True, arguments=arguments).method.queue
    channel.basic_publish("", queue, b"fits")
    with pytest.raises(pika.exceptions.NackError):
        channel.basic_publish("", queue, b"does not")


def test_properties_and_headers(channel):
    queue = channel.queue_declare("", exclusive=True).method.queue
    headers = {"text": "gr\u00fcn", "int": -7, "long": 2**40, "yes": True, "none": None, "list": [1, "two"], "table": {}}
    sent = pika.BasicProperties(
        content_type="application/json", content_encoding="utf-8", headers=headers, delivery_mode=1, priority=4,
        correlation_id="c", reply_to="r", expiration="60000", message_id="m", timestamp=1_700_000_000, type="t",
        user_id="guest", app_id="a",
    )
    channel.basic_publish("", queue, b"{}", sent)
    method, received, body = channel.basic_get(queue, auto_ack=True)
    assert received == sent
    assert (method.exchange, method.routing_key, method.message_count, body) == ("", queue, 0, b"{}")
    assert channel.basic_get(queue) == (None, None, None)


def test_prefetch_and_requeue(connection, channel):
    queue = channel.queue_declare("", exclusive=True).method.queue
    for n in range(4):
        channel.basic_publish("", queue, str(n).encode())
    channel.basic_qos(prefetch_count=2)
    arrived = []
    channel.basic_consume(queue, lambda _, method, __, body: arrived.append((method, body)))
    while len(arrived) < 2:
        connection.process_data_events(TIMEOUT)
    # A round trip later there would have been time for a third one.
    assert channel.queue_declare(queue, passive=True).method.message_count == 2
    assert [body for _, body in arrived] == [b"0", b"1"]
    channel.basic_nack(arrived[0][0].delivery_tag, requeue=True)
    while len(arrived) < 3:
        connection.process_data_events(TIMEOUT)
    method, body = arrived[2]
    assert (body, method.redelivered) == (b"0", True)


def test_reject_without_requeue_drops(channel):
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.basic_publish("", queue, b"x")
    method, _, _ = channel.basic_get(queue)
    channel.basic_reject(method.delivery_tag, requeue=False)
    assert channel.queue_purge(queue).method.message_count == 0
    assert channel.basic_get(queue) == (None, None, None)


def test_exchanges(channel, fresh):
    exchange = fresh("topic")
    channel.exchange_declare(exchange, "topic", auto_delete=True)
    queue = channel.queue_declare("", exclusive=True).method.queue
    channel.queue_bind(queue, exchange, "order.*")
    for key in ("order.created", "order", "order.created.twice", "order.paid"):
        channel.basic_publish(exchange, key, key.encode())
    messages = take(channel, queue, 2, auto_ack=True)
    assert [body for _, _, body in messages] == [b"order.created", b"order.paid"]
    channel.cancel()
    channel.queue_unbind(queue, exchange, "order.*")
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as gone:
        channel.exchange_declare(exchange, passive=True)
    assert gone.value.reply_code == 404


def test_refusals(connection, url, fresh):
    queue = fresh("missing")
    with pytest.raises(pika.exceptions.ChannelClosedByBroker) as refused:
        connection.channel().queue_declare(queue, passive=True)
    assert refused.value.reply_code == 404
    assert refused.value.reply_text == f"NOT_FOUND - no queue '{queue}' in vhost '/'"
    parameters = pika.URLParameters(url)
    parameters.credentials = pika.PlainCredentials("guest", "wrong")
    with pytest.raises(pika.exceptions.ProbableAuthenticationError):
        pika.BlockingConnection(parameters)
    parameters = pika.URLParameters(url)
    parameters.virtual_host = "no-such-vhost"
    with pytest.raises((pika.exceptions.ProbableAccessDeniedError, pika.exceptions.ConnectionClosedByBroker)):
        pika.BlockingConnection(parameters)


def test_heartbeats_keep_an_idle_connection(url):
    parameters = pika.URLParameters(url)
    parameters.heartbeat = 1
    connection = pika.BlockingConnection(parameters)
    # Longer than the two intervals after which a silent peer counts as dead.
    connection.process_data_events(4)
    channel = connection.channel()
    assert channel.queue_declare("", exclusive=True).method.message_count == 0
    connection.close()
