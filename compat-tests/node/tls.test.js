// TLS as programs with amqplib set it up: trusting an authority, and logging in by certificate.

import assert from "node:assert/strict";
import { readFileSync } from "node:fs";
import { join } from "node:path";
import test from "node:test";
import amqp from "amqplib";
import { Inbox, connect } from "./support.js";

const url = process.env.AMQPS_URL;
const directory = process.env.TLS_DIR;
const skip = url && directory ? false : "AMQPS_URL and TLS_DIR are not set: no address with TLS to test";
const limit = { timeout: 30_000, skip };

const file = (name) => readFileSync(join(directory, name));

for (const version of ["TLSv1.2", "TLSv1.3"]) {
  test(`messages travel over ${version}`, limit, async (t) => {
    const options = { ca: [file("ca.pem")], minVersion: version, maxVersion: version };
    const channel = await (await connect(t, url, options)).createConfirmChannel();
    const { queue } = await channel.assertQueue("", { exclusive: true });
    const inbox = await Inbox.of(channel, queue, { noAck: true });
    const bodies = [Buffer.alloc(0), Buffer.from("small"), Buffer.alloc(3_000_000, "large")];
    for (const body of bodies) channel.sendToQueue(queue, body);
    await channel.waitForConfirms();
    for (const body of bodies) assert.ok((await inbox.next()).content.equals(body));
  });
}

test("a certificate logs in", limit, async (t) => {
  const options = {
    ca: [file("ca.pem")],
    cert: file("client.pem"),
    key: file("client.key"),
    credentials: amqp.credentials.external(),
  };
  const channel = await (await connect(t, url, options)).createConfirmChannel();
  const { queue } = await channel.assertQueue("", { exclusive: true });
  // The user is the certificate's: nobody else's name may stand in a message.
  channel.sendToQueue(queue, Buffer.from("mine"), { userId: "guest" });
  await channel.waitForConfirms();
  assert.equal((await channel.get(queue, { noAck: true })).content.toString(), "mine");
});

test("without a certificate EXTERNAL is not offered", limit, async () => {
  const options = { ca: [file("ca.pem")], credentials: amqp.credentials.external() };
  await assert.rejects(amqp.connect(url, options));
});

test("who does not trust the authority does not connect", limit, async () => {
  await assert.rejects(amqp.connect(url), /certificate/);
});
