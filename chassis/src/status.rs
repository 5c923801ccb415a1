//! The one helper that prints an error with its causes.

use std::error::Error;

/// The error and its causes in one line, joined by `: `. A cause whose text the line already ends with is left out,
/// so that a transparent wrapper does not say everything twice.
#[must_use]
pub fn chain(error: &(dyn Error + 'static)) -> String {
    let mut line = text(error);
    let mut cause = error.source();
    while let Some(error) = cause {
        let next = text(error);
        if !line.ends_with(&next) {
            line.push_str(": ");
            line.push_str(&next);
        }
        cause = error.source();
    }
    line
}

/// A gRPC status prints its whole metadata map, which no reader wants; its code and message are enough.
fn text(error: &(dyn Error + 'static)) -> String {
    match error.downcast_ref::<tonic::Status>() {
        Some(status) if status.message().is_empty() => status.code().description().to_owned(),
        Some(status) => format!("{} ({:?})", status.message(), status.code()),
        None => error.to_string(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[derive(Debug, thiserror::Error)]
    enum Outer {
        #[error("cannot open symptom 7")]
        Open(#[source] std::io::Error),
        #[error(transparent)]
        Same(#[from] std::io::Error),
        #[error("cannot reach knowledge")]
        Call(#[source] tonic::Status),
    }

    fn io(text: &str) -> std::io::Error {
        std::io::Error::other(text.to_owned())
    }

    #[test]
    fn causes_are_printed_once() {
        assert_eq!(chain(&Outer::Open(io("disk full"))), "cannot open symptom 7: disk full");
        assert_eq!(chain(&Outer::Same(io("disk full"))), "disk full");
    }

    #[test]
    fn grpc_status_prints_message_and_code_only() {
        let error = Outer::Call(tonic::Status::unavailable("no leader"));
        assert_eq!(chain(&error), "cannot reach knowledge: no leader (Unavailable)");
    }

    #[test]
    fn anyhow_errors_print_their_context() {
        let error = anyhow::Error::from(io("disk full")).context("cannot save").context("cannot stop");
        assert_eq!(chain(error.as_ref()), "cannot stop: cannot save: disk full");
    }
}
