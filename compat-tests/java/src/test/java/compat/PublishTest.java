package compat;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.rabbitmq.client.LongString;
import com.rabbitmq.client.MessageProperties;
import com.rabbitmq.client.Return;
import java.util.ArrayList;
import java.util.Collections;
import java.util.Date;
import java.util.List;
import java.util.Map;
import java.util.Random;
import java.util.concurrent.LinkedBlockingQueue;
import org.junit.jupiter.api.Test;

/** Publishing: confirms, returns, large bodies, properties, transactions. */
class PublishTest extends Support {
  @Test
  void everyPublishIsConfirmed() throws Exception {
    var channel = open();
    channel.confirmSelect();
    var queue = exclusive(channel, null);
    for (int i = 0; i < 1000; i++) publish(channel, "", queue, "x");
    channel.waitForConfirmsOrDie(PATIENCE_SECONDS * 1000);
    assertEquals(1000, channel.messageCount(queue));
  }

  @Test
  void whatCannotBeRoutedReturnsBeforeItsConfirm() throws Exception {
    var channel = open();
    var events = new LinkedBlockingQueue<Object>();
    channel.addReturnListener((Return back) -> events.add(back));
    channel.addConfirmListener((tag, multiple) -> events.add(tag), (tag, multiple) -> events.add("nack"));
    channel.confirmSelect();
    var sent = properties().messageId("17").headers(Map.of("a", 1)).build();
    channel.basicPublish("amq.direct", fresh("nowhere"), true, sent, "lost".getBytes());
    var back = (Return) next(events);
    assertEquals(312, back.getReplyCode());
    assertEquals("NO_ROUTE", back.getReplyText());
    assertEquals("amq.direct", back.getExchange());
    assertEquals("17", back.getProperties().getMessageId());
    assertEquals(1, back.getProperties().getHeaders().get("a"));
    assertEquals("lost", text(back.getBody()));
    assertEquals(1L, next(events));
  }

  @Test
  void aFullQueueNacks() throws Exception {
    var channel = open();
    channel.confirmSelect();
    var queue = exclusive(channel, arguments("x-max-length", 1, "x-overflow", "reject-publish"));
    publish(channel, "", queue, "fits");
    assertTrue(channel.waitForConfirms(PATIENCE_SECONDS * 1000));
    publish(channel, "", queue, "does not");
    assertFalse(channel.waitForConfirms(PATIENCE_SECONDS * 1000));
  }

  @Test
  void fiveMebibytesArriveAsSent() throws Exception {
    var channel = open();
    channel.confirmSelect();
    var queue = exclusive(channel, null);
    var body = new byte[5 << 20];
    new Random(17).nextBytes(body);
    channel.basicPublish("", queue, MessageProperties.PERSISTENT_BASIC, body);
    channel.waitForConfirmsOrDie(PATIENCE_SECONDS * 1000);
    var delivery = next(consume(channel, queue, false));
    assertArrayEquals(body, delivery.getBody());
    channel.basicAck(delivery.getEnvelope().getDeliveryTag(), false);
  }

  @Test
  void propertiesArriveAsSent() throws Exception {
    var channel = open();
    var queue = exclusive(channel, null);
    var stamp = new Date(1_700_000_000_000L);
    var headers =
        arguments("null", null, "bool", true, "int", 1, "long", 1L << 40, "double", 1.5, "float", 2.5f, "short", (short) 3,
            "byte", (byte) -4, "string", "\u00fc", "bytes", new byte[] {0, 1}, "date", stamp,
            "decimal", new java.math.BigDecimal("12.34"), "list", List.of(1, "a"), "map", Map.of("k", 2));
    var sent =
        properties().headers(headers).contentType("text/plain").contentEncoding("utf-8").deliveryMode(2).priority(7)
            .correlationId("c").replyTo("r").expiration("60000").messageId("m").timestamp(stamp).type("t").userId("guest")
            .appId("a").build();
    channel.basicPublish("", queue, sent, new byte[0]);
    var got = get(channel, queue).getProps();
    assertEquals("text/plain utf-8 2 7", got.getContentType() + " " + got.getContentEncoding() + " " + got.getDeliveryMode()
        + " " + got.getPriority());
    assertEquals("c r 60000 m t guest a", got.getCorrelationId() + " " + got.getReplyTo() + " " + got.getExpiration() + " "
        + got.getMessageId() + " " + got.getType() + " " + got.getUserId() + " " + got.getAppId());
    assertEquals(stamp, got.getTimestamp());
    assertEquals(headers.keySet(), got.getHeaders().keySet());
    for (var key : List.of("bool", "int", "long", "double", "float", "short", "byte", "date", "decimal")) {
      assertEquals(headers.get(key), got.getHeaders().get(key), key);
    }
    assertNull(got.getHeaders().get("null"));
    assertEquals("\u00fc", got.getHeaders().get("string").toString());
    assertArrayEquals(new byte[] {0, 1}, (byte[]) got.getHeaders().get("bytes"));
    var list = (List<?>) got.getHeaders().get("list");
    assertEquals(1, list.get(0));
    assertArrayEquals("a".getBytes(), ((LongString) list.get(1)).getBytes());
    assertEquals(Map.of("k", 2), got.getHeaders().get("map"));
  }

  @Test
  void aCommitPublishesAndAcknowledgesAtOnce() throws Exception {
    var channel = open();
    var other = open();
    var source = other.queueDeclare(fresh("tx"), false, false, true, null).getQueue();
    publish(other, "", source, "job");
    waitFor(other, source, 1);
    var target = exclusive(channel, null);
    channel.txSelect();
    var job = get(channel, source);
    publish(channel, "", target, "result");
    channel.basicAck(tag(job), false);
    assertEquals(0, channel.messageCount(target));
    channel.txCommit();
    assertEquals("result", text(get(channel, target)));
    channel.getConnection().close();
    assertEquals(0, other.queueDelete(source, false, true).getMessageCount());
  }

  @Test
  void aRollbackUndoesPublishesAndAcknowledgements() throws Exception {
    var channel = open();
    var queue = exclusive(channel, null);
    publish(channel, "", queue, "job");
    waitFor(channel, queue, 1);
    channel.txSelect();
    var job = get(channel, queue);
    channel.basicAck(tag(job), false);
    publish(channel, "", queue, "result");
    channel.txRollback();
    assertEquals(0, channel.messageCount(queue));
    channel.basicNack(tag(job), false, true);
    channel.txCommit();
    var again = get(channel, queue);
    assertEquals("job", text(again));
    assertTrue(again.getEnvelope().isRedeliver());
    assertNull(channel.basicGet(queue, true));
  }

  @Test
  void messagesOfOnePublisherKeepTheirOrder() throws Exception {
    var channel = open();
    var queue = exclusive(channel, null);
    var deliveries = consume(channel, queue, true);
    var sent = new ArrayList<String>();
    var got = new ArrayList<String>();
    for (int i = 0; i < 5000; i++) {
      sent.add("" + i);
      publish(channel, "", queue, "" + i);
    }
    while (got.size() < sent.size()) got.add(text(next(deliveries)));
    assertEquals(sent, got);
    assertEquals(Collections.emptyList(), List.copyOf(deliveries));
  }
}
