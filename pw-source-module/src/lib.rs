//! PipeWire module: streams an input to Audera rooms
