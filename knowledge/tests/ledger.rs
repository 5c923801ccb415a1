//! Knowledge over its own gRPC client, on a real Postgres: one cluster for this program, a fresh database for each test.

mod ledger {
    pub mod support;

    mod actuators;
    mod crash;
    mod declared;
    mod directives;
    mod feedback;
    mod migrations;
    mod thresholds;
    mod watch;
}
