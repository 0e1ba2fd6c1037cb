//! Refusals: what the broker says when it will not do something.
//!
//! A refusal carries AMQP's reply code, an explanation in RabbitMQ's words and the ids of the method to blame.
//! Invariant: the reply text never exceeds a short string. Deliberately absent: how a refusal is sent (see
//! [`super::encode::close_channel`] and [`super::encode::close_connection`]).

use std::fmt;

use super::short;

/// What a refusal ends.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
pub enum Radius {
    /// The channel it happened on (a soft error).
    Channel,
    /// The whole connection (a hard error).
    Connection,
}

/// AMQP's reply codes, by their numbers.
#[derive(Clone, Copy, PartialEq, Eq, Debug)]
#[repr(u16)]
pub enum ReplyCode {
    /// The content is larger than its receiver takes.
    ContentTooLarge = 311,
    /// A mandatory message reached no queue; only in basic.return.
    NoRoute = 312,
    /// An immediate message found no consumer.
    NoConsumers = 313,
    /// An operator or the broker itself ends the connection.
    ConnectionForced = 320,
    /// The virtual host is unknown.
    InvalidPath = 402,
    /// The user may not do this.
    AccessRefused = 403,
    /// The queue or exchange does not exist.
    NotFound = 404,
    /// Another connection owns the queue.
    ResourceLocked = 405,
    /// The entity is not in the state the method requires.
    PreconditionFailed = 406,
    /// A frame or its content cannot be decoded.
    FrameError = 501,
    /// A field holds what it must not.
    SyntaxError = 502,
    /// The method is unknown or not for a client to send.
    CommandInvalid = 503,
    /// The method does not fit the state of channel or connection.
    ChannelError = 504,
    /// A good frame at a wrong moment.
    UnexpectedFrame = 505,
    /// The broker lacks a resource.
    ResourceError = 506,
    /// The broker's limits or policy forbid it.
    NotAllowed = 530,
    /// A part of AMQP the broker does not have.
    NotImplemented = 540,
    /// The broker failed, or met what RabbitMQ fails at.
    InternalError = 541,
}

impl ReplyCode {
    /// The number on the wire.
    pub fn code(self) -> u16 {
        self as u16
    }

    /// The name as it opens a reply text, like `NOT_FOUND`.
    pub fn name(self) -> &'static str {
        match self {
            Self::ContentTooLarge => "CONTENT_TOO_LARGE",
            Self::NoRoute => "NO_ROUTE",
            Self::NoConsumers => "NO_CONSUMERS",
            Self::ConnectionForced => "CONNECTION_FORCED",
            Self::InvalidPath => "INVALID_PATH",
            Self::AccessRefused => "ACCESS_REFUSED",
            Self::NotFound => "NOT_FOUND",
            Self::ResourceLocked => "RESOURCE_LOCKED",
            Self::PreconditionFailed => "PRECONDITION_FAILED",
            Self::FrameError => "FRAME_ERROR",
            Self::SyntaxError => "SYNTAX_ERROR",
            Self::CommandInvalid => "COMMAND_INVALID",
            Self::ChannelError => "CHANNEL_ERROR",
            Self::UnexpectedFrame => "UNEXPECTED_FRAME",
            Self::ResourceError => "RESOURCE_ERROR",
            Self::NotAllowed => "NOT_ALLOWED",
            Self::NotImplemented => "NOT_IMPLEMENTED",
            Self::InternalError => "INTERNAL_ERROR",
        }
    }

    /// What a refusal with this code ends; on channel 0 every refusal ends the connection.
    pub fn radius(self) -> Radius {
        match self {
            Self::ContentTooLarge
            | Self::NoRoute
            | Self::NoConsumers
            | Self::AccessRefused
            | Self::NotFound
            | Self::ResourceLocked
            | Self::PreconditionFailed => Radius::Channel,
            _ => Radius::Connection,
        }
    }
}

/// A refusal: reply code, explanation and the method to blame.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// AMQP's reply code.
    pub code: ReplyCode,
    /// RabbitMQ's words after the code's name; may be empty and of any length.
    pub explanation: String,
    /// Class of the method to blame; 0 when none is.
    pub class_id: u16,
    /// Id of the method to blame; 0 when none is.
    pub method_id: u16,
}

impl Refusal {
    /// A refusal that blames no method.
    pub fn new(code: ReplyCode, explanation: impl Into<String>) -> Self {
        Self { code, explanation: explanation.into(), class_id: 0, method_id: 0 }
    }

    /// The same refusal, blaming a method.
    pub fn at(self, class_id: u16, method_id: u16) -> Self {
        Self { class_id, method_id, ..self }
    }

    /// What it ends, by its code.
    pub fn radius(&self) -> Radius {
        self.code.radius()
    }

    /// `NAME - explanation`, or `NAME` alone; a text above 255 octets is cut and ends with `...`, as RabbitMQ's do.
    pub fn reply_text(&self) -> String {
        const ELLIPSIS: &str = "...";
        let name = self.code.name();
        let text = if self.explanation.is_empty() { name.to_owned() } else { format!("{name} - {}", self.explanation) };
        if text.len() <= short::MAX_LEN {
            return text;
        }
        let mut cut = short::cut(&text, short::MAX_LEN.saturating_sub(ELLIPSIS.len())).to_owned();
        cut.push_str(ELLIPSIS);
        cut
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.reply_text())
    }
}

impl std::error::Error for Refusal {}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn reply_texts_name_the_code() {
        let refusal = Refusal::new(ReplyCode::NotFound, "no queue 'q' in vhost '/'").at(50, 10);
        assert_eq!(refusal.reply_text(), "NOT_FOUND - no queue 'q' in vhost '/'");
        assert_eq!((refusal.class_id, refusal.method_id, refusal.code.code()), (50, 10, 404));
        assert_eq!(Refusal::new(ReplyCode::InternalError, "").to_string(), "INTERNAL_ERROR");
    }

    #[test]
    fn long_reply_texts_are_cut_to_a_short_string() {
        let text = Refusal::new(ReplyCode::NotFound, "q".repeat(300)).reply_text();
        assert_eq!(text.len(), 255);
        assert!(text.starts_with("NOT_FOUND - qqq") && text.ends_with("q..."));
        let exact = Refusal::new(ReplyCode::NotFound, "q".repeat(243)).reply_text();
        assert_eq!(exact.len(), 255);
        assert!(exact.ends_with('q'), "255 octets fit uncut");
        let wide = Refusal::new(ReplyCode::NotFound, "\u{20ac}".repeat(100)).reply_text();
        assert!(wide.len() <= 255 && wide.ends_with("\u{20ac}..."), "cut between characters");
    }

    #[test]
    fn the_radius_follows_the_table() {
        for (code, soft) in [
            (ReplyCode::ContentTooLarge, true),
            (ReplyCode::NoConsumers, true),
            (ReplyCode::ConnectionForced, false),
            (ReplyCode::InvalidPath, false),
            (ReplyCode::AccessRefused, true),
            (ReplyCode::NotFound, true),
            (ReplyCode::ResourceLocked, true),
            (ReplyCode::PreconditionFailed, true),
            (ReplyCode::FrameError, false),
            (ReplyCode::ResourceError, false),
            (ReplyCode::InternalError, false),
        ] {
            assert_eq!(Refusal::new(code, "").radius() == Radius::Channel, soft, "{code:?}");
        }
    }
}
