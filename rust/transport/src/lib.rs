//! The one pooled HTTP client.
