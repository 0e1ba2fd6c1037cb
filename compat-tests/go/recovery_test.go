// The client's own recovery: after the broker was killed it comes back with its queues, bindings and consumers.

package compat

import (
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

func TestConnectionChannelsAndTopologyRecover(t *testing.T) {
	own := ownBroker(t)
	connection, err := amqp.DialConfig(own.url(), amqp.Config{Recovery: &amqp.Recovery{
		ReconnectionConfig: &amqp.ReconnectionConfig{MaxRetryCount: 300, RetryInterval: 100 * time.Millisecond},
	}})
	must(t, err)
	t.Cleanup(func() { connection.Close() })
	states := make(chan *amqp.StateChanged, 16)
	connection.NotifyStateChange(states)
	channel, err := connection.Channel()
	must(t, err)
	must(t, channel.Confirm(false))
	_, err = channel.QueueDeclare("kept", true, false, false, false, nil)
	must(t, err)
	_, err = channel.QueueDeclare("again", false, true, false, false, nil)
	must(t, err)
	must(t, channel.ExchangeDeclare("source", amqp.ExchangeTopic, false, true, false, false, nil))
	must(t, channel.QueueBind("again", "a.#", "source", false, nil))
	deliveries := consume(t, channel, "again", true)
	publishConfirmed(t, channel, "", "kept", amqp.Publishing{DeliveryMode: amqp.Persistent, Body: []byte("kept")})

	own.kill()
	must(t, own.start())
	for next(t, states).To != amqp.StateOpen {
	}
	publish(t, channel, "source", "a.b", text("after"))
	equal(t, string(next(t, deliveries).Body), "after")
	kept := get(t, channel, "kept")
	equal(t, string(kept.Body), "kept")
	equal(t, kept.Redelivered, true)
	must(t, kept.Ack(false))
}

func TestWithoutRecoveryTheConnectionSaysThatItIsGone(t *testing.T) {
	own := ownBroker(t)
	connection, err := amqp.Dial(own.url())
	must(t, err)
	closed := connection.NotifyClose(make(chan *amqp.Error, 1))
	own.kill()
	if next(t, closed) == nil {
		t.Fatal("closed without a reason")
	}
	equal(t, connection.IsClosed(), true)
}
