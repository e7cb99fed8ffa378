//! Safe layer over the parts of libpipewire that Audera's modules and player need
