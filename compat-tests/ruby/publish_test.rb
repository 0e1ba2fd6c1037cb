# Publishing: confirms, returns, large bodies, properties, transactions.

require_relative "support"

class PublishTest < CompatTest
  def test_every_publish_is_confirmed
    channel = open
    channel.confirm_select
    queue = exclusive(channel)
    1000.times { queue.publish("x") }
    assert channel.wait_for_confirms
    assert_empty channel.nacked_set
    assert_equal 1000, queue.message_count
  end

  def test_what_cannot_be_routed_returns
    channel = open
    returned = Thread::Queue.new
    exchange = channel.default_exchange
    exchange.on_return { |*back| returned << back }
    exchange.publish("lost", routing_key: fresh("nowhere"), mandatory: true, message_id: "17", headers: { "a" => 1 })
    info, properties, body = next_of(returned)
    assert_equal [312, "NO_ROUTE", ""], [info.reply_code, info.reply_text, info.exchange]
    assert_equal ["17", { "a" => 1 }, "lost"], [properties.message_id, properties.headers, body]
  end

  def test_a_full_queue_nacks
    channel = open
    channel.confirm_select
    queue = exclusive(channel, "x-max-length" => 1, "x-overflow" => "reject-publish")
    2.times { |i| queue.publish(i.to_s) }
    refute channel.wait_for_confirms
    assert_equal [2], channel.nacked_set.to_a
    assert_equal "0", queue.pop[2]
  end

  def test_five_mebibytes_arrive_as_sent
    channel = open
    channel.confirm_select
    queue = exclusive(channel)
    body = Random.new(17).bytes(5 << 20)
    queue.publish(body, persistent: true)
    assert channel.wait_for_confirms
    info, _, got = next_of(consume(queue, manual_ack: true))
    assert_equal body, got.b
    channel.ack(info.delivery_tag)
  end

  def test_properties_arrive_as_sent
    channel = open
    queue = exclusive(channel)
    headers = {
      "nil" => nil, "yes" => true, "int" => 70_000, "big" => 1 << 40, "negative" => -3, "float" => 1.5,
      "string" => "\u00fc", "time" => Time.at(1_700_000_000), "list" => [1, "a"], "table" => { "deep" => [2] }
    }
    sent = {
      headers: headers, content_type: "text/plain", content_encoding: "utf-8", priority: 7, correlation_id: "c",
      reply_to: "r", expiration: "60000", message_id: "m", timestamp: 1_700_000_000, type: "t",
      user_id: "guest", app_id: "a"
    }
    queue.publish("", **sent, persistent: true)
    _, got, = queue.pop
    sent.each { |name, value| assert_equal value, got[name], name.to_s unless %i[headers timestamp].include?(name) }
    assert_equal Time.at(1_700_000_000), got.timestamp
    headers["string"] = headers["string"].b
    assert_equal headers, got.headers.merge("string" => got.headers["string"].b)
    assert_equal 2, got.delivery_mode
  end

  def test_a_commit_publishes_and_acknowledges_at_once
    channel = open
    queue, target = exclusive(channel), exclusive(channel)
    queue.publish("job")
    assert_equal 1, queue.message_count
    channel.tx_select
    info, = queue.pop(manual_ack: true)
    target.publish("result")
    channel.ack(info.delivery_tag)
    assert_equal 0, target.message_count
    channel.tx_commit
    assert_equal "result", target.pop[2]
    assert_equal 0, queue.message_count
  end

  def test_a_rollback_undoes_publishes_and_acknowledgements
    channel = open
    queue, target = exclusive(channel), exclusive(channel)
    queue.publish("job")
    assert_equal 1, queue.message_count
    channel.tx_select
    info, = queue.pop(manual_ack: true)
    target.publish("result")
    channel.ack(info.delivery_tag)
    channel.tx_rollback
    assert_equal 0, target.message_count
    channel.nack(info.delivery_tag, false, true)
    channel.tx_commit
    again, _, body = queue.pop
    assert_equal ["job", true], [body, again.redelivered]
  end
end
