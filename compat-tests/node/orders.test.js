// A shop: a thousand orders, one consumer, which is killed half-way and started again.

import assert from "node:assert/strict";
import test from "node:test";
import { Child, open, url } from "./support.js";

const ORDERS = 1000;
const STALL_AT = 500;
const FAIL_EVERY = 90;

test("a killed consumer loses no order", { timeout: 120_000 }, async (t) => {
  const channel = await open(t);
  await channel.deleteQueue("order.created");
  t.after(async () => (await open(t)).deleteQueue("order.created").catch(() => {}));

  const producer = new Child(process.execPath, ["producer.js", String(ORDERS)], { AMQP_URL: url });
  assert.deepEqual(await producer.exited, [0, null]);
  assert.equal((await channel.checkQueue("order.created")).messageCount, ORDERS);

  const settings = { AMQP_URL: url, FAIL_EVERY: String(FAIL_EVERY) };
  const first = new Child(process.execPath, ["consumer.js"], { ...settings, STALL_AT: String(STALL_AT) });
  t.after(() => first.process.kill("SIGKILL"));
  await first.until((lines) => lines.includes(`stalled ${STALL_AT}`));
  await first.end("SIGKILL");

  const second = new Child(process.execPath, ["consumer.js"], settings);
  t.after(() => second.process.kill("SIGKILL"));
  await second.until((lines) => lines.some((line) => line.startsWith(`handled ${ORDERS} `)));
  await second.end("SIGTERM");

  const handled = [...first.lines, ...second.lines].filter((line) => line.startsWith("handled "));
  const expected = Array.from({ length: ORDERS }, (_, index) => {
    const id = index + 1;
    const again = id === STALL_AT || id % FAIL_EVERY === 0;
    return `handled ${id} ${again ? "again" : "first"}`;
  });
  assert.deepEqual(handled, expected);
  const left = await channel.checkQueue("order.created");
  assert.deepEqual([left.messageCount, left.consumerCount], [0, 0]);
});
