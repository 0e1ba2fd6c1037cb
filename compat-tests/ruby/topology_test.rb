# Exchanges, queues and bindings: routing, what goes away by itself, and what is refused in which words.

require_relative "support"

class TopologyTest < CompatTest
  def test_topics_route_by_words
    channel = open
    topic = channel.topic(fresh("topic"), auto_delete: true)
    { "a.*" => 1, "a.#" => 4, "#" => 6, "*.b" => 2, "#.b.#" => 3 }.each do |pattern, matching|
      queue = exclusive(channel).bind(topic, routing_key: pattern)
      ["a", "a.b", "a.b.c", "x.b", "", "a..c"].each { |key| topic.publish(key, routing_key: key) }
      assert_equal matching, queue.message_count, pattern
    end
  end

  def test_headers_route_by_all_or_any
    channel = open
    headers = channel.headers(fresh("headers"), auto_delete: true)
    all = exclusive(channel).bind(headers, arguments: { "x-match" => "all", "a" => 1, "b" => "2" })
    any = exclusive(channel).bind(headers, arguments: { "x-match" => "any", "a" => 1, "b" => "2" })
    [{ "a" => 1 }, { "a" => 1, "b" => "2" }, { "b" => "3" }].each { |with| headers.publish("", headers: with) }
    assert_equal [1, 2], [all.message_count, any.message_count]
  end

  def test_exchanges_feed_exchanges_and_alternates
    channel = open
    rest, target = channel.fanout(fresh("rest"), auto_delete: true), channel.fanout(fresh("target"), auto_delete: true)
    source = channel.direct(fresh("source"), auto_delete: true, arguments: { "alternate-exchange" => rest.name })
    fed, others = exclusive(channel).bind(target), exclusive(channel).bind(rest)
    target.bind(source, routing_key: "known")
    source.publish("1", routing_key: "known")
    source.publish("2", routing_key: "unknown")
    assert_equal %w[1 2], [fed.pop[2], others.pop[2]]
  end

  def test_auto_delete_queues_go_with_their_last_consumer
    channel = open
    queue = channel.queue(fresh("auto-delete"), auto_delete: true)
    queue.subscribe { |*| }.cancel
    refused(Bunny::NotFound, "NOT_FOUND - no queue '#{queue.name}' in vhost '/'") { channel.queue_declare(queue.name, passive: true) }
  end

  def test_exclusive_queues_are_their_connections_alone
    queue = exclusive(open)
    refused(Bunny::ResourceLocked, "cannot obtain exclusive access to locked queue '#{queue.name}' in vhost '/'") do
      open.queue(queue.name, passive: true)
    end
  end

  def test_refusals_say_why_and_leave_the_connection_open
    connection = connect
    queue = connection.create_channel.queue(fresh("queue"), durable: true, arguments: { "x-expires" => 60_000 }).name
    refused(Bunny::PreconditionFailed,
            "inequivalent arg 'durable' for queue '#{queue}' in vhost '/': received 'false' but current is 'true'") do
      connection.create_channel.queue(queue, durable: false, arguments: { "x-expires" => 60_000 })
    end
    refused(Bunny::PreconditionFailed, "inequivalent arg 'x-expires' for queue '#{queue}' in vhost '/'") do
      connection.create_channel.queue(queue, durable: true, arguments: { "x-expires" => 60_001 })
    end
    refused(Bunny::PreconditionFailed, "inequivalent arg 'type' for exchange 'amq.topic' in vhost '/': received 'fanout' but current is 'topic'") do
      connection.create_channel.exchange_declare("amq.topic", "fanout", durable: true)
    end
    refused(Bunny::AccessRefused, "queue name 'amq.mine' contains reserved prefix 'amq.*'") do
      connection.create_channel.queue("amq.mine")
    end
    refused(Bunny::NotFound, "NOT_FOUND - no exchange 'nowhere' in vhost '/'") do
      connection.create_channel.queue_bind(queue, "nowhere")
    end
    assert connection.open?
  end

  def test_a_wrong_password_stays_outside
    refused(Bunny::AuthenticationFailureError, "Username: guest") { connect(password: "wrong") }
  end
end
