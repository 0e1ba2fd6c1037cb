package compat;

import static org.junit.jupiter.api.Assertions.assertEquals;
import static org.junit.jupiter.api.Assertions.assertTrue;

import com.rabbitmq.client.ConnectionFactory;
import com.rabbitmq.client.Delivery;
import com.rabbitmq.client.MessageProperties;
import com.rabbitmq.client.Recoverable;
import com.rabbitmq.client.RecoveryListener;
import java.util.concurrent.LinkedBlockingQueue;
import org.junit.jupiter.api.Test;

/** The client's own recovery: after the broker was killed it comes back with its queues, bindings and consumers. */
class RecoveryTest extends Support {
  @Test
  void connectionChannelsAndTopologyRecover() throws Exception {
    try (var broker = OwnBroker.start()) {
      var factory = new ConnectionFactory();
      factory.setHost("127.0.0.1");
      factory.setPort(broker.port);
      factory.setNetworkRecoveryInterval(100);
      try (var connection = factory.newConnection()) {
        var recovered = new LinkedBlockingQueue<Recoverable>();
        ((Recoverable) connection).addRecoveryListener(new RecoveryListener() {
          @Override
          public void handleRecovery(Recoverable recoverable) {
            recovered.add(recoverable);
          }

          @Override
          public void handleRecoveryStarted(Recoverable recoverable) {}
        });
        var channel = connection.createChannel();
        channel.confirmSelect();
        channel.basicQos(10);
        channel.queueDeclare("kept", true, false, false, null);
        channel.exchangeDeclare("source", "topic", false, true, null);
        // A name of the broker's choosing is another one after the recovery.
        var named = channel.queueDeclare().getQueue();
        channel.queueBind(named, "source", "a.#");
        var deliveries = new LinkedBlockingQueue<Delivery>();
        channel.basicConsume(named, true, (tag, delivery) -> deliveries.add(delivery), tag -> {});
        channel.basicPublish("", "kept", MessageProperties.PERSISTENT_TEXT_PLAIN, "kept".getBytes());
        channel.waitForConfirmsOrDie(PATIENCE_SECONDS * 1000);

        broker.kill();
        assertTrue(broker.run(), "it starts again");
        next(recovered);
        publish(channel, "source", "a.b", "after");
        assertEquals("after", text(next(deliveries)));
        channel.waitForConfirmsOrDie(PATIENCE_SECONDS * 1000);
        var kept = get(channel, "kept");
        assertEquals("kept", text(kept));
        assertTrue(kept.getEnvelope().isRedeliver());
        channel.basicAck(tag(kept), false);
      }
    }
  }
}
