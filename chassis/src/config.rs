//! Settings in layers: defaults in code, then TOML, then environment, then flags. All are read and checked before
//! any port opens; what is wrong is named by key, value, rule and the layer it came from, and exits 64.

mod error;
mod layers;
mod problem;
mod server;
mod source;
mod tree;

pub mod duration;

pub use error::{ConfigError, Invalid};
pub use layers::{Layers, environment, load, print};
pub use server::{ClientConfig, ServerConfig, TlsConfig, require_loopback};

/// Settings that can say what is wrong with them beyond their types.
pub trait Validate {
    /// The first rule that is broken, if any.
    ///
    /// # Errors
    /// The key, its value and the rule.
    fn validate(&self) -> Result<(), Invalid>;
}
