//! The omni command line.
