//! Declared documents become promises.
