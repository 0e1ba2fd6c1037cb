# What the tests share: connections that end with their test, names that do not meet, awaited deliveries, a broker of
# their own.

require "bunny"
require "minitest/autorun"
require "open3"
require "securerandom"
require "socket"
require "tmpdir"
require "fileutils"

class CompatTest < Minitest::Test
  # How long a test waits for what must happen; never for what must not.
  PATIENCE = 30
  URL = ENV.fetch("AMQP_URL", "amqp://localhost")

  # One client's connections are threads; a test that hangs fails instead.
  def run
    Timeout.timeout(120) { super }
  end

  def teardown
    (@connections || []).each { |connection| connection.close if connection.open? }
  end

  def connect(url = URL, **options)
    connection = Bunny.new(url, { logger: Logger.new(IO::NULL) }.merge(options)).start
    (@connections ||= []) << connection
    connection
  end

  # A channel with its own connection.
  def open = connect(automatically_recover: false).create_channel

  def fresh(name) = "compat.#{name}.#{SecureRandom.hex(8)}"

  # A transient queue that is gone with its connection.
  def exclusive(channel, arguments = {}) = channel.queue("", exclusive: true, arguments: arguments)

  # The next thing that arrives; queues of Ruby cannot be awaited with a limit before 3.2.
  def next_of(arriving) = Timeout.timeout(PATIENCE) { arriving.pop }

  # Deliveries as [info, properties, body], in their order.
  def consume(queue, **options)
    deliveries = Thread::Queue.new
    queue.subscribe(**options) { |*delivery| deliveries << delivery }
    deliveries
  end

  # Asserts that the broker refuses in these words.
  def refused(error, words, &act)
    refusal = assert_raises(error, &act)
    assert_includes refusal.message, words
  end
end

# A broker that the test may kill and start again with the same data on the same port.
class OwnBroker
  attr_reader :port

  def initialize
    @data = Dir.mktmpdir("leveret-compat-")
    # A port that is free now may be taken a moment later, hence several tries.
    5.times do
      @port = TCPServer.open("127.0.0.1", 0) { |server| server.addr[1] }
      return if run
    end
    raise "the broker does not start"
  end

  # Whether it came up.
  def run
    command = [ENV.fetch("LEVERET_BIN"), "--data-dir", @data, "--listen", "127.0.0.1:#{@port}",
               "--http-listen", "none", "--metrics-listen", "none"]
    @in, @out, @process = Open3.popen2(*command, err: IO::NULL)
    @out.each_line.any? { |line| line.include?("Server startup complete") }
  end

  def kill
    Process.kill(:KILL, @process.pid)
    @process.value
    [@in, @out].each(&:close)
  end

  def close
    kill
    FileUtils.remove_entry(@data)
  end
end
