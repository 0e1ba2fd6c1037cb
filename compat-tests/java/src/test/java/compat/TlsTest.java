package compat;

import static org.junit.jupiter.api.Assertions.assertArrayEquals;
import static org.junit.jupiter.api.Assertions.assertThrows;
import static org.junit.jupiter.api.Assumptions.assumeTrue;

import com.rabbitmq.client.Connection;
import com.rabbitmq.client.ConnectionFactory;
import com.rabbitmq.client.DefaultSaslConfig;
import java.io.IOException;
import java.nio.file.Files;
import java.nio.file.Path;
import java.security.KeyStore;
import java.security.cert.CertificateFactory;
import javax.net.ssl.KeyManagerFactory;
import javax.net.ssl.SSLContext;
import javax.net.ssl.TrustManagerFactory;
import org.junit.jupiter.api.BeforeEach;
import org.junit.jupiter.api.Test;
import org.junit.jupiter.params.ParameterizedTest;
import org.junit.jupiter.params.provider.ValueSource;

/** TLS as programs with the Java client set it up: trusting an authority, and logging in by certificate. */
class TlsTest {
  private static final String URL = System.getenv("AMQPS_URL");
  private static final String DIRECTORY = System.getenv("TLS_DIR");
  private static final char[] PASSWORD = "compat".toCharArray();

  @BeforeEach
  void needsTls() {
    assumeTrue(URL != null && DIRECTORY != null, "AMQPS_URL and TLS_DIR are not set: no address with TLS to test");
  }

  private static SSLContext context(String version, boolean trusting, boolean certificate) throws Exception {
    var trusted = KeyStore.getInstance(KeyStore.getDefaultType());
    trusted.load(null, null);
    if (trusting) {
      try (var pem = Files.newInputStream(Path.of(DIRECTORY, "ca.pem"))) {
        trusted.setCertificateEntry("ca", CertificateFactory.getInstance("X.509").generateCertificate(pem));
      }
    }
    var trust = TrustManagerFactory.getInstance(TrustManagerFactory.getDefaultAlgorithm());
    trust.init(trusting ? trusted : null);
    var own = KeyStore.getInstance("PKCS12");
    own.load(null, null);
    if (certificate) {
      try (var file = Files.newInputStream(Path.of(DIRECTORY, "client.p12"))) {
        own.load(file, PASSWORD);
      }
    }
    var keys = KeyManagerFactory.getInstance(KeyManagerFactory.getDefaultAlgorithm());
    keys.init(own, PASSWORD);
    var context = SSLContext.getInstance(version);
    context.init(keys.getKeyManagers(), trust.getTrustManagers(), null);
    return context;
  }

  private static ConnectionFactory factory(SSLContext context) throws Exception {
    var factory = new ConnectionFactory();
    factory.setUri(URL);
    factory.useSslProtocol(context);
    factory.enableHostnameVerification();
    factory.setAutomaticRecoveryEnabled(false);
    return factory;
  }

  private static void roundTrip(Connection connection, byte[] body) throws Exception {
    var channel = connection.createChannel();
    channel.confirmSelect();
    var queue = channel.queueDeclare().getQueue();
    channel.basicPublish("", queue, Support.properties().userId("guest").build(), body);
    channel.waitForConfirmsOrDie(Support.PATIENCE_SECONDS * 1000);
    assertArrayEquals(body, channel.basicGet(queue, true).getBody());
  }

  @ParameterizedTest
  @ValueSource(strings = {"TLSv1.2", "TLSv1.3"})
  void messagesTravelOverTls(String version) throws Exception {
    try (var connection = factory(context(version, true, false)).newConnection()) {
      roundTrip(connection, new byte[3_000_000]);
    }
  }

  @Test
  void aCertificateLogsIn() throws Exception {
    var factory = factory(context("TLSv1.3", true, true));
    factory.setSaslConfig(DefaultSaslConfig.EXTERNAL);
    try (var connection = factory.newConnection()) {
      roundTrip(connection, "mine".getBytes());
    }
  }

  @Test
  void withoutACertificateExternalIsNotOffered() throws Exception {
    var factory = factory(context("TLSv1.3", true, false));
    factory.setSaslConfig(DefaultSaslConfig.EXTERNAL);
    assertThrows(IOException.class, factory::newConnection);
  }

  @Test
  void whoDoesNotTrustTheAuthorityDoesNotConnect() throws Exception {
    var factory = factory(context("TLSv1.3", false, false));
    assertThrows(IOException.class, factory::newConnection);
  }
}
