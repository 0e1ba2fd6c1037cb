# Consuming: prefetch, settling, cancelling, and what a queue does with its messages.

require_relative "support"

class ConsumeTest < CompatTest
  def test_prefetch_holds_deliveries_back
    channel = open
    queue = exclusive(channel)
    3.times { |i| queue.publish(i.to_s) }
    channel.prefetch(2)
    deliveries = consume(queue, manual_ack: true)
    first = next_of(deliveries)
    assert_equal %w[0 1], [first[2], next_of(deliveries)[2]]
    assert_equal 1, queue.message_count
    assert_empty deliveries
    channel.ack(first[0].delivery_tag)
    assert_equal "2", next_of(deliveries)[2]
  end

  def test_nack_and_reject_return_a_message_to_its_place
    channel = open
    queue = exclusive(channel)
    %w[first second].each { |body| queue.publish(body) }
    info, = queue.pop(manual_ack: true)
    channel.nack(info.delivery_tag, false, true)
    info, _, body = queue.pop(manual_ack: true)
    assert_equal ["first", true], [body, info.redelivered]
    channel.reject(info.delivery_tag, true)
    queue.pop(manual_ack: true)
    channel.basic_recover(true)
    info, _, body = queue.pop(manual_ack: true)
    assert_equal "first", body
    channel.reject(info.delivery_tag)
    info, _, body = queue.pop
    assert_equal ["second", false], [body, info.redelivered]
    assert_equal [nil, nil, nil], queue.pop
  end

  def test_a_dead_letter_tells_its_death
    channel = open
    graves = exclusive(channel)
    queue = exclusive(channel, "x-dead-letter-exchange" => "", "x-dead-letter-routing-key" => graves.name)
    queue.publish("bad")
    info, = queue.pop(manual_ack: true)
    channel.reject(info.delivery_tag)
    deliveries = consume(graves)
    headers = next_of(deliveries)[1].headers
    death = headers["x-death"].first
    assert_equal [queue.name, "rejected", 1, "", [queue.name]], death.values_at("queue", "reason", "count", "exchange", "routing-keys")
    assert_equal "rejected", headers["x-first-death-reason"]
    queue.publish("old", expiration: 1)
    _, properties, body = next_of(deliveries)
    assert_equal ["old", nil, "expired"], [body, properties.expiration, properties.headers["x-first-death-reason"]]
    assert_equal "1", properties.headers["x-death"].first["original-expiration"]
  end

  def test_messages_of_a_queue_expire
    channel = open
    graves = exclusive(channel)
    queue = exclusive(channel, "x-message-ttl" => 1, "x-dead-letter-exchange" => "", "x-dead-letter-routing-key" => graves.name)
    queue.publish("old")
    assert_equal "old", next_of(consume(graves))[2]
    assert_equal 0, queue.message_count
  end

  def test_higher_priorities_overtake
    channel = open
    queue = exclusive(channel, "x-max-priority" => 5)
    [1, 5, 3, 0].each { |priority| queue.publish(priority.to_s, priority: priority) }
    assert_equal %w[5 3 1 0], Array.new(4) { queue.pop[2] }
  end

  def test_a_cancelled_consumer_gets_nothing_more
    channel = open
    queue = exclusive(channel)
    consumer = queue.subscribe { |*| flunk "delivered" }
    consumer.cancel
    queue.publish("later")
    assert_equal "later", queue.pop[2]
  end

  def test_a_deleted_queue_cancels_its_consumers
    queue = open.queue(fresh("cancelled"))
    cancelled = Thread::Queue.new
    consumer = Bunny::Consumer.new(queue.channel, queue)
    consumer.on_cancellation { |cancel| cancelled << cancel.consumer_tag }
    queue.subscribe_with(consumer)
    open.queue_delete(queue.name)
    assert_equal consumer.consumer_tag, next_of(cancelled)
  end

  def test_an_exclusive_consumer_is_alone
    queue = open.queue(fresh("alone"), auto_delete: true)
    queue.subscribe(exclusive: true) { |*| }
    other = open.queue(queue.name, auto_delete: true)
    refused(Bunny::AccessRefused, "in exclusive use") { other.subscribe { |*| } }
  end
end
