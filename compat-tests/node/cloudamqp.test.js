// @cloudamqp/amqp-client: its channels, and its sessions, which come back by themselves.

import assert from "node:assert/strict";
import test from "node:test";
import { AMQPClient, AMQPSession } from "@cloudamqp/amqp-client";
import { Broker, atEnd, fresh, restartable, url } from "./support.js";

const limit = { timeout: 30_000 };

async function open(t) {
  const client = new AMQPClient(url);
  const connection = await client.connect();
  atEnd(t, () => connection.close().catch(() => {}));
  return connection.channel();
}

test("publish, confirm, consume, acknowledge", limit, async (t) => {
  const channel = await open(t);
  const queue = await channel.queueDeclare(fresh("cloud"), { autoDelete: true, durable: false });
  await channel.confirmSelect();
  const tags = await Promise.all(Array.from({ length: 20 }, (_, n) => channel.basicPublish("", queue.name, `${n}`, { deliveryMode: 2 })));
  assert.equal(new Set(tags).size, 20);
  await channel.prefetch(5);
  const got = [];
  const consumer = await channel.basicConsume(queue.name, { noAck: false }, async (message) => {
    got.push(message.bodyString());
    await message.ack();
    if (got.length === 20) await consumer.cancel();
  });
  await consumer.wait();
  assert.deepEqual(got, Array.from({ length: 20 }, (_, n) => `${n}`));
  await assert.rejects(channel.queueDeclare(queue.name, { passive: true }), /404|NOT_FOUND/);
});

test("properties, headers and large bodies", limit, async (t) => {
  const channel = await open(t);
  const queue = await channel.queueDeclare("", { exclusive: true });
  const properties = {
    contentType: "application/octet-stream", contentEncoding: "identity", deliveryMode: 1, priority: 2, correlationId: "c",
    replyTo: "r", expiration: "60000", messageId: "m", timestamp: new Date(1_700_000_000_000), type: "t", userId: "guest",
    appId: "a", headers: { text: "gr\u00fcn", n: -5, big: 2 ** 40, half: 0.5, yes: true, none: null, list: [1, "b"], table: { k: "v" } },
  };
  const body = new Uint8Array(1_000_003).map((_, n) => n);
  await channel.basicPublish("", queue.name, body, properties);
  const message = await channel.basicGet(queue.name, { noAck: true });
  assert.deepEqual(Buffer.from(message.body), Buffer.from(body));
  assert.deepEqual(message.properties, properties);
});

test("refusals, returns and cancels", limit, async (t) => {
  const channel = await open(t);
  const returned = new Promise((resolve) => (channel.onReturn = resolve));
  await channel.basicPublish("amq.direct", "nowhere", "lost", {}, true);
  assert.equal((await returned).replyCode, 312);
  const queue = await channel.queueDeclare(fresh("gone"));
  const consumer = await channel.basicConsume(queue.name, {}, () => {});
  const ended = assert.rejects(consumer.wait(), /cancelled by the server/);
  await channel.queueDelete(queue.name);
  await ended;
  await assert.rejects(channel.queueDeclare(fresh("missing"), { passive: true }), /404|NOT_FOUND/);
  assert.equal(channel.closed, true);
});

test("a session's subscription outlives its broker", { timeout: 60_000, skip: restartable }, async (t) => {
  const broker = await Broker.start(t);
  let returned = () => {};
  const session = await AMQPSession.connect(broker.url, { reconnectInterval: 100, onconnect: () => returned() });
  atEnd(t, () => session.stop());
  const queue = await session.queue(fresh("session"), { durable: true });
  const got = [];
  let wake = () => {};
  await queue.subscribe({ noAck: false }, async (message) => {
    got.push(message.bodyString());
    await message.ack();
    wake();
  });
  const arrived = async (name) => {
    while (!got.includes(name)) await new Promise((resolve) => (wake = resolve));
  };
  await queue.publish("before", { deliveryMode: 2 });
  await arrived("before");
  for (const how of ["SIGTERM", "SIGKILL"]) {
    const back = new Promise((resolve) => (returned = resolve));
    await broker.end(how);
    await broker.run();
    await back;
    await queue.publish(`after ${how}`, { deliveryMode: 2 });
    await arrived(`after ${how}`);
  }
  assert.deepEqual([...new Set(got)], ["before", "after SIGTERM", "after SIGKILL"]);
});

test("calls through a session", limit, async (t) => {
  const session = await AMQPSession.connect(url);
  atEnd(t, () => session.stop());
  const service = fresh("rpc");
  const server = await session.rpcServer(service, (message) => `${message.bodyString()}!`);
  const answers = await Promise.all(["hop", "skip", "jump"].map((word) => session.rpcCall(service, word, { timeout: 10_000 })));
  assert.deepEqual(answers.map((answer) => answer.bodyString()), ["hop!", "skip!", "jump!"]);
  await server.close();
});
