#!/usr/bin/env bash
# rabbitmq-c's own programs (amqp-tools) against the broker at AMQP_URL: declare, publish, get, consume, delete, and what
# they say when the broker refuses.
set -euo pipefail

url=${AMQP_URL:-amqp://localhost}
count=0

# Names nobody else uses.
fresh() { printf 'c.%s.%s.%s' "$1" "$$" "$RANDOM"; }

passed() {
  count=$((count + 1))
  echo "ok $count - $1"
}

same() {
  if [[ $1 != "$2" ]]; then
    echo "not ok - $3: expected '$2', found '$1'" >&2
    exit 1
  fi
}

# Runs a program that must fail, and prints what it says.
refused() {
  local said
  if said=$("$@" 2>&1); then
    echo "not ok - accepted: $*" >&2
    exit 1
  fi
  printf '%s' "$said"
}

contains() {
  if [[ $1 != *"$2"* ]]; then
    echo "not ok - '$2' is not in '$1'" >&2
    exit 1
  fi
}

queue=$(fresh queue)
same "$(amqp-declare-queue -u "$url" -q "$queue" -d)" "$queue" "the name of a declared queue"
passed "a durable queue is declared"

amqp-publish -u "$url" -r "$queue" -p -b "first" -C text/plain
amqp-publish -u "$url" -r "$queue" -p -b "second" -H "kind: test"
same "$(amqp-get -u "$url" -q "$queue")" "first" "the first message"
same "$(amqp-get -u "$url" -q "$queue")" "second" "the second message"
status=0
amqp-get -u "$url" -q "$queue" || status=$?
same "$status" 2 "amqp-get's exit status for an empty queue"
passed "messages are published and got in order"

printf 'one\ntwo\nthree\n' | amqp-publish -u "$url" -r "$queue" -l
same "$(amqp-consume -u "$url" -q "$queue" -c 3 -p 1 cat)" "$(printf 'one\ntwo\nthree')" "the lines consumed"
passed "lines are published one by one and consumed with prefetch 1"

# A program that fails leaves its message to the next.
amqp-publish -u "$url" -r "$queue" -b "again"
amqp-consume -u "$url" -q "$queue" -c 1 false || true
same "$(amqp-consume -u "$url" -q "$queue" -c 1 cat)" "again" "the message whose first program failed"
passed "a message whose program failed is delivered again"

large=$(mktemp)
trap 'rm -f "$large"' EXIT
head -c 5242880 /dev/zero | tr '\0' 'x' >"$large"
amqp-publish -u "$url" -r "$queue" <"$large"
same "$(amqp-get -u "$url" -q "$queue" | cksum)" "$(cksum <"$large")" "5 MiB"
passed "5 MiB arrive as they were"

temporary=$(fresh temporary)
amqp-consume -u "$url" -q "$temporary" -x -e amq.topic -r "c.$$.#" -c 1 cat >"$large" &
consumer=$!
# Published again until the consumer, which declares and binds by itself, has taken one.
for _ in $(seq 1 200); do
  amqp-publish -u "$url" -e amq.topic -r "c.$$.hare" -b "bound"
  if ! kill -0 "$consumer" 2>/dev/null; then break; fi
  read -r -t 0.1 <> <(:) || true
done
wait "$consumer"
same "$(cat "$large")" "bound" "the message by way of amq.topic"
passed "a consumer declares and binds its own queue"

contains "$(refused amqp-get -u "$url" -q "$(fresh missing)")" "NOT_FOUND - no queue"
contains "$(refused amqp-publish -u "$url" -e "$(fresh missing)" -r x -b x)" "NOT_FOUND - no exchange"
passed "refusals carry the broker's text"

same "$(amqp-delete-queue -u "$url" -q "$queue")" "0" "messages dropped with the queue"
passed "a queue is deleted"

echo "$count passed, 0 failed"
