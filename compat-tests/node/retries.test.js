// Retries with a pause: rejected messages wait in a queue with a time to live and come back, three times.

import assert from "node:assert/strict";
import test from "node:test";
import { Inbox, fresh, open, openConfirm, text } from "./support.js";

const ROUNDS = 3;
const PAUSE_MS = 100;

test("a poison message makes three rounds and carries its history", { timeout: 30_000 }, async (t) => {
  const [work, wait, rejected] = ["work", "wait", "rejected"].map(fresh);
  const channel = await openConfirm(t);
  await channel.assertExchange(rejected, "direct", { autoDelete: true });
  await channel.assertQueue(work, { durable: true, arguments: { "x-dead-letter-exchange": rejected } });
  await channel.assertQueue(wait, {
    durable: true,
    arguments: { "x-message-ttl": PAUSE_MS, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": work },
  });
  await channel.bindQueue(wait, rejected, work);
  t.after(async () => {
    const channel = await open(t);
    await channel.deleteQueue(work);
    await channel.deleteQueue(wait);
  });

  const inbox = await Inbox.of(channel, work);
  const headers = { "x-shop": "hare", nested: { deep: [1, "two", true] } };
  channel.sendToQueue(work, Buffer.from("poison"), { persistent: true, headers, messageId: "m-1" });
  channel.sendToQueue(work, Buffer.from("food"), { persistent: true });

  const rounds = [];
  let fed = false;
  for (;;) {
    const message = await inbox.next();
    if (text(message) === "food") {
      fed = true;
      channel.ack(message);
      continue;
    }
    rounds.push(message);
    const deaths = message.properties.headers["x-death"] ?? [];
    const rejections = deaths.find((death) => death.queue === work)?.count ?? 0;
    assert.equal(rejections, rounds.length - 1);
    if (rejections === ROUNDS) {
      channel.ack(message);
      break;
    }
    channel.nack(message, false, false);
  }

  assert.ok(fed, "the message behind the poison was held up");
  assert.equal(rounds.length, ROUNDS + 1);
  const last = rounds.at(-1);
  assert.equal(last.fields.exchange, "");
  assert.equal(last.fields.routingKey, work);
  // It was delivered before it died, which RabbitMQ forgets before 4.3, and so does the default compatibility.
  assert.equal(last.fields.redelivered, false);
  assert.equal(last.properties.messageId, "m-1");
  assert.equal(last.properties.deliveryMode, 2);
  const { "x-shop": shop, nested, "x-death": deaths } = last.properties.headers;
  assert.deepEqual({ "x-shop": shop, nested }, headers);
  // The latest death comes first; each pair of queue and reason has one entry.
  const facts = deaths.map((d) => [d.queue, d.reason, d.count, d.exchange, d["routing-keys"], d.time["!"]]);
  assert.deepEqual(facts, [
    [wait, "expired", ROUNDS, rejected, [work], "timestamp"],
    [work, "rejected", ROUNDS, "", [work], "timestamp"],
  ]);
  assert.equal(last.properties.headers["x-first-death-queue"], work);
  assert.equal(last.properties.headers["x-first-death-reason"], "rejected");
  assert.equal(last.properties.headers["x-first-death-exchange"], "");
  for (const queue of [work, wait]) assert.equal((await channel.checkQueue(queue)).messageCount, 0);
});

test("a message's own expiration ends at its first death", { timeout: 30_000 }, async (t) => {
  const [shelf, bin] = ["shelf", "bin"].map(fresh);
  const channel = await openConfirm(t);
  await channel.assertQueue(bin, { exclusive: true });
  await channel.assertQueue(shelf, { exclusive: true, deadLetterExchange: "", deadLetterRoutingKey: bin });
  const inbox = await Inbox.of(channel, bin, { noAck: true });
  channel.sendToQueue(shelf, Buffer.from("milk"), { expiration: 50 });
  const message = await inbox.next();
  assert.equal(text(message), "milk");
  assert.equal(message.properties.expiration, undefined);
  const [death] = message.properties.headers["x-death"];
  assert.deepEqual([death.queue, death.reason, death.count], [shelf, "expired", 1]);
  assert.equal(death["original-expiration"], "50");
});

test("a full queue drops its head, into the dead-letter exchange if it has one", { timeout: 30_000 }, async (t) => {
  const [short, bin] = ["short", "bin"].map(fresh);
  const channel = await openConfirm(t);
  await channel.assertQueue(bin, { exclusive: true });
  const limits = { maxLength: 2, deadLetterExchange: "", deadLetterRoutingKey: bin };
  await channel.assertQueue(short, { exclusive: true, ...limits });
  for (const name of ["a", "b", "c", "d"]) channel.sendToQueue(short, Buffer.from(name));
  await channel.waitForConfirms();
  const inbox = await Inbox.of(channel, bin, { noAck: true });
  const dropped = await inbox.take(2);
  assert.deepEqual(dropped.map(text), ["a", "b"]);
  assert.deepEqual(dropped.map((message) => message.properties.headers["x-death"][0].reason), ["maxlen", "maxlen"]);
  assert.equal((await channel.checkQueue(short)).messageCount, 2);
});

test("a full queue that rejects answers with a nack", { timeout: 30_000 }, async (t) => {
  const short = fresh("short");
  const channel = await openConfirm(t);
  const limits = { "x-max-length": 1, "x-overflow": "reject-publish" };
  await channel.assertQueue(short, { exclusive: true, arguments: limits });
  const publish = (name) =>
    new Promise((resolve) => channel.sendToQueue(short, Buffer.from(name), {}, (error) => resolve(error)));
  assert.equal(await publish("a"), null);
  assert.ok((await publish("b")) instanceof Error);
  assert.equal(text(await channel.get(short)), "a");
});
