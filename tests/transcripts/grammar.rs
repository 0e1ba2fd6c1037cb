//! The methods of AMQP 0-9-1 with RabbitMQ's extensions, as far as a conversation may need them.
//!
//! Written down once more, apart from the broker's codec, so that a mistake there cannot hide itself here.

/// One argument of a method.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Argument {
    /// Empty for reserved ones.
    pub(crate) name: &'static str,
    /// `o` octet, `u` short, `i` long, `l` long long, `s` short string, `S` long string, `b` bit, `F` table.
    pub(crate) kind: char,
}

/// One method.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Method {
    pub(crate) name: &'static str,
    pub(crate) ids: (u16, u16),
    pub(crate) arguments: Vec<Argument>,
}

impl Method {
    /// Whether a content header follows.
    pub(crate) fn has_content(&self) -> bool {
        matches!(self.name, "basic.publish" | "basic.return" | "basic.deliver" | "basic.get-ok")
    }
}

/// Name, ids, then `argument:kind`; reserved arguments are called `_`.
const METHODS: &str = "
connection.start 10 10 version-major:o version-minor:o server-properties:F mechanisms:S locales:S
connection.start-ok 10 11 client-properties:F mechanism:s response:S locale:s
connection.secure 10 20 challenge:S
connection.secure-ok 10 21 response:S
connection.tune 10 30 channel-max:u frame-max:i heartbeat:u
connection.tune-ok 10 31 channel-max:u frame-max:i heartbeat:u
connection.open 10 40 virtual-host:s _:s insist:b
connection.open-ok 10 41 _:s
connection.close 10 50 reply-code:u reply-text:s class-id:u method-id:u
connection.close-ok 10 51
connection.blocked 10 60 reason:s
connection.unblocked 10 61
connection.update-secret 10 70 new-secret:S reason:s
connection.update-secret-ok 10 71
channel.open 20 10 _:s
channel.open-ok 20 11 _:S
channel.flow 20 20 active:b
channel.flow-ok 20 21 active:b
channel.close 20 40 reply-code:u reply-text:s class-id:u method-id:u
channel.close-ok 20 41
access.request 30 10 realm:s exclusive:b passive:b active:b write:b read:b
access.request-ok 30 11 ticket:u
exchange.declare 40 10 _:u exchange:s type:s passive:b durable:b auto-delete:b internal:b nowait:b arguments:F
exchange.declare-ok 40 11
exchange.delete 40 20 _:u exchange:s if-unused:b nowait:b
exchange.delete-ok 40 21
exchange.bind 40 30 _:u destination:s source:s routing-key:s nowait:b arguments:F
exchange.bind-ok 40 31
exchange.unbind 40 40 _:u destination:s source:s routing-key:s nowait:b arguments:F
exchange.unbind-ok 40 51
queue.declare 50 10 _:u queue:s passive:b durable:b exclusive:b auto-delete:b nowait:b arguments:F
queue.declare-ok 50 11 queue:s message-count:i consumer-count:i
queue.bind 50 20 _:u queue:s exchange:s routing-key:s nowait:b arguments:F
queue.bind-ok 50 21
queue.purge 50 30 _:u queue:s nowait:b
queue.purge-ok 50 31 message-count:i
queue.delete 50 40 _:u queue:s if-unused:b if-empty:b nowait:b
queue.delete-ok 50 41 message-count:i
queue.unbind 50 50 _:u queue:s exchange:s routing-key:s arguments:F
queue.unbind-ok 50 51
basic.qos 60 10 prefetch-size:i prefetch-count:u global:b
basic.qos-ok 60 11
basic.consume 60 20 _:u queue:s consumer-tag:s no-local:b no-ack:b exclusive:b nowait:b arguments:F
basic.consume-ok 60 21 consumer-tag:s
basic.cancel 60 30 consumer-tag:s nowait:b
basic.cancel-ok 60 31 consumer-tag:s
basic.publish 60 40 _:u exchange:s routing-key:s mandatory:b immediate:b
basic.return 60 50 reply-code:u reply-text:s exchange:s routing-key:s
basic.deliver 60 60 consumer-tag:s delivery-tag:l redelivered:b exchange:s routing-key:s
basic.get 60 70 _:u queue:s no-ack:b
basic.get-ok 60 71 delivery-tag:l redelivered:b exchange:s routing-key:s message-count:i
basic.get-empty 60 72 _:s
basic.ack 60 80 delivery-tag:l multiple:b
basic.reject 60 90 delivery-tag:l requeue:b
basic.recover-async 60 100 requeue:b
basic.recover 60 110 requeue:b
basic.recover-ok 60 111
basic.nack 60 120 delivery-tag:l multiple:b requeue:b
confirm.select 85 10 nowait:b
confirm.select-ok 85 11
tx.select 90 10
tx.select-ok 90 11
tx.commit 90 20
tx.commit-ok 90 21
tx.rollback 90 30
tx.rollback-ok 90 31
";

/// Properties of a message with their kinds (`T` is a timestamp), in the order of their flags from bit 15 down.
pub(crate) const PROPERTIES: [Argument; 14] = [
    Argument { name: "content-type", kind: 's' },
    Argument { name: "content-encoding", kind: 's' },
    Argument { name: "headers", kind: 'F' },
    Argument { name: "delivery-mode", kind: 'o' },
    Argument { name: "priority", kind: 'o' },
    Argument { name: "correlation-id", kind: 's' },
    Argument { name: "reply-to", kind: 's' },
    Argument { name: "expiration", kind: 's' },
    Argument { name: "message-id", kind: 's' },
    Argument { name: "timestamp", kind: 'l' },
    Argument { name: "type", kind: 's' },
    Argument { name: "user-id", kind: 's' },
    Argument { name: "app-id", kind: 's' },
    Argument { name: "cluster-id", kind: 's' },
];

fn read(line: &'static str) -> Method {
    let mut words = line.split(' ');
    let name = words.next().expect("a name");
    let mut id = || words.next().and_then(|id| id.parse().ok()).expect("two ids");
    let ids = (id(), id());
    let arguments = words.map(|word| {
        let (name, kind) = word.split_once(':').expect("a kind");
        Argument { name: if name == "_" { "" } else { name }, kind: kind.chars().next().expect("a kind") }
    });
    Method { name, ids, arguments: arguments.collect() }
}

fn find(wanted: impl Fn(&Method) -> bool) -> Option<Method> {
    METHODS.lines().filter(|line| !line.is_empty()).map(read).find(wanted)
}

/// The method with this name.
pub(crate) fn named(name: &str) -> Option<Method> {
    find(|method| method.name == name)
}

/// The method with these ids.
pub(crate) fn with_ids(ids: (u16, u16)) -> Option<Method> {
    find(|method| method.ids == ids)
}
