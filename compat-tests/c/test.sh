#!/usr/bin/env bash
# rabbitmq-c's command-line tools, and a program against its library: test.sh
set -euo pipefail

cd "$(dirname "${BASH_SOURCE[0]}")"
url=${AMQP_URL:-amqp://localhost}
# A directory of its own, since tests may run side by side.
scratch=$(mktemp -d)
trap 'rm -rf "$scratch"' EXIT
passed=0
failed=0

fresh() {
  echo "compat.$1.$$.$RANDOM"
}

# check WHAT EXPECTED GOT
check() {
  if [[ $2 == "$3" ]]; then
    echo "ok: $1"
    passed=$((passed + 1))
  else
    printf 'FAILED: %s\n  expected: %q\n  got:      %q\n' "$1" "$2" "$3"
    failed=$((failed + 1))
  fi
}

status() {
  local status=0
  "$@" >/dev/null 2>"$scratch/error" || status=$?
  echo "$status"
}

queue=$(fresh queue)
check "a queue is declared" "$queue" "$(amqp-declare-queue --url="$url" --queue="$queue" --durable)"
amqp-publish --url="$url" --routing-key="$queue" --persistent --content-type=text/plain --header="a: b" --body="first"
check "a published message is got" "first" "$(amqp-get --url="$url" --queue="$queue")"
check "an empty queue gives nothing" 2 "$(status amqp-get --url="$url" --queue="$queue")"

printf 'one\ntwo\nthree\n' | amqp-publish --url="$url" --routing-key="$queue" --line-buffered
got=$(amqp-consume --url="$url" --queue="$queue" --count=3 --prefetch-count=1 cat)
check "lines arrive as messages, in order" $'one\ntwo\nthree' "$got"

head -c $((5 * 1024 * 1024)) /dev/urandom >"$scratch/sent"
amqp-publish --url="$url" --routing-key="$queue" <"$scratch/sent"
amqp-get --url="$url" --queue="$queue" >"$scratch/got"
check "five mebibytes arrive as sent" 0 "$(status cmp "$scratch/sent" "$scratch/got")"

amqp-publish --url="$url" --routing-key="$queue" --body=again
check "a consumer that fails returns its message" "again" \
  "$(amqp-consume --url="$url" --queue="$queue" --count=1 sh -c 'cat >/dev/null; exit 1' 2>/dev/null || true
     amqp-get --url="$url" --queue="$queue")"

topic=$(fresh topic)
(amqp-consume --url="$url" --queue="$topic" --exclusive --exchange=amq.topic --routing-key="$topic.*" --count=1 cat \
  >"$scratch/routed") 2>"$scratch/log" &
consumer=$!
# Said once it is bound: until then messages to it go nowhere.
for ((try = 0; try < 600; try++)); do
  amqp-publish --url="$url" --exchange=amq.topic --routing-key="$topic.news" --body=routed
  if ! kill -0 "$consumer" 2>/dev/null; then break; fi
  sleep 0.05
done
wait "$consumer"
check "an exclusive queue is bound to a topic" "routed" "$(cat "$scratch/routed")"

amqp-publish --url="$url" --routing-key="$queue" --body=left
check "a queue that is not empty stays, if asked" 1 "$(status amqp-delete-queue --url="$url" --queue="$queue" --if-empty)"
check "and says why" 1 "$(grep -c "406, message: PRECONDITION_FAILED - queue '$queue' in vhost '/' not empty" "$scratch/error")"
check "another durability is refused" 1 "$(status amqp-declare-queue --url="$url" --queue="$queue")"
check "in RabbitMQ's words" 1 "$(grep -c "inequivalent arg 'durable' for queue '$queue' in vhost '/': received 'false' but current is 'true'" "$scratch/error")"
check "deleting counts the messages" 1 "$(amqp-delete-queue --url="$url" --queue="$queue")"
check "a queue that is not there is refused" 1 "$(status amqp-get --url="$url" --queue="$queue")"
check "with 404" 1 "$(grep -c "404, message: NOT_FOUND - no queue '$queue' in vhost '/'" "$scratch/error")"

mkdir -p target
"${CC:-cc}" -std=gnu11 -Wall -Wextra -Werror -o target/library library.c -lrabbitmq
while IFS=$'\t' read -r what expected got; do
  check "$what" "$expected" "$got"
done < <(./target/library "$url" || echo $'the program ends well\tyes\tno')

echo
echo "$passed passed, $failed failed"
((failed == 0))
