// Handles orders one at a time until it is told to stop: `node consumer.js`.
//
// Two variables let the test disturb it: STALL_AT names an order that is never finished, FAIL_EVERY lets each n-th order
// fail at its first attempt.

import amqp from "amqplib";

const queue = "order.created";
const stallAt = Number(process.env.STALL_AT ?? 0);
const failEvery = Number(process.env.FAIL_EVERY ?? 0);

async function handle(order, redelivered) {
  if (order.id === stallAt) {
    console.log(`stalled ${order.id}`);
    await new Promise(() => {});
  }
  if (failEvery > 0 && order.id % failEvery === 0 && !redelivered) throw new Error(`order ${order.id} fails once`);
  console.log(`handled ${order.id} ${redelivered ? "again" : "first"}`);
}

const connection = await amqp.connect(process.env.AMQP_URL ?? "amqp://localhost");
const channel = await connection.createChannel();
await channel.assertQueue(queue, { durable: true });
await channel.prefetch(1);

await channel.consume(queue, async (message) => {
  if (message === null) throw new Error("the broker cancelled the consumer");
  try {
    const order = JSON.parse(message.content.toString());
    await handle(order, message.fields.redelivered);
    channel.ack(message);
  } catch (error) {
    console.error(error.message);
    channel.nack(message, false, true);
  }
});

process.once("SIGTERM", async () => {
  await channel.close();
  await connection.close();
});
