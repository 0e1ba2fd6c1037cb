// Consuming: prefetch, settling, cancelling, exclusive consumers, what a queue does with its messages.

package compat

import (
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

func TestPrefetchHoldsDeliveriesBack(t *testing.T) {
	channel := open(t)
	queue := exclusive(t, channel, nil)
	for _, body := range []string{"1", "2", "3"} {
		publish(t, channel, "", queue, text(body))
	}
	must(t, channel.Qos(2, 0, false))
	deliveries := consume(t, channel, queue, false)
	first, second := next(t, deliveries), next(t, deliveries)
	equal(t, string(first.Body)+string(second.Body), "12")
	// The declaration is answered after whatever would have been delivered.
	equal(t, count(t, channel, queue), 1)
	equal(t, len(deliveries), 0)
	must(t, first.Ack(false))
	equal(t, string(next(t, deliveries).Body), "3")
}

func TestAckOfSeveralAtOnce(t *testing.T) {
	channel := open(t)
	queue := exclusive(t, channel, nil)
	for i := 0; i < 10; i++ {
		publish(t, channel, "", queue, text("x"))
	}
	must(t, channel.Qos(10, 0, false))
	deliveries := consume(t, channel, queue, false)
	var last amqp.Delivery
	for i := 0; i < 10; i++ {
		last = next(t, deliveries)
	}
	must(t, last.Ack(true))
	publish(t, channel, "", queue, text("more"))
	equal(t, string(next(t, deliveries).Body), "more")
}

func TestNackAndRejectReturnAMessageToItsPlace(t *testing.T) {
	channel := open(t)
	queue := exclusive(t, channel, nil)
	publish(t, channel, "", queue, text("first"))
	publish(t, channel, "", queue, text("second"))
	must(t, get(t, channel, queue).Nack(false, true))
	again := get(t, channel, queue)
	equal(t, string(again.Body), "first")
	equal(t, again.Redelivered, true)
	must(t, again.Reject(true))
	equal(t, string(get(t, channel, queue).Body), "first")
	must(t, channel.Recover(true))
	dropped := get(t, channel, queue)
	equal(t, string(dropped.Body), "first")
	must(t, dropped.Reject(false))
	second := get(t, channel, queue)
	equal(t, string(second.Body), "second")
	equal(t, second.Redelivered, false)
	equal(t, second.MessageCount, 0)
}

func TestGetOfAnEmptyQueue(t *testing.T) {
	channel := open(t)
	_, found, err := channel.Get(exclusive(t, channel, nil), true)
	must(t, err)
	equal(t, found, false)
}

func TestADeadLetterTellsItsDeath(t *testing.T) {
	channel := open(t)
	graves := exclusive(t, channel, nil)
	queue := exclusive(t, channel, amqp.Table{"x-dead-letter-exchange": "", "x-dead-letter-routing-key": graves})
	publish(t, channel, "", queue, text("bad"))
	must(t, get(t, channel, queue).Reject(false))
	dead := next(t, consume(t, channel, graves, true))
	equal(t, string(dead.Body), "bad")
	equal(t, dead.Headers["x-first-death-queue"], interface{}(queue))
	equal(t, dead.Headers["x-first-death-reason"], interface{}("rejected"))
	death := dead.Headers["x-death"].([]interface{})[0].(amqp.Table)
	equal(t, death["queue"], interface{}(queue))
	equal(t, death["reason"], interface{}("rejected"))
	equal(t, death["count"], interface{}(int64(1)))
	equal(t, death["exchange"], interface{}(""))
	equal(t, death["routing-keys"].([]interface{})[0], interface{}(queue))
	if age := time.Since(death["time"].(time.Time)); age < -time.Minute || age > time.Hour {
		t.Fatalf("died %v ago", age)
	}
}

func TestMessagesExpire(t *testing.T) {
	channel := open(t)
	graves := exclusive(t, channel, nil)
	args := amqp.Table{"x-message-ttl": 60_000, "x-dead-letter-exchange": "", "x-dead-letter-routing-key": graves}
	queue := exclusive(t, channel, args)
	publish(t, channel, "", queue, amqp.Publishing{Expiration: "1", Body: []byte("short")})
	dead := next(t, consume(t, channel, graves, true))
	equal(t, dead.Headers["x-first-death-reason"], interface{}("expired"))
	equal(t, dead.Expiration, "")
	death := dead.Headers["x-death"].([]interface{})[0].(amqp.Table)
	equal(t, death["original-expiration"], interface{}("1"))
}

func TestHigherPrioritiesOvertake(t *testing.T) {
	channel := open(t)
	queue := exclusive(t, channel, amqp.Table{"x-max-priority": 5})
	for _, priority := range []uint8{1, 5, 3, 0} {
		publish(t, channel, "", queue, amqp.Publishing{Priority: priority, Body: []byte{'0' + priority}})
	}
	var order string
	for i := 0; i < 4; i++ {
		order += string(get(t, channel, queue).Body)
	}
	equal(t, order, "5310")
}

func TestACancelledConsumerGetsNothingMore(t *testing.T) {
	channel := open(t)
	queue := exclusive(t, channel, nil)
	deliveries, err := channel.Consume(queue, "tag", true, false, false, false, nil)
	must(t, err)
	must(t, channel.Cancel("tag", false))
	publish(t, channel, "", queue, text("later"))
	if delivery, more := <-deliveries; more {
		t.Fatalf("delivered %q", delivery.Body)
	}
	equal(t, string(get(t, channel, queue).Body), "later")
}

func TestADeletedQueueCancelsItsConsumers(t *testing.T) {
	channel, other := open(t), open(t)
	queue, err := other.QueueDeclare(fresh("cancelled"), false, false, false, false, nil)
	must(t, err)
	cancelled := channel.NotifyCancel(make(chan string, 1))
	_, err = channel.Consume(queue.Name, "tag", false, false, false, false, nil)
	must(t, err)
	_, err = other.QueueDelete(queue.Name, false, false, false)
	must(t, err)
	equal(t, next(t, cancelled), "tag")
}

func TestAnExclusiveConsumerIsAlone(t *testing.T) {
	channel, other := open(t), open(t)
	queue, err := channel.QueueDeclare(fresh("alone"), false, true, false, false, nil)
	must(t, err)
	_, err = channel.Consume(queue.Name, "", false, true, false, false, nil)
	must(t, err)
	_, err = other.Consume(queue.Name, "", false, false, false, false, nil)
	refused(t, err, amqp.AccessRefused, "in exclusive use")
}
