//! Knowledge over its own gRPC client, on a real Postgres: one cluster for this program, a fresh database for each test.

#![expect(clippy::unwrap_used, reason = "in a test, an unwrap is an assertion")]

mod ledger {
    pub mod support;

    mod actuators;
    mod crash;
    mod declared;
    mod directives;
    mod feedback;
    mod migrations;
    mod objectives;
    mod retention;
    mod seasonality;
    mod standing;
    mod thresholds;
    mod watch;
}
