// A photo app: every posted photo concerns four workers. One of them is down, and finds its work when it comes back.

import assert from "node:assert/strict";
import test from "node:test";
import { Broker, Inbox, open, openConfirm, restartable, text, url } from "./support.js";

const PHOTOS = 100;
const EXCHANGE = "photo_app";
const BINDINGS = { notifications: "photo_posted", feed: "photo_posted", thumbnails: "*", moderation: "#" };

async function declare(channel) {
  await channel.assertExchange(EXCHANGE, "topic", { durable: true });
  for (const [queue, pattern] of Object.entries(BINDINGS)) {
    await channel.assertQueue(queue, { durable: true });
    await channel.bindQueue(queue, EXCHANGE, pattern);
  }
}

async function remove(channel) {
  for (const queue of Object.keys(BINDINGS)) await channel.deleteQueue(queue);
  await channel.deleteExchange(EXCHANGE);
}

async function post(channel) {
  for (let photo = 1; photo <= PHOTOS; photo++) {
    const event = { event: "photo_posted", photo };
    channel.publish(EXCHANGE, "photo_posted", Buffer.from(JSON.stringify(event)), { persistent: true });
  }
  await channel.waitForConfirms();
}

/** Handles every photo as one worker would, and stops in good order. */
async function work(t, at, queue) {
  const channel = await open(t, at);
  await channel.prefetch(10);
  const inbox = await Inbox.of(channel, queue);
  const photos = [];
  while (photos.length < PHOTOS) {
    const message = await inbox.next();
    photos.push(JSON.parse(text(message)).photo);
    channel.ack(message);
  }
  await channel.close();
  return photos;
}

const everyPhoto = Array.from({ length: PHOTOS }, (_, index) => index + 1);

async function postToThree(t, at) {
  const channel = await openConfirm(t, at);
  await declare(channel);
  const workers = ["notifications", "feed", "thumbnails"].map((queue) => work(t, at, queue));
  await post(channel);
  for (const photos of await Promise.all(workers)) assert.deepEqual(photos, everyPhoto);
  assert.equal((await channel.checkQueue("moderation")).messageCount, PHOTOS);
  return channel;
}

test("three workers get every photo while the fourth is down", { timeout: 60_000 }, async (t) => {
  await remove(await open(t));
  const channel = await postToThree(t, url);
  assert.deepEqual(await work(t, url, "moderation"), everyPhoto);
  for (const queue of Object.keys(BINDINGS)) assert.equal((await channel.checkQueue(queue)).messageCount, 0);
  await remove(channel);
});

for (const signal of ["SIGTERM", "SIGKILL"]) {
  test(`the fourth finds every photo after ${signal} to the broker`, { timeout: 60_000, skip: restartable }, async (t) => {
    const broker = await Broker.start(t);
    await postToThree(t, broker.url);
    await broker.end(signal);
    await broker.run();

    assert.deepEqual(await work(t, broker.url, "moderation"), everyPhoto);
    const channel = await open(t, broker.url);
    for (const queue of ["notifications", "feed", "thumbnails"]) {
      for (let left = await channel.get(queue); left; left = await channel.get(queue)) {
        // A crash may forget the last acknowledgements, never more than that, and says so.
        assert.equal(signal, "SIGKILL", `${queue} repeats ${text(left)}`);
        assert.ok(left.fields.redelivered, `${queue} repeats ${text(left)} without saying so`);
        channel.ack(left);
      }
    }
    // The topology is there as well: a photo posted now reaches all four.
    channel.publish(EXCHANGE, "photo_posted", Buffer.from("one more"));
    for (const queue of Object.keys(BINDINGS)) {
      const inbox = await Inbox.of(channel, queue, { noAck: true });
      assert.equal(text(await inbox.next()), "one more");
    }
  });
}
