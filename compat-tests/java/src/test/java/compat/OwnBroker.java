package compat;

import static org.junit.jupiter.api.Assumptions.assumeTrue;

import java.io.BufferedReader;
import java.io.InputStreamReader;
import java.net.InetAddress;
import java.net.ServerSocket;
import java.nio.file.Files;
import java.nio.file.Path;
import java.util.Comparator;
import java.util.concurrent.TimeUnit;

/** A broker that the test may kill and start again with the same data on the same port. */
final class OwnBroker implements AutoCloseable {
  final int port;
  private final Path data;
  private Process process;

  private OwnBroker(int port) throws Exception {
    this.port = port;
    this.data = Files.createTempDirectory("leveret-compat-");
  }

  static OwnBroker start() throws Exception {
    var given = System.getenv("LEVERET_BIN") != null;
    if (!given) System.out.println("skipped: LEVERET_BIN is not set: this broker cannot be restarted");
    assumeTrue(given, "LEVERET_BIN is not set: this broker cannot be restarted");
    // A port that is free now may be taken a moment later, hence several tries.
    for (int attempt = 0; attempt < 5; attempt++) {
      int port;
      try (var socket = new ServerSocket(0, 1, InetAddress.getLoopbackAddress())) {
        port = socket.getLocalPort();
      }
      var broker = new OwnBroker(port);
      if (broker.run()) return broker;
      broker.close();
    }
    throw new IllegalStateException("the broker does not start");
  }

  /** Whether it came up. */
  boolean run() throws Exception {
    process =
        new ProcessBuilder(System.getenv("LEVERET_BIN"), "--data-dir", data.toString(), "--listen", "127.0.0.1:" + port,
                "--http-listen", "none", "--metrics-listen", "none")
            .redirectError(ProcessBuilder.Redirect.DISCARD)
            .start();
    var lines = new BufferedReader(new InputStreamReader(process.getInputStream()));
    for (var line = lines.readLine(); line != null; line = lines.readLine()) {
      if (line.contains("Server startup complete")) return true;
    }
    return false;
  }

  void kill() throws Exception {
    process.destroyForcibly().waitFor(Support.PATIENCE_SECONDS, TimeUnit.SECONDS);
  }

  @Override
  public void close() throws Exception {
    kill();
    try (var files = Files.walk(data)) {
      for (var file : (Iterable<Path>) files.sorted(Comparator.reverseOrder())::iterator) Files.delete(file);
    }
  }
}
