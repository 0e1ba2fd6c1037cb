// The methods a program uses every day, one by one.

import assert from "node:assert/strict";
import { once } from "node:events";
import test from "node:test";
import amqp from "amqplib";
import { Inbox, connect, fresh, open, openConfirm, text } from "./support.js";

const limit = { timeout: 30_000 };

test("declare names, counts and checks queues", limit, async (t) => {
  const channel = await open(t);
  const named = fresh("declare");
  const declared = await channel.assertQueue(named, { exclusive: true });
  assert.deepEqual([declared.queue, declared.messageCount, declared.consumerCount], [named, 0, 0]);
  const generated = await channel.assertQueue("", { exclusive: true });
  assert.match(generated.queue, /^amq\.gen-/);

  channel.sendToQueue(named, Buffer.from("x"));
  await Inbox.of(channel, generated.queue);
  assert.equal((await channel.checkQueue(named)).messageCount, 1);
  assert.equal((await channel.checkQueue(generated.queue)).consumerCount, 1);
  assert.equal((await channel.purgeQueue(named)).messageCount, 1);
  channel.sendToQueue(named, Buffer.from("y"));
  assert.equal((await channel.deleteQueue(named)).messageCount, 1);
  // Deleting what is not there is no mistake.
  assert.equal((await channel.deleteQueue(named)).messageCount, 0);
});

test("every publish is confirmed once", limit, async (t) => {
  const channel = await openConfirm(t);
  const queue = fresh("confirm");
  await channel.assertQueue(queue, { durable: true, expires: 60_000 });
  const confirmed = [];
  for (let n = 0; n < 300; n++) {
    const persistent = n % 3 !== 0;
    channel.sendToQueue(queue, Buffer.from(`${n}`), { persistent }, (error) => confirmed.push(error ?? n));
  }
  await channel.waitForConfirms();
  // Transient ones need not wait for the persistent ones before them.
  assert.deepEqual(confirmed.sort((a, b) => a - b), Array.from({ length: 300 }, (_, n) => n));
  assert.equal((await channel.deleteQueue(queue)).messageCount, 300);
});

test("a mandatory message without a queue comes back before its confirm", limit, async (t) => {
  const channel = await openConfirm(t);
  const order = [];
  channel.on("return", (message) => order.push(message));
  const options = { mandatory: true, headers: { a: 1 }, contentType: "text/plain" };
  channel.publish("amq.direct", "nowhere", Buffer.from("hello"), options, () => order.push("confirm"));
  await channel.waitForConfirms();
  const [returned, confirm] = order;
  assert.equal(confirm, "confirm");
  const { replyCode, replyText, exchange, routingKey } = returned.fields;
  assert.deepEqual([replyCode, replyText, exchange, routingKey], [312, "NO_ROUTE", "amq.direct", "nowhere"]);
  assert.equal(text(returned), "hello");
  assert.deepEqual([returned.properties.headers, returned.properties.contentType], [{ a: 1 }, "text/plain"]);
});

test("properties and headers arrive as they were sent", limit, async (t) => {
  const channel = await open(t);
  const { queue } = await channel.assertQueue("", { exclusive: true });
  const inbox = await Inbox.of(channel, queue, { noAck: true, consumerTag: "reader" });
  const sent = {
    contentType: "application/json",
    contentEncoding: "utf-8",
    headers: { text: "gr\u00fcn", int: -7, big: 2 ** 40, float: 1.5, yes: true, none: null, list: [1, [2], { k: "v" }], table: { a: {} } },
    deliveryMode: 2,
    priority: 3,
    correlationId: "c-1",
    replyTo: "answers",
    expiration: "60000",
    messageId: "m-1",
    timestamp: 1_700_000_000,
    type: "order",
    userId: "guest",
    appId: "shop",
  };
  channel.publish("", queue, Buffer.from("{}"), sent);
  const message = await inbox.next();
  const received = Object.fromEntries(Object.keys(sent).map((name) => [name, message.properties[name]]));
  assert.deepEqual(received, sent);
  const { consumerTag, deliveryTag, redelivered, exchange, routingKey } = message.fields;
  assert.deepEqual([consumerTag, deliveryTag, redelivered, exchange, routingKey], ["reader", 1, false, "", queue]);
});

test("bodies of any size arrive whole", limit, async (t) => {
  const channel = await open(t);
  const { queue } = await channel.assertQueue("", { exclusive: true });
  const inbox = await Inbox.of(channel, queue, { noAck: true });
  for (const size of [0, 1, 4096, 131_064, 131_065, 1_000_003, 8 * 1024 * 1024]) {
    const body = Buffer.alloc(size, `${size}.`);
    channel.sendToQueue(queue, body);
    assert.ok((await inbox.next()).content.equals(body), `${size} octets`);
  }
});

test("prefetch bounds what is unacknowledged", limit, async (t) => {
  const channel = await open(t);
  const { queue } = await channel.assertQueue("", { exclusive: true });
  for (let n = 0; n < 5; n++) channel.sendToQueue(queue, Buffer.from(`${n}`));
  await channel.prefetch(2);
  const inbox = await Inbox.of(channel, queue);
  const [, second] = await inbox.take(2);
  assert.equal((await channel.checkQueue(queue)).messageCount, 3);
  assert.equal(inbox.length, 0);
  channel.ack(second, true);
  assert.deepEqual((await inbox.take(2)).map(text), ["2", "3"]);
  assert.equal((await channel.checkQueue(queue)).messageCount, 1);
  assert.equal(inbox.length, 0);
});

test("a nack puts messages back where they were", limit, async (t) => {
  const channel = await open(t);
  const { queue } = await channel.assertQueue("", { exclusive: true });
  for (const name of ["a", "b", "c"]) channel.sendToQueue(queue, Buffer.from(name));
  const first = await channel.get(queue);
  const second = await channel.get(queue);
  assert.deepEqual([text(first), first.fields.messageCount, text(second)], ["a", 2, "b"]);
  channel.nack(second, true, true);
  const seen = [];
  for (let message = await channel.get(queue); message; message = await channel.get(queue)) {
    seen.push([text(message), message.fields.redelivered]);
  }
  assert.deepEqual(seen, [["a", true], ["b", true], ["c", false]]);
  channel.nackAll(false);
  assert.equal((await channel.checkQueue(queue)).messageCount, 0);
  assert.equal(await channel.get(queue), false);
});

test("closing a channel gives its messages back", limit, async (t) => {
  const connection = await connect(t);
  const [reader, other] = [await connection.createChannel(), await connection.createChannel()];
  const { queue } = await other.assertQueue("", { exclusive: true });
  for (const name of ["a", "b"]) other.sendToQueue(queue, Buffer.from(name));
  await (await Inbox.of(reader, queue)).take(2);
  await reader.close();
  const again = await (await Inbox.of(other, queue)).take(2);
  assert.deepEqual(again.map((message) => [text(message), message.fields.redelivered]), [["a", true], ["b", true]]);
});

test("cancel ends deliveries, and deleting the queue cancels", limit, async (t) => {
  const channel = await open(t);
  const { queue } = await channel.assertQueue("", { exclusive: true });
  const cancelled = await Inbox.of(channel, queue, { noAck: true });
  await channel.cancel(cancelled.tag);
  channel.sendToQueue(queue, Buffer.from("later"));
  assert.equal((await channel.checkQueue(queue)).messageCount, 1);
  assert.equal(cancelled.length, 0);
  const inbox = await Inbox.of(channel, queue, { noAck: true });
  assert.equal(text(await inbox.next()), "later");
  await channel.deleteQueue(queue);
  assert.equal(await inbox.next(), null);
});

test("consumers take turns", limit, async (t) => {
  const channel = await open(t);
  const { queue } = await channel.assertQueue("", { exclusive: true });
  const [one, two] = [await Inbox.of(channel, queue), await Inbox.of(channel, queue)];
  for (let n = 0; n < 10; n++) channel.sendToQueue(queue, Buffer.from(`${n}`));
  const [odd, even] = [await one.take(5), await two.take(5)];
  assert.equal(new Set([...odd, ...even].map(text)).size, 10);
});

test("each exchange type routes in its way", limit, async (t) => {
  const channel = await open(t);
  const { queue } = await channel.assertQueue("", { exclusive: true });
  const inbox = await Inbox.of(channel, queue, { noAck: true });
  const routes = [
    ["direct", "red", {}, [["red", {}, true], ["blue", {}, false]]],
    ["fanout", "", {}, [["anything", {}, true]]],
    ["topic", "a.*.#", {}, [["a.b", {}, true], ["a.b.c.d", {}, true], ["a", {}, false], ["b.a", {}, false]]],
    ["headers", "", { "x-match": "all", k: "v", n: 1 }, [["", { k: "v", n: 1, o: 2 }, true], ["", { k: "v" }, false]]],
    ["headers", "", { "x-match": "any", k: "v", n: 1 }, [["", { k: "v" }, true], ["", { k: "w" }, false]]],
  ];
  for (const [type, pattern, args, cases] of routes) {
    const exchange = fresh(type);
    await channel.assertExchange(exchange, type, { autoDelete: true });
    await channel.bindQueue(queue, exchange, pattern, args);
    for (const [key, headers, matches] of cases) {
      channel.publish(exchange, key, Buffer.from(`${type} ${key}`), { headers });
      // The marker shows that the message before it went nowhere.
      channel.sendToQueue(queue, Buffer.from("marker"));
      const expected = matches ? [`${type} ${key}`, "marker"] : ["marker"];
      assert.deepEqual((await inbox.take(expected.length)).map(text), expected);
    }
    await channel.unbindQueue(queue, exchange, pattern, args);
    // Its last binding gone, the exchange is gone as well: declaring it anew with another type is no conflict.
    await channel.assertExchange(exchange, type === "direct" ? "fanout" : "direct");
    await channel.deleteExchange(exchange);
  }
});

test("exchanges feed exchanges, and the alternate takes the rest", limit, async (t) => {
  const channel = await open(t);
  const { queue } = await channel.assertQueue("", { exclusive: true });
  const [source, target, rest] = ["source", "target", "rest"].map(fresh);
  await channel.assertExchange(rest, "fanout", { durable: false });
  await channel.assertExchange(source, "topic", { durable: false, alternateExchange: rest });
  await channel.assertExchange(target, "fanout", { durable: false });
  await channel.bindExchange(target, source, "known.#");
  await channel.bindQueue(queue, target, "");
  await channel.bindQueue(queue, rest, "");
  const inbox = await Inbox.of(channel, queue, { noAck: true });
  channel.publish(source, "known.key", Buffer.from("bound"));
  channel.publish(source, "other", Buffer.from("rest"));
  const got = await inbox.take(2);
  assert.deepEqual(got.map((m) => [text(m), m.fields.exchange]), [["bound", source], ["rest", source]]);
  for (const exchange of [source, target, rest]) await channel.deleteExchange(exchange);
});

test("a call is answered through the caller's own queue", limit, async (t) => {
  const [server, client] = [await open(t), await open(t)];
  const service = fresh("rpc");
  await server.assertQueue(service, { autoDelete: true, durable: false });
  await server.consume(service, (call) => {
    const { replyTo, correlationId } = call.properties;
    server.sendToQueue(replyTo, Buffer.from(text(call).toUpperCase()), { correlationId });
    server.ack(call);
  });
  const { queue } = await client.assertQueue("", { exclusive: true });
  const inbox = await Inbox.of(client, queue, { noAck: true });
  client.sendToQueue(service, Buffer.from("hop"), { replyTo: queue, correlationId: "7" });
  const answer = await inbox.next();
  assert.deepEqual([text(answer), answer.properties.correlationId], ["HOP", "7"]);
});

test("AMQPLAIN opens as well as PLAIN", limit, async (t) => {
  const connection = await connect(t, undefined, { credentials: amqp.credentials.amqplain("guest", "guest") });
  const channel = await connection.createChannel();
  const { queue } = await channel.assertQueue("", { exclusive: true });
  channel.sendToQueue(queue, Buffer.from("in"));
  assert.equal(text(await channel.get(queue)), "in");
});

test("many channels share a connection", limit, async (t) => {
  const connection = await connect(t);
  const channels = await Promise.all(Array.from({ length: 100 }, () => connection.createChannel()));
  const { queue } = await channels[0].assertQueue("", { exclusive: true });
  for (const channel of channels) {
    channel.sendToQueue(queue, Buffer.from(`${channel.ch}`));
    await channel.close();
  }
  const reader = await connection.createChannel();
  assert.equal((await reader.checkQueue(queue)).messageCount, 100);
  const closed = once(connection, "close");
  await connection.close();
  await closed;
});
