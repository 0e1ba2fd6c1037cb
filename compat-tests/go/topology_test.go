// Exchanges, queues and bindings: routing, what goes away by itself, and what is refused in which words.

package compat

import (
	"fmt"
	"testing"

	amqp "github.com/rabbitmq/amqp091-go"
)

func exchange(t *testing.T, channel *amqp.Channel, kind string, args amqp.Table) string {
	t.Helper()
	name := fresh(kind)
	must(t, channel.ExchangeDeclare(name, kind, false, false, false, false, args))
	t.Cleanup(func() { channel.ExchangeDelete(name, false, false) })
	return name
}

func TestTopicsRouteByWords(t *testing.T) {
	channel := open(t)
	topic := exchange(t, channel, amqp.ExchangeTopic, nil)
	keys := []string{"a", "a.b", "a.b.c", "x.b", "", "a..c"}
	for pattern, matching := range map[string]int{"a.*": 1, "a.#": 4, "#": 6, "*.b": 2, "a.*.c": 2, "#.b.#": 3} {
		queue := exclusive(t, channel, nil)
		must(t, channel.QueueBind(queue, pattern, topic, false, nil))
		for _, key := range keys {
			publish(t, channel, topic, key, text(key))
		}
		if got := count(t, channel, queue); got != matching {
			t.Fatalf("%s took %d of %q, want %d", pattern, got, keys, matching)
		}
	}
}

func TestHeadersRouteByAllOrAny(t *testing.T) {
	channel := open(t)
	headers := exchange(t, channel, amqp.ExchangeHeaders, nil)
	all, any := exclusive(t, channel, nil), exclusive(t, channel, nil)
	must(t, channel.QueueBind(all, "", headers, false, amqp.Table{"x-match": "all", "a": "1", "b": "2"}))
	must(t, channel.QueueBind(any, "", headers, false, amqp.Table{"x-match": "any", "a": "1", "b": "2"}))
	for _, with := range []amqp.Table{{"a": "1"}, {"a": "1", "b": "2"}, {"b": "3"}} {
		publish(t, channel, headers, "", amqp.Publishing{Headers: with})
	}
	equal(t, count(t, channel, all), 1)
	equal(t, count(t, channel, any), 2)
}

func TestExchangesFeedExchanges(t *testing.T) {
	channel := open(t)
	source, target := exchange(t, channel, amqp.ExchangeTopic, nil), exchange(t, channel, amqp.ExchangeFanout, nil)
	queue := exclusive(t, channel, nil)
	must(t, channel.QueueBind(queue, "", target, false, nil))
	must(t, channel.ExchangeBind(target, "a.*", source, false, nil))
	publish(t, channel, source, "a.b", text("through"))
	equal(t, string(get(t, channel, queue).Body), "through")
	must(t, channel.ExchangeUnbind(target, "a.*", source, false, nil))
	publish(t, channel, source, "a.b", text("nowhere"))
	equal(t, count(t, channel, queue), 0)
}

func TestAnAlternateExchangeTakesTheRest(t *testing.T) {
	channel := open(t)
	rest := exchange(t, channel, amqp.ExchangeFanout, nil)
	direct := exchange(t, channel, amqp.ExchangeDirect, amqp.Table{"alternate-exchange": rest})
	queue := exclusive(t, channel, nil)
	must(t, channel.QueueBind(queue, "", rest, false, nil))
	publish(t, channel, direct, "unknown", text("caught"))
	equal(t, string(get(t, channel, queue).Body), "caught")
}

func TestPurgeAndDeleteCount(t *testing.T) {
	channel := open(t)
	queue := exclusive(t, channel, nil)
	publish(t, channel, "", queue, text("1"))
	publish(t, channel, "", queue, text("2"))
	purged, err := channel.QueuePurge(queue, false)
	must(t, err)
	equal(t, purged, 2)
	publish(t, channel, "", queue, text("3"))
	deleted, err := channel.QueueDelete(queue, false, false, false)
	must(t, err)
	equal(t, deleted, 1)
}

func TestAutoDeleteQueuesGoWithTheirLastConsumer(t *testing.T) {
	channel := open(t)
	name := fresh("auto-delete")
	_, err := channel.QueueDeclare(name, false, true, false, false, nil)
	must(t, err)
	_, err = channel.Consume(name, "tag", true, false, false, false, nil)
	must(t, err)
	must(t, channel.Cancel("tag", false))
	_, err = channel.QueueDeclarePassive(name, false, true, false, false, nil)
	refused(t, err, amqp.NotFound, fmt.Sprintf("NOT_FOUND - no queue '%s' in vhost '/'", name))
}

func TestExclusiveQueuesAreTheirConnectionsAlone(t *testing.T) {
	owner, stranger := open(t), open(t)
	queue := exclusive(t, owner, nil)
	_, err := stranger.QueueDeclarePassive(queue, false, false, true, false, nil)
	refused(t, err, amqp.ResourceLocked, "cannot obtain exclusive access to locked queue '"+queue+"' in vhost '/'")
}

func TestRefusalsCloseTheChannelAndSayWhy(t *testing.T) {
	connection := connect(t)
	queue := exclusive(t, open(t), nil)
	topic := exchange(t, open(t), amqp.ExchangeTopic, nil)
	missing := fresh("missing")
	own, err := connection.Channel()
	must(t, err)
	durable, err := own.QueueDeclare(fresh("durable"), true, false, false, false, amqp.Table{"x-expires": 60_000})
	must(t, err)
	for name, refusal := range map[string]struct {
		act   func(channel *amqp.Channel) error
		code  int
		words string
	}{
		"bind to no exchange": {func(channel *amqp.Channel) error {
			return channel.QueueBind(durable.Name, "", missing, false, nil)
		}, amqp.NotFound, "NOT_FOUND - no exchange '" + missing + "' in vhost '/'"},
		"another durability": {func(channel *amqp.Channel) error {
			_, err := channel.QueueDeclare(durable.Name, false, false, false, false, amqp.Table{"x-expires": 60_000})
			return err
		}, amqp.PreconditionFailed, "inequivalent arg 'durable' for queue '" + durable.Name + "' in vhost '/': received 'false' but current is 'true'"},
		"another argument": {func(channel *amqp.Channel) error {
			_, err := channel.QueueDeclare(durable.Name, true, false, false, false, amqp.Table{"x-expires": 60_001})
			return err
		}, amqp.PreconditionFailed, "inequivalent arg 'x-expires'"},
		"another type": {func(channel *amqp.Channel) error {
			return channel.ExchangeDeclare(topic, amqp.ExchangeFanout, false, false, false, false, nil)
		}, amqp.PreconditionFailed, "inequivalent arg 'type' for exchange '" + topic + "' in vhost '/': received 'fanout' but current is 'topic'"},
		"a reserved name": {func(channel *amqp.Channel) error {
			_, err := channel.QueueDeclare("amq.mine", false, false, false, false, nil)
			return err
		}, amqp.AccessRefused, "queue name 'amq.mine' contains reserved prefix 'amq.*'"},
		"an exchange in use": {func(channel *amqp.Channel) error {
			if err := channel.ExchangeBind(topic, "", "amq.fanout", false, nil); err != nil {
				return err
			}
			if err := channel.ExchangeBind("amq.fanout", "", topic, false, nil); err != nil {
				return err
			}
			return channel.ExchangeDelete(topic, true, false)
		}, amqp.PreconditionFailed, "in use"},
		"someone else's queue": {func(channel *amqp.Channel) error {
			_, err := channel.QueuePurge(queue, false)
			return err
		}, amqp.ResourceLocked, "cannot obtain exclusive access"},
	} {
		t.Run(name, func(t *testing.T) {
			channel, err := connection.Channel()
			must(t, err)
			closed := channel.NotifyClose(make(chan *amqp.Error, 1))
			refused(t, refusal.act(channel), refusal.code, refusal.words)
			refused(t, next(t, closed), refusal.code, refusal.words)
		})
	}
	equal(t, connection.IsClosed(), false)
}

func TestAckOfAnUnknownTagClosesTheChannel(t *testing.T) {
	channel := open(t)
	closed := channel.NotifyClose(make(chan *amqp.Error, 1))
	must(t, channel.Ack(1, false))
	refused(t, next(t, closed), amqp.PreconditionFailed, "PRECONDITION_FAILED - unknown delivery tag 1")
}

func TestAWrongPasswordStaysOutside(t *testing.T) {
	uri, err := amqp.ParseURI(url())
	must(t, err)
	uri.Password = "wrong"
	_, err = amqp.Dial(uri.String())
	refused(t, err, amqp.AccessRefused, "")
}
