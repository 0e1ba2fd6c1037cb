// amqplib's other API: callbacks instead of promises.

import assert from "node:assert/strict";
import { once } from "node:events";
import test from "node:test";
import { promisify } from "node:util";
import amqp from "amqplib/callback_api";
import { atEnd, fresh, text, url } from "./support.js";

const limit = { timeout: 30_000 };

/** Calls a method whose last argument is a callback. */
const call = (object, name, ...args) => promisify(object[name]).call(object, ...args);

async function open(t, kind = "createChannel") {
  const connection = await promisify(amqp.connect)(url);
  connection.on("error", () => {});
  atEnd(t, () => call(connection, "close").catch(() => {}));
  const channel = await call(connection, kind);
  channel.on("error", () => {});
  return channel;
}

test("callbacks: declare, publish, consume, acknowledge, delete", limit, async (t) => {
  const channel = await open(t);
  const queue = fresh("callback");
  const declared = await call(channel, "assertQueue", queue, { expires: 60_000 });
  assert.deepEqual([declared.queue, declared.messageCount, declared.consumerCount], [queue, 0, 0]);
  const exchange = fresh("callback");
  await call(channel, "assertExchange", exchange, "topic", { autoDelete: true });
  await call(channel, "bindQueue", queue, exchange, "order.*", {});
  for (const key of ["order.a", "other", "order.b", "order.c"]) channel.publish(exchange, key, Buffer.from(key));
  await call(channel, "prefetch", 2, false);
  const seen = [];
  const all = new Promise((resolve) => {
    channel.consume(queue, (message) => {
      seen.push([text(message), message.fields.redelivered]);
      if (seen.length === 1) channel.nack(message);
      else channel.ack(message);
      if (seen.length === 4) resolve();
    }, { consumerTag: "reader" });
  });
  await all;
  // The first came back; when, depends on what was on its way.
  assert.deepEqual(seen[0], ["order.a", false]);
  assert.deepEqual(seen.slice(1).sort(), [["order.a", true], ["order.b", false], ["order.c", false]]);
  await call(channel, "cancel", "reader");
  assert.equal((await call(channel, "checkQueue", queue)).consumerCount, 0);
  assert.equal(await call(channel, "get", queue, {}), false);
  await call(channel, "unbindQueue", queue, exchange, "order.*", {});
  assert.equal((await call(channel, "deleteQueue", queue, {})).messageCount, 0);
  await call(channel, "close");
});

test("callbacks: confirms, returns and refusals", limit, async (t) => {
  const channel = await open(t, "createConfirmChannel");
  const { queue } = await call(channel, "assertQueue", "", { exclusive: true, arguments: { "x-max-length": 3, "x-overflow": "reject-publish" } });
  const outcomes = [];
  for (let n = 0; n < 5; n++) channel.sendToQueue(queue, Buffer.from(`${n}`), {}, (error) => outcomes.push(error === null));
  await call(channel, "waitForConfirms").catch((error) => assert.match(error.message, /nacked/));
  assert.deepEqual(outcomes.sort(), [false, false, true, true, true]);
  const returned = once(channel, "return");
  channel.publish("amq.direct", "nowhere", Buffer.from("lost"), { mandatory: true });
  const [message] = await returned;
  assert.deepEqual([message.fields.replyCode, text(message)], [312, "lost"]);
  assert.equal((await call(channel, "purgeQueue", queue)).messageCount, 3);
  const closed = once(channel, "error");
  await assert.rejects(call(channel, "checkExchange", fresh("missing")), /404/);
  const [error] = await closed;
  assert.equal(error.code, 404);
});
