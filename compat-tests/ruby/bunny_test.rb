# frozen_string_literal: true

# Bunny against the broker at AMQP_URL, as its users write it.

require "bunny"
require "minitest/autorun"
require "securerandom"
require "tmpdir"

# What every test needs: a connection, names nobody else uses, and queues to wait in.
module Support
  URL = ENV.fetch("AMQP_URL", "amqp://localhost")
  PATIENCE = 20

  def setup
    @connection = connect
    @channel = @connection.create_channel
  end

  def teardown
    @connection&.close
  end

  def connect(url = URL, **options)
    Bunny.new(url, logger: Logger.new(File::NULL), **options).start
  end

  def fresh(name)
    "ruby.#{name}.#{SecureRandom.hex(6)}"
  end

  # Collects what a consumer is given; to be popped with a deadline.
  def consume(queue, **options)
    inbox = Thread::Queue.new
    queue.subscribe(**options) { |info, properties, body| inbox << [info, properties, body] }
    inbox
  end

  def take(inbox)
    deadline = Thread.new { sleep PATIENCE and inbox << nil }
    got = inbox.pop
    deadline.kill
    got or flunk("nothing came within #{PATIENCE} s")
  end
end

class PublishTest < Minitest::Test
  include Support

  def test_confirms_and_get_in_order
    queue = @channel.queue(fresh("confirms"), durable: true)
    @channel.confirm_select
    100.times { |n| queue.publish(n.to_s, persistent: true, message_id: "m#{n}") }
    assert @channel.wait_for_confirms
    assert_empty @channel.nacked_set
    assert_equal 100, queue.message_count
    info, properties, body = queue.pop
    assert_equal ["0", "m0", 2], [body, properties.message_id, properties.delivery_mode]
    refute info.redelivered?
    assert_equal 99, queue.message_count
    assert_equal 0, queue.purge.message_count
    queue.delete
  end

  def test_unroutable_mandatory_messages_return
    returned = Thread::Queue.new
    exchange = @channel.default_exchange
    exchange.on_return { |info, _properties, body| returned << [info.reply_code, info.reply_text, body] }
    exchange.publish("lost", routing_key: fresh("nowhere"), mandatory: true)
    assert_equal [312, "NO_ROUTE", "lost"], take(returned)
  end

  def test_five_megabytes
    queue = @channel.queue("", exclusive: true)
    body = Random.bytes(5 * 1024 * 1024)
    queue.publish(body)
    assert_equal body, queue.pop[2]
  end

  def test_transactions
    queue = @channel.queue("", exclusive: true)
    @channel.tx_select
    queue.publish("dropped")
    @channel.tx_rollback
    queue.publish("kept")
    assert_equal 0, queue.message_count
    @channel.tx_commit
    assert_equal ["kept", 0], [queue.pop[2], queue.message_count]
  end
end

class ConsumeTest < Minitest::Test
  include Support

  def test_prefetch_ack_nack_and_reject
    queue = @channel.queue("", exclusive: true)
    3.times { |n| queue.publish(n.to_s) }
    @channel.prefetch(1)
    inbox = consume(queue, manual_ack: true)
    info, _, body = take(inbox)
    assert_equal "0", body
    @channel.nack(info.delivery_tag, false, true)
    info, _, body = take(inbox)
    assert_equal ["0", true], [body, info.redelivered?]
    @channel.ack(info.delivery_tag)
    info, _, body = take(inbox)
    assert_equal "1", body
    @channel.reject(info.delivery_tag)
    info, _, body = take(inbox)
    assert_equal "2", body
    @channel.ack(info.delivery_tag)
    assert_equal 0, queue.message_count
  end

  def test_dead_letters_tell_why
    dead = @channel.queue("", exclusive: true)
    exchange = @channel.fanout(fresh("dead"), auto_delete: true)
    dead.bind(exchange)
    arguments = { "x-dead-letter-exchange" => exchange.name, "x-message-ttl" => 60_000 }
    queue = @channel.queue("", exclusive: true, arguments: arguments)
    queue.publish("poison")
    info, = queue.pop(manual_ack: true)
    @channel.reject(info.delivery_tag, false)
    inbox = consume(dead)
    _, properties, body = take(inbox)
    death = properties.headers["x-death"].first
    assert_equal ["poison", 1, "rejected", queue.name], [body, *death.values_at("count", "reason", "queue")]
  end

  def test_expired_messages_move_on
    dead = @channel.queue("", exclusive: true)
    arguments = { "x-dead-letter-exchange" => "", "x-dead-letter-routing-key" => dead.name }
    queue = @channel.queue("", exclusive: true, arguments: arguments)
    queue.publish("late", expiration: "50")
    _, properties, body = take(consume(dead))
    assert_equal ["late", "expired"], [body, properties.headers["x-death"].first["reason"]]
  end

  def test_priorities
    queue = @channel.queue("", exclusive: true, arguments: { "x-max-priority" => 5 })
    { "low" => 1, "high" => 5, "middle" => 3 }.each { |body, priority| queue.publish(body, priority: priority) }
    assert_equal %w[high middle low], Array.new(3) { queue.pop[2] }
  end

  def test_a_consumer_learns_that_its_queue_is_gone
    cancelled = Thread::Queue.new
    queue = @channel.queue(fresh("gone"))
    consumer = Bunny::Consumer.new(@channel, queue)
    consumer.on_cancellation { cancelled << true }
    queue.subscribe_with(consumer)
    @connection.create_channel.queue_delete(queue.name)
    assert take(cancelled)
  end
end

class TopologyTest < Minitest::Test
  include Support

  def test_topic_and_headers
    queue = @channel.queue("", exclusive: true)
    queue.bind("amq.topic", routing_key: "hare.*.eu")
    queue.bind("amq.headers", arguments: { "x-match" => "all", "colour" => "brown", "age" => 1 })
    @channel.topic("amq.topic", durable: true).publish("topic", routing_key: "hare.born.eu")
    @channel.topic("amq.topic", durable: true).publish("missed", routing_key: "hare.born.us")
    headers = @channel.headers("amq.headers", durable: true)
    headers.publish("headers", headers: { "colour" => "brown", "age" => 1, "more" => true })
    headers.publish("missed", headers: { "colour" => "brown" })
    assert_equal %w[topic headers], Array.new(2) { queue.pop[2] }
    assert_nil queue.pop[2]
  end

  def test_exchanges_bound_to_exchanges
    source = @channel.fanout(fresh("source"), auto_delete: true)
    target = @channel.direct(fresh("target"), auto_delete: true)
    target.bind(source)
    queue = @channel.queue("", exclusive: true).bind(target, routing_key: "k")
    source.publish("through", routing_key: "k")
    assert_equal "through", queue.pop[2]
  end

  def test_refusals_close_the_channel_and_not_the_connection
    name = fresh("refused")
    error = assert_raises(Bunny::NotFound) { @channel.queue(name, passive: true) }
    assert_includes error.message, "NOT_FOUND - no queue '#{name}' in vhost '/'"
    channel = @connection.create_channel
    channel.queue(name, auto_delete: true)
    error = assert_raises(Bunny::PreconditionFailed) { @connection.create_channel.queue(name, durable: true) }
    assert_includes error.message, "inequivalent arg"
    channel.queue_delete(name)
  end

  def test_exclusive_queues_belong_to_their_connection
    queue = @channel.queue(fresh("mine"), exclusive: true)
    other = connect
    error = assert_raises(Bunny::ResourceLocked) { other.create_channel.queue(queue.name, passive: true) }
    assert_includes error.message, "cannot obtain exclusive access to locked queue"
  ensure
    other&.close
  end

  def test_a_wrong_password_is_told
    wrong = URL.sub(%r{//(.*@)?}, "//guest:wrong@")
    assert_raises(Bunny::AuthenticationFailureError) { connect(wrong, recover_from_connection_close: false) }
  end
end

# A broker of the test's own, which it may restart.
class RecoveryTest < Minitest::Test
  include Support

  def setup
    skip "needs LEVERET_BIN, to restart a broker" unless ENV["LEVERET_BIN"]
    @directory = Dir.mktmpdir
    @port = start(0)
  end

  def teardown
    @connection&.close
    stop if @broker
    FileUtils.rm_rf(@directory) if @directory
  end

  def test_a_consumer_and_its_topology_come_back_with_the_broker
    @connection = connect("amqp://127.0.0.1:#{@port}", network_recovery_interval: 0.2)
    channel = @connection.create_channel
    queue = channel.queue("kept", durable: true)
    passing = channel.queue("passing", auto_delete: true)
    passing.bind("amq.fanout")
    inbox = consume(passing)
    channel.confirm_select
    queue.publish("before", persistent: true)
    assert channel.wait_for_confirms
    stop
    start(@port)
    # Publishing tells when everything is there again.
    other = connect("amqp://127.0.0.1:#{@port}")
    fanout = other.create_channel.fanout("amq.fanout", durable: true)
    publisher = Thread.new { loop { fanout.publish("after") and sleep 0.1 } }
    assert_equal "after", take(inbox)[2]
    publisher.kill
    assert_equal "before", other.create_channel.queue("kept", durable: true).pop[2]
  ensure
    publisher&.kill
    other&.close
  end

  private

  # Starts the broker and waits until it is ready; answers its port.
  def start(port)
    log = File.join(@directory, "log")
    arguments = ["--data-dir", File.join(@directory, "data"), "--listen", "127.0.0.1:#{port}"]
    reader, writer = IO.pipe
    @broker = spawn(ENV.fetch("LEVERET_BIN"), *arguments, out: writer, err: log)
    writer.close
    nil until reader.gets&.include?("Server startup complete")
    File.read(log)[/listening for AMQP 0-9-1 on 127\.0\.0\.1:(\d+)/, 1].to_i
  end

  def stop
    Process.kill("TERM", @broker)
    Process.wait(@broker)
    @broker = nil
  end
end
