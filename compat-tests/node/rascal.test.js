// rascal: topologies, publications and subscriptions from one configuration.

import assert from "node:assert/strict";
import { once } from "node:events";
import test from "node:test";
import rascal from "rascal";
import { Broker, atEnd, fresh, restartable, url } from "./support.js";

const { BrokerAsPromised, withDefaultConfig } = rascal;

const limit = { timeout: 30_000 };

/** A started rascal broker in a namespace of its own. */
async function start(t, vhost, publications, subscriptions, { at = url, ...more } = {}) {
  const connection = { url: at, retry: { min: 50, max: 200 }, management: { url: "http://127.0.0.1:1" } };
  const vhosts = { "/": { namespace: fresh("rascal"), assert: false, connection, ...vhost } };
  const config = { vhosts, publications, subscriptions, ...more };
  const broker = await BrokerAsPromised.create(withDefaultConfig(config));
  broker.on("error", () => {});
  atEnd(t, () => broker.nuke().catch(() => broker.shutdown().catch(() => {})));
  return broker;
}

const exchange = { assert: true, options: { durable: true } };

/** A publication has succeeded when the broker has confirmed it. */
async function publish(broker, name, body, options) {
  const publication = await broker.publish(name, body, options);
  return once(publication, "success");
}

const topology = {
  exchanges: { orders: { type: "topic", ...exchange }, dead: { type: "direct", ...exchange } },
  queues: {
    paid: { options: { arguments: { "x-dead-letter-exchange": "dead", "x-dead-letter-routing-key": "grave" } } },
    all: {},
    grave: {},
  },
  bindings: ["orders[order.paid] -> paid", "orders[order.#] -> all", "dead[grave] -> grave"],
};
const publications = { order: { exchange: "orders", routingKey: "order.paid", confirm: true } };

test("a topology routes what is published to who subscribed", limit, async (t) => {
  const broker = await start(t, topology, publications, { paid: { queue: "paid", prefetch: 3 }, all: { queue: "all" } });
  const got = { paid: [], all: [] };
  let wake = () => {};
  for (const name of ["paid", "all"]) {
    const subscription = await broker.subscribe(name);
    subscription.on("message", (message, content, ackOrNack) => {
      got[name].push(content.n);
      ackOrNack();
      wake();
    });
  }
  await Promise.all(Array.from({ length: 20 }, (_, n) => publish(broker, "order", { n })));
  await publish(broker, "order", { n: 20 }, { routingKey: "order.placed" });
  while (got.paid.length < 20 || got.all.length < 21) await new Promise((resolve) => (wake = resolve));
  assert.deepEqual(got.paid.sort((a, b) => a - b), Array.from({ length: 20 }, (_, n) => n));
  assert.deepEqual(got.all.sort((a, b) => a - b), Array.from({ length: 21 }, (_, n) => n));
  const lost = await broker.publish("order", { n: 21 }, { routingKey: "elsewhere", options: { mandatory: true } });
  const [returned] = await once(lost, "return");
  assert.equal(returned.fields.replyCode, 312);
});

test("messages that fail are tried again, republished, and buried at last", limit, async (t) => {
  const broker = await start(t, topology, publications, { paid: { queue: "paid" }, grave: { queue: "grave" } });
  const seen = [];
  const subscription = await broker.subscribe("paid");
  subscription.on("message", (message, content, ackOrNack) => {
    const { recovery, redeliveries } = message.properties.headers.rascal;
    const republished = Object.values(recovery ?? {})[0]?.republished ?? 0;
    seen.push([republished, message.fields.redelivered, redeliveries]);
    ackOrNack(new Error("no carrots"), [{ strategy: "republish", attempts: 2, defer: 10 }, { strategy: "nack" }]);
  });
  const burial = await broker.subscribe("grave");
  const buried = once(burial, "message");
  await publish(broker, "order", { carrots: 3 });
  const [message, content, ackOrNack] = await buried;
  ackOrNack();
  assert.deepEqual(content, { carrots: 3 });
  assert.deepEqual(seen.map(([republished]) => republished), [0, 1, 2]);
  const [death] = message.properties.headers["x-death"];
  assert.deepEqual([death.reason, death.count, death["routing-keys"]?.length], ["rejected", 1, 1]);
});

test("a requeue comes back, and redeliveries are counted", limit, async (t) => {
  const counters = { redeliveries: { counters: { memory: { type: "inMemory" } } } };
  const subscriptions = { all: { queue: "all", redeliveries: { limit: 2, counter: "memory" } } };
  const broker = await start(t, topology, publications, subscriptions, counters);
  const subscription = await broker.subscribe("all");
  const seen = [];
  // With the error first: not an event for `once` to wait for.
  const exceeded = new Promise((resolve) => subscription.on("redeliveries_exceeded", (...event) => resolve(event)));
  subscription.on("message", (message, content, ackOrNack) => {
    seen.push(message.fields.redelivered);
    ackOrNack(new Error("again"), { strategy: "nack", requeue: true });
  });
  await publish(broker, "order", "round and round");
  const [, message, ackOrNack] = await exceeded;
  ackOrNack();
  assert.equal(message.fields.redelivered, true);
  assert.equal(seen[0], false);
  assert.ok(seen.slice(1).every(Boolean));
});

test("publications forward, delay by time to live, and reply", limit, async (t) => {
  const vhost = {
    exchanges: { entry: { type: "direct", ...exchange }, due: { type: "direct", ...exchange } },
    queues: {
      waiting: { options: { arguments: { "x-message-ttl": 50, "x-dead-letter-exchange": "due" } } },
      due: {},
    },
    bindings: ["entry[later] -> waiting", "due[later] -> due"],
  };
  const broker = await start(t, vhost, { later: { exchange: "entry", routingKey: "later" } }, { due: { queue: "due" } });
  const subscription = await broker.subscribe("due");
  const arrived = once(subscription, "message");
  await publish(broker, "later", "patience", { options: { headers: { tag: 1 } } });
  const [message, content, ackOrNack] = await arrived;
  ackOrNack();
  assert.equal(content, "patience");
  assert.equal(message.properties.headers.tag, 1);
  assert.equal(message.properties.headers["x-death"][0].reason, "expired");
});

test("everything comes back after the broker does", { timeout: 60_000, skip: restartable }, async (t) => {
  const own = await Broker.start(t);
  const broker = await start(t, topology, publications, { all: { queue: "all", retry: { min: 50, max: 200 } } }, { at: own.url });
  const got = [];
  let wake = () => {};
  const subscription = await broker.subscribe("all");
  subscription.on("error", () => {});
  subscription.on("message", (message, content, ackOrNack) => {
    got.push(content);
    ackOrNack();
    wake();
  });
  const arrived = async (body) => {
    while (!got.includes(body)) await new Promise((resolve) => (wake = resolve));
  };
  await publish(broker, "order", "before");
  await arrived("before");
  const back = new Promise((resolve) => broker.once("vhost_initialised", resolve));
  await own.end("SIGKILL");
  await own.run();
  await back;
  await publish(broker, "order", "after");
  await arrived("after");
});
