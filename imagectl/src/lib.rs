//! imagectl
