// amqp-connection-manager: what it keeps while there is no broker arrives when there is one again.

import assert from "node:assert/strict";
import { once } from "node:events";
import test from "node:test";
import manager from "amqp-connection-manager";
import { Broker, atEnd, connect, fresh, restartable, text, url } from "./support.js";

const quick = { reconnectTimeInSeconds: 0.1, heartbeatIntervalInSeconds: 5 };

test("a managed channel is set up, publishes and consumes", { timeout: 30_000 }, async (t) => {
  const connection = manager.connect([url], quick);
  atEnd(t, () => connection.close());
  const queue = fresh("managed");
  const channel = connection.createChannel({
    json: true,
    setup: (channel) => channel.assertQueue(queue, { autoDelete: true, durable: false }),
  });
  await channel.waitForConnect();
  const got = [];
  const enough = new Promise((resolve) => {
    channel.consume(queue, (message) => {
      got.push(JSON.parse(text(message)).n);
      channel.ack(message);
      if (got.length === 50) resolve();
    }, { prefetch: 5 });
  });
  await Promise.all(Array.from({ length: 50 }, (_, n) => channel.sendToQueue(queue, { n })));
  await enough;
  assert.deepEqual(got, Array.from({ length: 50 }, (_, n) => n));
  assert.equal((await channel.checkQueue(queue)).messageCount, 0);
  await channel.close();
});

for (const how of ["SIGTERM", "SIGKILL"]) {
  test(`what is published without a broker arrives later (${how})`, { timeout: 60_000, skip: restartable }, async (t) => {
    const broker = await Broker.start(t);
    const connection = manager.connect([broker.url], quick);
    atEnd(t, () => connection.close());
    const queue = fresh("offline");
    const got = [];
    let fourth;
    const enough = new Promise((resolve) => (fourth = resolve));
    const channel = connection.createChannel({ setup: (channel) => channel.assertQueue(queue, { durable: true }) });
    await channel.waitForConnect();
    await channel.sendToQueue(queue, Buffer.from("before"), { persistent: true });

    const lost = once(connection, "disconnect");
    await broker.end(how);
    await lost;
    assert.equal(connection.isConnected(), false);
    const later = ["one", "two", "three"].map((name) => channel.sendToQueue(queue, Buffer.from(name), { persistent: true }));
    assert.equal(channel.queueLength(), 3);

    await broker.run();
    await channel.waitForConnect();
    await Promise.all(later);
    await channel.consume(queue, (message) => {
      got.push(text(message));
      channel.ack(message);
      if (got.length === 4) fourth();
    });
    await enough;
    assert.deepEqual(got, ["before", "one", "two", "three"]);
    assert.equal(channel.queueLength(), 0);
    const plain = await (await connect(t, broker.url)).createChannel();
    assert.equal((await plain.checkQueue(queue)).messageCount, 0);
  });
}

test("a managed consumer comes back with the broker", { timeout: 60_000, skip: restartable }, async (t) => {
  const broker = await Broker.start(t);
  const connection = manager.connect([broker.url], quick);
  atEnd(t, () => connection.close());
  const queue = fresh("back");
  const got = [];
  let wake = () => {};
  const channel = connection.createChannel({ setup: (channel) => channel.assertQueue(queue, { durable: true }) });
  await channel.consume(queue, (message) => {
    got.push(text(message));
    channel.ack(message);
    wake();
  });
  for (const name of ["one", "two"]) {
    await channel.sendToQueue(queue, Buffer.from(name), { persistent: true });
    while (!got.includes(name)) await new Promise((resolve) => (wake = resolve));
    const again = once(connection, "connect");
    await broker.end("SIGTERM");
    await broker.run();
    await again;
  }
  await channel.sendToQueue(queue, Buffer.from("three"), { persistent: true });
  while (!got.includes("three")) await new Promise((resolve) => (wake = resolve));
  assert.deepEqual([...new Set(got)], ["one", "two", "three"]);
});

test("a broker that refuses is told of, and the next one is tried", { timeout: 30_000 }, async (t) => {
  const refused = new URL(url);
  refused.username = "guest";
  refused.password = "wrong";
  const connection = manager.connect([refused.href, url], quick);
  atEnd(t, () => connection.close());
  const [{ err }] = await once(connection, "connectFailed");
  assert.match(err.message, /403|ACCESS_REFUSED/);
  if (!connection.isConnected()) await once(connection, "connect");
  assert.equal(connection.isConnected(), true);
});
