<?php

// What programs written with php-amqplib expect of a broker.

declare(strict_types=1);

require_once 'PhpAmqpLib/autoload.php';

use PhpAmqpLib\Channel\AMQPChannel;
use PhpAmqpLib\Connection\AMQPStreamConnection;
use PhpAmqpLib\Exception\AMQPConnectionClosedException;
use PhpAmqpLib\Exception\AMQPProtocolChannelException;
use PhpAmqpLib\Message\AMQPMessage;
use PhpAmqpLib\Wire\AMQPTable;
use PHPUnit\Framework\TestCase;

final class CompatTest extends TestCase
{
    /** Seconds a test waits for what must happen; never for what must not. */
    private const PATIENCE = 30;

    /** @var AMQPStreamConnection[] */
    private array $connections = [];

    private function connect(string $password = 'guest'): AMQPStreamConnection
    {
        $url = parse_url(getenv('AMQP_URL') ?: 'amqp://localhost');
        return $this->connections[] =
            new AMQPStreamConnection($url['host'], (string) ($url['port'] ?? 5672), 'guest', $password);
    }

    /** A channel with its own connection. */
    private function open(): AMQPChannel
    {
        return $this->connect()->channel();
    }

    protected function tearDown(): void
    {
        foreach ($this->connections as $connection) {
            if ($connection->isConnected()) {
                $connection->close();
            }
        }
    }

    private static function fresh(string $name): string
    {
        return "compat.$name." . bin2hex(random_bytes(8));
    }

    /** A transient queue that is gone with its connection. */
    private static function exclusive(AMQPChannel $channel, array $arguments = []): string
    {
        return $channel->queue_declare('', false, false, true, false, false, new AMQPTable($arguments))[0];
    }

    private static function publish(AMQPChannel $channel, string $exchange, string $key, string $body, array $how = []): void
    {
        $channel->basic_publish(new AMQPMessage($body, $how), $exchange, $key);
    }

    private static function get(AMQPChannel $channel, string $queue): AMQPMessage
    {
        $message = $channel->basic_get($queue);
        self::assertNotNull($message, "$queue is empty");
        return $message;
    }

    private static function ready(AMQPChannel $channel, string $queue): int
    {
        return $channel->queue_declare($queue, true)[1];
    }

    /** Starts a consumer; what arrives is appended to the object returned. */
    private static function consume(AMQPChannel $channel, string $queue, bool $noAck): ArrayObject
    {
        $arrived = new ArrayObject();
        $channel->basic_consume($queue, '', false, $noAck, false, false, fn ($message) => $arrived->append($message));
        return $arrived;
    }

    private static function await(AMQPChannel $channel, ArrayObject $arrived, int $count): void
    {
        while (count($arrived) < $count) {
            $channel->wait(null, false, self::PATIENCE);
        }
    }

    /** Asserts that the broker closes the channel with this code and these words. */
    private static function refused(int $code, string $words, callable $act): void
    {
        try {
            $act();
        } catch (AMQPProtocolChannelException $refusal) {
            self::assertSame($code, $refusal->getCode());
            self::assertStringContainsString($words, $refusal->getMessage());
            return;
        }
        self::fail("not refused: $words");
    }

    public function testEveryPublishIsConfirmed(): void
    {
        $channel = $this->open();
        $channel->confirm_select();
        $acked = 0;
        $channel->set_ack_handler(function () use (&$acked) {
            $acked++;
        });
        $queue = self::exclusive($channel);
        for ($i = 0; $i < 1000; $i++) {
            self::publish($channel, '', $queue, 'x');
        }
        $channel->wait_for_pending_acks(self::PATIENCE);
        self::assertSame([1000, 1000], [$acked, self::ready($channel, $queue)]);
    }

    public function testWhatCannotBeRoutedReturnsBeforeItsConfirm(): void
    {
        $channel = $this->open();
        $channel->confirm_select();
        $events = [];
        $channel->set_return_listener(function ($code, $text, $exchange, $key, $message) use (&$events) {
            $events[] = [$code, $text, $exchange, $message->get('message_id'), $message->body];
        });
        $channel->set_ack_handler(function ($message) use (&$events) {
            $events[] = 'confirmed';
        });
        $message = new AMQPMessage('lost', ['message_id' => '17']);
        $channel->basic_publish($message, 'amq.direct', self::fresh('nowhere'), true);
        $channel->wait_for_pending_acks_returns(self::PATIENCE);
        self::assertSame([[312, 'NO_ROUTE', 'amq.direct', '17', 'lost'], 'confirmed'], $events);
    }

    public function testAFullQueueNacks(): void
    {
        $channel = $this->open();
        $channel->confirm_select();
        $nacked = [];
        $channel->set_nack_handler(function ($message) use (&$nacked) {
            $nacked[] = $message->body;
        });
        $queue = self::exclusive($channel, ['x-max-length' => 1, 'x-overflow' => 'reject-publish']);
        self::publish($channel, '', $queue, 'fits');
        $channel->wait_for_pending_acks(self::PATIENCE);
        self::publish($channel, '', $queue, 'does not');
        $channel->wait_for_pending_acks(self::PATIENCE);
        self::assertSame(['does not'], $nacked);
    }

    public function testFiveMebibytesArriveAsSent(): void
    {
        $channel = $this->open();
        $channel->confirm_select();
        $queue = self::exclusive($channel);
        $body = random_bytes(5 << 20);
        self::publish($channel, '', $queue, $body, ['delivery_mode' => AMQPMessage::DELIVERY_MODE_PERSISTENT]);
        $channel->wait_for_pending_acks(self::PATIENCE);
        $arrived = self::consume($channel, $queue, false);
        self::await($channel, $arrived, 1);
        self::assertTrue($arrived[0]->body === $body);
        $arrived[0]->ack();
    }

    public function testPropertiesArriveAsSent(): void
    {
        $channel = $this->open();
        $queue = self::exclusive($channel);
        $headers = ['null' => null, 'bool' => true, 'int' => 70000, 'negative' => -3, 'long' => 1 << 40, 'string' => "\u{fc}",
            'list' => [1, 'a'], 'table' => ['deep' => ['er' => 2]]];
        $how = ['content_type' => 'text/plain', 'content_encoding' => 'utf-8', 'delivery_mode' => 2, 'priority' => 7,
            'correlation_id' => 'c', 'reply_to' => 'r', 'expiration' => '60000', 'message_id' => 'm',
            'timestamp' => 1700000000, 'type' => 't', 'user_id' => 'guest', 'app_id' => 'a'];
        self::publish($channel, '', $queue, '', $how + ['application_headers' => new AMQPTable($headers)]);
        $got = self::get($channel, $queue)->get_properties();
        self::assertEquals($headers, $got['application_headers']->getNativeData());
        unset($got['application_headers']);
        ksort($how);
        ksort($got);
        self::assertEquals($how, $got);
    }

    public function testACommitPublishesAndARollbackUndoes(): void
    {
        $channel = $this->open();
        [$queue, $target] = [self::exclusive($channel), self::exclusive($channel)];
        self::publish($channel, '', $queue, 'job');
        self::assertSame(1, self::ready($channel, $queue));
        $channel->tx_select();
        $job = self::get($channel, $queue);
        self::publish($channel, '', $target, 'result');
        $channel->basic_ack($job->getDeliveryTag());
        $channel->tx_rollback();
        self::assertSame(0, self::ready($channel, $target));
        self::publish($channel, '', $target, 'result');
        $channel->basic_ack($job->getDeliveryTag());
        $channel->tx_commit();
        self::assertSame([0, 1], [self::ready($channel, $queue), self::ready($channel, $target)]);
        self::assertSame('result', self::get($channel, $target)->body);
    }

    public function testPrefetchHoldsDeliveriesBack(): void
    {
        $channel = $this->open();
        $queue = self::exclusive($channel);
        foreach (['1', '2', '3'] as $body) {
            self::publish($channel, '', $queue, $body);
        }
        $channel->basic_qos(0, 2, false);
        $arrived = self::consume($channel, $queue, false);
        self::await($channel, $arrived, 2);
        self::assertSame([1, 2], [self::ready($channel, $queue), count($arrived)]);
        $arrived[0]->ack();
        self::await($channel, $arrived, 3);
        self::assertSame(['1', '2', '3'], array_map(fn ($message) => $message->body, $arrived->getArrayCopy()));
    }

    public function testNackAndRejectReturnAMessageToItsPlace(): void
    {
        $channel = $this->open();
        $queue = self::exclusive($channel);
        self::publish($channel, '', $queue, 'first');
        self::publish($channel, '', $queue, 'second');
        self::get($channel, $queue)->nack(true);
        $again = self::get($channel, $queue);
        self::assertSame(['first', true], [$again->body, $again->isRedelivered()]);
        $again->reject(true);
        self::get($channel, $queue)->reject(false);
        $second = self::get($channel, $queue);
        self::assertSame(['second', false], [$second->body, $second->isRedelivered()]);
        self::assertNull($channel->basic_get($queue));
    }

    public function testADeadLetterTellsItsDeath(): void
    {
        $channel = $this->open();
        $graves = self::exclusive($channel);
        $queue = self::exclusive($channel, ['x-dead-letter-exchange' => '', 'x-dead-letter-routing-key' => $graves]);
        self::publish($channel, '', $queue, 'bad');
        self::get($channel, $queue)->reject(false);
        self::publish($channel, '', $queue, 'old', ['expiration' => '1']);
        $arrived = self::consume($channel, $graves, true);
        self::await($channel, $arrived, 2);
        foreach ([[0, 'bad', 'rejected'], [1, 'old', 'expired']] as [$at, $body, $reason]) {
            $headers = $arrived[$at]->get('application_headers')->getNativeData();
            $death = $headers['x-death'][0];
            self::assertSame($body, $arrived[$at]->body);
            self::assertSame($reason, $headers['x-first-death-reason']);
            self::assertSame([$queue, $reason, 1, '', [$queue]],
                [$death['queue'], $death['reason'], $death['count'], $death['exchange'], $death['routing-keys']]);
        }
        self::assertFalse($arrived[1]->has('expiration'));
    }

    public function testMessagesOfAQueueExpire(): void
    {
        $channel = $this->open();
        $graves = self::exclusive($channel);
        $queue = self::exclusive($channel,
            ['x-message-ttl' => 1, 'x-dead-letter-exchange' => '', 'x-dead-letter-routing-key' => $graves]);
        $arrived = self::consume($channel, $graves, true);
        self::publish($channel, '', $queue, 'old');
        self::await($channel, $arrived, 1);
        self::assertSame(0, self::ready($channel, $queue));
    }

    public function testHigherPrioritiesOvertake(): void
    {
        $channel = $this->open();
        $queue = self::exclusive($channel, ['x-max-priority' => 5]);
        foreach ([1, 5, 3, 0] as $priority) {
            self::publish($channel, '', $queue, (string) $priority, ['priority' => $priority]);
        }
        self::assertSame('5310', implode(array_map(fn () => self::get($channel, $queue)->body, range(1, 4))));
    }

    public function testTopicsAndHeadersRoute(): void
    {
        $channel = $this->open();
        $topic = self::fresh('topic');
        $channel->exchange_declare($topic, 'topic');
        foreach (['a.*' => 1, 'a.#' => 4, '#' => 6, '*.b' => 2, '#.b.#' => 3] as $pattern => $matching) {
            $queue = self::exclusive($channel);
            $channel->queue_bind($queue, $topic, $pattern);
            foreach (['a', 'a.b', 'a.b.c', 'x.b', '', 'a..c'] as $key) {
                self::publish($channel, $topic, $key, $key);
            }
            self::assertSame($matching, self::ready($channel, $queue), $pattern);
        }
        $channel->exchange_delete($topic);

        $exchange = self::fresh('headers');
        $channel->exchange_declare($exchange, 'headers');
        foreach (['all' => 1, 'any' => 2] as $match => $matching) {
            $queue = self::exclusive($channel);
            $channel->queue_bind($queue, $exchange, '', false, new AMQPTable(['x-match' => $match, 'a' => 1, 'b' => '2']));
            foreach ([['a' => 1], ['a' => 1, 'b' => '2'], ['b' => '3']] as $with) {
                self::publish($channel, $exchange, '', '', ['application_headers' => new AMQPTable($with)]);
            }
            self::assertSame($matching, self::ready($channel, $queue), $match);
        }
        $channel->exchange_delete($exchange);
    }

    public function testWhatGoesAwayByItself(): void
    {
        $channel = $this->open();
        $queue = self::fresh('auto-delete');
        $channel->queue_declare($queue);
        $channel->basic_cancel($channel->basic_consume($queue, 'tag'));
        self::refused(404, "NOT_FOUND - no queue '$queue' in vhost '/'", fn () => $channel->queue_declare($queue, true));
        $owner = $this->open();
        $queue = self::exclusive($owner);
        self::refused(405, "RESOURCE_LOCKED - cannot obtain exclusive access to locked queue '$queue' in vhost '/'",
            fn () => $this->open()->queue_declare($queue, true));
        $owner->getConnection()->close();
        self::refused(404, 'NOT_FOUND', fn () => $this->open()->queue_declare($queue, true));
    }

    public function testRefusedDeclarationsSayWhy(): void
    {
        $connection = $this->connect();
        $queue = self::fresh('queue');
        $expires = new AMQPTable(['x-expires' => 60000]);
        $connection->channel()->queue_declare($queue, false, true, false, false, false, $expires);
        self::refused(406, "inequivalent arg 'durable' for queue '$queue' in vhost '/': received 'false' but current is 'true'",
            fn () => $connection->channel()->queue_declare($queue, false, false, false, false, false, $expires));
        self::refused(406, "inequivalent arg 'x-expires' for queue '$queue' in vhost '/'",
            fn () => $connection->channel()->queue_declare($queue, false, true, false, false));
        self::refused(403, "queue name 'amq.mine' contains reserved prefix 'amq.*'",
            fn () => $connection->channel()->queue_declare('amq.mine'));
        self::refused(404, "NOT_FOUND - no exchange 'nowhere' in vhost '/'",
            fn () => $connection->channel()->queue_bind($queue, 'nowhere'));
        self::assertTrue($connection->isConnected());
    }

    public function testAWrongPasswordStaysOutside(): void
    {
        $this->expectException(AMQPConnectionClosedException::class);
        $this->expectExceptionMessage('ACCESS_REFUSED');
        $this->connect('wrong');
    }
}
