// What goes wrong goes wrong as programs written for RabbitMQ expect it: same codes, same texts, same radius.

import assert from "node:assert/strict";
import test from "node:test";
import amqp from "amqplib";
import { closedWith, connect, fresh, open, url } from "./support.js";

const limit = { timeout: 30_000 };

test("a queue that is not there closes the channel with 404", limit, async (t) => {
  const connection = await connect(t);
  const channel = await connection.createChannel();
  const queue = fresh("missing");
  const error = await closedWith(channel, () => channel.checkQueue(queue));
  assert.equal(error.code, 404);
  assert.ok(error.message.includes(`NOT_FOUND - no queue '${queue}' in vhost '/'`), error.message);
  // The connection lives on.
  const other = await connection.createChannel();
  assert.ok((await other.assertQueue("", { exclusive: true })).queue);
});

test("publishing to an exchange that is not there closes the channel with 404", limit, async (t) => {
  const channel = await open(t);
  const exchange = fresh("missing");
  const error = await closedWith(channel, () => channel.publish(exchange, "", Buffer.from("x")));
  assert.equal(error.code, 404);
  assert.ok(error.message.includes(`NOT_FOUND - no exchange '${exchange}' in vhost '/'`), error.message);
});

test("declaring anew with other properties closes the channel with 406", limit, async (t) => {
  const channel = await open(t);
  const queue = fresh("inequivalent");
  await channel.assertQueue(queue, { durable: true, expires: 60_000 });
  const error = await closedWith(channel, () => channel.assertQueue(queue, { durable: false, expires: 60_000 }));
  assert.equal(error.code, 406);
  const expected = `PRECONDITION_FAILED - inequivalent arg 'durable' for queue '${queue}' in vhost '/'`;
  assert.ok(error.message.includes(expected), error.message);
  await (await open(t)).deleteQueue(queue);
});

test("an exclusive queue is its connection's alone", limit, async (t) => {
  const [owner, stranger] = [await open(t), await open(t)];
  const queue = fresh("exclusive");
  await owner.assertQueue(queue, { exclusive: true });
  const error = await closedWith(stranger, () => stranger.checkQueue(queue));
  assert.equal(error.code, 405);
  assert.match(error.message, /RESOURCE_LOCKED - cannot obtain exclusive access to locked queue/);
});

test("an exclusive consumer is alone", limit, async (t) => {
  const [owner, stranger] = [await open(t), await open(t)];
  const queue = fresh("alone");
  await owner.assertQueue(queue, { autoDelete: true });
  await owner.consume(queue, () => {}, { exclusive: true });
  const error = await closedWith(stranger, () => stranger.consume(queue, () => {}));
  assert.equal(error.code, 403);
  assert.match(error.message, /ACCESS_REFUSED/);
});

test("acknowledging twice closes the channel with 406", limit, async (t) => {
  const channel = await open(t);
  const { queue } = await channel.assertQueue("", { exclusive: true });
  channel.sendToQueue(queue, Buffer.from("x"));
  const message = await channel.get(queue);
  channel.ack(message);
  const error = await closedWith(channel, () => channel.ack(message));
  assert.equal(error.code, 406);
  assert.match(error.message, /PRECONDITION_FAILED - unknown delivery tag 1/);
});

test("a wrong password, an unknown user and an unknown virtual host stay outside", limit, async () => {
  const at = (user, password, vhost) => `amqp://${user}:${password}@${new URL(url).host}/${vhost}`;
  for (const [user, password] of [["guest", "wrong"], ["nobody", "guest"]]) {
    await assert.rejects(amqp.connect(at(user, password, "%2f")), /ACCESS.REFUSED/);
  }
  await assert.rejects(amqp.connect(at("guest", "guest", "no-such-vhost")), /ConnectionClose/);
});
