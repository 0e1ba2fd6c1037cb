// What the tests share: connections, names that do not meet, awaited deliveries, and a broker of their own.

package compat

import (
	"bufio"
	"context"
	"errors"
	"fmt"
	"math/rand"
	"net"
	"os"
	"os/exec"
	"strings"
	"testing"
	"time"

	amqp "github.com/rabbitmq/amqp091-go"
)

// How long a test waits for what must happen; never for what must not.
const patience = 30 * time.Second

func url() string {
	if at := os.Getenv("AMQP_URL"); at != "" {
		return at
	}
	return "amqp://localhost"
}

// Fresh names keep runs on one broker apart.
func fresh(name string) string {
	return fmt.Sprintf("compat.%s.%d.%x", name, os.Getpid(), rand.Int63())
}

func connect(t *testing.T) *amqp.Connection {
	t.Helper()
	connection, err := amqp.Dial(url())
	must(t, err)
	t.Cleanup(func() { connection.Close() })
	return connection
}

// A channel with its own connection.
func open(t *testing.T) *amqp.Channel {
	t.Helper()
	channel, err := connect(t).Channel()
	must(t, err)
	return channel
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func equal[T comparable](t *testing.T, got, want T) {
	t.Helper()
	if got != want {
		t.Fatalf("got %v, want %v", got, want)
	}
}

// A transient queue that is gone with its connection.
func exclusive(t *testing.T, channel *amqp.Channel, args amqp.Table) string {
	t.Helper()
	queue, err := channel.QueueDeclare("", false, false, true, false, args)
	must(t, err)
	return queue.Name
}

func consume(t *testing.T, channel *amqp.Channel, queue string, autoAck bool) <-chan amqp.Delivery {
	t.Helper()
	deliveries, err := channel.Consume(queue, "", autoAck, false, false, false, nil)
	must(t, err)
	return deliveries
}

// The next thing that arrives on a channel of any of the client's notifications.
func next[T any](t *testing.T, arriving <-chan T) T {
	t.Helper()
	select {
	case thing, open := <-arriving:
		if !open {
			t.Fatal("the channel was closed")
		}
		return thing
	case <-time.After(patience):
		t.Fatal("nothing arrived")
	}
	panic("unreachable")
}

func publish(t *testing.T, channel *amqp.Channel, exchange, key string, message amqp.Publishing) {
	t.Helper()
	must(t, channel.PublishWithContext(context.Background(), exchange, key, false, false, message))
}

func text(body string) amqp.Publishing {
	return amqp.Publishing{Body: []byte(body)}
}

// Publishes and waits for the confirm; the channel must be in confirm mode.
func publishConfirmed(t *testing.T, channel *amqp.Channel, exchange, key string, message amqp.Publishing) {
	t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), patience)
	defer cancel()
	confirmation, err := channel.PublishWithDeferredConfirmWithContext(ctx, exchange, key, false, false, message)
	must(t, err)
	acked, err := confirmation.WaitContext(ctx)
	must(t, err)
	if !acked {
		t.Fatal("the message was not accepted")
	}
}

// A get that must find a message.
func get(t *testing.T, channel *amqp.Channel, queue string) amqp.Delivery {
	t.Helper()
	message, found, err := channel.Get(queue, false)
	must(t, err)
	if !found {
		t.Fatalf("queue %s is empty", queue)
	}
	return message
}

func count(t *testing.T, channel *amqp.Channel, queue string) int {
	t.Helper()
	found, err := channel.QueueDeclarePassive(queue, false, false, false, false, nil)
	must(t, err)
	return found.Messages
}

// Asserts that the broker refused with this code and a text that contains these words.
func refused(t *testing.T, err error, code int, words string) {
	t.Helper()
	var refusal *amqp.Error
	if !errors.As(err, &refusal) {
		t.Fatalf("not refused by the broker: %v", err)
	}
	if refusal.Code != code || !strings.Contains(refusal.Reason, words) {
		t.Fatalf("refused with %d %q, want %d %q", refusal.Code, refusal.Reason, code, words)
	}
}

// A broker that the test may kill and start again with the same data at the same address.
type broker struct {
	t       *testing.T
	data    string
	address string
	process *exec.Cmd
}

func ownBroker(t *testing.T) *broker {
	t.Helper()
	if os.Getenv("LEVERET_BIN") == "" {
		t.Skip("LEVERET_BIN is not set: this broker cannot be restarted")
	}
	// A port that is free now may be taken a moment later, hence several tries.
	for try := 0; try < 5; try++ {
		listener, err := net.Listen("tcp", "127.0.0.1:0")
		must(t, err)
		own := &broker{t: t, data: t.TempDir(), address: listener.Addr().String()}
		must(t, listener.Close())
		if own.start() == nil {
			t.Cleanup(own.kill)
			return own
		}
	}
	t.Fatal("the broker does not start")
	return nil
}

func (own *broker) start() error {
	own.process = exec.Command(os.Getenv("LEVERET_BIN"), "--data-dir", own.data, "--listen", own.address,
		"--http-listen", "none", "--metrics-listen", "none")
	out, err := own.process.StdoutPipe()
	if err != nil {
		return err
	}
	if err := own.process.Start(); err != nil {
		return err
	}
	lines := bufio.NewScanner(out)
	for lines.Scan() {
		if strings.Contains(lines.Text(), "Server startup complete") {
			return nil
		}
	}
	return errors.Join(errors.New("the broker ended early"), own.process.Wait())
}

func (own *broker) kill() {
	own.process.Process.Kill()
	own.process.Wait()
}

func (own *broker) url() string {
	return "amqp://" + own.address
}
