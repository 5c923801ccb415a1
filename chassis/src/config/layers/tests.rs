//! Settings as users write them, and the messages that they get.

use serde::Deserialize;
