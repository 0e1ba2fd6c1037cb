//! From the protocol header to connection.open.
