package compat;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.util.List;
import java.util.Map;
import java.util.concurrent.LinkedBlockingQueue;
import org.junit.jupiter.api.Test;

/** Consuming: prefetch, settling, cancelling, and what a queue does with its messages. */
class ConsumeTest extends Support {
  @Test
  void prefetchHoldsDeliveriesBack() throws Exception {
    var channel = open();
    var queue = exclusive(channel, null);
    for (var body : List.of("1", "2", "3")) publish(channel, "", queue, body);
    channel.basicQos(2);
    var deliveries = consume(channel, queue, false);
    var first = next(deliveries);
    assertEquals("12", text(first) + text(next(deliveries)));
    assertEquals(1, channel.messageCount(queue));
    assertNull(deliveries.poll());
    channel.basicAck(first.getEnvelope().getDeliveryTag(), false);
    assertEquals("3", text(next(deliveries)));
  }

  @Test
  void aChannelsPrefetchIsSharedByItsConsumers() throws Exception {
    var channel = open();
    var one = exclusive(channel, null);
    var two = exclusive(channel, null);
    channel.basicQos(1, true);
    publish(channel, "", one, "1");
    publish(channel, "", two, "2");
    var arriving = new LinkedBlockingQueue<com.rabbitmq.client.Delivery>();
    for (var queue : List.of(one, two)) {
      channel.basicConsume(queue, false, (tag, delivery) -> arriving.add(delivery), tag -> {});
    }
    var first = next(arriving);
    assertEquals(1, channel.messageCount(one) + channel.messageCount(two));
    channel.basicAck(first.getEnvelope().getDeliveryTag(), false);
    assertFalse(text(next(arriving)).equals(text(first)));
  }

  @Test
  void nackAndRejectReturnAMessageToItsPlace() throws Exception {
    var channel = open();
    var queue = exclusive(channel, null);
    publish(channel, "", queue, "first");
    publish(channel, "", queue, "second");
    channel.basicNack(tag(get(channel, queue)), false, true);
    var again = get(channel, queue);
    assertEquals("first", text(again));
    assertTrue(again.getEnvelope().isRedeliver());
    channel.basicReject(tag(again), true);
    get(channel, queue);
    channel.basicRecover(true);
    var dropped = get(channel, queue);
    assertEquals("first", text(dropped));
    channel.basicReject(tag(dropped), false);
    var second = get(channel, queue);
    assertEquals("second", text(second));
    assertFalse(second.getEnvelope().isRedeliver());
    assertNull(channel.basicGet(queue, true));
  }

  @Test
  void aDeadLetterTellsItsDeath() throws Exception {
    var channel = open();
    var graves = exclusive(channel, null);
    var queue =
        exclusive(channel, arguments("x-dead-letter-exchange", "", "x-dead-letter-routing-key", graves, "x-message-ttl", 60_000));
    publish(channel, "", queue, "bad");
    channel.basicNack(tag(get(channel, queue)), false, false);
    var deliveries = consume(channel, graves, true);
    var dead = next(deliveries).getProperties().getHeaders();
    assertEquals("rejected", dead.get("x-first-death-reason").toString());
    var death = (Map<?, ?>) ((List<?>) dead.get("x-death")).get(0);
    assertEquals(queue, death.get("queue").toString());
    assertEquals("rejected", death.get("reason").toString());
    assertEquals(1L, death.get("count"));
    assertEquals(queue, ((List<?>) death.get("routing-keys")).get(0).toString());

    channel.basicPublish("", queue, properties().expiration("1").build(), new byte[0]);
    var expired = next(deliveries).getProperties();
    assertNull(expired.getExpiration());
    assertEquals("expired", expired.getHeaders().get("x-first-death-reason").toString());
  }

  @Test
  void aRetryQueueSendsBackWithACount() throws Exception {
    var channel = open();
    var work = fresh("work");
    var retry = exclusive(channel, arguments("x-message-ttl", 1, "x-dead-letter-exchange", "", "x-dead-letter-routing-key", work));
    channel.queueDeclare(work, false, true, false,
        arguments("x-dead-letter-exchange", "", "x-dead-letter-routing-key", retry));
    var deliveries = consume(channel, work, false);
    publish(channel, "", work, "again");
    for (long times = 0; times < 3; times++) {
      var delivery = next(deliveries);
      var headers = delivery.getProperties().getHeaders();
      var counted = headers == null ? 0L : ((Map<?, ?>) ((List<?>) headers.get("x-death")).get(0)).get("count");
      assertEquals(times, counted);
      channel.basicReject(delivery.getEnvelope().getDeliveryTag(), false);
    }
  }

  @Test
  void higherPrioritiesOvertake() throws Exception {
    var channel = open();
    var queue = exclusive(channel, arguments("x-max-priority", 5));
    for (var priority : List.of(1, 5, 3, 0)) {
      channel.basicPublish("", queue, properties().priority(priority).build(), ("" + priority).getBytes());
    }
    var order = new StringBuilder();
    for (int i = 0; i < 4; i++) order.append(text(get(channel, queue)));
    assertEquals("5310", order.toString());
  }

  @Test
  void aDeletedQueueCancelsItsConsumers() throws Exception {
    var channel = open();
    var queue = channel.queueDeclare(fresh("cancelled"), false, false, false, null).getQueue();
    var cancelled = new LinkedBlockingQueue<String>();
    var tag = channel.basicConsume(queue, false, (t, delivery) -> {}, cancelled::add);
    open().queueDelete(queue);
    assertEquals(tag, next(cancelled));
  }

  @Test
  void anExclusiveConsumerIsAlone() throws Exception {
    var channel = open();
    var queue = channel.queueDeclare(fresh("alone"), false, false, true, null).getQueue();
    channel.basicConsume(queue, false, "", false, true, null, new com.rabbitmq.client.DefaultConsumer(channel));
    var other = open();
    refused(other, 403, "in exclusive use", () -> consume(other, queue, false));
  }

  @Test
  void aReplyReachesWhoAsked() throws Exception {
    var server = open();
    var queue = exclusive(server, null);
    server.basicConsume(queue, true, (tag, ask) -> server.basicPublish("", ask.getProperties().getReplyTo(),
        properties().correlationId(ask.getProperties().getCorrelationId()).build(), ("re: " + text(ask)).getBytes()), tag -> {});
    var client = new com.rabbitmq.client.RpcClient(
        new com.rabbitmq.client.RpcClientParams().channel(open()).exchange("").routingKey(queue).replyTo("amq.rabbitmq.reply-to"));
    for (int i = 0; i < 100; i++) assertEquals("re: " + i, client.stringCall("" + i));
  }
}
