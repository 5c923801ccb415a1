//! What a caller is told of an error: internals are logged, not sent.

use tonic::Status;

use crate::store::Error;

impl From<Error> for Status {
    fn from(error: Error) -> Self {
        let text = error.to_string();
        match error {
            Error::Unreachable(_) | Error::Slow => {
                tracing::debug!("a call failed: {}", chassis::chain(&error));
                Self::unavailable(text)
            }
            Error::Overloaded | Error::Stopping => Self::unavailable(text),
            Error::Statement { .. } | Error::Bytes { .. } | Error::Stored { .. } | Error::Inconsistent(_) => {
                tracing::error!("a call failed: {}", chassis::chain(&error));
                Self::internal("the request could not be carried out; the service's log says why")
            }
            Error::Value { .. } => {
                tracing::warn!("a call was refused: {}", chassis::chain(&error));
                Self::invalid_argument(text)
            }
            Error::Invalid(source) => source.into(),
            Error::Missing(_) => Self::not_found(text),
            Error::Precondition(_) => Self::failed_precondition(text),
            Error::Held(_) => Self::already_exists(text),
            Error::Compacted(_) => Self::out_of_range(text),
        }
    }
}
