// What the tests share: connections, collected deliveries, child processes, and brokers of their own.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { createServer } from "node:net";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { createInterface } from "node:readline";
import amqp from "amqplib";

export const url = process.env.AMQP_URL ?? "amqp://localhost";

/** Whether this run may start and kill brokers, or the reason why not. */
export const restartable = process.env.LEVERET_BIN ? false : "LEVERET_BIN is not set: this broker cannot be restarted";

const endings = new WeakMap();

/** Has this done when the test ends, however it ends: the last first, so that clients leave before their broker. */
export function atEnd(t, act) {
  let acts = endings.get(t);
  if (!acts) {
    acts = [];
    endings.set(t, acts);
    t.after(async () => {
      while (acts.length > 0) await acts.pop()();
      // Whatever an ending of another kind still opens gets an ending of its own.
      endings.delete(t);
    });
  }
  acts.push(act);
}

/** A connection that is closed when the test ends, however it ends. */
export async function connect(t, at = url, options = undefined) {
  const connection = await amqp.connect(at, options);
  // A refusal the test provokes must not take the process down; what it expects, it asserts.
  connection.on("error", () => {});
  atEnd(t, () => connection.close().catch(() => {}));
  return connection;
}

/** A channel with its own connection. */
export async function open(t, at = url) {
  const channel = await (await connect(t, at)).createChannel();
  channel.on("error", () => {});
  return channel;
}

/** Like `open`, in confirm mode. */
export async function openConfirm(t, at = url) {
  const channel = await (await connect(t, at)).createConfirmChannel();
  channel.on("error", () => {});
  return channel;
}

/** A fresh name, so that runs on one broker do not meet. */
export function fresh(name) {
  return `compat.${name}.${process.pid}.${Math.random().toString(36).slice(2)}`;
}

/** Deliveries of a consumer, to be awaited one by one or by number. */
export class Inbox {
  #arrived = [];
  #waiting = [];

  static async of(channel, queue, options = {}) {
    const inbox = new Inbox();
    const { consumerTag } = await channel.consume(queue, (message) => inbox.#take(message), options);
    inbox.tag = consumerTag;
    return inbox;
  }

  #take(message) {
    const waiting = this.#waiting.shift();
    if (waiting) waiting(message);
    else this.#arrived.push(message);
  }

  /** Deliveries that arrived and were not asked for yet. */
  get length() {
    return this.#arrived.length;
  }

  next() {
    if (this.#arrived.length > 0) return Promise.resolve(this.#arrived.shift());
    return new Promise((resolve) => this.#waiting.push(resolve));
  }

  async take(count) {
    const messages = [];
    while (messages.length < count) messages.push(await this.next());
    return messages;
  }
}

export const text = (message) => message.content.toString();

/** Resolves with the error of a channel that the broker closes. */
export async function closedWith(channel, act) {
  const error = once(channel, "error").then(([error]) => error);
  await Promise.resolve(act()).catch(() => {});
  return error;
}

/** A child process of which the test reads standard output line by line. */
export class Child {
  lines = [];
  #seen = () => {};

  constructor(command, args, env = {}) {
    this.process = spawn(command, args, { env: { ...process.env, ...env }, stdio: ["ignore", "pipe", "inherit"] });
    this.exited = once(this.process, "exit");
    this.reader = createInterface({ input: this.process.stdout });
    this.drained = once(this.reader, "close");
    this.reader.on("line", (line) => {
      this.lines.push(line);
      this.#seen();
    });
    this.drained.then(() => this.#seen());
  }

  /** Resolves once `isThere` holds for the lines so far, rejects if the process ends before. */
  async until(isThere) {
    let ended = false;
    this.drained.then(() => (ended = true));
    while (!isThere(this.lines)) {
      if (ended) throw new Error(`the process ended early; its last words: ${this.lines.slice(-3).join(" | ")}`);
      await new Promise((resolve) => (this.#seen = resolve));
    }
  }

  async end(signal) {
    this.process.kill(signal);
    await this.exited;
    await this.drained;
  }
}

/** A broker of the test's own, which it may stop, kill and start again on the same data. */
export class Broker {
  static async start(t) {
    const broker = new Broker();
    broker.data = await mkdtemp(join(tmpdir(), "leveret-compat-"));
    await broker.run();
    atEnd(t, async () => {
      await broker.end("SIGKILL");
      await rm(broker.data, { recursive: true });
    });
    return broker;
  }

  async run() {
    // The same port again, for clients that come back.
    this.port ??= await freePort();
    this.url = `amqp://127.0.0.1:${this.port}`;
    const args = ["--data-dir", this.data, "--listen", `127.0.0.1:${this.port}`,
      "--http-listen", "none", "--metrics-listen", "none"];
    this.child = new Child(process.env.LEVERET_BIN, args);
    await this.child.until((lines) => lines.some((line) => line.includes("Server startup complete")));
  }

  async end(signal) {
    await this.child.end(signal);
  }
}

async function freePort() {
  const server = createServer().listen(0, "127.0.0.1");
  await once(server, "listening");
  const { port } = server.address();
  server.close();
  await once(server, "close");
  return port;
}
