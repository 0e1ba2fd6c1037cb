//! Class exchange: declare, delete, bind, unbind.
#![deny(clippy::unwrap_used, clippy::expect_used, clippy::indexing_slicing, clippy::arithmetic_side_effects)]

use amq_protocol::protocol::{AMQPClass, exchange};

use super::channel::Channel;
use super::context::Context;
use super::names::clean;
use crate::broker::ExchangeDeclare;
use crate::wire::refusal::{Refusal, ReplyCode};
use crate::wire::table::Table;

pub(super) fn handle(
    context: &mut Context,
    channel: &mut Channel,
    method: exchange::AMQPMethod,
) -> Result<(), Refusal> {
    let vhost = context.vhost.clone();
    let broker = context.broker.clone();
    let caller = context.caller();
    let (epoch, nowait, ok) = match method {
        exchange::AMQPMethod::Declare(ask) => {
            let declare = ExchangeDeclare {
                name: clean(&ask.exchange),
                kind: ask.kind.to_string(),
                passive: ask.passive,
                durable: ask.durable,
                auto_delete: ask.auto_delete,
                internal: ask.internal,
                arguments: Table::from(&ask.arguments),
            };
            let epoch = vhost.declare_exchange(&broker, declare, caller)?;
            (epoch, ask.nowait, exchange::AMQPMethod::DeclareOk(exchange::DeclareOk {}))
        }
        exchange::AMQPMethod::Delete(ask) => {
            let epoch = vhost.delete_exchange(&broker, &clean(&ask.exchange), ask.if_unused, caller)?;
            (epoch, ask.nowait, exchange::AMQPMethod::DeleteOk(exchange::DeleteOk {}))
        }
        exchange::AMQPMethod::Bind(ask) => {
            let (destination, source) = (clean(&ask.destination), clean(&ask.source));
            let arguments = Table::from(&ask.arguments);
            let key = ask.routing_key.as_str();
            let epoch = vhost.bind_exchange(&broker, &destination, &source, key, arguments, caller)?;
            (epoch, ask.nowait, exchange::AMQPMethod::BindOk(exchange::BindOk {}))
        }
        exchange::AMQPMethod::Unbind(ask) => {
            let (destination, source) = (clean(&ask.destination), clean(&ask.source));
            let arguments = Table::from(&ask.arguments);
            let key = ask.routing_key.as_str();
            let epoch = vhost.unbind_exchange(&broker, &destination, &source, key, &arguments, caller)?;
            (epoch, ask.nowait, exchange::AMQPMethod::UnbindOk(exchange::UnbindOk {}))
        }
        _ => return Err(Refusal::new(ReplyCode::CommandInvalid, "unimplemented method")),
    };
    context.reply(epoch, nowait, channel.number, AMQPClass::Exchange(ok));
    Ok(())
}
