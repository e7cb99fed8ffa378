//! PipeWire module: an audio sink for every Audera room
