//! What the failures of modules mean.

use std::path::Path;

use cryptoki::error::{Error, RvError};

use super::TokenError;

/// Says what a failure means while the token did something.
pub(super) fn failed(token: &str, what: &'static str, error: &Error) -> TokenError {
    let token = token.to_owned();
    match error {
        Error::Pkcs11(code, _) => match code {
            RvError::DeviceRemoved
            | RvError::TokenNotPresent
            | RvError::TokenNotRecognized
            | RvError::SlotIdInvalid
            | RvError::SessionClosed
            | RvError::SessionHandleInvalid
            | RvError::CryptokiNotInitialized
            | RvError::UserNotLoggedIn => TokenError::Removed { token },
            RvError::DeviceMemory => TokenError::Full { token },
            RvError::TokenWriteProtected | RvError::SessionReadOnly => TokenError::WriteProtected { token },
            RvError::PinLocked => TokenError::Locked { token },
            RvError::MechanismInvalid
            | RvError::MechanismParamInvalid
            | RvError::CurveNotSupported
            | RvError::DomainParamsInvalid
            | RvError::KeySizeRange
            | RvError::FunctionNotSupported => {
                TokenError::Unsupported { token, what: "keys or signatures of this kind" }
            }
            code => TokenError::Failed { token, what, code: format!("{code:?}") },
        },
        Error::NullFunctionPointer | Error::NotSupported => {
            TokenError::Unsupported { token, what: "what is needed of it: its module lacks a function" }
        }
        other => TokenError::Answer { token, what: other.to_string().chars().take(200).collect() },
    }
}

/// Says what a failed login means.
pub(super) fn of_login(token: &str, from: &str, error: &Error) -> TokenError {
    let named = || token.to_owned();
    match error {
        Error::Pkcs11(RvError::PinIncorrect | RvError::PinInvalid | RvError::PinLenRange, _) => {
            TokenError::WrongPin { token: named(), from: from.to_owned() }
        }
        Error::Pkcs11(RvError::PinLocked, _) => TokenError::Locked { token: named() },
        Error::Pkcs11(RvError::PinExpired, _) => {
            TokenError::PinState { token: named(), reason: "it has expired: change it with the token's own tools" }
        }
        Error::Pkcs11(RvError::UserPinNotInitialized, _) => {
            TokenError::PinState { token: named(), reason: "none was ever set: use the token's own tools" }
        }
        other => failed(token, "log in", other),
    }
}

/// Says what it means that a module did not start.
pub(super) fn of_start(token: &str, path: &Path, error: &Error) -> TokenError {
    match error {
        Error::Pkcs11(RvError::DeviceError | RvError::DeviceRemoved | RvError::TokenNotPresent, _) => {
            TokenError::NotThere { token: format!("{token:?}"), present: Vec::new() }
        }
        other => TokenError::Module { path: path.to_owned(), reason: other.to_string().chars().take(300).collect() },
    }
}
