//! Placeholder page; filled in the next commit.
