// Publishing: confirms, returns, large bodies, properties, transactions.

package compat

import (
	"bytes"
	"context"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

func TestEveryPublishIsConfirmedOnce(t *testing.T) {
	channel := open(t)
	must(t, channel.Confirm(false))
	queue := exclusive(t, channel, nil)
	const messages = 1000
	confirms := channel.NotifyPublish(make(chan amqp.Confirmation, messages))
	for i := 0; i < messages; i++ {
		publish(t, channel, "", queue, text("x"))
	}
	for tag := uint64(1); tag <= messages; tag++ {
		confirm := next(t, confirms)
		equal(t, confirm.DeliveryTag, tag)
		equal(t, confirm.Ack, true)
	}
	equal(t, count(t, channel, queue), messages)
}

func TestWhatCannotBeRoutedReturnsBeforeItsConfirm(t *testing.T) {
	channel := open(t)
	must(t, channel.Confirm(false))
	// One Go channel each, unbuffered for the return: it must come first, or this hangs.
	returns := channel.NotifyReturn(make(chan amqp.Return, 1))
	confirms := channel.NotifyPublish(make(chan amqp.Confirmation, 1))
	key := fresh("nowhere")
	sent := amqp.Publishing{MessageId: "17", Headers: amqp.Table{"a": int32(1)}, Body: []byte("lost")}
	must(t, channel.PublishWithContext(context.Background(), "amq.direct", key, true, false, sent))
	confirm := next(t, confirms)
	if len(returns) != 1 {
		t.Fatal("confirmed before it was returned")
	}
	returned := next(t, returns)
	equal(t, returned.ReplyCode, amqp.NoRoute)
	equal(t, returned.ReplyText, "NO_ROUTE")
	equal(t, returned.Exchange, "amq.direct")
	equal(t, returned.RoutingKey, key)
	equal(t, returned.MessageId, "17")
	equal(t, returned.Headers["a"].(int32), 1)
	equal(t, string(returned.Body), "lost")
	equal(t, confirm.Ack, true)
}

func TestAFullQueueNacks(t *testing.T) {
	channel := open(t)
	must(t, channel.Confirm(false))
	queue := exclusive(t, channel, amqp.Table{"x-max-length": 1, "x-overflow": "reject-publish"})
	publishConfirmed(t, channel, "", queue, text("fits"))
	confirmation, err := channel.PublishWithDeferredConfirm("", queue, false, false, text("does not"))
	must(t, err)
	equal(t, confirmation.Wait(), false)
	equal(t, string(get(t, channel, queue).Body), "fits")
}

func TestFiveMebibytesArriveAsSent(t *testing.T) {
	channel := open(t)
	must(t, channel.Confirm(false))
	queue := exclusive(t, channel, nil)
	body := make([]byte, 5<<20)
	for i := range body {
		body[i] = byte(i * 31)
	}
	publishConfirmed(t, channel, "", queue, amqp.Publishing{DeliveryMode: amqp.Persistent, Body: body})
	delivery := next(t, consume(t, channel, queue, false))
	equal(t, bytes.Equal(delivery.Body, body), true)
	must(t, delivery.Ack(false))
}

func TestPropertiesAndHeadersArriveAsSent(t *testing.T) {
	channel := open(t)
	queue := exclusive(t, channel, nil)
	stamp := time.Unix(1_700_000_000, 0)
	headers := amqp.Table{
		"bool": true, "byte": byte(255), "short": int16(-3), "int": int32(-70_000), "long": int64(1) << 40,
		"float": float32(1.5), "double": 2.25, "string": "\u00fc", "bytes": []byte{0, 1, 2}, "nil": nil, "time": stamp,
		"decimal": amqp.Decimal{Scale: 2, Value: 12345},
		"list":    []interface{}{"a", int32(1), amqp.Table{"deep": "yes"}},
	}
	must(t, headers.Validate())
	publish(t, channel, "", queue, amqp.Publishing{
		Headers: headers, ContentType: "application/json", ContentEncoding: "gzip", DeliveryMode: amqp.Persistent,
		Priority: 7, CorrelationId: "c", ReplyTo: "r", Expiration: "60000", MessageId: "m", Timestamp: stamp,
		Type: "t", UserId: "guest", AppId: "a", Body: []byte("{}"),
	})
	got := get(t, channel, queue)
	equal(t, got.ContentType, "application/json")
	equal(t, got.ContentEncoding, "gzip")
	equal(t, got.DeliveryMode, amqp.Persistent)
	equal(t, got.Priority, 7)
	equal(t, got.CorrelationId+got.ReplyTo+got.MessageId+got.Type+got.AppId, "crmta")
	equal(t, got.Expiration, "60000")
	equal(t, got.UserId, "guest")
	equal(t, got.Timestamp.Equal(stamp), true)
	equal(t, len(got.Headers), len(headers))
	for _, key := range []string{"bool", "byte", "short", "int", "long", "float", "double", "string", "nil", "decimal"} {
		equal(t, got.Headers[key], headers[key])
	}
	equal(t, bytes.Equal(got.Headers["bytes"].([]byte), []byte{0, 1, 2}), true)
	equal(t, got.Headers["time"].(time.Time).Equal(stamp), true)
	list := got.Headers["list"].([]interface{})
	equal(t, list[1], interface{}(int32(1)))
	equal(t, list[2].(amqp.Table)["deep"], interface{}("yes"))
}

func TestACommitPublishesAndAcknowledgesAtOnce(t *testing.T) {
	channel, other := open(t), open(t)
	source, err := other.QueueDeclare(fresh("tx"), false, true, false, false, nil)
	must(t, err)
	publish(t, other, "", source.Name, text("job"))
	waitFor(t, other, source.Name, 1)

	must(t, channel.Tx())
	target := exclusive(t, channel, nil)
	job := get(t, channel, source.Name)
	must(t, job.Ack(false))
	publish(t, channel, "", target, text("result"))
	equal(t, count(t, channel, target), 0)
	must(t, channel.TxCommit())
	equal(t, count(t, channel, target), 1)
	equal(t, string(get(t, channel, target).Body), "result")
	_, err = other.QueueDelete(source.Name, false, true, false)
	must(t, err)
}

func TestARollbackUndoesPublishesAndAcknowledgements(t *testing.T) {
	channel := open(t)
	queue := exclusive(t, channel, nil)
	publish(t, channel, "", queue, text("job"))
	waitFor(t, channel, queue, 1)

	must(t, channel.Tx())
	job := get(t, channel, queue)
	must(t, job.Ack(false))
	publish(t, channel, "", queue, text("result"))
	must(t, channel.TxRollback())
	equal(t, count(t, channel, queue), 0)
	// The acknowledgement never was: the delivery is still this channel's, to be acknowledged or returned.
	must(t, job.Nack(false, true))
	must(t, channel.TxCommit())
	again := get(t, channel, queue)
	equal(t, string(again.Body), "job")
	equal(t, again.Redelivered, true)
}

func TestConfirmsAndTransactionsExcludeEachOther(t *testing.T) {
	channel := open(t)
	must(t, channel.Tx())
	refused(t, channel.Confirm(false), amqp.PreconditionFailed, "cannot switch from tx to confirm mode")
}

func waitFor(t *testing.T, channel *amqp.Channel, queue string, messages int) {
	t.Helper()
	for until := time.Now().Add(patience); time.Now().Before(until); {
		if count(t, channel, queue) == messages {
			return
		}
	}
	t.Fatalf("queue %s never held %d messages", queue, messages)
}
