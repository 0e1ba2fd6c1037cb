package compat;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertFalse;
import static org.junit.jupiter.api.Assertions.assertNotNull;
import static org.junit.jupiter.api.Assertions.assertNull;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assertions.assertTrue;

import java.net.URI;
import java.util.ArrayList;
import java.util.List;
import java.util.concurrent.LinkedBlockingQueue;
import java.util.concurrent.TimeUnit;
import org.junit.jupiter.api.AfterEach;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.springframework.amqp.AmqpRejectAndDontRequeueException;
import org.springframework.amqp.core.AcknowledgeMode;
import org.springframework.amqp.core.BindingBuilder;
import org.springframework.amqp.core.MessageListener;
import org.springframework.amqp.core.Queue;
import org.springframework.amqp.core.QueueBuilder;
import org.springframework.amqp.core.TopicExchange;
import org.springframework.amqp.rabbit.connection.CachingConnectionFactory;
import org.springframework.amqp.rabbit.connection.CachingConnectionFactory.ConfirmType;
import org.springframework.amqp.rabbit.connection.CorrelationData;
import org.springframework.amqp.rabbit.core.RabbitAdmin;
import org.springframework.amqp.rabbit.core.RabbitTemplate;
import org.springframework.amqp.rabbit.listener.AbstractMessageListenerContainer;
import org.springframework.amqp.rabbit.listener.DirectMessageListenerContainer;
import org.springframework.amqp.rabbit.listener.SimpleMessageListenerContainer;
import org.springframework.amqp.rabbit.listener.adapter.MessageListenerAdapter;
import org.springframework.amqp.rabbit.transaction.RabbitTransactionManager;
import org.springframework.transaction.support.TransactionTemplate;

/** Spring AMQP: templates, the admin, listener containers, replies, correlated confirms, transactions. */
class SpringTest {
  private final List<AbstractMessageListenerContainer> containers = new ArrayList<>();
  private final List<Queue> queues = new ArrayList<>();
  private CachingConnectionFactory factory;
  private RabbitAdmin admin;

  @BeforeEach
  void connect() {
    factory = new CachingConnectionFactory(URI.create(Support.URL));
    factory.setPublisherConfirmType(ConfirmType.CORRELATED);
    factory.setPublisherReturns(true);
    admin = new RabbitAdmin(factory);
  }

  @AfterEach
  void disconnect() {
    containers.forEach(AbstractMessageListenerContainer::stop);
    queues.forEach(queue -> admin.deleteQueue(queue.getName()));
    factory.destroy();
  }

  private Queue queue(QueueBuilder builder) {
    var queue = builder.build();
    admin.declareQueue(queue);
    queues.add(queue);
    return queue;
  }

  private Queue queue() {
    return queue(QueueBuilder.durable(Support.fresh("spring")));
  }

  private RabbitTemplate template() {
    var template = new RabbitTemplate(factory);
    template.setMandatory(true);
    template.setReceiveTimeout(Support.PATIENCE_SECONDS * 1000);
    template.setReplyTimeout(Support.PATIENCE_SECONDS * 1000);
    return template;
  }

  private void listen(AbstractMessageListenerContainer container, Queue queue, MessageListener listener) {
    container.setConnectionFactory(factory);
    container.setQueues(queue);
    container.setMessageListener(listener);
    containers.add(container);
    container.afterPropertiesSet();
    container.start();
  }

  @Test
  void theAdminDeclaresAndCounts() {
    var queue = queue(QueueBuilder.durable(Support.fresh("admin")).maxLength(10).lazy());
    var exchange = new TopicExchange(Support.fresh("exchange"), true, true);
    admin.declareExchange(exchange);
    admin.declareBinding(BindingBuilder.bind(queue).to(exchange).with("a.#"));
    template().convertAndSend(exchange.getName(), "a.b", "x");
    assertEquals("x", template().receiveAndConvert(queue.getName()));
    var properties = admin.getQueueProperties(queue.getName());
    assertEquals(0, ((Number) properties.get(RabbitAdmin.QUEUE_MESSAGE_COUNT)).intValue());
    assertNull(admin.getQueueProperties(Support.fresh("missing")));
  }

  @Test
  void repliesComeDirectly() {
    var queue = queue();
    listen(new SimpleMessageListenerContainer(), queue, new MessageListenerAdapter(new Object() {
      @SuppressWarnings("unused")
      public String handleMessage(String asked) {
        return asked.toUpperCase();
      }
    }));
    // Without a reply queue of its own a template uses amq.rabbitmq.reply-to.
    var template = template();
    for (var i = 0; i < 20; i++) {
      assertEquals("ASK " + i, template.convertSendAndReceive(queue.getName(), (Object) ("ask " + i)));
    }
    template.setUseDirectReplyToContainer(false);
    assertEquals("ONCE MORE", template.convertSendAndReceive(queue.getName(), (Object) "once more"));
  }

  @Test
  void confirmsAndReturnsFindTheirMessage() throws Exception {
    var queue = queue();
    var template = template();
    var routed = new CorrelationData("routed");
    var lost = new CorrelationData("lost");
    template.convertAndSend("", queue.getName(), "x", routed);
    template.convertAndSend("", Support.fresh("nowhere"), "y", lost);
    assertTrue(routed.getFuture().get(Support.PATIENCE_SECONDS, TimeUnit.SECONDS).ack());
    assertNull(routed.getReturned());
    assertTrue(lost.getFuture().get(Support.PATIENCE_SECONDS, TimeUnit.SECONDS).ack());
    assertNotNull(lost.getReturned(), "the return comes before the confirm");
    assertEquals("NO_ROUTE", lost.getReturned().getReplyText());
  }

  @Test
  void aFullQueueNacksAndAMissingExchangeFails() throws Exception {
    var queue = queue(QueueBuilder.durable(Support.fresh("full")).maxLength(1).overflow(QueueBuilder.Overflow.rejectPublish));
    var fits = new CorrelationData();
    var late = new CorrelationData();
    var nowhere = new CorrelationData();
    template().convertAndSend("", queue.getName(), "x", fits);
    assertTrue(fits.getFuture().get(Support.PATIENCE_SECONDS, TimeUnit.SECONDS).ack());
    template().convertAndSend("", queue.getName(), "y", late);
    assertFalse(late.getFuture().get(Support.PATIENCE_SECONDS, TimeUnit.SECONDS).ack());
    template().convertAndSend(Support.fresh("missing"), "", "z", nowhere);
    // Why is not asserted: Spring may give the channel up before it hears the broker's reason.
    assertFalse(nowhere.getFuture().get(Support.PATIENCE_SECONDS, TimeUnit.SECONDS).ack());
  }

  @Test
  void bothContainersTakeWhatTheTemplateSends() throws Exception {
    for (var container : List.of(new SimpleMessageListenerContainer(), new DirectMessageListenerContainer())) {
      var queue = queue();
      var got = new LinkedBlockingQueue<String>();
      container.setPrefetchCount(5);
      listen(container, queue, message -> got.add(new String(message.getBody())));
      for (int i = 0; i < 100; i++) template().convertAndSend(queue.getName(), "" + i);
      for (int i = 0; i < 100; i++) assertEquals("" + i, Support.next(got));
    }
  }

  @Test
  void aRejectedMessageIsDeadAndAFailedOneComesAgain() throws Exception {
    var graves = queue();
    var queue = queue(QueueBuilder.durable(Support.fresh("work")).deadLetterExchange("").deadLetterRoutingKey(graves.getName()));
    var seen = new LinkedBlockingQueue<Boolean>();
    listen(new DirectMessageListenerContainer(), queue, message -> {
      var again = message.getMessageProperties().isRedelivered();
      seen.add(again);
      if (again) throw new AmqpRejectAndDontRequeueException("enough");
      throw new IllegalStateException("once more");
    });
    template().convertAndSend(queue.getName(), "bad");
    assertEquals(List.of(false, true), List.of(Support.next(seen), Support.next(seen)));
    var dead = template().receive(graves.getName());
    assertEquals("rejected", dead.getMessageProperties().getXDeathHeader().get(0).get("reason"));
  }

  @Test
  void aTransactedListenerPublishesOnlyWhenItSucceeds() throws Exception {
    // Confirms and transactions exclude each other on a channel.
    factory.setPublisherConfirmType(ConfirmType.NONE);
    var queue = queue();
    var target = queue();
    var template = template();
    template.setChannelTransacted(true);
    var container = new SimpleMessageListenerContainer();
    container.setChannelTransacted(true);
    container.setAcknowledgeMode(AcknowledgeMode.AUTO);
    listen(container, queue, message -> {
      var again = message.getMessageProperties().isRedelivered();
      template.convertAndSend(target.getName(), again ? "second" : "first");
      if (!again) throw new IllegalStateException("once more");
    });
    template().convertAndSend(queue.getName(), "job");
    assertEquals("second", template().receiveAndConvert(target.getName()));
    assertEquals(0, admin.getQueueInfo(target.getName()).getMessageCount());
  }

  @Test
  void aTransactionRollsBack() {
    factory.setPublisherConfirmType(ConfirmType.NONE);
    var queue = queue();
    var template = template();
    template.setChannelTransacted(true);
    var transactions = new TransactionTemplate(new RabbitTransactionManager(factory));
    assertThrows(IllegalStateException.class, () -> transactions.executeWithoutResult(status -> {
      template.convertAndSend(queue.getName(), "never");
      throw new IllegalStateException("no");
    }));
    transactions.executeWithoutResult(status -> template.convertAndSend(queue.getName(), "done"));
    assertEquals("done", template.receiveAndConvert(queue.getName()));
    assertThrows(IllegalStateException.class, () -> {
      template.convertAndSend(queue.getName(), "job");
      transactions.executeWithoutResult(status -> {
        assertEquals("job", template.receiveAndConvert(queue.getName()));
        throw new IllegalStateException("returned");
      });
    });
    assertEquals("job", template.receiveAndConvert(queue.getName()));
  }
}
