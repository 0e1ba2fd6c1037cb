/* A program against librabbitmq: prints what it saw as lines "what <tab> expected <tab> got". */

#include <amqp.h>
#include <amqp_tcp_socket.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <sys/time.h>

#define REASON "x-first-death-reason"

static const struct timeval patience = {30, 0};

static void die(const char *what) {
  fprintf(stderr, "failed: %s\n", what);
  exit(1);
}

static void print(const char *what, const char *expected, amqp_bytes_t got) {
  printf("%s\t%s\t%.*s\n", what, expected, (int)got.len, (const char *)got.bytes);
}

static void print_number(const char *what, long expected, long got) { printf("%s\t%ld\t%ld\n", what, expected, got); }

static amqp_connection_state_t connect_to(const char *url) {
  struct amqp_connection_info info;
  char *copy = strdup(url);
  if (copy == NULL || amqp_parse_url(copy, &info) != AMQP_STATUS_OK) die("the URL");
  amqp_connection_state_t connection = amqp_new_connection();
  amqp_socket_t *socket = amqp_tcp_socket_new(connection);
  if (socket == NULL || amqp_socket_open(socket, info.host, info.port) != AMQP_STATUS_OK) die("connecting");
  amqp_rpc_reply_t reply = amqp_login(connection, "/", 0, AMQP_DEFAULT_FRAME_SIZE, 0, AMQP_SASL_METHOD_PLAIN, info.user, info.password);
  if (reply.reply_type != AMQP_RESPONSE_NORMAL) die("the login");
  free(copy);
  return connection;
}

static void open_channel(amqp_connection_state_t connection, amqp_channel_t channel) {
  if (amqp_channel_open(connection, channel) == NULL) die("opening a channel");
}

/* A server-named exclusive queue; its name is kept in `name`. */
static amqp_bytes_t declare(amqp_connection_state_t connection, amqp_channel_t channel, amqp_table_t arguments) {
  amqp_queue_declare_ok_t *ok = amqp_queue_declare(connection, channel, amqp_empty_bytes, 0, 0, 1, 0, arguments);
  if (ok == NULL) die("declaring a queue");
  return amqp_bytes_malloc_dup(ok->queue);
}

static void publish(amqp_connection_state_t connection, amqp_channel_t channel, const char *exchange, amqp_bytes_t key, int mandatory, const char *body) {
  amqp_basic_properties_t properties = {0};
  properties._flags = AMQP_BASIC_DELIVERY_MODE_FLAG | AMQP_BASIC_MESSAGE_ID_FLAG;
  properties.delivery_mode = AMQP_DELIVERY_PERSISTENT;
  properties.message_id = amqp_cstring_bytes("17");
  int status = amqp_basic_publish(connection, channel, amqp_cstring_bytes(exchange), key, mandatory, 0, &properties, amqp_cstring_bytes(body));
  if (status != AMQP_STATUS_OK) die("publishing");
}

/* Waits for a method, and leaves its message, if it has one, unread. */
static amqp_frame_t await_method(amqp_connection_state_t connection, amqp_method_number_t id) {
  amqp_frame_t frame;
  struct timeval limit = patience;
  if (amqp_simple_wait_frame_noblock(connection, &frame, &limit) != AMQP_STATUS_OK) die("waiting for a frame");
  if (frame.frame_type != AMQP_FRAME_METHOD || frame.payload.method.id != id) die("another frame came");
  return frame;
}

static long ready(amqp_connection_state_t connection, amqp_channel_t channel, amqp_bytes_t queue) {
  amqp_queue_declare_ok_t *ok = amqp_queue_declare(connection, channel, queue, 1, 0, 1, 0, amqp_empty_table);
  if (ok == NULL) die("asking for a queue");
  return ok->message_count;
}

static void confirms_and_returns(amqp_connection_state_t connection, amqp_channel_t channel) {
  open_channel(connection, channel);
  if (amqp_confirm_select(connection, channel) == NULL) die("confirm.select");
  publish(connection, channel, "amq.direct", amqp_cstring_bytes("compat.nowhere"), 1, "lost");
  amqp_frame_t frame = await_method(connection, AMQP_BASIC_RETURN_METHOD);
  amqp_basic_return_t *back = frame.payload.method.decoded;
  print_number("what cannot be routed returns", 312, back->reply_code);
  print("with its reason", "NO_ROUTE", back->reply_text);
  amqp_message_t message;
  if (amqp_read_message(connection, channel, &message, 0).reply_type != AMQP_RESPONSE_NORMAL) die("reading a return");
  print("and its body", "lost", message.body);
  print("and its properties", "17", message.properties.message_id);
  amqp_destroy_message(&message);
  frame = await_method(connection, AMQP_BASIC_ACK_METHOD);
  print_number("then it is confirmed", 1, ((amqp_basic_ack_t *)frame.payload.method.decoded)->delivery_tag);
}

static void consuming(amqp_connection_state_t connection, amqp_channel_t channel) {
  open_channel(connection, channel);
  amqp_bytes_t graves = declare(connection, channel, amqp_empty_table);
  amqp_table_entry_t entries[2] = {0};
  entries[0].key = amqp_cstring_bytes("x-dead-letter-exchange");
  entries[0].value.kind = AMQP_FIELD_KIND_UTF8;
  entries[0].value.value.bytes = amqp_empty_bytes;
  entries[1].key = amqp_cstring_bytes("x-dead-letter-routing-key");
  entries[1].value.kind = AMQP_FIELD_KIND_UTF8;
  entries[1].value.value.bytes = graves;
  amqp_table_t arguments = {2, entries};
  amqp_bytes_t queue = declare(connection, channel, arguments);
  if (amqp_basic_qos(connection, channel, 0, 1, 0) == NULL) die("basic.qos");
  if (amqp_basic_consume(connection, channel, queue, amqp_empty_bytes, 0, 0, 0, amqp_empty_table) == NULL) die("basic.consume");
  publish(connection, channel, "", queue, 0, "1");
  publish(connection, channel, "", queue, 0, "2");
  struct timeval limit = patience;
  amqp_envelope_t envelope;
  if (amqp_consume_message(connection, &envelope, &limit, 0).reply_type != AMQP_RESPONSE_NORMAL) die("consuming");
  print("the first is delivered", "1", envelope.message.body);
  print_number("the second waits for the first", 1, ready(connection, channel, queue));
  amqp_basic_nack(connection, channel, envelope.delivery_tag, 0, 1);
  amqp_destroy_envelope(&envelope);
  if (amqp_consume_message(connection, &envelope, &limit, 0).reply_type != AMQP_RESPONSE_NORMAL) die("consuming");
  print("what is returned comes first", "1", envelope.message.body);
  print_number("and is marked", 1, envelope.redelivered);
  amqp_basic_reject(connection, channel, envelope.delivery_tag, 0);
  amqp_destroy_envelope(&envelope);
  if (amqp_consume_message(connection, &envelope, &limit, 0).reply_type != AMQP_RESPONSE_NORMAL) die("consuming");
  print("then the second", "2", envelope.message.body);
  amqp_basic_ack(connection, channel, envelope.delivery_tag, 0);
  amqp_destroy_envelope(&envelope);
  while (ready(connection, channel, graves) == 0) {
  }
  if (amqp_basic_get(connection, channel, graves, 1).reply_type != AMQP_RESPONSE_NORMAL) die("basic.get");
  amqp_message_t message;
  if (amqp_read_message(connection, channel, &message, 0).reply_type != AMQP_RESPONSE_NORMAL) die("reading a message");
  print("what is rejected is a dead letter", "1", message.body);
  amqp_table_t headers = message.properties.headers;
  for (int i = 0; i < headers.num_entries; i++) {
    amqp_bytes_t key = headers.entries[i].key;
    if (key.len == strlen(REASON) && memcmp(key.bytes, REASON, key.len) == 0) {
      print("with its reason", "rejected", headers.entries[i].value.value.bytes);
    }
  }
  amqp_destroy_message(&message);
}

static void transactions(amqp_connection_state_t connection, amqp_channel_t channel) {
  open_channel(connection, channel);
  amqp_bytes_t queue = declare(connection, channel, amqp_empty_table);
  if (amqp_tx_select(connection, channel) == NULL) die("tx.select");
  publish(connection, channel, "", queue, 0, "undone");
  if (amqp_tx_rollback(connection, channel) == NULL) die("tx.rollback");
  print_number("a rollback undoes", 0, ready(connection, channel, queue));
  publish(connection, channel, "", queue, 0, "done");
  print_number("nothing is published before the commit", 0, ready(connection, channel, queue));
  if (amqp_tx_commit(connection, channel) == NULL) die("tx.commit");
  print_number("a commit publishes", 1, ready(connection, channel, queue));
}

int main(int argc, char **argv) {
  if (argc != 2) die("usage: library URL");
  amqp_connection_state_t connection = connect_to(argv[1]);
  confirms_and_returns(connection, 1);
  consuming(connection, 2);
  transactions(connection, 3);
  amqp_rpc_reply_t reply = amqp_connection_close(connection, AMQP_REPLY_SUCCESS);
  print_number("the connection closes", AMQP_RESPONSE_NORMAL, reply.reply_type);
  return amqp_destroy_connection(connection) != AMQP_STATUS_OK;
}
