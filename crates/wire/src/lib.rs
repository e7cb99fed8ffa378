//! Messages, framing and session state machines of the Audera protocol
