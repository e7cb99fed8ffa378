//! Simulated clocks and networks, private PipeWire sessions and measuring tools for Audera's tests
