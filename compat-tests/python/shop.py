"""A Celery application as users write them. `celery -A shop worker` takes its settings from SHOP, as JSON."""

import json
import os
import time

from celery import Celery
from celery.exceptions import Reject


class OutOfStock(Exception):
    """What goes wrong in a shop."""


def make(settings):
    app = Celery("shop", set_as_current=False)
    app.conf.update(settings)

    @app.task(shared=False, name="shop.add")
    def add(a, b):
        return a + b

    @app.task(shared=False, name="shop.total")
    def total(numbers):
        return sum(numbers)

    @app.task(shared=False, name="shop.fail")
    def fail(why):
        raise OutOfStock(why)

    @app.task(shared=False, name="shop.when")
    def when():
        return time.time()

    @app.task(shared=False, name="shop.turn", bind=True)
    def turn(self, name):
        print(f"turn of {name}", flush=True)
        return [time.monotonic(), self.request.delivery_info["priority"]]

    again = {"autoretry_for": (OutOfStock,), "retry_backoff": 1, "retry_jitter": False, "max_retries": 3}

    @app.task(shared=False, name="shop.stubborn", bind=True, **again)
    def stubborn(self, failures):
        if self.request.retries < failures:
            raise OutOfStock(f"attempt {self.request.retries}")
        return self.request.retries

    @app.task(shared=False, name="shop.dwell", bind=True, acks_late=True)
    def dwell(self, name):
        """Takes a minute the first time, nothing when it was delivered before."""
        again = self.request.delivery_info["redelivered"]
        print(f"dwelling on {name}", flush=True)
        if not again:
            time.sleep(60)
        return again

    @app.task(shared=False, name="shop.refuse", bind=True, acks_late=True)
    def refuse(self, requeue):
        """Rejects what it gets: to its queue the first time, then to nowhere."""
        again = self.request.delivery_info["redelivered"]
        print(f"refused {self.request.id} {'again' if again else 'first'}", flush=True)
        raise Reject("not today", requeue=requeue and not again)

    return app


if "SHOP" in os.environ:
    app = make(json.loads(os.environ["SHOP"]))
