# The client's own recovery: after the broker was killed it comes back with its queues, bindings and consumers.

require_relative "support"

class RecoveryTest < CompatTest
  def test_connection_channels_and_topology_recover
    skip "LEVERET_BIN is not set: this broker cannot be restarted" unless ENV["LEVERET_BIN"]
    broker = OwnBroker.new
    recovered = Thread::Queue.new
    connection = connect("amqp://127.0.0.1:#{broker.port}", network_recovery_interval: 0.1,
                         recovery_completed: -> { recovered << true })
    channel = connection.create_channel
    channel.confirm_select
    kept = channel.queue("kept", durable: true)
    exchange = channel.topic("source", auto_delete: true)
    # A name of the broker's choosing is another one after the recovery.
    named = channel.queue("", exclusive: true).bind(exchange, routing_key: "a.#")
    deliveries = consume(named)
    kept.publish("kept", persistent: true)
    assert channel.wait_for_confirms

    broker.kill
    assert broker.run, "it starts again"
    next_of(recovered)
    exchange.publish("after", routing_key: "a.b")
    assert_equal "after", next_of(deliveries)[2]
    info, _, body = kept.pop
    assert_equal ["kept", true], [body, info.redelivered]
    connection.close
  ensure
    broker&.close
  end
end
