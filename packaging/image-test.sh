#!/bin/sh
# Runs inside of the image's root, with a network of its own, in place of a container engine.
set -eu

ip link set lo up
log=/tmp/log

fail() {
  echo "image: $*" >&2
  cat "$log" >&2
  exit 1
}

start() {
  : >"$log"
  docker-entrypoint.sh "$@" >"$log" 2>&1 &
  broker=$!
  tries=0
  until grep -q 'Server startup complete' "$log"; do
    tries=$((tries + 1))
    [ "$tries" -lt 300 ] || fail "the broker does not start"
    kill -0 "$broker" 2>/dev/null || fail "the broker has ended"
    usleep 100000
  done
}

stop() {
  kill -TERM "$broker"
  wait "$broker" || fail "the broker ends with status $?"
}

# What a client of AMQP 0-9-1 hears first: a method, on channel 0, which is connection.start.
greets() {
  printf 'AMQP\000\000\011\001' | nc -w 2 127.0.0.1 5672 2>/dev/null | head -c 11 | hexdump -v -e '1/1 "%02x"' |
    grep -q '^010000........000a000a' || fail "no answer on port 5672"
}

[ "$(docker-entrypoint.sh echo hop)" = hop ] || fail "a command of the user's own is not run"

for how in rabbitmq-server '' '--log-format json'; do
  # Words, or none: as a container's command is given.
  # shellcheck disable=SC2086
  start $how
  greets
  [ "$(stat -c %u /proc/"$broker")" = 999 ] || fail "the broker is not user 999"
  [ "$(stat -c %u /var/lib/rabbitmq/leveret/data.mdb)" = 999 ] || fail "data is not user 999's"
  rabbitmq-diagnostics -q ping || fail "the health check fails"
  rabbitmqctl version >/dev/null || fail "rabbitmqctl does not run"
  command -v rabbitmq-upgrade >/dev/null || fail "rabbitmq-upgrade is not there"
  stop
done

# A volume that somebody else has made.
chown -R 0:0 /var/lib/rabbitmq
start
greets
stop

# And a user who is not root from the beginning.
chown -R 1234:1234 /var/lib/rabbitmq
echo 'other:x:1234:1234::/:/bin/sh' >>/etc/passwd
: >"$log"
chmod 666 "$log"
su -p -s /bin/sh -c 'exec "$0" "$@"' -- other docker-entrypoint.sh >"$log" 2>&1 &
broker=$!
until grep -q 'Server startup complete' "$log"; do
  kill -0 "$broker" 2>/dev/null || fail "the broker does not start as another user"
  usleep 100000
done
greets
stop
echo "image: started, asked, stopped, as root and as others"
