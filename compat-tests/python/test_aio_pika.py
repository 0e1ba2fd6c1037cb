"""What programs written with aio-pika expect of a broker."""

import asyncio

import aio_pika
import aio_pika.exceptions
import pytest

TIMEOUT = 20


def run(scenario):
    asyncio.run(asyncio.wait_for(scenario, TIMEOUT))


def test_round_trip(url, fresh):
    async def scenario():
        connection = await aio_pika.connect_robust(url)
        async with connection:
            channel = await connection.channel()
            await channel.set_qos(prefetch_count=3)
            queue = await channel.declare_queue(fresh("aio"), durable=True, arguments={"x-expires": 60_000})
            sent = [
                aio_pika.Message(
                    str(n).encode(), message_id=f"m{n}", headers={"n": n}, delivery_mode=aio_pika.DeliveryMode.PERSISTENT
                )
                for n in range(25)
            ]
            for message in sent:
                await channel.default_exchange.publish(message, routing_key=queue.name)
            bodies = []
            async with queue.iterator() as messages:
                async for message in messages:
                    async with message.process():
                        assert message.headers == {"n": len(bodies)}
                        bodies.append(message.body)
                    if len(bodies) == len(sent):
                        break
            assert bodies == [message.body for message in sent]
            assert (await queue.declare()).message_count == 0
            await queue.delete()

    run(scenario())


def test_unroutable_and_missing(url, fresh):
    async def scenario():
        async with await aio_pika.connect(url) as connection:
            channel = await connection.channel(on_return_raises=True)
            exchange = await channel.declare_exchange(fresh("aio"), aio_pika.ExchangeType.DIRECT, auto_delete=True)
            queue = await channel.declare_queue(exclusive=True)
            await queue.bind(exchange, "known")
            await exchange.publish(aio_pika.Message(b"x"), "known")
            with pytest.raises(aio_pika.exceptions.DeliveryError):
                await exchange.publish(aio_pika.Message(b"y"), "unknown")
            assert (await queue.get()).body == b"x"
            assert await queue.get(fail=False) is None
            with pytest.raises(aio_pika.exceptions.ChannelNotFoundEntity):
                await channel.get_queue(fresh("missing"))

    run(scenario())


def test_failed_processing_requeues(url):
    async def scenario():
        async with await aio_pika.connect(url) as connection:
            channel = await connection.channel()
            queue = await channel.declare_queue(exclusive=True)
            await channel.default_exchange.publish(aio_pika.Message(b"retry"), queue.name)
            first = await queue.get()
            assert not first.redelivered
            with pytest.raises(ZeroDivisionError):
                async with first.process(requeue=True):
                    raise ZeroDivisionError
            second = await queue.get()
            assert (second.body, second.redelivered) == (b"retry", True)
            await second.reject(requeue=False)
            assert await queue.get(fail=False) is None

    run(scenario())


def test_many_tasks_publish_at_once(url, fresh):
    async def scenario():
        async with await aio_pika.connect(url) as connection:
            channel = await connection.channel()
            queue = await channel.declare_queue(fresh("tasks"), exclusive=True)
            publish = channel.default_exchange.publish
            results = await asyncio.gather(*(publish(aio_pika.Message(b"%d" % n), queue.name) for n in range(200)))
            assert {result.name for result in results} == {"Basic.Ack"}
            assert (await queue.declare()).message_count == 200
            assert (await queue.purge()).message_count == 200

    run(scenario())


def test_remote_procedure_call(url, fresh):
    async def scenario():
        async with await aio_pika.connect(url) as connection:
            channel = await connection.channel()
            service = await channel.declare_queue(fresh("rpc"), auto_delete=True)
            answers = await channel.declare_queue(exclusive=True)

            async def serve(call):
                async with call.process():
                    answer = aio_pika.Message(call.body.upper(), correlation_id=call.correlation_id)
                    await channel.default_exchange.publish(answer, call.reply_to)

            await service.consume(serve)
            call = aio_pika.Message(b"hop", correlation_id="7", reply_to=answers.name)
            await channel.default_exchange.publish(call, service.name)
            async with answers.iterator(no_ack=True) as messages:
                answer = await messages.__anext__()
            assert (answer.body, answer.correlation_id) == (b"HOP", "7")

    run(scenario())
