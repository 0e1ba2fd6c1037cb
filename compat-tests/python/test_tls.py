"""TLS as programs with pika set it up: trusting an authority, and logging in by certificate."""

import os
import pathlib
import ssl

import pika
import pika.exceptions
import pytest

from test_pika import take


@pytest.fixture
def tls():
    if "AMQPS_URL" not in os.environ or "TLS_DIR" not in os.environ:
        pytest.skip("AMQPS_URL and TLS_DIR are not set: no address with TLS to test")
    return os.environ["AMQPS_URL"], pathlib.Path(os.environ["TLS_DIR"])


def parameters(tls, context):
    url, _ = tls
    parameters = pika.URLParameters(url)
    parameters.ssl_options = pika.SSLOptions(context, "localhost")
    return parameters


def trusting(tls, certificate=False):
    _, directory = tls
    context = ssl.create_default_context(cafile=directory / "ca.pem")
    if certificate:
        context.load_cert_chain(directory / "client.pem", directory / "client.key")
    return context


@pytest.mark.parametrize("version", [ssl.TLSVersion.TLSv1_2, ssl.TLSVersion.TLSv1_3])
def test_messages_travel_over_tls(tls, fresh, version):
    context = trusting(tls)
    context.minimum_version = context.maximum_version = version
    with pika.BlockingConnection(parameters(tls, context)) as connection:
        channel = connection.channel()
        channel.confirm_delivery()
        queue = fresh("tls")
        channel.queue_declare(queue, exclusive=True)
        bodies = [b"", b"small", os.urandom(3_000_000)]
        for body in bodies:
            channel.basic_publish("", queue, body)
        assert [body for _, _, body in take(channel, queue, len(bodies), auto_ack=True)] == bodies


def test_a_certificate_logs_in(tls, fresh):
    how = parameters(tls, trusting(tls, certificate=True))
    how.credentials = pika.credentials.ExternalCredentials()
    with pika.BlockingConnection(how) as connection:
        channel = connection.channel()
        queue = fresh("external")
        channel.queue_declare(queue, exclusive=True)
        # The user is the certificate's: nobody else's name may stand in a message.
        channel.basic_publish("", queue, b"mine", pika.BasicProperties(user_id="guest"))
        assert [body for _, _, body in take(channel, queue, 1, auto_ack=True)] == [b"mine"]


def test_without_a_certificate_external_is_not_offered(tls):
    how = parameters(tls, trusting(tls))
    how.credentials = pika.credentials.ExternalCredentials()
    with pytest.raises((pika.exceptions.AMQPConnectionError, pika.exceptions.AuthenticationError)):
        pika.BlockingConnection(how)


def test_who_does_not_trust_the_authority_does_not_connect(tls):
    with pytest.raises((pika.exceptions.AMQPConnectionError, ssl.SSLError)):
        pika.BlockingConnection(parameters(tls, ssl.create_default_context()))
