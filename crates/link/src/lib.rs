//! Identity, trust and TLS transport of Audera
