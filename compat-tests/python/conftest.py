"""What the tests share: the broker's address and names that do not meet."""

import os
import uuid

import pytest


@pytest.fixture
def url():
    return os.environ.get("AMQP_URL", "amqp://localhost")


@pytest.fixture
def fresh():
    return lambda name: f"compat.{name}.{uuid.uuid4().hex}"
