<?php
// php-amqplib against the broker at AMQP_URL, as its users write it. Debian's package brings its own autoloader.

declare(strict_types=1);

require_once 'PhpAmqpLib/autoload.php';

use PhpAmqpLib\Channel\AMQPChannel;
use PhpAmqpLib\Connection\AMQPStreamConnection;
use PhpAmqpLib\Exception\AMQPConnectionClosedException;
use PhpAmqpLib\Exception\AMQPProtocolChannelException;
use PhpAmqpLib\Message\AMQPMessage;
use PhpAmqpLib\Wire\AMQPTable;
use PHPUnit\Framework\TestCase;

final class AmqplibTest extends TestCase
{
    /** Seconds any wait may last. */
    private const PATIENCE = 20;

    private AMQPStreamConnection $connection;
    private AMQPChannel $channel;

    protected function setUp(): void
    {
        $this->connection = $this->connect();
        $this->channel = $this->connection->channel();
    }

    protected function tearDown(): void
    {
        $this->connection->close();
    }

    private function connect(string $password = 'guest'): AMQPStreamConnection
    {
        $url = parse_url(getenv('AMQP_URL') ?: 'amqp://localhost:5672');
        return new AMQPStreamConnection($url['host'], $url['port'] ?? 5672, $url['user'] ?? 'guest', $password);
    }

    private function fresh(string $name): string
    {
        return "php.$name." . bin2hex(random_bytes(6));
    }

    /** A queue of this connection's own; its name. */
    private function queue(array $arguments = []): string
    {
        return $this->channel->queue_declare('', false, false, true, false, false, new AMQPTable($arguments))[0];
    }

    private function publish(string $queue, string $body, array $properties = []): void
    {
        $this->channel->basic_publish(new AMQPMessage($body, $properties), '', $queue);
    }

    /** The bodies got from a queue until it is empty. */
    private function drain(string $queue): array
    {
        $bodies = [];
        while ($message = $this->channel->basic_get($queue, true)) {
            $bodies[] = $message->body;
        }
        return $bodies;
    }

    /** The next message a consumer is given. */
    private function next(string $queue): AMQPMessage
    {
        $got = null;
        $tag = $this->channel->basic_consume($queue, '', false, true, false, false, function ($message) use (&$got) {
            $got ??= $message;
        });
        while ($got === null) {
            $this->channel->wait(null, false, self::PATIENCE);
        }
        $this->channel->basic_cancel($tag);
        return $got;
    }

    public function testConfirmsReachThePublisher(): void
    {
        $queue = $this->channel->queue_declare($this->fresh('confirms'), false, true, false, false)[0];
        $acked = [];
        $this->channel->set_ack_handler(function (AMQPMessage $message) use (&$acked) {
            $acked[] = $message->body;
        });
        $this->channel->confirm_select();
        for ($n = 0; $n < 100; $n++) {
            $this->publish($queue, (string) $n, ['delivery_mode' => AMQPMessage::DELIVERY_MODE_PERSISTENT]);
        }
        $this->channel->wait_for_pending_acks(self::PATIENCE);
        sort($acked, SORT_NUMERIC);
        $this->assertSame(array_map('strval', range(0, 99)), $acked);
        $this->assertSame(array_map('strval', range(0, 99)), $this->drain($queue));
        $this->channel->queue_delete($queue);
    }

    public function testUnroutableMandatoryMessagesReturn(): void
    {
        $returned = null;
        $this->channel->set_return_listener(function ($code, $text, $exchange, $key, $message) use (&$returned) {
            $returned = [$code, $text, $message->body];
        });
        $this->channel->basic_publish(new AMQPMessage('lost'), '', $this->fresh('nowhere'), true);
        while ($returned === null) {
            $this->channel->wait(null, false, self::PATIENCE);
        }
        $this->assertSame([312, 'NO_ROUTE', 'lost'], $returned);
    }

    public function testPrefetchAckNackAndReject(): void
    {
        $queue = $this->queue();
        foreach (['0', '1', '2'] as $body) {
            $this->publish($queue, $body);
        }
        $seen = [];
        $this->channel->basic_qos(0, 1, false);
        $this->channel->basic_consume($queue, '', false, false, false, false, function ($message) use (&$seen) {
            $seen[] = [$message->body, $message->isRedelivered()];
            match (count($seen)) {
                1 => $message->nack(true),
                3 => $message->reject(false),
                default => $message->ack(),
            };
        });
        while (count($seen) < 4) {
            $this->channel->wait(null, false, self::PATIENCE);
        }
        $this->assertSame([['0', false], ['0', true], ['1', false], ['2', false]], $seen);
    }

    public function testDeadLettersTellWhy(): void
    {
        $dead = $this->queue();
        $queue = $this->queue(['x-dead-letter-exchange' => '', 'x-dead-letter-routing-key' => $dead]);
        $this->publish($queue, 'poison');
        $this->channel->basic_get($queue)->reject(false);
        $message = $this->next($dead);
        $death = $message->get('application_headers')->getNativeData()['x-death'][0];
        $this->assertSame(['poison', 1, 'rejected', $queue], [
            $message->body, $death['count'], $death['reason'], $death['queue'],
        ]);
    }

    public function testExpiredMessagesMoveOn(): void
    {
        $dead = $this->queue();
        $queue = $this->queue(['x-dead-letter-exchange' => '', 'x-dead-letter-routing-key' => $dead]);
        $this->publish($queue, 'late', ['expiration' => '50']);
        $headers = $this->next($dead)->get('application_headers')->getNativeData();
        $this->assertSame('expired', $headers['x-death'][0]['reason']);
    }

    public function testPriorities(): void
    {
        $queue = $this->queue(['x-max-priority' => 5]);
        foreach (['low' => 1, 'high' => 5, 'middle' => 3] as $body => $priority) {
            $this->publish($queue, $body, ['priority' => $priority]);
        }
        $this->assertSame(['high', 'middle', 'low'], $this->drain($queue));
    }

    public function testTopicAndHeaders(): void
    {
        $queue = $this->queue();
        $this->channel->queue_bind($queue, 'amq.topic', 'hare.*.eu');
        $brown = new AMQPTable(['x-match' => 'all', 'colour' => 'brown', 'age' => 1]);
        $this->channel->queue_bind($queue, 'amq.headers', '', false, $brown);
        $this->channel->basic_publish(new AMQPMessage('topic'), 'amq.topic', 'hare.born.eu');
        $this->channel->basic_publish(new AMQPMessage('missed'), 'amq.topic', 'hare.born.us');
        foreach (['headers' => ['colour' => 'brown', 'age' => 1], 'missed' => ['colour' => 'brown']] as $body => $headers) {
            $properties = ['application_headers' => new AMQPTable($headers)];
            $this->channel->basic_publish(new AMQPMessage($body, $properties), 'amq.headers');
        }
        $this->assertSame(['topic', 'headers'], $this->drain($queue));
    }

    public function testTransactions(): void
    {
        $queue = $this->queue();
        $this->channel->tx_select();
        $this->publish($queue, 'dropped');
        $this->channel->tx_rollback();
        $this->publish($queue, 'kept');
        $this->assertSame([], $this->drain($queue));
        $this->channel->tx_commit();
        $this->assertSame(['kept'], $this->drain($queue));
    }

    public function testFiveMegabytes(): void
    {
        $queue = $this->queue();
        $body = random_bytes(5 * 1024 * 1024);
        $this->publish($queue, $body);
        $this->assertSame(md5($body), md5($this->drain($queue)[0]));
    }

    public function testRefusalsCloseTheChannelAndNotTheConnection(): void
    {
        $name = $this->fresh('refused');
        $refused = function (callable $ask): AMQPProtocolChannelException {
            try {
                $ask($this->connection->channel());
            } catch (AMQPProtocolChannelException $refusal) {
                return $refusal;
            }
            $this->fail('accepted');
        };
        $refusal = $refused(fn ($channel) => $channel->queue_declare($name, true));
        $this->assertSame(404, $refusal->amqp_reply_code);
        $this->assertSame("NOT_FOUND - no queue '$name' in vhost '/'", $refusal->amqp_reply_text);
        $this->channel->queue_declare($name, false, false, true, false);
        $refusal = $refused(fn ($channel) => $channel->queue_declare($name, false, false, true, true));
        $this->assertSame(406, $refusal->amqp_reply_code);
        $this->assertStringContainsString("inequivalent arg 'auto_delete'", $refusal->amqp_reply_text);
        $other = $this->connect();
        try {
            $other->channel()->queue_declare($name, true);
            $this->fail('an exclusive queue was open to another connection');
        } catch (AMQPProtocolChannelException $refusal) {
            $this->assertSame(405, $refusal->amqp_reply_code);
        } finally {
            $other->close();
        }
    }

    public function testAWrongPasswordIsTold(): void
    {
        $this->expectException(AMQPConnectionClosedException::class);
        $this->expectExceptionMessageMatches('/ACCESS_REFUSED - Login was refused/');
        $this->connect('wrong');
    }
}
