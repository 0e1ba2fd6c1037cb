package compat;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.rabbitmq.client.AMQP;
import com.rabbitmq.client.AlreadyClosedException;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.Connection;
import com.rabbitmq.client.ConnectionFactory;
import com.rabbitmq.client.Delivery;
import com.rabbitmq.client.GetResponse;
import com.rabbitmq.client.ShutdownSignalException;
import java.nio.charset.StandardCharsets;
import java.util.HashMap;
import java.util.Map;
import java.util.UUID;
import java.util.concurrent.BlockingQueue;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;

/** What the tests share: connections that end with their test, names that do not meet, awaited deliveries. */
abstract class Support {
  /** How long a test waits for what must happen; never for what must not. */
  static final long PATIENCE_SECONDS = 30;

  static final String URL = System.getenv().getOrDefault("AMQP_URL", "amqp://localhost");

  private final java.util.List<Connection> connections = new java.util.ArrayList<>();

  interface Act {
    void act() throws Exception;
  }

  Connection connect() throws Exception {
    var factory = new ConnectionFactory();
    factory.setUri(URL);
    factory.setAutomaticRecoveryEnabled(false);
    var connection = factory.newConnection();
    connections.add(connection);
    return connection;
  }

  /** A channel with its own connection. */
  Channel open() throws Exception {
    return connect().createChannel();
  }

  @AfterEach
  void disconnect() {
    connections.forEach(Connection::abort);
  }

  static String fresh(String name) {
    return "compat." + name + "." + UUID.randomUUID();
  }

  /** A transient queue that is gone with its connection. */
  static String exclusive(Channel channel, Map<String, Object> arguments) throws Exception {
    return channel.queueDeclare("", false, true, false, arguments).getQueue();
  }

  static void publish(Channel channel, String exchange, String key, String body) throws Exception {
    channel.basicPublish(exchange, key, null, body.getBytes(StandardCharsets.UTF_8));
  }

  static AMQP.BasicProperties.Builder properties() {
    return new AMQP.BasicProperties.Builder();
  }

  static GetResponse get(Channel channel, String queue) throws Exception {
    var response = channel.basicGet(queue, false);
    assertNotNull(response, queue + " is empty");
    return response;
  }

  static long tag(GetResponse response) {
    return response.getEnvelope().getDeliveryTag();
  }

  static String text(byte[] body) {
    return new String(body, StandardCharsets.UTF_8);
  }

  static String text(GetResponse response) {
    return text(response.getBody());
  }

  static String text(Delivery delivery) {
    return text(delivery.getBody());
  }

  static Map<String, Object> arguments(Object... pairs) {
    var map = new HashMap<String, Object>();
    for (int i = 0; i < pairs.length; i += 2) map.put((String) pairs[i], pairs[i + 1]);
    return map;
  }

  static BlockingQueue<Delivery> consume(Channel channel, String queue, boolean autoAck) throws Exception {
    var deliveries = new LinkedBlockingQueue<Delivery>();
    channel.basicConsume(queue, autoAck, (tag, delivery) -> deliveries.add(delivery), tag -> {});
    return deliveries;
  }

  static <T> T next(BlockingQueue<T> arriving) throws Exception {
    var thing = arriving.poll(PATIENCE_SECONDS, TimeUnit.SECONDS);
    assertNotNull(thing, "nothing arrived");
    return thing;
  }

  static void waitFor(Channel channel, String queue, long messages) throws Exception {
    var until = System.nanoTime() + TimeUnit.SECONDS.toNanos(PATIENCE_SECONDS);
    while (channel.messageCount(queue) != messages) {
      assertTrue(System.nanoTime() < until, queue + " never held " + messages);
    }
  }

  /** Asserts that the broker closes the channel with this code and these words. */
  static void refused(Channel channel, int code, String words, Act act) throws Exception {
    var closed = new LinkedBlockingQueue<ShutdownSignalException>();
    channel.addShutdownListener(closed::add);
    try {
      act.act();
    } catch (java.io.IOException | AlreadyClosedException thrown) {
      // The reason is what the channel says.
    }
    var reason = next(closed).getReason();
    var close = (AMQP.Channel.Close) reason;
    assertEquals(code, close.getReplyCode(), close.getReplyText());
    assertTrue(close.getReplyText().contains(words), close.getReplyText());
  }
}
