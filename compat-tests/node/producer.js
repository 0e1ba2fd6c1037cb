// Creates orders: `node producer.js [COUNT]`.

import { once } from "node:events";
import amqp from "amqplib";

const queue = "order.created";
const count = Number(process.argv[2] ?? 1);

const connection = await amqp.connect(process.env.AMQP_URL ?? "amqp://localhost");
const channel = await connection.createChannel();
await channel.assertQueue(queue, { durable: true });

for (let id = 1; id <= count; id++) {
  const order = { id, item: "carrots", amount: id % 7 + 1 };
  const hasRoom = channel.sendToQueue(queue, Buffer.from(JSON.stringify(order)), { persistent: true });
  if (!hasRoom) await once(channel, "drain");
}

await channel.close();
await connection.close();
