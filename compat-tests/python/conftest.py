"""What the tests share: the broker's address, names that do not meet, and a broker that may be killed."""

import os
import uuid

import pytest

import support


@pytest.fixture(scope="session")
def url():
    return os.environ.get("AMQP_URL", "amqp://localhost")


@pytest.fixture(scope="session")
def fresh():
    return lambda name: f"compat.{name}.{uuid.uuid4().hex}"


@pytest.fixture
def broker(tmp_path):
    if "LEVERET_BIN" not in os.environ:
        pytest.skip("LEVERET_BIN is not set: this broker cannot be restarted")
    broker = support.Broker(tmp_path / "data")
    yield broker
    broker.end()
