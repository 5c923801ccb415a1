//! Errors → gRPC status. Clients retry `UNAVAILABLE` only; `NOT_FOUND` on a lease means register again.

use chassis::chain;
use proto::client::Error;
use tonic::{Code, Status};

use crate::engine::ReportError;
use crate::pause::PauseError;
use crate::service::leases::LeaseError;

/// What Knowledge said, where the caller can do something about it.
pub(super) fn knowledge(error: Error) -> Status {
    match &error {
        Error::Refused { status, .. } => match status.code() {
            code @ (Code::InvalidArgument
            | Code::NotFound
            | Code::AlreadyExists
            | Code::FailedPrecondition) => Status::new(code, status.message()),
            _ if error.is_transient() => Status::unavailable("Knowledge cannot be reached: try again"),
            _ => internal(&error),
        },
        Error::Answer { .. } => internal(&error),
    }
}

pub(super) fn lease(error: LeaseError) -> Status {
    match error {
        LeaseError::Gone => Status::not_found(error.to_string()),
        LeaseError::Knowledge(error) => knowledge(error),
    }
}

pub(super) fn report(error: ReportError) -> Status {
    match error {
        ReportError::NotHere => Status::unavailable("the directive cannot be read: report again"),
        ReportError::NotServed => Status::permission_denied(error.to_string()),
        ReportError::Busy => Status::unavailable("too much waits for the ledger: report again"),
    }
}

pub(super) fn pause(error: &PauseError) -> Status {
    tracing::error!("{}", chain(error));
    Status::internal("the switch cannot be written to disk; a pause holds until this process ends")
}

fn internal(error: &Error) -> Status {
    tracing::error!("{}", chain(error));
    Status::internal("Knowledge gave no usable answer")
}
