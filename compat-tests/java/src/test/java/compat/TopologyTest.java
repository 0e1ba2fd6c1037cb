package compat;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.rabbitmq.client.AuthenticationFailureException;
import com.rabbitmq.client.BuiltinExchangeType;
import com.rabbitmq.client.Channel;
import com.rabbitmq.client.ConnectionFactory;
import java.util.List;
import java.util.Map;
import org.junit.jupiter.api.Test;

/** Exchanges, queues and bindings: routing, what goes away by itself, and what is refused in which words. */
class TopologyTest extends Support {
  private static String exchange(Channel channel, BuiltinExchangeType type, Map<String, Object> arguments) throws Exception {
    var name = fresh(type.getType());
    channel.exchangeDeclare(name, type, false, true, arguments);
    return name;
  }

  @Test
  void topicsRouteByWords() throws Exception {
    var channel = open();
    var topic = exchange(channel, BuiltinExchangeType.TOPIC, null);
    for (var pattern : Map.of("a.*", 1L, "a.#", 4L, "#", 6L, "*.b", 2L, "#.b.#", 3L).entrySet()) {
      var queue = exclusive(channel, null);
      channel.queueBind(queue, topic, pattern.getKey());
      for (var key : List.of("a", "a.b", "a.b.c", "x.b", "", "a..c")) publish(channel, topic, key, key);
      assertEquals(pattern.getValue(), channel.messageCount(queue), pattern.getKey());
    }
  }

  @Test
  void headersRouteByAllOrAny() throws Exception {
    var channel = open();
    var headers = exchange(channel, BuiltinExchangeType.HEADERS, null);
    var all = exclusive(channel, null);
    var any = exclusive(channel, null);
    channel.queueBind(all, headers, "", arguments("x-match", "all", "a", 1, "b", "2"));
    channel.queueBind(any, headers, "", arguments("x-match", "any", "a", 1, "b", "2"));
    for (var with : List.of(arguments("a", 1), arguments("a", 1, "b", "2"), arguments("b", "3"))) {
      channel.basicPublish(headers, "", properties().headers(with).build(), new byte[0]);
    }
    assertEquals(1, channel.messageCount(all));
    assertEquals(2, channel.messageCount(any));
  }

  @Test
  void exchangesFeedExchangesAndAlternates() throws Exception {
    var channel = open();
    var rest = exchange(channel, BuiltinExchangeType.FANOUT, null);
    var source = exchange(channel, BuiltinExchangeType.DIRECT, arguments("alternate-exchange", rest));
    var target = exchange(channel, BuiltinExchangeType.FANOUT, null);
    var fed = exclusive(channel, null);
    var others = exclusive(channel, null);
    channel.queueBind(fed, target, "");
    channel.queueBind(others, rest, "");
    channel.exchangeBind(target, source, "known");
    publish(channel, source, "known", "1");
    publish(channel, source, "unknown", "2");
    assertEquals("1", text(get(channel, fed)));
    assertEquals("2", text(get(channel, others)));
  }

  @Test
  void autoDeleteQueuesAndExchangesGoWithTheirLastUser() throws Exception {
    var channel = open();
    var exchange = exchange(channel, BuiltinExchangeType.FANOUT, null);
    var queue = channel.queueDeclare(fresh("auto-delete"), false, false, true, null).getQueue();
    channel.queueBind(queue, exchange, "");
    var tag = channel.basicConsume(queue, true, (t, delivery) -> {}, t -> {});
    channel.basicCancel(tag);
    refused(channel, 404, "NOT_FOUND - no queue '" + queue + "' in vhost '/'", () -> channel.queueDeclarePassive(queue));
    var other = open();
    refused(other, 404, "NOT_FOUND - no exchange '" + exchange + "' in vhost '/'", () -> other.exchangeDeclarePassive(exchange));
  }

  @Test
  void exclusiveQueuesAreTheirConnectionsAlone() throws Exception {
    var owner = open();
    var queue = exclusive(owner, null);
    var stranger = open();
    var words = "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '" + queue + "' in vhost '/'";
    refused(stranger, 405, words, () -> stranger.queueDeclarePassive(queue));
    owner.getConnection().close();
    var later = open();
    refused(later, 404, "NOT_FOUND", () -> later.queueDeclarePassive(queue));
  }

  @Test
  void refusedDeclarationsSayWhy() throws Exception {
    var connection = connect();
    var own = connection.createChannel();
    var queue = own.queueDeclare(fresh("queue"), true, false, false, arguments("x-expires", 60_000)).getQueue();
    var exchange = exchange(own, BuiltinExchangeType.TOPIC, null);
    var channel = connection.createChannel();
    var another = "PRECONDITION_FAILED - inequivalent arg 'durable' for queue '" + queue
        + "' in vhost '/': received 'false' but current is 'true'";
    refused(channel, 406, another, () -> channel.queueDeclare(queue, false, false, false, arguments("x-expires", 60_000)));
    var second = connection.createChannel();
    refused(second, 406, "inequivalent arg 'x-max-length' for queue '" + queue + "' in vhost '/': received the value '1' of type "
        + "'signedint' but current is none",
        () -> second.queueDeclare(queue, true, false, false, arguments("x-expires", 60_000, "x-max-length", 1)));
    var third = connection.createChannel();
    refused(third, 406, "inequivalent arg 'type' for exchange '" + exchange + "' in vhost '/': received 'fanout' but current is 'topic'",
        () -> third.exchangeDeclare(exchange, BuiltinExchangeType.FANOUT, false, true, null));
    var fourth = connection.createChannel();
    refused(fourth, 403, "exchange name 'amq.mine' contains reserved prefix 'amq.*'", () -> fourth.exchangeDeclare("amq.mine", "direct"));
    var fifth = connection.createChannel();
    refused(fifth, 404, "NOT_FOUND - no exchange 'nowhere' in vhost '/'", () -> publish(fifth, "nowhere", "", ""));
    var sixth = connection.createChannel();
    refused(sixth, 406, "PRECONDITION_FAILED - unknown delivery tag 17", () -> sixth.basicAck(17, false));
    assertTrue(connection.isOpen());
  }

  @Test
  void aWrongPasswordStaysOutside() throws Exception {
    var factory = new ConnectionFactory();
    factory.setUri(URL);
    factory.setPassword("wrong");
    var refusal = assertThrows(AuthenticationFailureException.class, factory::newConnection);
    assertTrue(refusal.getMessage().contains("ACCESS_REFUSED"), refusal.getMessage());
    assertFalse(connect().getServerProperties().isEmpty());
  }
}
