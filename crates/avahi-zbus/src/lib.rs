//! Typed Avahi proxies for zbus, with browsing and publishing as streams that survive the daemon's restart
