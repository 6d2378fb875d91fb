//! `omni_bridge._native`: lists and registers.
